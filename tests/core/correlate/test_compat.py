"""Compatible correlation: rings, lists, marks and rule-wide ignore, against the slow way and over restarts."""

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.cells import Cells
from hids.core.correlate.compat import MEMORY_SIZE, SID_LIST_SIZE
from hids.core.correlate.correlator import Correlator, Decision
from hids.core.correlate.window import Entry
from hids.core.correlate.windows import Windows
from hids.core.dialect import Dialect
from hids.messages.evaluation import FINAL, WINDOW, EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec

BASE, OTHER, COMPOSITE, GROUP = range(4)
S = 1000
ASKING: Residual = ((WINDOW, COMPOSITE, 1, 2), (FINAL, COMPOSITE, BASE, 0), (FINAL, BASE, -1, 0))
PLAIN: Residual = ((FINAL, BASE, -1, 0),)
UNRELATED: Residual = ((FINAL, OTHER, -1, 0),)
GROUPED: Residual = ((WINDOW, GROUP, 1, 2), (FINAL, GROUP, OTHER, 0), (FINAL, OTHER, -1, 0))


def row(
    rule: int,
    level: int = 5,
    window: WindowSpec | None = None,
    *,
    ignore_ms: int = 0,
    sid_list: tuple[int, ...] = (),
    group_marks: tuple[tuple[int, int], ...] = (),
) -> RuleRow:
    return RuleRow(
        id=rule,
        level=level,
        identity=f"identity {rule}",
        head=b"",
        end=b"",
        window=window,
        ignore_ms=ignore_ms,
        sid_list=sid_list,
        group_marks=group_marks,
    )


def table(
    needed: int = 2,
    *,
    dialect: Dialect = "ossec",
    key: tuple[int, ...] = (),
    ignore_ms: int = 0,
    times: int = 1,
    per_agent: bool = False,
    timeframe_s: int = 60,
) -> RuleTable:
    """COMPOSITE counts BASE; GROUP counts OTHER, which enters its list `times` times."""
    window = WindowSpec(needed, timeframe_s * S, key, per_agent)
    return RuleTable(
        hash=f"{needed}",
        name="test",
        slots=("srcip",),
        rules=(
            row(BASE, sid_list=(COMPOSITE,)),
            row(OTHER, group_marks=((GROUP, times),)),
            row(COMPOSITE, 10, window, ignore_ms=ignore_ms),
            row(GROUP, 10, window),
        ),
        dialect=dialect,
        correlation="compat",
    )


class Bench:
    """A lane whose state is committed after each event; `start` is what a new one does."""

    def __init__(self, rules: RuleTable) -> None:
        self.rules = rules
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.start()

    def start(self) -> None:
        self.cells = Cells(self.rows.get)
        self.correlator = Correlator(Windows(self.rows.get, 1 << 30), self.cells)

    def see(
        self, at_s: float = 0, key: bytes | None = b"a", residual: Residual = ASKING, agent: str = "001"
    ) -> Decision:
        at_ms = int((1000 + at_s) * S)
        event = EventOut(0, at_ms, 0, 0, (key,), b"", b"%d" % at_s)
        decision = self.correlator.decide(self.rules, residual, event, agent, at_ms)
        taken = self.cells.take_touched()
        self.rows |= {where: data for where, (data, _) in taken.items()}
        self.cells.committed(taken)
        return decision

    def fires_at(self, count: int, residual: Residual = ASKING) -> list[int]:
        """Numbers, from 1, of the events whose result is a composite."""
        return [n for n in range(1, count + 1) if self.see(residual=residual).rule in (COMPOSITE, GROUP)]


def test_ossec_marks_the_newest_of_the_list_and_the_oldest_that_counted():
    assert Bench(table(4)).fires_at(14) == [5, 10]


def test_wazuh_marks_the_newest_that_counted_but_none_when_one_is_enough():
    assert Bench(table(3, dialect="wazuh")).fires_at(14) == [4, 8, 12]
    assert Bench(table(1, dialect="wazuh")).fires_at(5) == [2, 3, 4, 5]


def test_a_rule_below_two_parents_counts_twice_for_a_group():
    assert Bench(table(4)).fires_at(11, GROUPED) == [5, 10]
    assert Bench(table(4, times=2)).fires_at(9, GROUPED) == [3, 6, 9]


def test_at_most_so_many_of_one_rule_count_with_ossec():
    for dialect, needed, fires in (
        ("ossec", SID_LIST_SIZE, True),
        ("ossec", SID_LIST_SIZE + 1, False),
        ("wazuh", SID_LIST_SIZE + 1, True),
    ):
        bench = Bench(table(needed, dialect="wazuh" if dialect == "wazuh" else "ossec"))
        assert bool(bench.fires_at(needed + 1)) is fires


@pytest.mark.parametrize("dialect", ["ossec", "wazuh"])
@pytest.mark.parametrize("lost", [False, True])
def test_the_ring_forgets_whoever_is_behind_other_events(dialect: Dialect, *, lost: bool):
    bench = Bench(table(2, dialect=dialect))
    bench.see()
    bench.see()
    for _ in range(MEMORY_SIZE - 1 if lost else MEMORY_SIZE - 2):
        bench.see(residual=UNRELATED)
    assert (bench.see().rule == BASE) is lost
    assert len([where for where in bench.rows if where[0].startswith("ring:")]) <= MEMORY_SIZE + 1


def test_ages_are_whole_seconds_of_event_time():
    bench = Bench(table(1, timeframe_s=60))
    bench.see(0.9)
    assert bench.see(60.9).rule == COMPOSITE
    bench = Bench(table(1, timeframe_s=60))
    bench.see(0.9)
    assert bench.see(61.0).rule == BASE


def test_wazuh_counts_each_agent_alone_unless_told_otherwise():
    for per_agent, rule in ((True, BASE), (False, COMPOSITE)):
        bench = Bench(table(1, dialect="wazuh", per_agent=per_agent))
        bench.see(agent="001")
        assert bench.see(agent="002").rule == rule


def test_ossecs_ignore_silences_the_rule_whoever_it_is_about_and_the_silenced_are_forgotten():
    bench = Bench(table(1, key=(0,), ignore_ms=2 * S))
    decisions: list[tuple[int, bool]] = []
    for at, key in ((0, b"a"), (0, b"a"), (0.5, b"b"), (0.5, b"b"), (2.7, b"c"), (2.7, b"c")):
        decision = bench.see(at, key)
        decisions.append((decision.rule, decision.silent))
    fires, silenced = (COMPOSITE, False), (COMPOSITE, True)
    assert decisions == [(BASE, False), fires, (BASE, False), silenced, (BASE, False), fires]


def test_wazuhs_ignore_lets_the_parent_speak_and_the_event_is_the_parents():
    bench = Bench(table(1, dialect="wazuh", ignore_ms=60 * S))
    bench.see(0)
    assert bench.see(1) == Decision(COMPOSITE, (Entry(1000 * S, b"0"),))
    ignored = bench.see(2)
    assert (ignored.rule, ignored.stands_for, ignored.result) == (BASE, COMPOSITE, COMPOSITE)
    assert not ignored.silent
    assert ignored.previous == ()
    assert bench.see(61).rule == BASE  # the event before is marked, though its alert was another's
    assert [entry.text for entry in bench.see(62).previous] == [b"61"]


def test_a_changed_ruleset_goes_on_with_the_lists_of_rules_that_stayed():
    bench = Bench(table(3))
    bench.see()
    bench.see()
    bench.rules = msgspec.structs.replace(table(2), slots=("dstip", "srcip"))
    bench.rules = msgspec.structs.replace(bench.rules, rules=tuple(_with_key(rule, ()) for rule in bench.rules.rules))
    event = EventOut(0, 1000 * S, 0, 0, (None, b"a"), b"", b"")
    assert bench.correlator.decide(bench.rules, ASKING, event, "001", 1000 * S).rule == COMPOSITE


def _with_key(rule: RuleRow, key: tuple[int, ...]) -> RuleRow:
    if rule.window is None:
        return rule
    return msgspec.structs.replace(rule, window=msgspec.structs.replace(rule.window, key=key))


Step = tuple[int, bytes | None, int, str]
STEPS: st.SearchStrategy[list[Step]] = st.lists(
    st.tuples(
        st.sampled_from((0, 1, 1, 30)),
        st.sampled_from((b"a", b"b", None)),
        st.integers(0, 2),
        st.sampled_from(("001", "002")),
    ),
    min_size=10,
    max_size=40,
)


def naive(steps: Iterable[Step], rules: RuleTable) -> list[int]:
    """Rule language 4.9 written down plainly: one list of dictionaries, no ring, no lists, no store."""
    past: list[dict[str, object]] = []
    results: list[int] = []
    now_s = 0
    for after_s, key, kind, agent in steps:
        now_s += after_s
        event: dict[str, object] = {"at": now_s, "key": key, "agent": agent, "mark": 0, "rule": BASE}
        asked = (COMPOSITE, GROUP, -1)[kind]
        event["rule"] = (BASE, OTHER, BASE)[kind]
        if asked != -1:
            spec = rules.rules[asked].window
            assert spec is not None
            listed = [e for e in past if e["rule"] == (BASE if asked == COMPOSITE else OTHER)]
            counted: list[dict[str, object]] = []
            for e in reversed(listed):
                passes = (not spec.per_agent or e["agent"] == agent) and (
                    not spec.key or (key is not None and e["key"] == key)
                )
                if now_s - int(str(e["at"])) > spec.timeframe_ms // S:
                    break
                marked = int(str(e["mark"])) >= 10
                if marked and (rules.dialect == "ossec" or passes):
                    break
                if passes:
                    counted.append(e)
                if len(counted) == spec.needed:
                    event["rule"] = asked
                    event["mark"] = 10
                    used = (listed[-1], counted[-1]) if rules.dialect == "ossec" else (counted[0],)
                    for e2 in used if rules.dialect == "ossec" or spec.needed > 1 else ():
                        e2["mark"] = 10
                    break
        past.append(event)
        results.append(int(str(event["rule"])))
    return results


@given(
    steps=STEPS,
    needed=st.integers(1, 4),
    dialect=st.sampled_from(("ossec", "wazuh")),
    keyed=st.booleans(),
    per_agent=st.booleans(),
    data=st.data(),
)
def test_as_the_naive_model_over_restarts_at_any_moment(
    steps: list[Step], needed: int, dialect: Dialect, *, keyed: bool, per_agent: bool, data: st.DataObject
):
    rules = table(needed, dialect=dialect, key=(0,) if keyed else (), per_agent=per_agent and dialect == "wazuh")
    bench = Bench(rules)
    now_s, results = 0, list[int]()
    for after_s, key, kind, agent in steps:
        now_s += after_s
        if data.draw(st.booleans()):
            bench.start()
        results.append(bench.see(now_s, key, (ASKING, GROUPED, PLAIN)[kind], agent).rule)
    assert results == naive(steps, rules)


@pytest.mark.parametrize(("dialect", "needed", "fires"), [("ossec", 4, [9, 18]), ("wazuh", 2, [5, 6, 11, 12, 17, 18])])
def test_one_attackers_alert_hides_the_others_with_ossec_only(dialect: Dialect, needed: int, fires: list[int]):
    bench = Bench(table(needed, dialect=dialect, key=(0,)))
    assert [n for n in range(1, 21) if bench.see(key=b"ab"[n % 2 : n % 2 + 1]).rule == COMPOSITE] == fires
