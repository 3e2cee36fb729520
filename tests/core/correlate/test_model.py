"""Native correlation against an obvious model on random streams: every rule counts for itself, each of its keys as well."""

from itertools import combinations
from typing import NamedTuple

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.correlator import Correlator
from hids.core.correlate.window import ENTRIES_PER_NEEDED, PER_VALUE
from hids.core.correlate.windows import Windows
from hids.messages.evaluation import FINAL, WINDOW, EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec

BASE, COUNTS, FEWER, DIFFERS, VALUES, FOLLOWS, END = range(7)
KEY, USER = 0, 1
COMPOSITES = (COUNTS, FEWER, DIFFERS, VALUES, FOLLOWS)
SPECS = {
    COUNTS: WindowSpec(3, 20_000, (KEY,)),
    FEWER: WindowSpec(2, 8_000, ()),
    DIFFERS: WindowSpec(2, 15_000, (KEY,), different_present=(USER,)),
    VALUES: WindowSpec(2, 12_000, (KEY,), distinct=(USER,)),
    FOLLOWS: WindowSpec(1, 10_000, (KEY,), first=(BASE,), then=(END,)),
}


def row(rule: int) -> RuleRow:
    feeds = {BASE: COMPOSITES, END: (FOLLOWS,)}.get(rule, ())
    return RuleRow(
        id=rule + 1, level=5, identity=f"rule {rule}", head=b"", end=b"", window=SPECS.get(rule), feeds=feeds
    )


TABLE = RuleTable("h", "t", ("srcip", "user"), tuple(map(row, range(7))))


def asking(final: int, composites: tuple[int, ...]) -> Residual:
    """Ask each in turn; whichever says no leads to the next."""
    nodes: list[tuple[int, int, int, int]] = []
    for composite in composites:
        nodes += [(WINDOW, composite, len(nodes) + 1, len(nodes) + 2), (FINAL, composite, final, 0)]
    return (*nodes, (FINAL, final, -1, 0))


RESIDUALS = {BASE: asking(BASE, COMPOSITES), END: asking(END, (FOLLOWS,))}


class Event(NamedTuple):
    at_s: int
    rule: int
    key: bytes | None
    user: bytes | None


EVENTS = st.builds(
    Event,
    st.integers(0, 40),
    st.sampled_from((BASE, BASE, BASE, END)),
    st.sampled_from((b"a", b"b", None)),
    st.sampled_from((b"x", b"y", b"z", None)),
)


class Model:
    """What the language promises, the slow way: all past events of each key, and every choice among them."""

    def __init__(self) -> None:
        self.past: dict[tuple[int, bytes | None], list[Event]] = {}

    def see(self, event: Event) -> set[int]:
        """Composites that fire."""
        concerned = COMPOSITES if event.rule == BASE else (FOLLOWS,)
        return {composite for composite in concerned if self._see(composite, event)}

    def _see(self, composite: int, event: Event) -> bool:
        spec = SPECS[composite]
        if spec.key and event.key is None:
            return False
        past = self.past.setdefault((composite, event.key if spec.key else None), [])
        if self._fires(composite, spec, past, event):
            past.clear()
            return True
        if not (spec.distinct and event.user is None):
            past.append(event)
            past.sort(key=lambda other: other.at_s)
            self._forget(composite, spec, past, event)
        return False

    def _fires(self, composite: int, spec: WindowSpec, past: list[Event], event: Event) -> bool:
        span = spec.timeframe_ms // 1000
        if composite == FOLLOWS:
            sign = 1 if event.rule == END else -1
            return any(other.rule != event.rule and 0 <= sign * (event.at_s - other.at_s) <= span for other in past)
        if composite == DIFFERS:
            past = [other for other in past if None not in (other.user, event.user) and other.user != event.user]
        if composite == VALUES:
            if event.user is None:
                return False
            past = [other for other in past if other.user != event.user]
        return any(
            max(times) - min(times) <= span
            and (composite != VALUES or len({other.user for other in chosen}) == spec.needed)
            for chosen in combinations(past, spec.needed)
            if (times := [event.at_s, *(other.at_s for other in chosen)])
        )

    def _forget(self, composite: int, spec: WindowSpec, past: list[Event], event: Event) -> None:
        """The documented bounds."""
        each = {DIFFERS: spec.needed, VALUES: PER_VALUE, FOLLOWS: PER_VALUE}.get(composite, len(past))
        part = (lambda other: other.rule) if composite == FOLLOWS else (lambda other: other.user)
        same = [other for other in past if part(other) == part(event)]
        room = ENTRIES_PER_NEEDED * (spec.needed + (composite in (VALUES, FOLLOWS)))
        if len(same) > each:
            past.remove(same[0])
        elif len(past) > room:
            past.pop(0)


def agree(events: list[Event]) -> None:
    model, correlator = Model(), Correlator(Windows(lambda _: None, 1 << 30))
    for event in events:
        out = EventOut(0, 10**12 + event.at_s * 1000, 0, 0, (event.key, event.user), b"", b"")
        decision = correlator.decide(TABLE, RESIDUALS[event.rule], out, "001", out.at_ms)
        told = {each.rule for each in (decision, *decision.also)}
        assert told - {BASE, END} == model.see(event), event
        assert (told <= {BASE, END}) == (told == {event.rule})


@given(st.lists(EVENTS, max_size=60))
def test_as_the_model_in_any_order_of_arrival(events: list[Event]):
    agree(events)


@given(st.lists(EVENTS, max_size=60))
def test_as_the_model_when_events_come_in_order(events: list[Event]):
    agree(sorted(events, key=lambda event: event.at_s))
