"""An append-only journal in segments: what cannot be asked for again is on disk before it counts.

    <folder>/0000000000000001.journal      records: u32 length, u32 CRC-32, bytes; big-endian

`append` returns when its records are durable. A torn end, as a crash leaves it, is cut off on opening. Each segment
begins with a head, a record that its user makes, so that old segments can go without anything being forgotten.
"""

import os
import re
import struct
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import structlog

from hids.adapters.files import private_folder
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

    def append(self, records: Sequence[bytes]) -> None:
        """Write records and wait until they are durable.

        Raises:
            OSError: nothing of them is there; try again when there is room.
        """
        number = max(self._sizes, default=0)
        if number == 0 or self._sizes[number] >= self._segment_bytes:
            number += 1
            self._begin(number)
        elif self._file < 0:
            self._file = os.open(self._path(number), os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        before = self._sizes[number]
        records = (self._head(), *records) if before == 0 else records
        data = b"".join(_RECORD.pack(len(record), zlib.crc32(record)) + record for record in records)
        try:
            _write_all(self._file, data)
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, before)
            raise
        self._sizes[number] = before + len(data)

    def read(self, after: Position) -> Iterator[tuple[Position, bytes]]:
        """Records behind a position, each with the position behind it, up to what was there when it began."""
        for number in sorted(self._sizes):
            if number < after.segment:
                continue
            end = self._sizes[number]
            offset = after.offset if number == after.segment else 0
            for place, record in self._records(number, offset, end):
                offset = place.offset
                yield place, record
            if offset < end:
                log.error("journal damaged: the rest of a segment is lost", segment=str(self._path(number)))

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
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._sizes[number] = 0

    def _records(self, number: int, offset: int, end: int) -> Iterator[tuple[Position, bytes]]:
        """Whole records, up to the first that is not."""
        with self._path(number).open("rb") as file:
            file.seek(offset)
            while offset < end:
                head = file.read(_RECORD.size)
                length, crc = _RECORD.unpack(head) if len(head) == _RECORD.size else (0, 1)
                record = file.read(length) if length <= MAX_RECORD_BYTES else b""
                if len(record) != length or zlib.crc32(record) != crc:
                    return
                offset += _RECORD.size + length
                yield Position(number, offset), record

    def _cut_torn_end(self, number: int) -> None:
        """A crash in the middle of an append leaves a record that nobody was told of."""
        whole = max((place.offset for place, _ in self._records(number, 0, self._sizes[number])), default=0)
        if whole < self._sizes[number]:
            log.warning("torn end of the journal cut off", bytes=self._sizes[number] - whole)
            os.truncate(self._path(number), whole)
            self._sizes[number] = whole

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:016}.journal"


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]
