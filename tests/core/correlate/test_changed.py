"""check_diff: the first log is no change, an equal one neither."""

from hids.core.correlate.cells import Cells
from hids.core.correlate.changed import LOG_MAX, Changed
from hids.core.correlate.occurrence import Occurrence
from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleRow, RuleTable

RULES = tuple(RuleRow(id=n, level=5, identity=f"identity {n}", head=b"", end=b"") for n in (1, 2))
TABLE = RuleTable("h", "test", ("hostname", "log"), RULES)


def occurrence(log: bytes | None, host: bytes | None = b"web1", agent: str = "001") -> Occurrence:
    return Occurrence(TABLE, EventOut(0, 0, 0, 0, (host, log), b"", b""), agent)


def test_only_another_log_than_the_last_is_a_change_and_the_last_is_told():
    changed = Changed(Cells())
    answers: list[tuple[bool, bytes]] = []
    for log in (b"a", b"a", b"b", b"b", b"a"):
        event = occurrence(log)
        answers.append((changed.ask(0, event), event.previous_log))
    assert answers == [(False, b""), (False, b""), (True, b"a"), (False, b""), (True, b"b")]


def test_each_rule_host_and_agent_has_a_log_of_its_own():
    changed = Changed(Cells())
    assert not changed.ask(0, occurrence(b"a"))
    assert not changed.ask(1, occurrence(b"b"))
    assert not changed.ask(0, occurrence(b"b", host=b"web2"))
    assert not changed.ask(0, occurrence(b"b", host=None))
    assert not changed.ask(0, occurrence(b"b", agent="002"))
    assert changed.ask(0, occurrence(b"b"))


def test_logs_that_are_too_long_are_not_compared():
    changed = Changed(Cells())
    changed.ask(0, occurrence(b"a"))
    assert not changed.ask(0, occurrence(b"x" * LOG_MAX))
    assert changed.ask(0, occurrence(b"x" * (LOG_MAX - 1)))
    assert not changed.ask(0, occurrence(None))
