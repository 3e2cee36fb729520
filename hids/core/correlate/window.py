"""One window: the past events of one composite rule and one key.

Event time only: entries are kept sorted by it, whatever order they arrive in. There is no watermark, so one agent with
a wrong clock cannot blind the others (docs/decisions/0003-event-time-without-watermark.md).
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator

import msgspec

ENTRIES_PER_NEEDED = 4
"""A window keeps at most this many times the events that it needs; the oldest go first."""

PER_VALUE = 4
"""A window that counts different values keeps at most so many events of one, so that no value crowds out the others."""

PREVIOUS_TOLD = 11
"""Past logs that an alert shows at most, newest first (rule language 4.9)."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One past event."""

    at_ms: int
    text: bytes
    values: tuple[bytes | None, ...] = ()
    """What the rule's `different_*` or `distinct_*` compare; in a sequence, which part the event has."""


class WindowState(msgspec.Struct, frozen=True, array_like=True):
    """A window as it is stored."""

    entries: tuple[Entry, ...]
    fired_ms: int | None


_decoder = msgspec.msgpack.Decoder(WindowState)
_encoder = msgspec.msgpack.Encoder()


class Window:
    """Sorted past events of one key, and when the rule last spoke for it."""

    __slots__ = ("_at", "_entries", "fired_ms", "kept_ms", "size", "used_s")

    def __init__(self, state: WindowState | None = None) -> None:
        self._entries: list[Entry] = list(state.entries) if state else []
        self._at = [entry.at_ms for entry in self._entries]
        self.fired_ms = state.fired_ms if state else None
        self.size = sum(len(entry.text) for entry in self._entries)
        """Bytes of text held."""
        self.kept_ms = 0
        """How long after its newest time the window still matters: its rule's timeframe or `ignore`."""
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

    def ask_distinct(
        self,
        at_ms: int,
        needed: int,
        timeframe_ms: int,
        own: tuple[bytes | None, ...],
    ) -> tuple[Entry, ...] | None:
        """As `ask`, but events count once for each value; `own` is the event's.

        Returns:
            The newest entry of each value, newest first.
        """
        for entries in self._around(at_ms, timeframe_ms, None):
            found = _newest_of_each(entries, own)
            if len(found) >= needed:
                return tuple(found[:needed])
        return None

    def latest(self, values: tuple[bytes | None, ...], since_ms: int, until_ms: int) -> Entry | None:
        """The newest entry with these values between two times, both included."""
        for entry in reversed(self._entries):
            if entry.values == values and since_ms <= entry.at_ms <= until_ms:
                return entry
        return None

    def most(
        self, at_ms: int, timeframe_ms: int, counts: Callable[[Entry], bool] | None = None, *, distinct: bool = False
    ) -> int:
        """Most entries, or with `distinct` most different values, within one timeframe that holds a time."""
        return max(
            len({entry.values for entry in entries}) if distinct else len(entries)
            for entries in self._around(at_ms, timeframe_ms, counts)
        )

    def _around(self, at_ms: int, timeframe_ms: int, counts: Callable[[Entry], bool] | None) -> Iterator[list[Entry]]:
        """The entries of every stretch of one timeframe that holds `at_ms`, the latest stretch first."""
        near = [
            entry
            for entry in self._entries
            if abs(entry.at_ms - at_ms) <= timeframe_ms and (counts is None or counts(entry))
        ]
        later = sorted({entry.at_ms for entry in near if entry.at_ms > at_ms}, reverse=True)
        for end in (*later, at_ms):
            yield [entry for entry in near if end - timeframe_ms <= entry.at_ms <= end]

    def insert(self, entry: Entry, needed: int, each: int = 0) -> None:
        """Remember an event; the oldest give way when there are too many.

        Of equal `values` there are never more than `each`, so that one value does not crowd out the others; left out:
        than can count.
        """
        place = bisect_right(self._at, entry.at_ms)
        self._at.insert(place, entry.at_ms)
        self._entries.insert(place, entry)
        self.size += len(entry.text)
        same = [n for n, other in enumerate(self._entries) if other.values == entry.values] if entry.values else []
        if len(same) > (each or max(1, needed)):
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


def _newest_of_each(entries: list[Entry], own: tuple[bytes | None, ...]) -> list[Entry]:
    """One entry for each value other than `own`, newest first."""
    found: dict[tuple[bytes | None, ...], Entry] = {}
    for entry in reversed(entries):
        found.setdefault(entry.values, entry)
    found.pop(own, None)
    return list(found.values())
