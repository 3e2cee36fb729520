"""`unless`: what has begun and must be followed by something within a time, and is told when that does not come.

No clock on a wall decides: an expectation fails when the agent has said that all it logged up to the deadline is read and
sent, and that is applied. While the agent is silent nothing is known, and nothing is told. Where the agent does not matter,
it is the whole fleet that must have said so (`reach`), and the rule's expectations are those of `FLEET`.
"""

import msgspec

from hids.core.correlate.cells import Cells
from hids.messages.evaluation import EventOut
from hids.messages.rule_table import RuleRow
from hids.messages.terms import Agent, SourceId

KEYS_MAX = 256
"""Keys of one rule and agent that are remembered; beyond, the oldest become unknown."""

LATE_MAX_MS = 24 * 3600 * 1000
"""What is remembered is kept so long beyond its deadline, for an agent that is away meanwhile."""

FLEET = ""
"""Stands for an agent where the agent does not matter (`<global_frequency />`)."""

_UNKNOWN = -1


class Sender(msgspec.Struct, frozen=True, array_like=True):
    """The batch that an event came in."""

    source: SourceId
    agent: Agent
    epoch: int
    first_seq: int


class Origin(msgspec.Struct, frozen=True, array_like=True):
    """The event that began it, with all that its alert needs."""

    ruleset: str
    """Hash of the table that the event's numbers mean."""
    sender: Sender
    event: EventOut


class Missed(msgspec.Struct, frozen=True):
    """Something did not come."""

    origin: Origin
    deadline_ms: int


class _Place(msgspec.Struct, array_like=True):
    """One key. Times are milliseconds; `_UNKNOWN` for none."""

    opened: int = _UNKNOWN
    """The earliest beginning that nothing has followed."""
    again: int = _UNKNOWN
    """The latest one, when there are several."""
    ended: int = _UNKNOWN
    """The latest event that ends it."""


_encode = msgspec.msgpack.Encoder().encode
_places = msgspec.msgpack.Decoder(dict[bytes, _Place])
_origins = msgspec.msgpack.Decoder(tuple[Origin, Origin])


class Expectations:
    """All expectations, in cells: an index for each (rule, agent), and the events that began them."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self.unknown = 0
        """Expectations that were given up: too many, or events were too late to be counted."""

    def begin(self, row: RuleRow, agent: str, key: bytes, origin: Origin) -> None:
        """An event begins one."""
        span, at_ms = _span(row), origin.event.at_ms
        places = self._places(row, agent)
        place = places.setdefault(key, _Place())
        if at_ms < place.ended <= at_ms + span:
            return
        before = None if place.opened == _UNKNOWN else self._origins(row, agent, key)
        if before is None:
            origins = (origin, origin)
        else:
            origins = min((before[0], origin), key=_at), max((before[1], origin), key=_at)
        place.opened, place.again = _at(origins[0]), _at(origins[1])
        self._cells.put(_where(row, agent, key), _encode(origins), at_ms, LATE_MAX_MS + span)
        self._put(row, agent, places, at_ms)

    def end(self, row: RuleRow, agent: str, key: bytes, at_ms: int) -> None:
        """An event ends those that began before it and are not yet over."""
        places = self._places(row, agent)
        place = places.setdefault(key, _Place())
        place.ended = max(place.ended, at_ms)
        if place.opened != _UNKNOWN and place.opened < at_ms <= place.opened + _span(row):
            self._move_on(row, agent, key, place, at_ms)
        self._put(row, agent, places, at_ms)

    def due(self, row: RuleRow, agent: str, through_ms: int) -> list[Missed]:
        """What did not come, now that all of the agent's events up to a time are applied."""
        places = self._places(row, agent)
        if not places:
            return []
        missed: list[Missed] = []
        changed = False
        for key, place in list(places.items()):
            deadline_ms = place.opened + _span(row)
            if place.opened != _UNKNOWN and deadline_ms < through_ms:
                origins = self._origins(row, agent, key)
                if origins is not None:
                    missed.append(Missed(origins[0], deadline_ms))
                self._move_on(row, agent, key, place, deadline_ms + 1)
                changed = True
            if place.opened == _UNKNOWN and place.ended < through_ms:
                del places[key]
                changed = True
        if changed:
            self._put(row, agent, places, through_ms)
        return missed

    def doubt(self, row: RuleRow, agent: str, at_ms: int) -> None:
        """An event of that time came too late to be counted: whether it ended something is unknown."""
        places = self._places(row, agent)
        doubtful = [key for key, place in places.items() if _UNKNOWN < place.opened <= at_ms]
        for key in doubtful:
            del places[key]
        if doubtful:
            self.unknown += len(doubtful)
            self._put(row, agent, places, at_ms)

    def waiting(self, row: RuleRow, agent: str) -> int:
        """How many are open."""
        return sum(place.opened != _UNKNOWN for place in self._places(row, agent).values())

    def _move_on(self, row: RuleRow, agent: str, key: bytes, place: _Place, at_ms: int) -> None:
        """What began before `at_ms` is settled; what began since is open."""
        origins = self._origins(row, agent, key) if place.again >= at_ms else None
        if origins is None:
            place.opened = place.again = _UNKNOWN
        else:
            place.opened = place.again
            self._cells.put(_where(row, agent, key), _encode((origins[1], origins[1])), at_ms, LATE_MAX_MS + _span(row))

    def _places(self, row: RuleRow, agent: str) -> dict[bytes, _Place]:
        data = self._cells.get(_where(row, agent))
        return {} if data is None else _places.decode(data)

    def _origins(self, row: RuleRow, agent: str, key: bytes) -> tuple[Origin, Origin] | None:
        data = self._cells.get(_where(row, agent, key))
        return None if data is None else _origins.decode(data)

    def _put(self, row: RuleRow, agent: str, places: dict[bytes, _Place], at_ms: int) -> None:
        while len(places) > KEYS_MAX:
            key = min(places, key=lambda key: (places[key].opened != _UNKNOWN, places[key].opened, places[key].ended))
            self.unknown += places.pop(key).opened != _UNKNOWN
        self._cells.put(_where(row, agent), _encode(places), at_ms, LATE_MAX_MS + _span(row))


def _at(origin: Origin) -> int:
    return origin.event.at_ms


def _span(row: RuleRow) -> int:
    return 0 if row.window is None else row.window.timeframe_ms


def _where(row: RuleRow, agent: str, key: bytes | None = None) -> tuple[str, bytes]:
    name = f"unless:{row.identity}"
    return (name, agent.encode()) if key is None else (name, _encode((agent, key)))
