"""Compatible correlation: composites as OSSEC 4 and Wazuh 4 count them, with all that this misses (rule language 4.9).

Past events stand in one ring per ruleset and in lists: one for each rule that some `if_matched_sid` names, one for
each composite over a group. A composite walks its list from the newest event back and stops at the first that an
earlier alert has marked, so one alert can hide others; a full ring forgets whoever is behind it. `ignore` silences
the rule, not the attacker. Times are compared in whole seconds, as in C, but of events, never of the wall clock.

Each event is one stored row, which its mark changes; rows are used again in turn, so there are never more than the
ring holds. Lists are not stored: they follow from the rows.
"""

from collections import defaultdict, deque
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Final

import msgspec

from hids.core.correlate.cells import DAY_MS, CellKey, Cells
from hids.core.correlate.differences import Values, compared, differ, slots_of
from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.window import PREVIOUS_TOLD, Entry
from hids.messages.rule_table import RuleTable, WindowSpec

MEMORY_SIZE: Final = 8_192
"""Events in the ring; `analysisd.memory_size`, `<memory_size>`."""
DROPPED_AT_ONCE: Final = 10
"""A full ring forgets so many."""
SID_LIST_SIZE: Final = 128
"""Events in the list of one rule; OSSEC's `sid_prev_matched_max`. Wazuh has no such limit."""

LIFE_MS: Final = 7 * DAY_MS
"""The longest timeframe that can be written is 99,999 s; a ring that slept longer starts anew."""

_HEAD: Final = b"head"


class Past(msgspec.Struct, array_like=True):
    """An event in the ring."""

    seq: int
    at_ms: int
    agent: str
    lists: tuple[str, ...]
    """Names of the lists that it entered; one that stands twice was entered twice."""
    values: dict[str, bytes]
    """What composites compare, by the name of the slot."""
    text: bytes
    mark: int = 0
    """Level of the composite that last counted it for an alert."""


class _Head(msgspec.Struct, array_like=True, frozen=True):
    """Which events are in the ring: from `low` up to, not including, `following`."""

    low: int
    following: int


_encode = msgspec.msgpack.Encoder().encode
_past_decoder = msgspec.msgpack.Decoder(Past)
_head_decoder = msgspec.msgpack.Decoder(_Head)


class Compat:
    """The ring and the lists of one ruleset."""

    asks_once = False
    fires_all = False
    waiting = ()
    forgets_silenced = True

    def __init__(self, cells: Cells, table: RuleTable) -> None:
        self._cells = cells
        self._name = f"ring:{table.name}"
        self._wazuh = table.dialect == "wazuh"
        self._ring: deque[Past] = deque()
        self._lists: dict[str, deque[Past]] = defaultdict(deque)
        self._following = 0
        self._take_over(table)
        self._load()

    def take_over(self, table: RuleTable) -> None:
        """Go on with a changed ruleset: lists are known by the identity of their rule, values by their names."""
        self._take_over(table)

    def _take_over(self, table: RuleTable) -> None:
        specs = [row.window for row in table.rules if row.window is not None]
        slots = {slot for spec in specs for slot in (*spec.key, *slots_of(spec), spec.regex)} - {-1}
        names = list(table.slots)
        for row in table.rules:
            if row.window is not None and row.window.regex >= 0:  # its number may mean another pattern next time
                names[row.window.regex] = f"regex of {row.identity}"
        self._names = tuple(names)
        self._slots = tuple((slot, names[slot]) for slot in sorted(slots))
        self._entered = [
            (_of_rule(row.identity),)
            if row.sid_list
            else tuple(_of_group(table.rules[composite].identity) for composite, n in row.group_marks for _ in range(n))
            for row in table.rules
        ]
        self._searched = {composite: _of_rule(row.identity) for row in table.rules for composite in row.sid_list}

    def waits(self, rules: AbstractSet[int], occurrence: Occurrence) -> tuple[int, ...]:
        """Neither OSSEC nor Wazuh has such rules."""
        del rules, occurrence
        return ()

    # ---- asking ------------------------------------------------------------------------------------------------

    def ask(self, rule: int, occurrence: Occurrence) -> tuple[Entry, ...] | None:
        """Walk the rule's list, newest first, and mark what an alert uses up."""
        row = occurrence.table.rules[rule]
        spec, level = row.window, row.level
        if spec is None:
            return None
        events = self._events(rule, spec, occurrence)
        alike = _Alike(spec, occurrence, self._names)
        counted: list[Past] = []
        for past in reversed(events):
            if _is_older(past, spec, occurrence):
                return None
            passes = alike.holds(past)
            if past.mark >= level and (passes or not self._wazuh):
                return None
            if not passes:
                continue
            counted.append(past)
            if len(counted) >= spec.needed:
                occurrence.mark = level
                self._mark_used(events, counted, level)
                return tuple(Entry(past.at_ms, past.text) for past in counted[:PREVIOUS_TOLD])
        return None

    def _mark_used(self, events: deque[Past], counted: list[Past], level: int) -> None:
        """Mark the events that fired the rule.

        OSSEC marks the newest event of the list and the oldest that counted; Wazuh the newest that counted, but none
        when one past event is all that the rule needs.
        """
        wazuh_marks = (counted[0],) if len(counted) > 1 else ()
        used: tuple[Past, ...] = wazuh_marks if self._wazuh else (events[-1], counted[-1])
        for past in used:
            past.mark = level
            self._store(past)

    def _events(self, rule: int, spec: WindowSpec, occurrence: Occurrence) -> deque[Past]:
        if spec.regex >= 0:
            return self._ring
        name = self._searched.get(rule) or _of_group(occurrence.table.rules[rule].identity)
        return self._lists.get(name) or deque()

    # ---- ignore -------------------------------------------------------------------------------------------------

    def silences(self, rule: int, occurrence: Occurrence) -> bool:
        """The rule is silent for its time, whoever it is about."""
        row = occurrence.table.rules[rule]
        if row.ignore_ms == 0:
            return False
        where = (row.identity, b"ignored")
        since = self._cells.get(where)
        now_s = occurrence.at_ms // 1000
        if since is not None and now_s - int.from_bytes(since, "big") < row.ignore_ms // 1000:
            return True
        self._cells.put(where, now_s.to_bytes(8, "big"), occurrence.at_ms, DAY_MS + row.ignore_ms)
        return False

    # ---- remembering --------------------------------------------------------------------------------------------

    def remember(self, base: int, finals: tuple[int, ...], fired: frozenset[int], occurrence: Occurrence) -> None:
        """The event enters the ring and the lists of its final rule."""
        del base, fired
        if not finals:
            return
        (final,) = finals
        if self._ring and self._following - self._ring[0].seq >= MEMORY_SIZE:
            self._forget(min(DROPPED_AT_ONCE, len(self._ring)))
        slots = occurrence.event.slots
        past = Past(
            seq=self._following,
            at_ms=occurrence.at_ms,
            agent=occurrence.agent,
            lists=self._entered[final],
            values={name: occurrence.value(slot) or b"" for slot, name in self._slots if slots[slot] is not None},
            text=occurrence.event.text,
            mark=occurrence.mark,
        )
        self._following += 1
        self._append(past)
        self._store(past)
        self._put_head(occurrence.at_ms)

    def _append(self, past: Past) -> None:
        self._ring.append(past)
        for name in past.lists:
            events = self._lists[name]
            events.append(past)
            if not self._wazuh and name.startswith(_of_rule("")) and len(events) > SID_LIST_SIZE:
                events.popleft()

    def _forget(self, count: int) -> None:
        for _ in range(count):
            past = self._ring.popleft()
            for name in past.lists:
                events = self._lists.get(name)
                if events and events[0] is past:
                    events.popleft()
                if not events:
                    self._lists.pop(name, None)

    # ---- storing ------------------------------------------------------------------------------------------------

    def _store(self, past: Past) -> None:
        self._cells.put(self._row(past.seq), _encode(past), past.at_ms, LIFE_MS, hold=False)

    def _put_head(self, at_ms: int) -> None:
        head = _Head(self._ring[0].seq, self._following)
        self._cells.put((self._name, _HEAD), _encode(head), at_ms, LIFE_MS)

    def _row(self, seq: int) -> CellKey:
        return self._name, b"%d" % (seq % MEMORY_SIZE)

    def _load(self) -> None:
        data = self._cells.get((self._name, _HEAD))
        if data is None:
            return
        head = _head_decoder.decode(data)
        self._following = head.following
        for past in self._rows(head):
            self._append(past)

    def _rows(self, head: _Head) -> Iterator[Past]:
        for seq in range(head.low, head.following):
            data = self._cells.get(self._row(seq))
            past = None if data is None else _past_decoder.decode(data)
            if past is not None and past.seq == seq:  # the store may have forgotten old rows
                yield past


class _Alike:
    """Which past events count beside an event."""

    def __init__(self, spec: WindowSpec, occurrence: Occurrence, names: tuple[str, ...]) -> None:
        self._spec = spec
        self._agent = occurrence.agent if spec.per_agent else None
        self._same = tuple((names[slot], occurrence.value(slot)) for slot in spec.key)
        self._compared = tuple(names[slot] for slot in slots_of(spec))
        self._now: Values = compared(spec, occurrence)
        self._regex = names[spec.regex] if spec.regex >= 0 else None

    def holds(self, past: Past) -> bool:
        if self._agent is not None and past.agent != self._agent:
            return False
        values = past.values
        if self._regex is not None and self._regex not in values:
            return False
        for name, value in self._same:
            if value is None or values.get(name) != value:
                return False
        return not self._compared or differ(self._spec, self._now, tuple(map(values.get, self._compared)))


def _is_older(past: Past, spec: WindowSpec, occurrence: Occurrence) -> bool:
    return occurrence.at_ms // 1000 - past.at_ms // 1000 > spec.timeframe_ms // 1000


def _of_rule(identity: str) -> str:
    """Name of the list of a rule's events."""
    return f"r{identity}"


def _of_group(identity: str) -> str:
    """Name of the list that a composite over a group walks."""
    return f"g{identity}"
