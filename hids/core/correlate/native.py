"""Native correlation: a window for each key of each composite, on its own.

The base result of an event (all composites answered "no") feeds every window that lists it; a composite that fires
feeds those that list it. Firing uses up that key's events and nobody else's, and `ignore` silences that key, not
the rule. So ten attackers at once give ten alerts, whatever else goes on.
"""

from functools import partial

import msgspec

from hids.core.correlate.differences import compared, compares, differ
from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.window import Entry
from hids.core.correlate.windows import Windows
from hids.messages import RuleTable, WindowSpec

_encode_key = msgspec.msgpack.Encoder().encode


class Native:
    """Windows by (rule identity, key). One for each ruleset."""

    asks_once = True
    forgets_silenced = False

    def __init__(self, windows: Windows, table: RuleTable) -> None:
        self._windows = windows
        self._by_regex = tuple(
            (n, row.window.regex)
            for n, row in enumerate(table.rules)
            if row.window is not None and row.window.regex >= 0
        )

    def ask(self, rule: int, occurrence: Occurrence) -> tuple[Entry, ...] | None:
        """Fires when enough past events of the event's key lie within one timeframe around it."""
        row = occurrence.table.rules[rule]
        spec = row.window
        key = None if spec is None else _key(spec, occurrence)
        if spec is None or key is None:
            return None
        where = (row.identity, key)
        window = self._windows.get(where)
        counts = partial(_counts, spec, compared(spec, occurrence)) if compares(spec) else None
        entries = window.ask(occurrence.at_ms, spec.needed, spec.timeframe_ms, counts)
        if entries is not None:
            before = Windows.cost(window)
            window.consume()
            self._windows.changed(where, before)
        return entries

    def silences(self, rule: int, occurrence: Occurrence) -> bool:
        """`ignore` of a composite silences its key; that of another rule the agent that sent the event."""
        row = occurrence.table.rules[rule]
        key = _encode_key((occurrence.agent,)) if row.window is None else _key(row.window, occurrence)
        if row.ignore_ms == 0 or key is None:
            return False
        where = (row.identity, key)
        window = self._windows.get(where)
        if window.fired_ms is not None and abs(occurrence.at_ms - window.fired_ms) < row.ignore_ms:
            return True
        window.fired_ms = occurrence.at_ms
        self._windows.changed(where, Windows.cost(window))
        return False

    def remember(self, base: int, final: int, fired: frozenset[int], occurrence: Occurrence) -> None:
        """Feed the windows that list the base rule or the final one."""
        rules, slots = occurrence.table.rules, occurrence.event.slots
        feeds: set[int] = set()
        for rule in {base, final} - {NO_RULE}:
            feeds.update(rules[rule].feeds)
            if rules[rule].level > 0:
                feeds.update(composite for composite, slot in self._by_regex if slots[slot] is not None)
        for composite in sorted(feeds - fired):
            self._feed(composite, occurrence)

    def _feed(self, composite: int, occurrence: Occurrence) -> None:
        row = occurrence.table.rules[composite]
        spec = row.window
        key = None if spec is None else _key(spec, occurrence)
        if spec is None or key is None or spec.needed == 0:
            return
        where = (row.identity, key)
        window = self._windows.get(where)
        before = Windows.cost(window)
        values = compared(spec, occurrence) if compares(spec) else ()
        window.insert(Entry(occurrence.at_ms, occurrence.event.text, values), spec.needed)
        self._windows.changed(where, before)


def _key(spec: WindowSpec, occurrence: Occurrence) -> bytes | None:
    """The window's key, or None when the event lacks one of its fields."""
    values = occurrence.values(spec.key)
    if None in values:
        return None
    return _encode_key((occurrence.agent, *values) if spec.per_agent else values)


def _counts(spec: WindowSpec, now: tuple[bytes | None, ...], past: Entry) -> bool:
    return differ(spec, now, past.values)
