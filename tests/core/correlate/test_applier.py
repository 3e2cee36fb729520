"""From an outcome to what the lane applies, without mailbox, clock or disk: alerts, counts, words about what is set aside."""

import msgspec
import pytest

from hids.core.correlate.applier import HOUR_MS, Applier
from hids.core.correlate.correlator import LATE_MAX_MS
from hids.core.correlate.windows import WindowKey
from hids.messages.evaluation import Dropped, EventOut, Outcome, OutcomeBody
from hids.messages.lane import Applied, Progress, ReadThrough
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec
from hids.messages.terms import Agent, AgentId, SourceId

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
SOURCE = SourceId("agent/007")
NOW_MS = 1_795_490_502_000


def row(number: int, level: int, feeds: tuple[int, ...] = (), window: WindowSpec | None = None) -> RuleRow:
    head = b'{"level":%d,"id":"%d",' % (level, number)
    return RuleRow(number, level, f"rule {number}", head, b"}", window, feeds)


TABLE = RuleTable(
    hash="table",
    name="hids",
    slots=("srcip",),
    rules=(row(1, 5, feeds=(1,)), row(2, 10, (), WindowSpec(2, 60_000, (0,)))),
)
RESIDUAL = ((1, 1, 1, 2), (0, 1, 0, 0), (0, 0, -1, 0))
"""Two before? Then rule 2; else rule 1."""


class Lane:
    """An applier over a memory that knows nothing, and outcomes in sequence."""

    def __init__(self, *, knows: bool = False) -> None:
        self.at: list[int] = []
        self.next = 1
        self.committed: dict[WindowKey, bytes] = {}
        self.applier = Applier(
            self.committed.get,
            {"table": TABLE}.__getitem__,
            lambda _source, _digest, _epoch: knows,
            lambda at_ms: f"at {at_ms}",
            {},
            1,
            (),
            log_level=3,
            budget_bytes=1 << 20,
        )

    def apply(self, *events: EventOut, epoch: int = 1, digest: bytes = b"", **body: object) -> Applied:
        made = OutcomeBody(("table",), (RESIDUAL,), events, judged=4, **body)  # type: ignore[arg-type]
        digest = digest or b"%016d" % self.next
        packed = msgspec.msgpack.encode(made)
        outcome = Outcome(SOURCE, AGENT, epoch, self.next, 4, b"c" * 32, digest, 1, packed)
        self.next += 4
        return self.applier.apply(outcome, NOW_MS, 1.0, self.at.append)


def event(offset: int, at_ms: int = NOW_MS) -> EventOut:
    return EventOut(offset, at_ms, 0, 0, (b"192.0.2.1",), b'"full_log":"x"', b"log")


def test_events_become_alerts_in_turn_and_a_window_fires_over_batches():
    lane = Lane()
    first = lane.apply(event(0), event(1))
    assert (first.progress, first.first) == (Progress(1, 4, b"c" * 32), 1)
    assert [msgspec.json.decode(alert)["hids"]["number"] for alert in first.alerts] == [1, 2]
    assert first.counts == {"evaluated": 4, "alerts": 2}
    second = lane.apply(event(3))
    (alert,) = map(msgspec.json.decode, second.alerts)
    assert (alert["rule"]["id"], alert["id"], alert["timestamp"]) == ("2", "007-1-8", f"at {NOW_MS}")
    assert second.fired == {"rule 2": 1}
    assert second.state, "what is touched leaves with it"
    assert lane.at == [1, 2, 8], "each is named before it is judged"


def test_a_batch_that_is_known_is_counted_and_not_evaluated():
    applied = Lane(knows=True).apply(event(0))
    assert (applied.counts, applied.alerts) == ({"known": 4}, ())
    lane = Lane()
    assert lane.apply(event(0), digest=b"d" * 16).alerts
    assert lane.apply(event(0), digest=b"d" * 16).alerts, "equal bytes of one epoch are other lines"
    lane.next = 1
    assert lane.apply(event(0), digest=b"d" * 16, epoch=2).counts == {"known": 4}


def test_what_was_set_aside_is_told_in_lines():
    applied = Lane().apply(
        dropped=(Dropped(2, "poison", b"line"), Dropped(3, "malformed")), suspended=("rule 5: slow",)
    )
    assert [line.text for _, line in applied.lines] == [
        b"rule suspended: rule 5: slow",
        b"line set aside: 3 of epoch 1: it ended a process of the manager twice",
    ]
    assert [(epoch, seq) for epoch, seq, _ in applied.dead] == [(1, 3)]
    assert applied.counts == {"evaluated": 4, "dropped:poison": 1, "dropped:malformed": 1, "suspended": 1}


def test_lateness_is_told_once_an_hour():
    lane = Lane()
    late_ms = NOW_MS - LATE_MAX_MS - 1
    first, second = lane.apply(event(0, late_ms)), lane.apply(event(0, late_ms))
    ((_, line),) = first.lines
    assert line.text.startswith(b"lines late: from at %d or before, more than %d h" % (late_ms, LATE_MAX_MS // HOUR_MS))
    assert (second.lines, second.counts["late"]) == ((), 1)


def test_a_report_on_which_nothing_is_due_applies_nothing_and_a_table_that_is_gone_is_passed_over():
    lane = Lane()
    lane.apply(event(0))
    report = ReadThrough(SOURCE, AGENT, 1, 4, NOW_MS)
    first = lane.applier.missed(report, NOW_MS, 1.0)
    assert first is not None, "the first report in an hour is noted"
    assert (set(first.state), first.alerts) == ({("heard", SOURCE.encode())}, ())
    assert lane.applier.missed(report, NOW_MS, 1.0) is None
    with pytest.raises(KeyError):
        lane.applier.apply(
            Outcome(SOURCE, AGENT, 1, 5, 1, b"", b"e" * 16, 1, msgspec.msgpack.encode(OutcomeBody(("gone",), (), ()))),
            NOW_MS,
            1.0,
            lane.at.append,
        )
