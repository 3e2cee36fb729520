"""Up to when all is known that anybody in the fleet logged: the least of what its sources say, for `unless` over all agents.

A source counts from its first word on, until nothing was heard of it for a day: what it logged meanwhile would come too late to
be counted anyway (`LATE_MAX_MS`). After a start of the lane every source that counted is waited for again.
"""

from collections.abc import Iterable
from heapq import heapify, heappop, heappush, heapreplace

from hids.core.correlate.cells import Cells

HOUR_MS = 3600 * 1000
FORGOTTEN_H = 25
"""A source whose last word is so many hours old, hours of the clock begun counted, was not heard for a day."""
_NAME = "heard"


class Reach:
    """What each source has said. The hour of its last word is kept in cells, so once an hour for each."""

    def __init__(self, cells: Cells, sources: Iterable[str]) -> None:
        """`sources`: of any kind, of which those count that have spoken within a day."""
        self._cells = cells
        self._heard: dict[str, int] = {}
        for source in sources:
            hour = cells.get((_NAME, source.encode()))
            if hour is not None:
                self._heard[source] = int.from_bytes(hour, "big")
        self._through = dict.fromkeys(self._heard, 0)
        self._least = [(0, source) for source in self._through]
        """Each source once, with a time that it has reached at least; a heap."""
        heapify(self._least)

    def report(self, source: str, through_ms: int, now_ms: int) -> None:
        """A source says that all it logged up to a time is applied."""
        hour = now_ms // HOUR_MS
        if self._heard.get(source) != hour:
            self._heard[source] = hour
            self._cells.put((_NAME, source.encode()), hour.to_bytes(8, "big"), now_ms)
        if source not in self._through:
            heappush(self._least, (through_ms, source))
        self._through[source] = max(through_ms, self._through.get(source, 0))

    def through(self, now_ms: int) -> int:
        """All that anybody logged up to then is applied; 0 while somebody has not spoken since the start."""
        while self._least:
            at_ms, source = self._least[0]
            if now_ms // HOUR_MS - self._heard[source] >= FORGOTTEN_H:
                heappop(self._least)
                del self._through[source], self._heard[source]
            elif self._through[source] > at_ms:
                heapreplace(self._least, (self._through[source], source))
            else:
                return at_ms
        return 0
