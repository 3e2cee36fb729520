"""Incidents: what goes on is one, and what is new in it is marked."""

from hids.core.correlate.cells import Cells
from hids.core.correlate.incidents import AGENTS_MAX, Incidents
from hids.core.correlate.occurrence import Occurrence
from hids.messages.evaluation import EventOut
from hids.messages.outputs import Incident
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec

MANY, MORE, PLAIN, FLEET = range(4)


def row(rule: int, level: int, window: WindowSpec | None, ignore_ms: int = 0) -> RuleRow:
    return RuleRow(id=rule, level=level, identity=f"r{rule}", head=b"", end=b"", window=window, ignore_ms=ignore_ms)


TABLE = RuleTable(
    "h",
    "t",
    ("srcip",),
    (
        row(MANY, 8, WindowSpec(2, 60_000, (0,)), 30_000),
        row(MORE, 10, WindowSpec(2, 60_000, (0,))),
        row(PLAIN, 5, None),
        row(FLEET, 8, WindowSpec(2, 60_000, ())),
    ),
)


class Bench:
    def __init__(self) -> None:
        self.cells = Cells()
        self.incidents = Incidents(self.cells)
        self.count = 0

    def join(
        self, rule: int, at_s: int, agent: str = "001", key: bytes = b"192.0.2.7", *, told: bool = True
    ) -> Incident | None:
        self.count += 1
        occurrence = Occurrence(TABLE, EventOut(0, at_s * 1000, 0, 0, (key,), b"", b""), agent)
        return self.incidents.join(rule, occurrence, f"alert-{self.count}", told=told)

    def news(self, rule: int, at_s: int, agent: str = "001", key: bytes = b"192.0.2.7") -> tuple[str, str]:
        incident = self.join(rule, at_s, agent, key)
        assert incident is not None
        return incident.id, incident.news


def test_it_has_the_name_of_its_first_alert_and_says_what_it_is_about():
    assert Bench().join(MANY, 0) == Incident("alert-1", {"srcip": "192.0.2.7"}, "first")


def test_rules_that_count_by_the_same_share_it_and_a_higher_level_is_news():
    bench = Bench()
    assert [bench.news(rule, at) for rule, at in ((MANY, 0), (MANY, 60), (MORE, 90), (MORE, 95), (MANY, 99))] == [
        ("alert-1", "first"),
        ("alert-1", ""),
        ("alert-1", "level"),
        ("alert-1", ""),
        ("alert-1", ""),
    ]


def test_another_agent_is_news_once():
    bench = Bench()
    assert [bench.news(MANY, at, agent)[1] for at, agent in enumerate(("001", "002", "001", "002"))] == [
        "first",
        "agent",
        "",
        "",
    ]


def test_another_key_is_another_incident():
    bench = Bench()
    assert bench.news(MANY, 0, key=b"a") == ("alert-1", "first")
    assert bench.news(MANY, 0, key=b"b") == ("alert-2", "first")


def test_it_is_over_after_a_pause_longer_than_timeframe_and_ignore():
    bench = Bench()
    assert bench.news(MANY, 1000) == ("alert-1", "first")
    assert bench.news(MANY, 1090) == ("alert-1", "")
    assert bench.news(MANY, 1181) == ("alert-3", "first")


def test_silenced_alerts_show_that_it_goes_on_but_begin_none():
    bench = Bench()
    assert bench.join(MANY, 0, told=False) is None
    assert bench.news(MANY, 10) == ("alert-2", "first")
    assert bench.join(MANY, 90, "002", told=False) == Incident("alert-2", {"srcip": "192.0.2.7"}, "")
    assert bench.news(MANY, 170, "002") == ("alert-2", "agent")


def test_an_alert_that_comes_late_belongs_to_what_was_before():
    bench = Bench()
    assert bench.news(MANY, 1000)[1] == "first"
    assert bench.news(MANY, 950) == ("alert-1", "")
    assert bench.news(MANY, 800) == ("alert-3", "first")


def test_a_rule_that_counts_nothing_has_none_and_one_without_key_its_own():
    bench = Bench()
    assert bench.join(PLAIN, 0) is None
    assert bench.join(FLEET, 0) == Incident("alert-2", {}, "first")


def test_beyond_the_agents_that_it_remembers_each_is_told():
    bench = Bench()
    for number in range(AGENTS_MAX):
        bench.join(MANY, 0, f"{number}")
    assert bench.news(MANY, 1, "another")[1] == "agent"
    assert bench.news(MANY, 1, "another")[1] == "agent"
    assert bench.news(MANY, 1, "0")[1] == ""


def test_it_is_as_durable_as_its_cells():
    bench = Bench()
    bench.join(MANY, 0)
    stored = {where: data for where, (data, _) in bench.cells.take_touched().items()}
    bench.incidents = Incidents(Cells(stored.get))
    assert bench.news(MANY, 10) == ("alert-1", "")
