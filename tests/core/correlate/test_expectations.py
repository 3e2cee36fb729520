"""What must follow within a time: told when it does not come, and only when all up to the deadline is known."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.cells import Cells
from hids.core.correlate.expectations import KEYS_MAX, Expectations, Origin, Sender
from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleRow, WindowSpec
from hids.messages.terms import Agent, AgentId, SourceId

SPAN_S = 60
ROW = RuleRow(id=1, level=5, identity="r", head=b"", end=b"", window=WindowSpec(1, SPAN_S * 1000, ()))
SENDER = Sender(SourceId("agent/001"), Agent(AgentId("001"), "web1", ""), 1, 1)


def origin(at_s: int) -> Origin:
    return Origin("h", SENDER, EventOut(at_s, at_s * 1000, 0, 0, (), b"", b""))


class Bench:
    def __init__(self) -> None:
        self.all = Expectations(Cells())

    def begin(self, at_s: int, key: bytes = b"k") -> None:
        self.all.begin(ROW, "001", key, origin(at_s))

    def end(self, at_s: int, key: bytes = b"k") -> None:
        self.all.end(ROW, "001", key, at_s * 1000)

    def due(self, through_s: int, agent: str = "001") -> list[tuple[int, int]]:
        """(when it began, deadline) in seconds."""
        return [
            (missed.origin.event.offset, missed.deadline_ms // 1000)
            for missed in self.all.due(ROW, agent, through_s * 1000)
        ]


def test_what_does_not_come_is_told_once_when_the_time_is_surely_over():
    bench = Bench()
    bench.begin(100)
    assert bench.due(160) == []
    assert bench.due(161) == [(100, 160)]
    assert bench.due(9999) == []


def test_what_comes_in_time_is_no_news():
    bench = Bench()
    bench.begin(100)
    bench.end(160)
    assert bench.due(9999) == []


def test_what_comes_too_late_ends_nothing():
    bench = Bench()
    bench.begin(100)
    bench.end(161)
    assert bench.due(200) == [(100, 160)]


def test_what_came_before_ends_nothing():
    bench = Bench()
    bench.end(99)
    bench.begin(100)
    assert bench.due(200) == [(100, 160)]


def test_the_end_may_arrive_before_the_beginning():
    bench = Bench()
    bench.end(120)
    bench.begin(100)
    assert bench.due(9999) == []


def test_one_key_does_not_end_anothers():
    bench = Bench()
    bench.begin(100, b"a")
    bench.begin(101, b"b")
    bench.end(110, b"a")
    assert bench.due(200) == [(101, 161)]


def test_one_agents_word_is_about_that_agent():
    bench = Bench()
    bench.begin(100)
    assert bench.due(9999, agent="002") == []
    assert bench.due(9999) == [(100, 160)]


def test_a_beginning_after_the_end_is_open_whichever_arrives_first():
    bench = Bench()
    bench.begin(100)
    bench.begin(130)
    bench.end(120)
    assert bench.due(9999) == [(130, 190)]


def test_absence_each_event_ends_one_and_begins_another():
    bench = Bench()
    for at in (0, 50, 100):
        bench.end(at)
        bench.begin(at)
    assert bench.due(160) == []
    assert bench.due(161) == [(100, 160)]


def test_a_late_event_leaves_what_it_might_have_ended_unknown():
    bench = Bench()
    bench.begin(100)
    bench.begin(300, b"later")
    bench.all.doubt(ROW, "001", 120_000)
    assert bench.all.unknown == 1
    assert bench.due(9999) == [(300, 360)]


def test_too_many_keys_are_unknown_and_counted():
    bench = Bench()
    for number in range(KEYS_MAX + 10):
        bench.begin(100 + number, b"%d" % number)
    assert bench.all.unknown == 10
    assert len(bench.due(9999)) == KEYS_MAX
    assert bench.all.waiting(ROW, "001") == 0


def test_it_is_as_durable_as_its_cells():
    stored: dict[tuple[str, bytes], bytes] = {}
    before = Cells()
    Expectations(before).begin(ROW, "001", b"k", origin(100))
    stored.update({where: data for where, (data, _) in before.take_touched().items()})
    (missed,) = Expectations(Cells(stored.get)).due(ROW, "001", 161_000)
    assert missed.origin == origin(100)


@given(st.lists(st.tuples(st.integers(0, 400), st.booleans()), max_size=12))
def test_told_exactly_when_the_first_open_one_is_not_followed_in_time(events: list[tuple[int, bool]]):
    """In order, as one file of one agent is read."""
    bench, told, model = Bench(), list[tuple[int, int]](), list[tuple[int, int]]()
    opened: int | None = None
    told_of: list[tuple[int, bool]] = []
    for at, begins in sorted(events, key=lambda event: event[0]):
        told += bench.due(at)
        if opened is not None and opened + SPAN_S < at:
            model.append((opened, opened + SPAN_S))
            again = [other for other, other_begins in sorted(events) if other_begins and opened + SPAN_S < other < at]
            opened = again[0] if again else None
        told_of.append((at, begins))
        if begins:
            bench.begin(at)
            opened = at if opened is None else opened
        else:
            bench.end(at)
            if opened is not None and opened < at:  # what began at that very time goes on
                opened = at if (at, True) in told_of else None
    told += bench.due(10_000)
    if opened is not None:
        model.append((opened, opened + SPAN_S))
    assert told == model
