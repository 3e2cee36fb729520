"""Paths that were notified of and wait until they are quiet. Noted on the loop, taken by the thread that scans.

Both halves of a move are taken together, so that it can be told as one.
"""

import threading

SETTLE_S = 0.1
MAX_SETTLE_S = 1.0
MAX_MOVES = 10_000

Entry = tuple[str, str]
"""(directory, name)"""


class Pending:
    """Entries with the monotonic times of their first and last notification."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._times: dict[Entry, tuple[float, float]] = {}
        self._left: dict[int, Entry] = {}
        """Cookie of a move of which one half has come -> where it went from."""
        self._partners: dict[Entry, Entry] = {}

    def __len__(self) -> int:
        return len(self._times)

    def note(self, entry: Entry, now_s: float, cookie: int = 0) -> None:
        """Remember to look at an entry once it is quiet."""
        with self._lock:
            first, _ = self._times.get(entry, (now_s, now_s))
            self._times[entry] = first, now_s
            if cookie:
                self._pair(entry, cookie)

    def take(self, now_s: float) -> list[Entry]:
        """Take the entries that have been quiet for long enough, and their partners in moves."""
        with self._lock:
            ready = dict.fromkeys(entry for entry, times in self._times.items() if _due(times) <= now_s)
            for entry in tuple(ready):
                partner = self._partners.pop(entry, None)
                if partner is not None:
                    self._partners.pop(partner, None)
                    if partner in self._times:
                        ready[partner] = None
            for entry in ready:
                del self._times[entry]
            if not self._times:
                self._left.clear()
            return list(ready)

    def due_s(self) -> float:
        """When the next entry will have been quiet for long enough."""
        with self._lock:
            return min(map(_due, self._times.values()), default=float("inf"))

    def _pair(self, entry: Entry, cookie: int) -> None:
        other = self._left.pop(cookie, None)
        if other is None:
            if len(self._left) < MAX_MOVES:
                self._left[cookie] = entry
        elif other != entry:
            self._partners[entry], self._partners[other] = other, entry


def _due(times: tuple[float, float]) -> float:
    first, last = times
    return min(last + SETTLE_S, first + MAX_SETTLE_S)
