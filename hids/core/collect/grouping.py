"""Raw lines -> events of several lines. A pure function of the lines from the last event on.

So a reader keeps no state: its position is always the end of an event, and what waits for its end is read once more, after a
restart too. Whatever the rules of a format, an event is at most `MAX_LINE_BYTES` and `MAX_GROUP` lines: what is longer
becomes several events, and nothing is left out.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from hids.messages.lines import MAX_LINE_BYTES

MAX_GROUP = 4_096
"""Lines of one event."""

SILENCE_S = 1.0
"""Nothing was written for so long: what waits is an event."""

Lines = Sequence[bytes]


class Group(NamedTuple):
    """So many lines, and the events that they are; none for lines that are no event."""

    lines: int
    events: tuple[bytes, ...]


def joined(lines: Lines) -> Iterable[bytes]:
    """One event: the lines with spaces between them, as OSSEC's and Wazuh's rules expect them."""
    text = b" ".join(lines)
    return (text,) if text else ()


def _never(*_: object) -> bool:
    return False


class Grouping:
    """Where events begin and end."""

    def __init__(
        self,
        *,
        begins: Callable[[bytes, bytes], bool] = _never,
        ends: Callable[[Lines], bool] = _never,
        events: Callable[[Lines], Iterable[bytes]] = joined,
        silence_s: float = SILENCE_S,
    ) -> None:
        """A rule for each end; one of them is enough.

        Args:
            begins: (line before, line): tells whether a new event begins with this line.
            ends: the lines so far: tells whether the event is complete.
            events: writes a group's lines as events.
            silence_s: after which what waits is an event.
        """
        self._begins = begins
        self._ends = ends
        self._events = events
        self.silence_s = silence_s

    def groups(self, lines: Lines, *, over: bool) -> Iterator[Group]:
        """Group lines; the last ones wait, unless it is `over`: nothing follows, or not in time."""
        start = size = 0
        for index, line in enumerate(lines):
            full = size + len(line) + index - start > MAX_LINE_BYTES or index - start >= MAX_GROUP
            if index > start and (full or self._begins(lines[index - 1], line)):
                yield self._group(lines[start:index])
                start, size = index, 0
            size += len(line)
            if self._ends is not _never and self._ends(lines[start : index + 1]):
                yield self._group(lines[start : index + 1])
                start, size = index + 1, 0
        if over and start < len(lines):
            yield self._group(lines[start:])

    def _group(self, lines: Lines) -> Group:
        return Group(len(lines), tuple(self._events(lines)))
