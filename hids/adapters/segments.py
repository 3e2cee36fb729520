"""Segments: an append-only journal for what cannot be asked to send again (syslog over UDP, say).

A line that arrives is numbered and chained like an agent's, and kept until it is committed; from there its source is a
session like any other. A folder a source:

    epoch                        the number of this journal; a journal that had to begin anew has a larger one
    00000000000000000001.seg     head: epoch, first sequence, chain before it; then records, each one batch

`append` puts lines into the file, `sync` makes all that was put there durable with one fdatasync, and only then does
`batches` give them away: whoever appends calls `sync` once for many lines, at the latest some milliseconds after the
first. On opening, a record that a crash tore at the end is cut off. Damage elsewhere is not repaired: the files are
set aside, a new epoch begins, and `damaged_epoch` tells.

For one thread at a time.
"""

import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec
import structlog

from hids.adapters.files import private_folder, sync_folder, write_atomically
from hids.core.wire.lines import GENESIS, cut, link, pack
from hids.errors import StoreError
from hids.messages import MAX_BATCH_PACKED, Batch, LogLine

log = structlog.get_logger()

SEGMENT_BYTES = 16 * 1024 * 1024
"""A segment that reached this size gets a successor; only whole segments are removed."""

_HEAD = struct.Struct(">8sQQ32s")
_MAGIC = b"hidsseg1"
_RECORD = struct.Struct(">IIQI32s")
"""Bytes of data, CRC-32 of what follows, first sequence, lines, chain."""


class _Segment(msgspec.Struct):
    path: Path
    first: int
    chain: bytes
    """Of the line before `first`."""
    last: int = 0
    size: int = 0
    places: list[tuple[int, int]] = []
    """(first sequence, offset) of each record."""


class Segments:
    """The journal in `folder`, which is made when it is not there.

    Args:
        folder: of this source alone.
        max_bytes: beyond it `append` refuses, until something is committed.
        now_ms: milliseconds since 1970; numbers the epoch of a new journal.

    Raises:
        StoreError: the folder or a file in it cannot be used.
    """

    def __init__(self, folder: Path, max_bytes: int, now_ms: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._fd = -1
        self._epoch = 0
        self._segments: list[_Segment] = []
        self._next, self._chain = 1, GENESIS
        self._durable = 0
        self.damaged_epoch = 0
        """The epoch whose files were damaged and are set aside: lines of it may be lost, and the caller says so. 0: none."""
        private_folder(folder)
        try:
            self._open(now_ms)
        except OSError as error:
            raise self._failed("opened", error) from error

    @property
    def epoch(self) -> int:
        """Numbers this journal."""
        return self._epoch

    @property
    def oldest(self) -> int:
        """First sequence that is here."""
        return self._segments[0].first

    @property
    def oldest_chain(self) -> bytes:
        """Chain value of the line before `oldest`."""
        return self._segments[0].chain

    @property
    def next(self) -> int:
        """Sequence that the next line will get."""
        return self._next

    @property
    def durable(self) -> int:
        """The last sequence that is on disk whatever happens."""
        return self._durable

    @property
    def bytes_held(self) -> int:
        """Bytes of all segments."""
        return sum(segment.size for segment in self._segments)

    def append(self, lines: Sequence[LogLine]) -> int:
        """Add lines; they are durable after the next `sync`.

        Returns:
            How many were taken, from the first on: fewer than all when the journal is full. The rest is the caller's
            to count and to report as dropped.

        Raises:
            StoreError: the disk does not take them; nothing of these lines is there.
        """
        taken = 0
        records = bytearray()
        places: list[tuple[int, int]] = []
        segment, seq, chain = self._segments[-1], self._next, self._chain
        for part in cut(lines):
            for count, data in _packed(part):
                if self.bytes_held + len(records) + len(data) > self._max_bytes:
                    break
                chain = link(chain, data)
                places.append((seq, segment.size + len(records)))
                body = _RECORD.pack(len(data), 0, seq, count, chain)[8:] + data
                records += struct.pack(">II", len(data), zlib.crc32(body)) + body
                seq, taken = seq + count, taken + count
            else:
                continue
            break
        if records:
            self._write(segment, bytes(records))
            segment.places += places
            segment.size += len(records)
            segment.last = seq - 1
            self._next, self._chain = seq, chain
        return taken

    def sync(self) -> int:
        """Make all that was appended durable; returns the last sequence that is.

        Raises:
            StoreError: the disk did not take it. What was appended since the last success is in doubt: close and open
                again, which keeps what is whole.
        """
        if self._durable < self._next - 1:
            try:
                os.fdatasync(self._fd)
                self._durable = self._next - 1
                if self._segments[-1].size >= SEGMENT_BYTES:
                    self._begin_segment()
            except OSError as error:
                raise self._failed("brought to the disk", error) from error
        return self._durable

    def batches(self, from_seq: int, limit_bytes: int) -> tuple[Batch, ...]:
        """Durable batches in order, the first starting at `from_seq`: one if there is one, then up to the limit.

        Empty when there is none that starts there.

        Raises:
            StoreError: a segment cannot be read, or is damaged.
        """
        found: list[Batch] = []
        for segment in self._segments:
            if segment.last < from_seq:
                continue
            for batch in self._read(segment, from_seq):
                if batch.first_seq > self._durable or (not found and batch.first_seq != from_seq):
                    return tuple(found)
                limit_bytes -= len(batch.data)
                if found and limit_bytes < 0:
                    return tuple(found)
                found.append(batch)
        return tuple(found)

    def trim(self, through_seq: int) -> None:
        """Forget segments all of whose lines are at or before `through_seq`.

        Raises:
            StoreError: a segment cannot be removed; it will be the next time.
        """
        if self._segments[-1].last and self._segments[-1].last <= min(through_seq, self._durable):
            self._begin_segment()
        while len(self._segments) > 1 and self._segments[0].last <= through_seq:
            try:
                self._segments[0].path.unlink(missing_ok=True)
            except OSError as error:
                raise self._failed("removed", error) from error
            del self._segments[0]

    def close(self) -> None:
        """Make everything durable and close. Closing again does nothing."""
        if self._fd >= 0:
            try:
                self.sync()
            finally:
                os.close(self._fd)
                self._fd = -1

    # -- opening

    def _open(self, now_ms: int) -> None:
        self._epoch = self._read_epoch()
        paths = sorted(self._folder.glob("*.seg"))
        if paths and not self._take(paths):
            self.damaged_epoch = self._epoch
            log.error("journal damaged, beginning a new one", folder=str(self._folder), epoch=self._epoch)
            for path in paths:
                path.replace(path.with_suffix(".damaged"))
        if not self._segments:
            self._epoch = max(self._epoch + 1, now_ms // 1000)
            write_atomically(self._folder / "epoch", str(self._epoch).encode())
            self._begin_segment()
            return
        last = self._segments[-1]
        self._fd = os.open(last.path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        os.ftruncate(self._fd, last.size)
        os.fdatasync(self._fd)

    def _take(self, paths: list[Path]) -> bool:
        """Load all segments; whether they are whole but for a torn end. If not, none is kept."""
        for number, path in enumerate(paths, 1):
            data = path.read_bytes()
            if number == len(paths) and self._segments and len(data) < _HEAD.size:
                path.unlink()  # it was begun when the machine went down; nothing can be in it
                break
            segment = self._load(path, data)
            if segment is None or (segment.size < len(data) and not self._is_torn(segment, data, number == len(paths))):
                self._segments, self._next, self._chain, self._durable = [], 1, GENESIS, 0
                return False
            self._segments.append(segment)
        self._durable = self._next - 1
        return True

    def _is_torn(self, segment: _Segment, data: bytes, is_last: bool) -> bool:  # noqa: FBT001 - a fact
        """Whether what follows the whole records is an unfinished write, and not damage: then nothing whole is behind."""
        if segment.size + _RECORD.size > len(data):
            return is_last
        (length, *_) = _RECORD.unpack_from(data, segment.size)
        behind = segment.size + _RECORD.size + length
        return is_last and next(_records(data, self._epoch, behind), None) is None

    def _read_epoch(self) -> int:
        try:
            return int((self._folder / "epoch").read_text())
        except (FileNotFoundError, ValueError):
            return 0

    def _load(self, path: Path, data: bytes) -> _Segment | None:
        """Walk over a segment's whole records; None when its head does not continue what is loaded."""
        if len(data) < _HEAD.size:
            return None
        magic, epoch, first, chain = _HEAD.unpack_from(data)
        if magic != _MAGIC or epoch != self._epoch or (self._segments and (first, chain) != (self._next, self._chain)):
            return None
        segment = _Segment(path, first, chain, size=_HEAD.size)
        self._next, self._chain = first, chain
        for batch, end in _records(data, self._epoch):
            chain = link(self._chain, batch.data)
            if batch.first_seq != self._next or chain != batch.chain:
                break
            segment.places.append((self._next, segment.size))
            self._next, self._chain = self._next + batch.count, chain
            segment.last, segment.size = self._next - 1, end
        return segment

    # -- files

    def _begin_segment(self) -> None:
        path = self._folder / f"{self._next:020}.seg"
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(fd, _HEAD.pack(_MAGIC, self._epoch, self._next, self._chain))
            os.fdatasync(fd)
            sync_folder(self._folder)
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        if self._fd >= 0:
            os.close(self._fd)
        self._fd = fd
        self._segments.append(_Segment(path, self._next, self._chain, size=_HEAD.size))

    def _write(self, segment: _Segment, records: bytes) -> None:
        view = memoryview(records)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except OSError as error:
            os.ftruncate(self._fd, segment.size)
            raise self._failed("written", error) from error

    def _read(self, segment: _Segment, from_seq: int) -> Iterator[Batch]:
        start = next((offset for first, offset in segment.places if first >= from_seq), None)
        if start is None:
            return
        with segment.path.open("rb") as file:
            for first, offset in segment.places:
                if offset < start:
                    continue
                file.seek(offset)
                head = file.read(_RECORD.size)
                data = file.read(_RECORD.unpack(head)[0]) if len(head) == _RECORD.size else b""
                batch, _ = next(_records(head + data, self._epoch, 0), (None, 0))
                if batch is None or batch.first_seq != first:
                    raise StoreError(f"{segment.path}: line {first} is damaged; restart to begin a new epoch")
                yield batch

    def _failed(self, what: str, error: OSError) -> StoreError:
        return StoreError(
            f"{self._folder}: the journal cannot be {what}: {error.strerror}; make room or mend the disk; "
            "lines that arrive meanwhile are counted as dropped"
        )


def _records(data: bytes, epoch: int, offset: int = _HEAD.size) -> Iterator[tuple[Batch, int]]:
    """Whole records and where each ends; stops at the first that is torn or damaged."""
    while offset + _RECORD.size <= len(data):
        length, crc, first, count, chain = _RECORD.unpack_from(data, offset)
        end = offset + _RECORD.size + length
        if length > MAX_BATCH_PACKED or end > len(data) or zlib.crc32(data[offset + 8 : end]) != crc:
            return
        yield Batch(epoch, first, count, chain, data[offset + _RECORD.size : end]), end
        offset = end


def _packed(lines: Sequence[LogLine]) -> Iterator[tuple[int, bytes]]:
    """Pack lines; what packs badly is halved until it fits."""
    data = pack(lines)
    if len(data) > MAX_BATCH_PACKED and len(lines) > 1:
        half = len(lines) // 2
        yield from _packed(lines[:half])
        yield from _packed(lines[half:])
    else:
        yield len(lines), data
