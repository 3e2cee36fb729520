"""Questions in the order of the walk, ignore and its lists, what is remembered; in both correlations."""

import pytest

from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import Correlator, Decision
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.windows import Windows
from hids.core.dialect import Dialect
from hids.errors import LocalProtocolError
from hids.messages.evaluation import DIFF, FINAL, FTS, WINDOW, EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec
from hids.messages.terms import Correlation

PARENT, RULE, COMPOSITE, SILENT = range(4)
SLOTS = ("fts", "fts_ids", "hostname", "log", "regex:0", "srcip")
SRCIP = SLOTS.index("srcip")
ASK_FTS: Residual = ((FTS, RULE, 1, 2), (FINAL, RULE, PARENT, 0), (FINAL, PARENT, NO_RULE, 0))
ASK_DIFF: Residual = ((DIFF, RULE, 1, 2), (FINAL, RULE, PARENT, 0), (FINAL, PARENT, NO_RULE, 0))
IS_RULE: Residual = ((FINAL, RULE, PARENT, 0),)
IS_SILENT: Residual = ((FINAL, SILENT, NO_RULE, 0),)
ASK_WINDOW: Residual = ((WINDOW, COMPOSITE, 1, 2), (FINAL, COMPOSITE, RULE, 0), (FINAL, RULE, PARENT, 0))
ASK_BOTH: Residual = (
    (FTS, RULE, 1, 4),
    (WINDOW, COMPOSITE, 2, 3),
    (FINAL, COMPOSITE, RULE, 0),
    (FINAL, RULE, PARENT, 0),
    (FINAL, PARENT, NO_RULE, 0),
)


def row(rule: int, level: int = 5, **members: object) -> RuleRow:
    return RuleRow(id=rule, level=level, identity=f"identity {rule}", head=b"", end=b"", **members)  # type: ignore[arg-type]


class Bench:
    def __init__(
        self,
        correlation: Correlation = "native",
        dialect: Dialect = "ossec",
        *,
        ignore_ms: int = 0,
        lists: bool = False,
        window: WindowSpec | None = None,
        silences: bool = True,
    ) -> None:
        spec = WindowSpec(1, 60_000, (SRCIP,)) if window is None else window
        fields = (SRCIP,) if lists else ()
        rules = (
            row(PARENT, 3),
            row(
                RULE,
                ignore_ms=ignore_ms,
                ignore_fields=fields,
                check_ignored=fields,
                feeds=(COMPOSITE,) if spec.regex < 0 else (),
                sid_list=(COMPOSITE,) if spec.regex < 0 else (),
            ),
            row(COMPOSITE, 10, window=spec),
            row(SILENT, 0),
        )
        self.table = RuleTable("h", "test", SLOTS, rules, dialect, correlation)
        self.correlator = Correlator(Windows(lambda _: None, 1 << 30), Cells(), silences=silences)

    def see(self, residual: Residual, at_s: float = 0, agent: str = "001", **slots: bytes) -> Decision:
        values = tuple(slots.get(name.replace(":", "_")) for name in SLOTS)
        event = EventOut(0, int((1000 + at_s) * 1000), 0, 0, values, b"", b"%d" % at_s)
        return self.correlator.decide(self.table, residual, event, agent, event.at_ms)

    def rules(self, residual: Residual, *events: dict[str, bytes]) -> list[int]:
        return [self.see(residual, at, **slots).rule for at, slots in enumerate(events)]


BOTH = pytest.mark.parametrize("correlation", ["native", "compat"])


@BOTH
def test_if_fts_is_true_for_the_first_sight_of_a_key(correlation: Correlation):
    bench = Bench(correlation)
    joe, ann = {"fts": b"p joe"}, {"fts": b"p ann"}
    assert bench.rules(ASK_FTS, joe, joe, ann, {}) == [RULE, PARENT, RULE, PARENT]


@pytest.mark.parametrize(("correlation", "rule"), [("native", RULE), ("compat", PARENT)])
def test_two_rules_that_ask_for_one_events_key_get_one_answer_but_not_in_c(correlation: Correlation, rule: int):
    twice: Residual = (
        (FTS, COMPOSITE, 1, 3),
        (FTS, RULE, 2, 3),
        (FINAL, RULE, PARENT, 0),
        (FINAL, PARENT, NO_RULE, 0),
    )
    assert Bench(correlation).see(twice, fts=b"p joe").rule == rule


@BOTH
def test_check_diff_tells_the_log_before(correlation: Correlation):
    bench = Bench(correlation)
    decisions = [bench.see(ASK_DIFF, log=log) for log in (b"a", b"a", b"b", b"b")]
    assert [decision.rule for decision in decisions] == [PARENT, PARENT, RULE, PARENT]
    assert [decision.previous_log for decision in decisions] == [b"", b"", b"a", b""]


@BOTH
def test_what_the_walk_does_not_reach_has_no_effect(correlation: Correlation):
    bench = Bench(correlation)
    assert bench.rules(ASK_BOTH, {"srcip": b"a"}, {"fts": b"k", "srcip": b"a"}) == [PARENT, RULE]
    assert bench.see(ASK_BOTH, 2, fts=b"l", srcip=b"a").rule == COMPOSITE


def test_natively_a_simple_rules_ignore_silences_the_agent_and_nobody_else():
    bench = Bench(ignore_ms=10_000)
    silent = [
        bench.see(IS_RULE, at, agent).silent
        for at, agent in ((0, "001"), (1, "002"), (9, "001"), (9, "002"), (10, "001"))
    ]
    assert silent == [False, False, True, True, False]


def test_compat_ignore_silences_the_rule_everywhere():
    bench = Bench("compat", ignore_ms=10_000)
    silent = [bench.see(IS_RULE, at, agent).silent for at, agent in ((0, "001"), (1, "002"), (10, "002"))]
    assert silent == [False, True, False]


@BOTH
def test_wazuhs_ignore_lets_the_parent_speak(correlation: Correlation):
    bench = Bench(correlation, "wazuh", ignore_ms=10_000)
    assert bench.see(IS_RULE) == Decision(RULE)
    assert bench.see(IS_RULE, 1) == Decision(PARENT, stands_for=RULE)
    orphan: Residual = ((FINAL, RULE, NO_RULE, 0),)
    assert bench.see(orphan, 2) == Decision(RULE, silent=True)


@BOTH
def test_upstreams_logtest_never_silences(correlation: Correlation):
    bench = Bench(correlation, ignore_ms=10_000, lists=True, silences=False)
    assert [bench.see(IS_RULE, srcip=b"a").silent for _ in range(3)] == [False] * 3


@BOTH
def test_values_on_the_ignore_list_silence(correlation: Correlation):
    bench = Bench(correlation, lists=True)
    silent = [bench.see(IS_RULE, at, srcip=key).silent for at, key in enumerate((b"1", b"1", b"2", b"1"))]
    assert silent == [False, True, False, True]
    assert not bench.see(IS_RULE, 9).silent


@BOTH
def test_wazuhs_ignore_lists_do_nothing(correlation: Correlation):
    bench = Bench(correlation, "wazuh", lists=True)
    assert [bench.see(IS_RULE, at, srcip=b"1").silent for at in range(2)] == [False, False]


@BOTH
def test_level_0_is_not_remembered(correlation: Correlation):
    bench = Bench(correlation, window=WindowSpec(1, 60_000, (), regex=4))
    bench.see(IS_SILENT, regex_0=b"1")
    assert bench.see(ASK_WINDOW, regex_0=b"1").rule == RULE
    assert bench.see(ASK_WINDOW, 1).rule == COMPOSITE


@BOTH
def test_a_composite_over_a_regex_counts_events_of_any_rule_whose_log_matches(correlation: Correlation):
    bench = Bench(correlation, window=WindowSpec(2, 60_000, (), regex=4))
    parent: Residual = ((FINAL, PARENT, NO_RULE, 0),)
    bench.see(parent, 0, regex_0=b"1")
    bench.see(parent, 1)
    bench.see(IS_RULE, 2, regex_0=b"1")
    fired = bench.see(ASK_WINDOW, 3)
    assert fired.rule == COMPOSITE
    assert [entry.text for entry in fired.previous] == [b"2", b"0"]


@BOTH
def test_different_counts_only_those_that_differ_from_the_present_event(correlation: Correlation):
    bench = Bench(correlation, "wazuh", window=WindowSpec(2, 60_000, (), different=(SRCIP,)))
    keys = (b"a", b"a", b"a", b"a", b"b")
    assert bench.rules(ASK_WINDOW, *({"srcip": key} for key in keys)) == [RULE] * 4 + [COMPOSITE]


def test_one_value_does_not_crowd_out_the_others():
    bench = Bench(window=WindowSpec(3, 60_000, (), different=(SRCIP,)))
    for at, key in enumerate((b"a", b"b", b"c", *([b"d"] * 40))):
        assert bench.see(IS_RULE, at, srcip=key).rule == RULE
    assert bench.see(ASK_WINDOW, 50, srcip=b"d").rule == COMPOSITE


def test_the_two_correlations_of_one_manager_do_not_touch_each_other():
    bench, other = Bench("compat"), Bench("native")
    other.correlator = bench.correlator
    bench.see(ASK_WINDOW, srcip=b"a")
    assert other.see(ASK_WINDOW, srcip=b"a").rule == RULE
    assert bench.see(ASK_WINDOW, 1, srcip=b"a").rule == COMPOSITE
    assert other.see(ASK_WINDOW, 1, srcip=b"a").rule == COMPOSITE


def test_a_residual_that_leads_round_in_a_circle_is_our_bug_and_no_hang():
    circle: Residual = ((WINDOW, COMPOSITE, 1, 0), (FINAL, COMPOSITE, NO_RULE, 0))
    with pytest.raises(LocalProtocolError, match="circle"):
        Bench().see(circle, srcip=b"a")
