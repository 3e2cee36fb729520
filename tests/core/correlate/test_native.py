"""What becomes of an event: base rule, composites asked in order, windows fed, `ignore` per key."""

import json

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.correlator import LATE_MAX_MS, Correlator, Decision
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.windows import Windows
from hids.messages.evaluation import EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec

BASE, OTHER, COMPOSITE, ABOVE = range(4)
S = 1000
DAY = 10 * LATE_MAX_MS


def row(
    rule: int,
    *,
    window: WindowSpec | None = None,
    feeds: tuple[int, ...] = (),
    ignore_ms: int = 0,
    level: int = 5,
) -> RuleRow:
    return RuleRow(
        id=rule,
        level=level,
        identity=f"identity {rule}",
        head=b"",
        end=b"",
        window=window,
        feeds=feeds,
        ignore_ms=ignore_ms,
    )


def table(
    needed: int = 2,
    *,
    per_agent: bool = False,
    ignore_ms: int = 0,
    key: tuple[int, ...] = (0,),
    above: int | None = None,
) -> RuleTable:
    """BASE feeds COMPOSITE, which feeds ABOVE when there is one."""
    composite = WindowSpec(needed, 60 * S, key, per_agent)
    rules = [
        row(BASE, feeds=(COMPOSITE,)),
        row(OTHER),
        row(COMPOSITE, window=composite, feeds=(ABOVE,) if above else (), ignore_ms=ignore_ms),
    ]
    if above:
        rules.append(row(ABOVE, window=WindowSpec(above, 600 * S, key)))
    return RuleTable(hash="h", name="test", slots=("srcip",), rules=tuple(rules))


PLAIN: Residual = ((0, BASE, NO_RULE, 0),)
UNRELATED: Residual = ((0, OTHER, NO_RULE, 0),)
NOTHING: Residual = ((0, NO_RULE, NO_RULE, 0),)
ASKING: Residual = ((1, COMPOSITE, 1, 2), (0, COMPOSITE, BASE, 0), (0, BASE, NO_RULE, 0))
TWO_DEEP: Residual = (
    (1, COMPOSITE, 1, 4),
    (1, ABOVE, 2, 3),
    (0, ABOVE, COMPOSITE, 0),
    (0, COMPOSITE, BASE, 0),
    (0, BASE, NO_RULE, 0),
)


class Bench:
    """A correlator with one table."""

    def __init__(self, rules: RuleTable) -> None:
        self.rules = rules
        self.windows = Windows(lambda _: None, 1 << 30)
        self.correlator = Correlator(self.windows)

    def see(
        self,
        at_s: float,
        key: bytes | None = b"192.0.2.1",
        residual: Residual = ASKING,
        agent: str = "001",
        now_ms: int | None = None,
    ) -> Decision:
        at_ms = DAY + int(at_s * S)
        shown = EventOut(0, at_ms, 0, 0, (key,), b"", json.dumps(at_s).encode())
        return self.correlator.decide(self.rules, residual, shown, agent, at_ms if now_ms is None else now_ms)


def test_the_third_of_three_fires_and_tells_the_two_before_it():
    bench = Bench(table(2))
    assert bench.see(0).rule == BASE
    assert bench.see(1).rule == BASE
    third = bench.see(2)
    assert third.rule == COMPOSITE
    assert [entry.text for entry in third.previous] == [b"1", b"0"]
    assert not third.silent


def test_firing_uses_up_that_keys_events_and_nobody_elses():
    bench = Bench(table(2))
    for at in (0, 1):
        bench.see(at, b"a")
        bench.see(at, b"b")
    assert bench.see(2, b"a").rule == COMPOSITE
    assert bench.see(3, b"a").rule == BASE
    assert bench.see(3, b"b").rule == COMPOSITE


def test_sixty_attackers_give_sixty_alerts():
    bench = Bench(table(3))
    fired = [bench.see(turn, b"10.0.0.%d" % attacker).rule for turn in range(4) for attacker in range(60)]
    assert fired.count(COMPOSITE) == 60
    assert fired[:180] == [BASE] * 180


def test_an_event_without_the_key_neither_counts_nor_fires():
    bench = Bench(table(1))
    assert bench.see(0, None).rule == BASE
    assert bench.see(1, None).rule == BASE
    assert bench.see(1, b"a").rule == BASE
    assert bench.see(2, b"a").rule == COMPOSITE


def test_a_composite_that_needs_nothing_before_fires_each_time():
    bench = Bench(table(0))
    assert [bench.see(at).rule for at in range(3)] == [COMPOSITE] * 3
    assert bench.see(0).previous == ()


def test_per_agent_rules_count_each_agent_alone():
    fleet, each = Bench(table(1)), Bench(table(1, per_agent=True))
    for bench, expected in ((fleet, COMPOSITE), (each, BASE)):
        bench.see(0, agent="001")
        assert bench.see(1, agent="002").rule == expected


def test_a_rule_without_key_has_one_window_for_the_fleet():
    bench = Bench(table(1, key=()))
    bench.see(0, b"a", agent="001")
    assert bench.see(1, None, agent="002").rule == COMPOSITE


def test_events_of_rules_that_do_not_feed_it_do_not_count():
    bench = Bench(table(1))
    assert bench.see(0, residual=UNRELATED).rule == OTHER
    assert bench.see(0, residual=NOTHING) == Decision(NO_RULE)
    assert bench.see(1).rule == BASE


def test_events_feed_a_composite_that_their_own_walk_does_not_ask():
    bench = Bench(table(1))
    bench.see(0, residual=PLAIN)
    assert bench.see(1).rule == COMPOSITE


def test_ignore_silences_one_key_for_its_time_and_the_silenced_do_not_prolong_it():
    bench = Bench(table(0, ignore_ms=10 * S))
    spoke = [(at, key) for at in range(0, 25, 3) for key in (b"a", b"b") if bench.see(at, key).rule == COMPOSITE]
    assert spoke == [(0, b"a"), (0, b"b"), (12, b"a"), (12, b"b"), (24, b"a"), (24, b"b")]


def test_ignore_looks_both_ways_in_event_time():
    bench = Bench(table(0, ignore_ms=10 * S))
    assert [bench.see(at).rule for at in (100, 91, 90)] == [COMPOSITE, BASE, COMPOSITE]


def test_a_composite_that_fires_feeds_those_that_list_it():
    bench = Bench(table(1, above=1))
    rules = [bench.see(at, residual=TWO_DEEP).rule for at in range(4)]
    assert rules == [BASE, COMPOSITE, BASE, ABOVE]


def test_a_composite_asked_twice_in_one_walk_is_answered_once():
    twice: Residual = (
        (1, COMPOSITE, 1, 3),
        (1, COMPOSITE, 2, 3),
        (0, COMPOSITE, BASE, 0),
        (0, BASE, NO_RULE, 0),
    )
    bench = Bench(table(1))
    bench.see(0, residual=twice)
    assert bench.see(1, residual=twice).rule == COMPOSITE


def test_events_a_day_late_are_told_as_late_and_change_nothing():
    bench = Bench(table(1))
    late = bench.see(0, now_ms=DAY + LATE_MAX_MS + 1)
    assert late == Decision(BASE, late=True)
    assert bench.see(0, now_ms=DAY + LATE_MAX_MS).rule == BASE
    assert bench.see(1, now_ms=DAY + LATE_MAX_MS).rule == COMPOSITE


def test_a_clock_far_ahead_blinds_nobody_else():
    bench = Bench(table(2))
    bench.see(80_000, b"a", agent="002")
    bench.see(0, b"a")
    bench.see(1, b"a")
    assert bench.see(2, b"a").rule == COMPOSITE


def test_what_changes_is_handed_over_for_the_commit():
    bench = Bench(table(2))
    bench.see(0, b"a")
    bench.see(0, b"b")
    touched = bench.windows.take_touched(0.0)
    assert {identity for identity, _ in touched} == {"identity 2"}
    assert len(touched) == 2
    bench.see(0, residual=UNRELATED)
    assert bench.windows.take_touched(0.0) == {}


@given(
    st.lists(st.tuples(st.integers(0, 300), st.sampled_from((b"a", b"b", None))), max_size=60),
    st.integers(1, 3),
    st.integers(0, 200),
)
def test_a_lane_that_starts_anew_at_any_moment_decides_the_same(
    events: list[tuple[int, bytes | None]], needed: int, ignore_s: int
):
    rules = table(needed, ignore_ms=ignore_s * S)
    through = Bench(rules)
    stored: dict[tuple[str, bytes], bytes] = {}
    for at_s, key in events:
        anew = Bench(rules)
        anew.windows = Windows(stored.get, 1 << 30)
        anew.correlator = Correlator(anew.windows)
        assert anew.see(at_s, key) == through.see(at_s, key)
        stored |= {where: data for where, (data, _) in anew.windows.take_touched(0.0).items()}


LOWER = 3
BOTH: Residual = (
    (1, COMPOSITE, 1, 2),
    (0, COMPOSITE, BASE, 0),
    (1, LOWER, 3, 4),
    (0, LOWER, BASE, 0),
    (0, BASE, NO_RULE, 0),
)


def two(
    first: int, second: int, *, levels: tuple[int, int] = (12, 10), ignore_ms: int = 0, second_ignore_ms: int = 0
) -> RuleTable:
    """Two composites that count BASE, the second behind the first in the walk."""
    rules = (
        row(BASE, feeds=(COMPOSITE, LOWER)),
        row(OTHER),
        row(COMPOSITE, level=levels[0], window=WindowSpec(first, 60 * S, (0,)), ignore_ms=ignore_ms),
        row(LOWER, level=levels[1], window=WindowSpec(second, 60 * S, (0,)), ignore_ms=second_ignore_ms),
    )
    return RuleTable(hash="h", name="test", slots=("srcip",), rules=rules)


def told(decision: Decision) -> list[int]:
    return [each.rule for each in (decision, *decision.also)]


def test_each_of_two_rules_fires_when_its_own_count_is_full():
    bench = Bench(two(1, 2))
    assert [told(bench.see(at, residual=BOTH)) for at in range(6)] == [
        [BASE],
        [COMPOSITE],
        [LOWER],
        [COMPOSITE],
        [BASE],
        [COMPOSITE, LOWER],
    ]


def test_the_highest_level_speaks_first_whatever_the_order_of_the_walk():
    bench = Bench(two(1, 1, levels=(8, 11)))
    bench.see(0, residual=BOTH)
    assert told(bench.see(1, residual=BOTH)) == [LOWER, COMPOSITE]


def test_what_is_silent_stands_behind_what_is_not():
    bench = Bench(two(1, 3, ignore_ms=60 * S))
    decisions = [bench.see(at, residual=BOTH) for at in range(4)]
    assert (told(decisions[1]), decisions[1].silent) == ([COMPOSITE], False)
    assert told(decisions[3]) == [LOWER, COMPOSITE]
    assert [each.silent for each in (decisions[3], *decisions[3].also)] == [False, True]


def test_a_silent_composite_does_not_hide_the_events_own_rule():
    bench = Bench(table(1, ignore_ms=60 * S))
    decisions = [bench.see(at) for at in range(4)]
    assert [each.rule for each in decisions] == [BASE, COMPOSITE, BASE, BASE]
    assert [(other.rule, other.silent) for other in decisions[3].also] == [(COMPOSITE, True)]


@given(
    st.lists(st.tuples(st.integers(0, 200), st.sampled_from((b"a", b"b", None))), max_size=60),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 200), st.integers(0, 200)),
)
def test_every_event_is_told_as_the_composites_that_speak_or_else_as_what_it_is(
    events: list[tuple[int, bytes | None]], needed: tuple[int, int], ignore_s: tuple[int, int]
):
    rules = two(*needed, ignore_ms=ignore_s[0] * S, second_ignore_ms=ignore_s[1] * S)
    highest, everything = Bench(rules), Bench(rules)
    everything.correlator = Correlator(everything.windows, tells_all=True)
    for at_s, key in events:
        decision, whole = highest.see(at_s, key, BOTH), everything.see(at_s, key, BOTH)
        speaking = [each.rule for each in (decision, *decision.also) if not each.silent]
        composites = [each.rule for each in (whole, *whole.also) if not each.silent and each.rule != BASE]
        assert speaking == (composites or [BASE])
        assert not decision.silent


def test_with_all_the_base_rule_is_told_as_well():
    bench = Bench(two(1, 1))
    bench.correlator = Correlator(bench.windows, tells_all=True)
    assert told(bench.see(0, residual=BOTH)) == [BASE]
    assert sorted(told(bench.see(1, residual=BOTH))) == [BASE, COMPOSITE, LOWER]


def test_a_child_of_level_0_silences_its_composite_and_no_other():
    silenced: Residual = (
        (1, COMPOSITE, 1, 2),
        (0, OTHER, COMPOSITE, 0),
        (1, LOWER, 3, 4),
        (0, LOWER, BASE, 0),
        (0, BASE, NO_RULE, 0),
    )
    rules = two(1, 2)
    rules = msgspec.structs.replace(rules, rules=(rules.rules[0], row(OTHER, level=0), *rules.rules[2:]))
    bench = Bench(rules)
    assert [told(bench.see(at, residual=silenced)) for at in range(3)] == [[BASE], [OTHER], [LOWER]]


def test_progress_tells_how_near_each_composite_is():
    rules = two(3, 5)
    bench = Bench(rules)
    for at, expected in ((0, [1, 1]), (1, [2, 2]), (2, [3, 3]), (100, [1, 1])):
        bench.see(at, residual=BOTH)
        event = EventOut(0, DAY + at * S, 0, 0, (b"192.0.2.1",), b"", b"")
        found = bench.correlator.progress(rules, BOTH, event, "001")
        assert [(each.rule, each.have, each.frequency) for each in found] == [
            (COMPOSITE, expected[0], 4),
            (LOWER, expected[1], 6),
        ]


def test_a_row_is_kept_as_long_as_its_timeframe_or_ignore_matters():
    bench = Bench(table(1, ignore_ms=100_000 * S))
    bench.see(0)
    ((_, until_ms),) = bench.windows.take_touched(0.0).values()
    assert until_ms == DAY + 100_000 * S
