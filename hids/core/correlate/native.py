"""Native correlation: answer an event's residual, then feed the windows.

The base result of an event (all composites answered "no") feeds every window that lists it, each on its own; a
composite that fires feeds those that list it. Firing uses up that key's events and nobody else's, and `ignore`
silences that key, not the rule.
"""

from typing import NamedTuple

import msgspec

from hids.core.correlate.window import PREVIOUS_TOLD, Entry
from hids.core.correlate.windows import Windows
from hids.messages import EventOut, Residual, RuleTable, WindowSpec

LATE_MAX_MS = 24 * 3600 * 1000
"""Events older than this at their arrival are not correlated, but counted (`Decision.late`)."""

NO_RULE = -1

_encode_key = msgspec.msgpack.Encoder().encode


class Decision(NamedTuple):
    """What becomes of an event."""

    rule: int
    """Index into the rule table; `NO_RULE` for none."""
    previous: tuple[Entry, ...] = ()
    """Past events that a composite counted, newest first."""
    silent: bool = False
    """The rule's `ignore` silences this key now."""
    late: bool = False


class Correlator:
    """Runs residuals against the windows. One for the lane; logtest has one on a throwaway state."""

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def decide(self, table: RuleTable, residual: Residual, event: EventOut, agent: str, now_ms: int) -> Decision:
        """Find the event's rule, and change the windows that it concerns.

        Args:
            table: the rules that the residual's numbers mean.
            residual: the worker's answer, open where past events matter.
            event: what the worker extracted.
            agent: id of the sender, for rules that count per agent.
            now_ms: when the event was received, for the limit on lateness.
        """
        base = _base(residual)
        if now_ms - event.at_ms > LATE_MAX_MS:
            return Decision(base, late=True)
        fired: dict[int, tuple[Entry, ...]] = {}
        final = self._walk(table, residual, event, agent, fired)
        silent = final in fired and self._silenced(table, final, event, agent)
        feeds = set(table.rules[base].feeds) if base != NO_RULE else set[int]()
        if final not in (base, NO_RULE):
            feeds |= set(table.rules[final].feeds)
        for composite in sorted(feeds - fired.keys()):
            self._feed(table, composite, event, agent)
        return Decision(final, fired.get(final, ())[:PREVIOUS_TOLD], silent=silent)

    def _walk(
        self,
        table: RuleTable,
        residual: Residual,
        event: EventOut,
        agent: str,
        fired: dict[int, tuple[Entry, ...]],
    ) -> int:
        place = 0
        while True:
            operation, rule, yes, no = residual[place]
            if operation == 0:
                return rule
            entries = fired.get(rule)
            if entries is None:
                entries = self._ask(table, rule, event, agent)
            if entries is None:
                place = no
            else:
                fired[rule] = entries
                place = yes

    def _ask(self, table: RuleTable, rule: int, event: EventOut, agent: str) -> tuple[Entry, ...] | None:
        spec = table.rules[rule].window
        key = _key(spec, event, agent)
        if spec is None or key is None:
            return None
        where = (table.rules[rule].identity, key)
        window = self._windows.get(where)
        entries = window.ask(event.at_ms, spec.needed, spec.timeframe_ms)
        if entries is not None:
            before = Windows.cost(window)
            window.consume()
            self._windows.changed(where, before)
        return entries

    def _silenced(self, table: RuleTable, rule: int, event: EventOut, agent: str) -> bool:
        row = table.rules[rule]
        key = _key(row.window, event, agent)
        if row.ignore_ms == 0 or key is None:
            return False
        where = (row.identity, key)
        window = self._windows.get(where)
        if window.fired_ms is not None and abs(event.at_ms - window.fired_ms) < row.ignore_ms:
            return True
        window.fired_ms = event.at_ms
        self._windows.changed(where, Windows.cost(window))
        return False

    def _feed(self, table: RuleTable, composite: int, event: EventOut, agent: str) -> None:
        row = table.rules[composite]
        key = _key(row.window, event, agent)
        if row.window is None or key is None or row.window.needed == 0:
            return
        where = (row.identity, key)
        window = self._windows.get(where)
        before = Windows.cost(window)
        window.insert(Entry(event.at_ms, event.text), row.window.needed)
        self._windows.changed(where, before)


def _base(residual: Residual) -> int:
    """The rule that results when every composite answers "no"."""
    place = 0
    while residual[place][0] == 1:
        place = residual[place][3]
    return residual[place][1]


def _key(spec: WindowSpec | None, event: EventOut, agent: str) -> bytes | None:
    """The window's key, or None when the event lacks one of its fields."""
    if spec is None:
        return None
    values = tuple(event.slots[slot] for slot in spec.key)
    if None in values:
        return None
    return _encode_key((agent, *values) if spec.per_agent else values)
