"""One window: the past events of one composite rule and one key.

Event time only: entries are kept sorted by it, whatever order they arrive in. There is no watermark, so one agent with
a wrong clock cannot blind the others (docs/decisions/0003-event-time-without-watermark.md).
"""

from bisect import bisect_right
from collections.abc import Callable

import msgspec

ENTRIES_PER_NEEDED = 4
"""A window keeps at most this many times the events that it needs; the oldest go first."""

PREVIOUS_TOLD = 11
"""Past logs that an alert shows at most, newest first (rule language 4.9)."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One past event."""

    at_ms: int
    text: bytes
    values: tuple[bytes | None, ...] = ()
    """What the rule's `different_*` compare; empty for rules that have none."""


class WindowState(msgspec.Struct, frozen=True, array_like=True):
    """A window as it is stored."""

    entries: tuple[Entry, ...]
    fired_ms: int | None


_decoder = msgspec.msgpack.Decoder(WindowState)
_encoder = msgspec.msgpack.Encoder()


class Window:
    """Sorted past events of one key, and when the rule last spoke for it."""

    __slots__ = ("_at", "_entries", "fired_ms", "size", "used_s")

    def __init__(self, state: WindowState | None = None) -> None:
        self._entries: list[Entry] = list(state.entries) if state else []
        self._at = [entry.at_ms for entry in self._entries]
        self.fired_ms = state.fired_ms if state else None
        self.size = sum(len(entry.text) for entry in self._entries)
        """Bytes of text held."""
        self.used_s = 0.0
        """When somebody last asked for it, by the lane's running time."""

    @classmethod
    def load(cls, data: bytes) -> "Window":
        """A window from `dump`'s bytes."""
        return cls(_decoder.decode(data))

    def dump(self) -> bytes:
        """All that `load` needs."""
        return _encoder.encode(WindowState(tuple(self._entries), self.fired_ms))

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def newest_ms(self) -> int:
        """Latest event time held, or that of the last firing; 0 for an empty window."""
        return max(self._at[-1] if self._at else 0, self.fired_ms or 0)

    def ask(
        self, at_ms: int, needed: int, timeframe_ms: int, counts: Callable[[Entry], bool] | None = None
    ) -> tuple[Entry, ...] | None:
        """The past events, newest first, that make an event at `at_ms` fire; None when they are too few.

        `needed` entries must lie, together with the event, within one timeframe. With `counts`, only those it accepts.
        """
        if needed == 0:
            return ()
        entries, times = self._entries, self._at
        if counts is not None:
            entries = [entry for entry in entries if counts(entry)]
            times = [entry.at_ms for entry in entries]
        place = bisect_right(times, at_ms)
        first = max(0, place - needed)
        last = min(place, len(times) - needed)
        for start in range(last, first - 1, -1):
            end = start + needed
            if max(times[end - 1], at_ms) - min(times[start], at_ms) <= timeframe_ms:
                return tuple(reversed(entries[start:end]))
        return None

    def insert(self, entry: Entry, needed: int) -> None:
        """Remember an event; the oldest give way when there are too many.

        Of equal `values` there are never more than can count, so that one value does not crowd out the others.
        """
        place = bisect_right(self._at, entry.at_ms)
        self._at.insert(place, entry.at_ms)
        self._entries.insert(place, entry)
        self.size += len(entry.text)
        same = [n for n, other in enumerate(self._entries) if other.values == entry.values] if entry.values else []
        if len(same) > max(1, needed):
            self._drop(same[0])
        elif len(self._entries) > max(1, ENTRIES_PER_NEEDED * needed):
            self._drop(0)

    def _drop(self, place: int) -> None:
        self.size -= len(self._entries[place].text)
        del self._at[place], self._entries[place]

    def consume(self) -> None:
        """The rule fired: its events are used up."""
        self._at.clear()
        self._entries.clear()
        self.size = 0
