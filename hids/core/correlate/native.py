"""Native correlation: a window for each key of each composite, on its own.

The base result of an event (all composites answered "no") feeds every window that lists it; a composite that fires
feeds those that list it. Firing uses up that key's events and nobody else's, and `ignore` silences that key, not
the rule. So ten attackers at once give ten alerts, whatever else goes on.

Every composite that an event completes fires, not only the first that the walk meets.
"""

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from functools import partial
from typing import NamedTuple

import msgspec

from hids.core.correlate.differences import compared, compares, differ
from hids.core.correlate.expectations import FLEET
from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.window import PER_VALUE, Entry, Window
from hids.core.correlate.windows import Windows
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec

_encode_key = msgspec.msgpack.Encoder().encode

_FIRST, _THEN = (b"1",), (b"2",)
"""What an entry of a sequence is: the event that begins it, or one that ends it."""


class Progress(NamedTuple):
    """How near a composite is to firing, after an event that fed it."""

    rule: int
    """Index into the rule table."""
    have: int
    """Events within one timeframe, this one included; for `distinct_*` different values."""
    frequency: int
    """So many fire it."""
    timeframe_ms: int


class Native:
    """Windows by (rule identity, key). One for each ruleset."""

    asks_once = True
    forgets_silenced = False
    fires_all = True

    def __init__(self, windows: Windows, table: RuleTable) -> None:
        self._windows = windows
        self._by_regex = tuple(
            (n, row.window.regex)
            for n, row in enumerate(table.rules)
            if row.window is not None and row.window.regex >= 0
        )

        self.waiting = tuple(
            n for n, row in enumerate(table.rules) if row.window is not None and row.window.unless and row.level > 0
        )

        self._waiting_for = {
            n: concerned
            for n, row in enumerate(table.rules)
            if (concerned := tuple(sorted(set(self.waiting).intersection(row.feeds))))
        }

    def waits(self, rules: AbstractSet[int], occurrence: Occurrence) -> tuple[int, ...]:
        """Rules with `unless` that list one of these."""
        found = [waiting for rule in rules if (waiting := self._waiting_for.get(rule)) is not None]
        if len(found) <= 1:
            return found[0] if found else ()
        return tuple(sorted({rule for each in found for rule in each}))

    def ask(self, rule: int, occurrence: Occurrence) -> tuple[Entry, ...] | None:
        """Fires when enough past events of the event's key lie within one timeframe around it."""
        row = occurrence.table.rules[rule]
        spec = row.window
        key = None if spec is None else window_key(spec, occurrence)
        if spec is None or key is None:
            return None
        where = (row.identity, key)
        window = self._windows.find(where)
        if window is None:
            if spec.needed:
                return None  # nothing came before
            window = self._windows.get(where)
        entries = _enough(window, spec, occurrence)
        if entries is not None:
            before = Windows.cost(window)
            window.consume()
            self._changed(where, window, row, before)
        return entries

    def silences(self, rule: int, occurrence: Occurrence) -> bool:
        """`ignore` of a composite silences its key; that of another rule the agent that sent the event."""
        row = occurrence.table.rules[rule]
        key = _encode_key((occurrence.agent,)) if row.window is None else window_key(row.window, occurrence)
        if row.ignore_ms == 0 or key is None:
            return False
        where = (row.identity, key)
        window = self._windows.get(where)
        if window.fired_ms is not None and abs(occurrence.at_ms - window.fired_ms) < row.ignore_ms:
            return True
        window.fired_ms = occurrence.at_ms
        self._changed(where, window, row, Windows.cost(window))
        return False

    def remember(self, base: int, finals: tuple[int, ...], fired: frozenset[int], occurrence: Occurrence) -> None:
        """Feed the windows that list the base rule, a composite that fired or a rule that took one's event."""
        if not fired and not self._by_regex and (not finals or finals == (base,)):
            feeds = occurrence.table.rules[base].feeds if base != NO_RULE else ()
            for composite in feeds:
                self._feed(composite, occurrence)
            return
        for composite in sorted(self._fed({base, *finals, *fired}, occurrence) - fired):
            self._feed(composite, occurrence)

    def progress(self, base: int, occurrence: Occurrence) -> Iterator[Progress]:
        """How near the composites are that an event of rule `base` has just fed."""
        for composite in sorted(self._fed({base}, occurrence)):
            row = occurrence.table.rules[composite]
            spec = row.window
            key = None if spec is None else window_key(spec, occurrence)
            if spec is not None and key is not None and spec.needed and not spec.first:
                window = self._windows.get((row.identity, key))
                have = window.most(
                    occurrence.at_ms, spec.timeframe_ms, _counter(spec, occurrence), distinct=bool(spec.distinct)
                )
                yield Progress(composite, have, spec.needed + 1, spec.timeframe_ms)

    def _fed(self, rules: AbstractSet[int], occurrence: Occurrence) -> set[int]:
        rows, slots = occurrence.table.rules, occurrence.event.slots
        fed: set[int] = set()
        for rule in rules:
            if rule == NO_RULE:
                continue
            fed.update(rows[rule].feeds)
            if rows[rule].level > 0:
                fed.update(composite for composite, slot in self._by_regex if slots[slot] is not None)
        return fed

    def _feed(self, composite: int, occurrence: Occurrence) -> None:
        row = occurrence.table.rules[composite]
        spec = row.window
        key = None if spec is None else window_key(spec, occurrence)
        if spec is None or key is None or spec.needed == 0 or spec.unless:
            return
        where = (row.identity, key)
        window = self._windows.get(where)
        before = Windows.cost(window)
        for values in _entered(spec, occurrence):
            window.insert(Entry(occurrence.at_ms, occurrence.event.text, values), _room(spec), _per_value(spec))
        self._changed(where, window, row, before)

    def _changed(self, where: tuple[str, bytes], window: Window, row: RuleRow, before: int) -> None:
        window.kept_ms = max(row.ignore_ms, 0 if row.window is None else row.window.timeframe_ms)
        self._windows.changed(where, before)


def window_key(spec: WindowSpec, occurrence: Occurrence) -> bytes | None:
    """The window's key, or None when the event lacks one of its fields."""
    slots = spec.key
    if spec.per_agent:
        values = occurrence.values(slots)
        return None if None in values else _encode_key((occurrence.agent, *values))
    if slots in occurrence.keys:
        return occurrence.keys[slots]
    values = occurrence.values(slots)
    key = occurrence.keys[slots] = None if None in values else _encode_key(values)
    return key


def scope(spec: WindowSpec, occurrence: Occurrence) -> str:
    """Whose word decides that something did not come (`unless`): the agent's, or that of the whole `FLEET`."""
    return occurrence.agent if spec.per_agent else FLEET


def parts(spec: WindowSpec, occurrence: Occurrence) -> tuple[bool, bool]:
    """Whether an event begins a sequence, and whether it ends one."""
    rules = occurrence.rules
    return not rules.isdisjoint(spec.first), not rules.isdisjoint(spec.then)


def _enough(window: Window, spec: WindowSpec, occurrence: Occurrence) -> tuple[Entry, ...] | None:
    if spec.first:
        return _completed(window, spec, occurrence)
    if not spec.distinct:
        return window.ask(occurrence.at_ms, spec.needed, spec.timeframe_ms, _counter(spec, occurrence))
    own = occurrence.values(spec.distinct)
    if None in own:
        return None
    return window.ask_distinct(occurrence.at_ms, spec.needed, spec.timeframe_ms, own)


def _completed(window: Window, spec: WindowSpec, occurrence: Occurrence) -> tuple[Entry, ...] | None:
    """The other event of a sequence, whichever of the two arrived first."""
    begins, ends = parts(spec, occurrence)
    at_ms, span = occurrence.at_ms, spec.timeframe_ms
    if ends and (entry := window.latest(_FIRST, at_ms - span, at_ms)) is not None:
        return (entry,)
    if begins and (entry := window.latest(_THEN, at_ms, at_ms + span)) is not None:
        return (entry,)
    return None


def _counter(spec: WindowSpec, occurrence: Occurrence) -> "partial[bool] | None":
    """Tells which past entries count, where the rule compares them with the event."""
    return partial(_counts, spec, compared(spec, occurrence)) if compares(spec) else None


def _counts(spec: WindowSpec, now: tuple[bytes | None, ...], past: Entry) -> bool:
    return differ(spec, now, past.values)


def _entered(spec: WindowSpec, occurrence: Occurrence) -> Iterator[tuple[bytes | None, ...]]:
    """Values of the entries that an event leaves in a window: one, or one for each part it has in a sequence."""
    if spec.first:
        begins, ends = parts(spec, occurrence)
        if begins:
            yield _FIRST
        if ends:
            yield _THEN
        return
    values = occurrence.values(spec.distinct) if spec.distinct else compared(spec, occurrence)
    if not (spec.distinct and None in values):
        yield values


def _room(spec: WindowSpec) -> int:
    """What the window's bound is reckoned from: its events, and in a sequence or among values the event's own."""
    return spec.needed + bool(spec.first or spec.distinct)


def _per_value(spec: WindowSpec) -> int:
    return PER_VALUE if spec.distinct or spec.first else max(1, spec.needed)
