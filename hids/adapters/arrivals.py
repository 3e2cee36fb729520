"""A journal of lines that came from where nobody can send them again: append-only files, synced before they count.

    <folder>/<epoch>-<first sequence>.seg    frames (hids.core.wire.frames), each one `_Entry`: a `Batch` as it goes to the workers

The chain of the batches tells whether the files are whole. What a crash left half-written at the end was never counted, and is
cut off. A file that is damaged before its end is kept aside, and a new epoch begins. For one thread.
"""

import os
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from hids.adapters.files import private_folder
from hids.core.wire.frames import FrameReader, frame
from hids.core.wire.lines import GENESIS, cut, link, pack
from hids.errors import RemoteProtocolError, StoreError
from hids.messages import MAX_BATCH_PACKED, Batch, LogLine

log = structlog.get_logger()

SEGMENT_BYTES = 16 * 1024 * 1024


class _Entry(msgspec.Struct, frozen=True, array_like=True):
    before: bytes
    """Chain value before the batch."""
    batch: Batch


_decoder = msgspec.msgpack.Decoder(_Entry)
_encode = msgspec.msgpack.Encoder().encode


class _Place(NamedTuple):
    first_seq: int
    lines: int
    chain_before: bytes
    path: Path
    offset: int
    size: int
    """Bytes of the frame."""


class ArrivalJournal:
    """Numbered, chained lines on disk until they are committed."""

    def __init__(self, folder: Path, now_ms: int) -> None:
        """Open the journal in `folder`, or begin one.

        Raises:
            StoreError: it cannot be read or written.
        """
        private_folder(folder)
        self._folder = folder
        self._places: deque[_Place] = deque()
        self._file: int | None = None
        self._file_path = folder
        self._file_size = 0
        self.epoch = now_ms // 1000
        self.next = 1
        self._chain = GENESIS
        self.damaged = False
        """What was here before is lost in part, and was set aside."""
        try:
            self._load(now_ms)
        except OSError as error:
            raise StoreError(f"{folder}: the journal cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file that is written."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    @property
    def oldest(self) -> int:
        """The first sequence that is still here, or the next one."""
        return self._places[0].first_seq if self._places else self.next

    @property
    def chain_before_oldest(self) -> bytes:
        """Chain value of the line before `oldest`."""
        return self._places[0].chain_before if self._places else self._chain

    @property
    def bytes(self) -> int:
        """Bytes of what waits."""
        return sum(place.size for place in self._places)

    def append(self, lines: Sequence[LogLine]) -> None:
        """Store lines; when this returns they are on disk.

        Raises:
            OSError: nothing of it counts; a new journal on this folder cuts off what was written of it.
        """
        added: list[_Place] = []
        number, chain = self.next, self._chain
        data = bytearray()
        self._turn_page()
        for count, packed in _batches(lines):
            after = link(chain, packed)
            batch = Batch(epoch=self.epoch, first_seq=number, count=count, chain=after, data=packed)
            framed = frame(_encode(_Entry(chain, batch)))
            added.append(_Place(number, count, chain, self._file_path, self._file_size + len(data), len(framed)))
            data += framed
            number, chain = number + count, after
        assert self._file is not None  # noqa: S101 - a page is open
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(self._file, view) :]
            os.fdatasync(self._file)
        except OSError:
            os.ftruncate(self._file, self._file_size)
            raise
        self._file_size += len(data)
        self._places += added
        self.next, self._chain = number, chain

    def batches(self, from_seq: int, limit_bytes: int) -> tuple[Batch, ...]:
        """Batches in order from the one that starts at `from_seq` on: at least one if it is here, then up to the limit."""
        found: list[Batch] = []
        for place in self._places:
            if place.first_seq < from_seq:
                continue
            if found and place.size > limit_bytes:
                break
            with place.path.open("rb") as file:
                data = os.pread(file.fileno(), place.size, place.offset)
            (payload,) = FrameReader().feed(data)
            found.append(_decoder.decode(payload).batch)
            limit_bytes -= place.size
        return tuple(found)

    def trim(self, through_seq: int) -> None:
        """Forget the batches that end at or before `through_seq`, and remove the files that held nothing else."""
        before = {place.path for place in self._places}
        while self._places and self._places[0].first_seq + self._places[0].lines - 1 <= through_seq:
            self._places.popleft()
        for path in before - {place.path for place in self._places} - {self._file_path}:
            path.unlink(missing_ok=True)

    def new_epoch(self, after: int, now_ms: int) -> None:
        """Number anew what is here: another history is committed. Its batches keep their data."""
        kept = [batch for place in tuple(self._places) for batch in self.batches(place.first_seq, 0)]
        old = {place.path for place in self._places} | {self._file_path}
        self.close()
        self.epoch = max(self.epoch + 1, after + 1, now_ms // 1000)
        self._places.clear()
        self.next, self._chain = 1, GENESIS
        self._file_path = self._folder
        for batch in kept:
            self._adopt(batch)
        if self._file is not None:
            os.fdatasync(self._file)
        for path in old - {self._folder} - {place.path for place in self._places}:
            path.unlink(missing_ok=True)

    def _adopt(self, batch: Batch) -> None:
        self._turn_page()
        chain = link(self._chain, batch.data)
        again = Batch(epoch=self.epoch, first_seq=self.next, count=batch.count, chain=chain, data=batch.data)
        framed = frame(_encode(_Entry(self._chain, again)))
        assert self._file is not None  # noqa: S101 - a page is open
        os.write(self._file, framed)
        self._places.append(_Place(self.next, batch.count, self._chain, self._file_path, self._file_size, len(framed)))
        self._file_size += len(framed)
        self.next, self._chain = self.next + batch.count, chain

    # -- files

    def _turn_page(self) -> None:
        """Have a file open that takes more."""
        if self._file is not None and self._file_size < SEGMENT_BYTES:
            return
        self.close()
        full = self._file_path
        self._file_path = self._folder / f"{self.epoch:012}-{self.next:020}.seg"
        self._file = os.open(self._file_path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._file_size = os.fstat(self._file).st_size
        folder = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        if full != self._folder and full not in {place.path for place in self._places}:
            full.unlink(missing_ok=True)

    def _load(self, now_ms: int) -> None:
        paths = sorted(self._folder.glob("*.seg"))
        for index, path in enumerate(paths):
            whole = self._read(path, is_first=index == 0)
            if whole == path.stat().st_size:
                continue
            if index == len(paths) - 1:
                log.warning("the end of a journal was never completed and is cut off", file=str(path), at=whole)
                os.truncate(path, whole)
                continue
            self._set_aside(paths[index:], now_ms)
            return
        if paths and self._places:
            self._open_last(self._places[-1].path)
        elif paths:  # nothing waits, but the numbers go on
            self._open_last(paths[-1])

    def _open_last(self, path: Path) -> None:
        self._file_path = path
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
        self._file_size = os.fstat(self._file).st_size

    def _read(self, path: Path, *, is_first: bool) -> int:
        """Take in one file's batches; returns up to where it is whole."""
        at = 0
        for size, payload in _frames(path):
            try:
                entry = _decoder.decode(payload)
            except msgspec.MsgspecError:
                return at
            batch = entry.batch
            if is_first and at == 0:  # those before are committed and gone
                self.epoch, self.next, self._chain = batch.epoch, batch.first_seq, entry.before
            if link(self._chain, batch.data) != batch.chain or (batch.epoch, batch.first_seq) != (
                self.epoch,
                self.next,
            ):
                return at
            self._places.append(_Place(batch.first_seq, batch.count, self._chain, path, at, size))
            self.next, self._chain = batch.first_seq + batch.count, batch.chain
            at += size
        return at

    def _set_aside(self, paths: Sequence[Path], now_ms: int) -> None:
        log.error("a journal is damaged, what follows is set aside", file=str(paths[0]))
        for path in paths:
            path.rename(path.with_suffix(".damaged"))
        self.damaged = True
        self.new_epoch(self.epoch, now_ms)


def _frames(path: Path) -> Iterator[tuple[int, bytes]]:
    """The frames of a file with their sizes, up to the first that is not whole."""
    reader = FrameReader()
    with path.open("rb") as file:
        while data := file.read(1024 * 1024):
            try:
                payloads = reader.feed(data)
            except RemoteProtocolError:
                return
            for payload in payloads:
                yield len(payload) + 4, payload


def _batches(lines: Sequence[LogLine]) -> Iterator[tuple[int, bytes]]:
    """Cut lines into packed batches; one that packs badly is halved until it fits."""
    waiting = list(reversed(cut(lines)))
    while waiting:
        part = waiting.pop()
        data = pack(part)
        if len(data) > MAX_BATCH_PACKED and len(part) > 1:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
        else:
            yield len(part), data
