"""An append-only journal in segments: what cannot be asked for again is on disk before it counts.

    <folder>/0000000000000001.journal      records: u32 length, u32 CRC-32, bytes (at least one)

`append` returns when its records are durable: one fdatasync for all of them. A torn end, as a crash leaves it, is cut off
on opening: nobody was told of it. A record that is damaged is passed over when there is a whole one right behind it; its
user sees the gap. Each segment begins with a head, a record that its user makes, so that old segments can go without
anything being forgotten.
"""

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, NamedTuple

import structlog

from hids.adapters.files import private_folder, sync_folder
from hids.errors import StoreError

log = structlog.get_logger()

SEGMENT_BYTES = 16 * 1024 * 1024
MAX_RECORD_BYTES = 64 * 1024 * 1024

_RECORD = struct.Struct("!II")
_NAME = re.compile(r"([0-9]{16})\.journal")


class Position(NamedTuple):
    """Behind a record."""

    segment: int
    offset: int


class Journal:
    """One folder of segments. For one thread and one process."""

    def __init__(self, folder: Path, head: Callable[[], bytes], segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open it, or make it. `head` makes the first record of a new segment; it is called in `append`.

        Raises:
            StoreError: it cannot be read or written.
        """
        self._folder = folder
        self._head = head
        self._segment_bytes = segment_bytes
        self._file = -1
        self._turned = False
        private_folder(folder)
        try:
            found = sorted(int(match[1]) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name)))
            self._sizes = {number: self._path(number).stat().st_size for number in found}
            if found:
                self._cut_torn_end(found[-1])
        except OSError as error:
            raise StoreError(f"{folder}: the journal cannot be read: {error.strerror}; check who owns it") from error

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return sum(self._sizes.values())

    @property
    def start(self) -> Position:
        """Before the oldest record."""
        return Position(min(self._sizes, default=0), 0)

    @property
    def end(self) -> Position:
        """Behind the newest record."""
        newest = max(self._sizes, default=0)
        return Position(newest, self._sizes.get(newest, 0))

    def turn(self) -> None:
        """Have the next `append` begin a segment, so that all before it can be forgotten."""
        self._turned = True

    def append(self, records: Sequence[bytes]) -> list[Position]:
        """Write records and wait until they are durable.

        Returns:
            Where each of them begins: `read` from there gives it first.

        Raises:
            OSError: nothing of them is there; try again when there is room.
        """
        number = max(self._sizes, default=0)
        if number == 0 or self._turned or self._sizes[number] >= self._segment_bytes:
            number += 1
            self._begin(number)
        elif self._file < 0:
            self._file = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        before = self._sizes[number]
        data = bytearray(_framed(self._head()) if before == 0 else b"")
        starts: list[Position] = []
        for record in records:
            starts.append(Position(number, before + len(data)))
            data += _framed(record)
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise
        self._sizes[number] = before + len(data)
        return starts

    def read(self, after: Position) -> Iterator[tuple[Position, bytes]]:
        """Whole records behind a position, each with the position behind it, up to what was there when it began."""
        for number in sorted(self._sizes):
            if number < after.segment:
                continue
            end = self._sizes[number]
            offset = after.offset if number == after.segment else 0
            for place, record in self._records(number, offset, end):
                offset = place.offset
                yield place, record
            if offset < end:
                log.error("journal damaged: the rest of a segment is lost", segment=str(self._path(number)), at=offset)

    def forget(self, before: Position) -> None:
        """Remove the segments that end before this position; the newest one stays."""
        newest = max(self._sizes, default=0)
        for number in [number for number in self._sizes if number < min(before.segment, newest)]:
            self._path(number).unlink(missing_ok=True)
            del self._sizes[number]

    def close(self) -> None:
        """Close the open segment."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def _begin(self, number: int) -> None:
        self.close()
        path = self._path(number)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_folder(self._folder)
        self._sizes[number] = 0
        self._turned = False

    def _records(self, number: int, offset: int, end: int) -> Iterator[tuple[Position, bytes]]:
        """Whole records; a damaged one is passed over, unless what is behind it is not whole either."""
        with self._path(number).open("rb") as file:
            while offset < end:
                length, record = _read_record(file, offset)
                behind = offset + _RECORD.size + length
                if record is not None:
                    yield Position(number, behind), record
                elif _read_record(file, behind)[1] is not None:
                    log.error("journal damaged: a record is lost", segment=str(self._path(number)), at=offset)
                else:
                    return
                offset = behind

    def _cut_torn_end(self, number: int) -> None:
        """A crash in the middle of an append leaves a record that nobody was told of."""
        whole = max((place.offset for place, _ in self._records(number, 0, self._sizes[number])), default=0)
        if whole < self._sizes[number]:
            log.warning("torn end of the journal cut off", bytes=self._sizes[number] - whole)
            os.truncate(self._path(number), whole)
            self._sizes[number] = whole

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016}.journal"


def _framed(record: bytes) -> bytes:
    return _RECORD.pack(len(record), zlib.crc32(record)) + record


def _read_record(file: BinaryIO, offset: int) -> tuple[int, bytes | None]:
    """The length that a record says it has, and its bytes; None when it is not whole.

    None is empty, as zeros at the end of a file, which a crash may leave, would be.
    """
    file.seek(offset)
    head = file.read(_RECORD.size)
    if len(head) < _RECORD.size:
        return 0, None
    length, crc = _RECORD.unpack(head)
    record = file.read(length) if 0 < length <= MAX_RECORD_BYTES else b""
    return length, record if record and len(record) == length and zlib.crc32(record) == crc else None


def _write_all(file: int, data: bytes | bytearray) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
