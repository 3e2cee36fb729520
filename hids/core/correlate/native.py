"""Native correlation: a window for each key of each composite, on its own.

The base result of an event (all composites answered "no") feeds every window that lists it; a composite that fires
feeds those that list it. Firing uses up that key's events and nobody else's, and `ignore` silences that key, not
the rule. So ten attackers at once give ten alerts, whatever else goes on.
"""

from functools import lru_cache, partial

import msgspec

from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.window import Entry
from hids.core.correlate.windows import Windows
from hids.messages import RuleTable, WindowSpec

_encode_key = msgspec.msgpack.Encoder().encode


class Native:
    """Windows by (rule identity, key)."""

    asks_once = True

    def __init__(self, windows: Windows) -> None:
        self._windows = windows

    def ask(self, rule: int, occurrence: Occurrence) -> tuple[Entry, ...] | None:
        """Fires when enough past events of the event's key lie within one timeframe around it."""
        row = occurrence.table.rules[rule]
        spec = row.window
        key = None if spec is None else _key(spec, occurrence)
        if spec is None or key is None:
            return None
        where = (row.identity, key)
        window = self._windows.get(where)
        differs = partial(_differs, spec, _compared(spec, occurrence)) if _compares(spec) else None
        entries = window.ask(occurrence.at_ms, spec.needed, spec.timeframe_ms, differs)
        if entries is not None:
            before = Windows.cost(window)
            window.consume()
            self._windows.changed(where, before)
        return entries

    def silences(self, rule: int, occurrence: Occurrence) -> bool:
        """`ignore` of a composite silences its key; that of any other rule silences the agent that sent the event."""
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
        table = occurrence.table
        feeds: set[int] = set()
        for rule in {base, final} - {NO_RULE}:
            feeds.update(table.rules[rule].feeds)
            if table.rules[rule].level > 0:
                feeds.update(
                    composite for composite, slot in _by_regex(table) if occurrence.event.slots[slot] is not None
                )
        for composite in sorted(feeds - fired):
            self._feed(composite, occurrence)

    def _feed(self, composite: int, occurrence: Occurrence) -> None:
        row = occurrence.table.rules[composite]
        key = None if row.window is None else _key(row.window, occurrence)
        if row.window is None or key is None or row.window.needed == 0:
            return
        where = (row.identity, key)
        window = self._windows.get(where)
        before = Windows.cost(window)
        event = occurrence.event
        values = _compared(row.window, occurrence) if _compares(row.window) else ()
        window.insert(Entry(event.at_ms, event.text, values), row.window.needed)
        self._windows.changed(where, before)


@lru_cache(maxsize=64)
def _by_regex_of(rules: tuple[WindowSpec | None, ...]) -> tuple[tuple[int, int], ...]:
    return tuple((n, spec.regex) for n, spec in enumerate(rules) if spec is not None and spec.regex >= 0)


def _key(spec: WindowSpec, occurrence: Occurrence) -> bytes | None:
    """The window's key, or None when the event lacks one of its fields."""
    values = occurrence.values(spec.key)
    if None in values:
        return None
    return _encode_key((occurrence.agent, *values) if spec.per_agent else values)


def _compares(spec: WindowSpec) -> bool:
    return bool(spec.different or spec.different_present)


def _compared(spec: WindowSpec, occurrence: Occurrence) -> tuple[bytes | None, ...]:
    """What `_differs` looks at."""
    dynamic = (occurrence.value(spec.dynamic),) if spec.dynamic >= 0 else ()
    return occurrence.values(spec.different_present + spec.different) + dynamic


def _differs(spec: WindowSpec, now: tuple[bytes | None, ...], entry: Entry) -> bool:
    """Whether a past event differs from this one where the rule says it must."""
    return differ(spec, now, entry.values)


