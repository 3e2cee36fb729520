"""First time seen (`if_fts`): an event's key is new, once (rule language 4.7)."""

from typing import Final

import msgspec

from hids.core.correlate.cells import Cells
from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.seen import Seen

NEWEST_KEPT: Final = 32
"""New keys of type `ids` that later ones are compared with; OSSEC's `fts_list_size`."""
SIMILAR_BYTES: Final = 14
"""Keys that share so many first bytes are similar; OSSEC's `fts_min_size_for_str`."""
SIMILAR_MAX: Final = 2
"""More similar keys than these, and only the part that they share counts."""

_decode = msgspec.msgpack.Decoder(list[bytes]).decode
_encode = msgspec.msgpack.Encoder().encode


class FirstSeen:
    """Keys by ruleset, kept `life_ms` after they were last met."""

    def __init__(self, cells: Cells, life_ms: int) -> None:
        self._cells = cells
        self._life_ms = life_ms

    def ask(self, occurrence: Occurrence) -> bool:
        """Whether the event's key is new; it is known from then on. An event without a key is never new."""
        key = occurrence.whole("fts")
        if key is None:
            return False
        seen = Seen(self._cells, f"fts:{occurrence.table.name}", self._life_ms)
        at_ms = occurrence.at_ms
        if seen.has(key, at_ms):
            return False
        if occurrence.whole("fts_ids") is not None:
            newest = self._newest(occurrence)
            if sum(past[:SIMILAR_BYTES] == key[:SIMILAR_BYTES] for past in newest) > SIMILAR_MAX:
                key = key[:SIMILAR_BYTES]
                if seen.has(key, at_ms):
                    return False
            self._remember(occurrence, [*newest, key][-NEWEST_KEPT:])
        seen.add(key, at_ms)
        return True

    def _newest(self, occurrence: Occurrence) -> list[bytes]:
        data = self._cells.get((f"fts:{occurrence.table.name}", b"newest"))
        return [] if data is None else _decode(data)

    def _remember(self, occurrence: Occurrence, newest: list[bytes]) -> None:
        where = (f"fts:{occurrence.table.name}", b"newest")
        self._cells.put(where, _encode(newest), occurrence.at_ms, self._life_ms)
