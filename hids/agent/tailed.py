"""One file that is being read: where we are in it, and its next lines.

A file is known by device and inode, because names move under rotation. As inodes are used again, and as a file may be
emptied in place, its first bytes are remembered as well (`Mark`).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import msgspec

from hids.core.collect.encoding import Encoding
from hids.core.collect.grouping import Grouping
from hids.core.collect.shape import Place, Shape
from hids.core.wire.eventtime import EventTimes
from hids.core.wire.hostinfo import host_line
from hids.messages.lines import MAX_BATCH_LINES, MAX_LINE_BYTES, LogLine

CHUNK_BYTES = 256 * 1024
"""Read at a time. More than MAX_LINE_BYTES, so that a chunk without a line end is a line that is too long."""
MARK_BYTES = 256
LIVE_S = 5.0
"""A file that was read to its end less than this ago is read live: its lines happened when they were read."""


class Position(msgspec.Struct, frozen=True):
    """Where to go on in a file, as the spool keeps it."""

    path: bytes
    """As the file system has it; not always UTF-8."""
    device: int
    inode: int
    offset: int
    inside: bool = False
    """The offset lies in a line that was too long: skip to its end."""
    mark_bytes: int = 0
    mark: bytes = b""
    """SHA-256 (8 bytes) of the file's first `mark_bytes` bytes."""


class Part(NamedTuple):
    """Some lines, and the position behind them."""

    lines: tuple[LogLine, ...]
    position: Position


class Manner(NamedTuple):
    """How the files of a source are read: what its configuration comes to."""

    encoding: str = ""
    grouping: Grouping | None = None
    shape: Shape = Shape()
    host: str = ""
    address: str = ""
    of_hosts: bool = False
    """What nmap saw: its lines are facts (hids.core.wire.hostinfo)."""


class TailedFile:
    """An open file and the position in it."""

    def __init__(self, descriptor: int, path: str, location: str, manner: Manner | None = None) -> None:
        self._descriptor = descriptor
        self._manner = manner = manner or Manner()
        self._encoding = Encoding(manner.encoding, os.pread(descriptor, 4, 0))
        self._grouping = manner.grouping
        self._of_hosts = manner.of_hosts
        self._shape = None if manner.shape.is_plain else manner.shape
        self._place = Place(location, manner.host, manner.address)
        self._waits_end = -1
        self._waits_s = 0.0
        self.skipped = 0
        """Events that the source's configuration leaves out."""
        stat = os.fstat(descriptor)
        self.path = path
        self._location = location
        self.device = stat.st_dev
        self.inode = stat.st_ino
        self.offset: int = 0
        self._inside = False
        self._mark_bytes: int = 0
        self._mark = b""
        self._times = EventTimes()
        self.behind_since: float | None = float("-inf")
        """Monotonic time of the first sign of unread bytes; None when read to the end; -inf for old content."""
        self.departed_s: float | None = None
        """Monotonic time since when no path leads to it any more."""

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    def watched_as(self) -> str:
        """A path that leads to this very file, whatever its name is now."""
        return f"/proc/self/fd/{self._descriptor}"

    @property
    def position(self) -> Position:
        """Where we are."""
        return Position(
            os.fsencode(self.path),
            self.device,
            self.inode,
            self.offset,
            self._inside,
            self._mark_bytes,
            self._mark,
        )

    def fits(self, position: Position) -> bool:
        """Tell whether a saved position belongs to this file and not to another one with its inode."""
        same = (position.device, position.inode) == (self.device, self.inode)
        return (
            same
            and os.fstat(self._descriptor).st_size >= position.offset
            and self._digest(position.mark_bytes) == position.mark
        )

    def go_to(self, position: Position) -> None:
        """Go on where an earlier life stopped."""
        self.offset = position.offset
        self._inside = position.inside
        self._mark_bytes, self._mark = position.mark_bytes, position.mark

    def go_to_end(self) -> None:
        """Leave out what is there, up to the last line end."""
        size = os.fstat(self._descriptor).st_size
        start = max(0, size - MAX_LINE_BYTES)
        start -= start % self._encoding.unit
        tail = os.pread(self._descriptor, size - start, start)
        pieces = self._encoding.cut(tail)
        self._inside = len(pieces) == 1 and start > 0
        end = start + len(tail) - len(pieces[-1])
        self.offset = size - size % self._encoding.unit if self._inside else end
        self._set_mark()

    def size(self) -> int:
        """Bytes in the file now."""
        return os.fstat(self._descriptor).st_size

    def is_gone(self) -> bool:
        """True when it was deleted and only we hold it."""
        return os.fstat(self._descriptor).st_nlink == 0

    def was_replaced(self) -> bool:
        """True when it was emptied or written anew in place; then reading starts over at 0."""
        if self.size() >= self.offset and self._digest(self._mark_bytes) == self._mark:
            return False
        self.offset, self._inside, self._mark_bytes, self._mark = 0, False, 0, b""
        return True

    def waits_s(self, now_s: float) -> float | None:
        """Seconds until what was read and waits for its end becomes an event; None when nothing does."""
        if self._grouping is None or self._waits_end < 0:
            return None
        return max(0.0, self._waits_s + self._grouping.silence_s - now_s)

    def parts(self, now_ms: int, now_s: float, *, final: bool) -> Iterator[Part]:
        """Read one chunk and give its lines in parts; none when there is no whole line.

        Args:
            now_ms: read time for the lines.
            now_s: monotonic, to tell what is live.
            final: nothing will be added to the file any more: its last line needs no line end.
        """
        data = os.pread(self._descriptor, CHUNK_BYTES, self.offset)
        at_end = len(data) < CHUNK_BYTES
        if self.offset == 0 and self._encoding.codec:  # a file that was empty has its mark now
            self._encoding = Encoding(self._manner.encoding, data)
        if self.offset == 0 and self._encoding.mark and data.startswith(self._encoding.mark):
            self.offset = len(self._encoding.mark)
            data = data[self.offset :]
        if self._inside:
            data = self._skip_line(data)
        pieces = self._encoding.cut(data)
        rest = pieces.pop()
        live = self.behind_since is not None and now_s - self.behind_since < LIVE_S
        if self._grouping is None:
            for start in range(0, len(pieces), MAX_BATCH_LINES):
                group = pieces[start : start + MAX_BATCH_LINES]
                self.offset += sum(map(len, group)) + len(group) * self._encoding.unit
                yield self._part(map(self._clean, group), now_ms, live=live)
        else:
            sizes = [len(piece) + self._encoding.unit for piece in pieces]
            if rest and final and at_end:
                pieces.append(rest)
                sizes.append(len(rest))
                rest = b""
            lines = [self._clean(piece) for piece in pieces]
            over = at_end and (final or self._is_silent(self.offset + sum(sizes), now_s))
            for events, size in self._events(self._grouping, lines, sizes, over=over, full=not at_end):
                self.offset += size
                yield self._part(events, now_ms, live=live)
            self._waits_end = -1 if self.offset == self._waits_end else self._waits_end
        if (rest and final and at_end) or (not pieces and len(rest) >= MAX_LINE_BYTES):
            self._inside = not (final and at_end)
            self.offset += len(rest) - len(rest) % self._encoding.unit
            yield self._part([self._clean(rest)], now_ms, live=live)

    def _is_silent(self, end: int, now_s: float) -> bool:
        """Tell whether the last whole line has been the last one for a while."""
        if end != self._waits_end:
            self._waits_end, self._waits_s = end, now_s
        return self._grouping is not None and now_s - self._waits_s >= self._grouping.silence_s

    @staticmethod
    def _events(
        grouping: Grouping, lines: list[bytes], sizes: list[int], *, over: bool, full: bool
    ) -> Iterator[tuple[list[bytes], int]]:
        """Give events and the bytes that they took. The rest waits in the file, where a new life finds it."""
        groups = list(grouping.groups(lines, over=over))
        if full and not groups:
            groups = list(grouping.groups(lines, over=True))  # what fills a chunk would wait forever
        events: list[bytes] = []
        at = size = 0
        for group in groups:
            size += sum(sizes[at : at + group.lines])
            at += group.lines
            events += group.events
            if len(events) >= MAX_BATCH_LINES:
                yield events, size
                events, size = [], 0
        if size:
            yield events, size

    def _clean(self, raw: bytes) -> bytes:
        return _clean(self._encoding.text(raw)) if self._encoding.codec else _clean(raw)

    def _skip_line(self, data: bytes) -> bytes:
        """Leave out the rest of a line that was too long."""
        pieces = self._encoding.cut(data)
        self._inside = len(pieces) == 1
        skipped = len(pieces[0]) + (0 if self._inside else self._encoding.unit)
        self.offset += skipped - skipped % self._encoding.unit
        return data[skipped:]

    def _part(self, texts: Iterable[bytes], now_ms: int, *, live: bool) -> Part:
        if self._mark_bytes < MARK_BYTES:
            self._set_mark()
        return Part(tuple(self._lines(texts, now_ms, live=live)), self.position)

    def _lines(self, texts: Iterable[bytes], now_ms: int, *, live: bool) -> Iterator[LogLine]:
        for raw in texts:
            text = self._shape.apply(raw, self._place, now_ms) if self._shape is not None and raw else raw
            if text:
                at_ms = now_ms if live else self._times.of(raw, now_ms)
                line = LogLine(location=self._location, text=text[:MAX_LINE_BYTES], at_ms=at_ms, read_ms=now_ms)
                yield host_line(line) if self._of_hosts else line
            elif raw:
                self.skipped += 1

    def _set_mark(self) -> None:
        self._mark_bytes = min(MARK_BYTES, self.offset)
        self._mark = self._digest(self._mark_bytes)

    def _digest(self, count: int) -> bytes:
        return hashlib.sha256(os.pread(self._descriptor, count, 0)).digest()[:8] if count else b""


def _clean(raw: bytes) -> bytes:
    """A line without its line end, cut at the limit.

    Runs of NUL are what a writer leaves in a file that was emptied under it (copytruncate without O_APPEND).
    """
    return raw[:MAX_LINE_BYTES].rstrip(b"\r").strip(b"\0")
