"""Lines that came from where nobody can send them again, in a journal until they are committed.

A record of the journal (hids.adapters.journal) is an `_Entry`: a `Batch` as it goes to the workers, and the chain before it.
A segment's head is one without lines, so that numbers go on when all before it is gone. What the disk lost is a gap in the
sequences of `batches`; all that is whole stays. For one thread.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import structlog

from hids.adapters.journal import SEGMENT_BYTES, Journal, Position
from hids.core.wire.lines import GENESIS, batched, link
from hids.errors import StoreError
from hids.messages.lines import Batch, LogLine

log = structlog.get_logger()

COPY_BYTES = 4 * 1024 * 1024
"""Packed batches in memory at a time when all are numbered anew."""


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
    start: Position
    size: int
    """Bytes of the record."""


class _Epoch:
    """The batches of one epoch, in order."""

    def __init__(self, number: int, first: int = 1, chain: bytes = GENESIS) -> None:
        self.number = number
        self.next = first
        self.chain = chain
        self.size = 0
        """Bytes of the records of `places`."""
        self.places: deque[_Place] = deque()

    def enter(self, entry: _Entry, start: Position, size: int) -> None:
        """Take in a batch, or a head, that is on disk."""
        batch = entry.batch
        if batch.count:
            self.places.append(_Place(batch.first_seq, batch.count, entry.before, start, size))
            self.size += size
        self.next, self.chain = batch.first_seq + batch.count, batch.chain

    def leave(self, through_seq: int) -> None:
        """Let go of the batches that end there or before."""
        while self.places and self.places[0].first_seq + self.places[0].lines - 1 <= through_seq:
            self.size -= self.places.popleft().size

    @property
    def lines(self) -> int:
        """How many are here."""
        return sum(place.lines for place in self.places)


class ArrivalJournal:
    """Numbered, chained lines on disk until they are committed."""

    def __init__(self, folder: Path, now_ms: int, segment_bytes: int = SEGMENT_BYTES) -> None:
        """Open the journal in `folder`, or begin one.

        Raises:
            StoreError: it cannot be read or written.
        """
        self._epoch = _Epoch(now_ms // 1000)
        self._journal = Journal(folder, self._head, segment_bytes)
        try:
            self._load(now_ms)
        except OSError as error:
            raise StoreError(f"{folder}: the journal cannot be read: {error.strerror or error}") from error

    def close(self) -> None:
        """Close the file that is written."""
        self._journal.close()

    @property
    def epoch(self) -> int:
        """Numbers this history; a later one has a larger number."""
        return self._epoch.number

    @property
    def next(self) -> int:
        """Sequence that the next line gets."""
        return self._epoch.next

    @property
    def oldest(self) -> int:
        """The first sequence that is still here, or the next one."""
        places = self._epoch.places
        return places[0].first_seq if places else self.next

    def chain_before(self, seq: int) -> bytes:
        """Chain value before the first batch that starts at `seq` or later."""
        places = self._epoch.places
        return next((place.chain_before for place in places if place.first_seq >= seq), self._epoch.chain)

    @property
    def size(self) -> int:
        """Bytes of what waits."""
        return self._epoch.size

    def append(self, lines: Sequence[LogLine]) -> None:
        """Store lines; when this returns they are on disk.

        Raises:
            OSError: nothing of it is there.
        """
        self._append(batched(lines))

    def batches(self, from_seq: int, limit_bytes: int) -> tuple[Batch, ...]:
        """Batches from the first that starts at `from_seq` or later on: at least one if it is here, then up to the limit."""
        places = self._epoch.places
        start = next((place.start for place in places if place.first_seq >= from_seq), self._journal.end)
        found: list[Batch] = []
        for batch in self._batches(start, self.epoch):
            limit_bytes -= len(batch.data)
            if found and limit_bytes < 0:
                break
            found.append(batch)
        return tuple(found)

    def trim(self, through_seq: int) -> None:
        """Forget the batches that end at or before `through_seq`, and remove the files that held nothing else."""
        self._epoch.leave(through_seq)
        self._forget()

    def new_epoch(self, after: int, now_ms: int) -> None:
        """Number anew what is here: another history is committed. Its batches keep their data.

        Raises:
            OSError: the disk does not take it; this journal is of no more use, and opening it again begins with the old.
        """
        old = self._batches(self._start(), self.epoch)
        self._epoch = _Epoch(max(self.epoch + 1, after + 1, now_ms // 1000))
        self._journal.turn()
        waiting: list[tuple[int, bytes]] = []
        size = 0
        for batch in old:
            waiting.append((batch.count, batch.data))
            size += len(batch.data)
            if size >= COPY_BYTES:
                self._append(waiting)
                waiting, size = [], 0
        self._append(waiting)
        self._forget()

    def _load(self, now_ms: int) -> None:
        """Take in what is here. Two epochs are here when numbering anew was interrupted: the copy counts if it is complete."""
        whole: _Epoch | None = None
        latest: _Epoch | None = None
        start = self._journal.start
        for position, record in self._journal.read(start):
            entry = _decoded(record)
            if entry is not None:
                if latest is None or latest.number != entry.batch.epoch:
                    whole, latest = _fuller(whole, latest), _Epoch(entry.batch.epoch)
                latest.enter(entry, start, len(record))
            start = position
        if latest is None:
            return
        self._epoch = _fuller(whole, latest) or latest
        if self._epoch is latest:
            self._forget()
        else:
            self.new_epoch(latest.number, now_ms)

    def _append(self, parts: Iterable[tuple[int, bytes]]) -> None:
        first, before = self.next, self._epoch.chain
        entries: list[_Entry] = []
        for count, data in parts:
            batch = Batch(epoch=self.epoch, first_seq=first, count=count, chain=link(before, data), data=data)
            entries.append(_Entry(before, batch))
            first, before = first + count, batch.chain
        records = [_encode(entry) for entry in entries]
        starts = self._journal.append(records)
        for entry, record, start in zip(entries, records, starts, strict=True):
            self._epoch.enter(entry, start, len(record))

    def _head(self) -> bytes:
        """Begins a segment: a batch of no lines says where numbers and chain stand."""
        chain = self._epoch.chain
        return _encode(_Entry(chain, Batch(epoch=self.epoch, first_seq=self.next, count=0, chain=chain, data=b"")))

    def _batches(self, start: Position, epoch: int) -> Iterator[Batch]:
        for _position, record in self._journal.read(start):
            entry = _decoded(record)
            if entry is not None and entry.batch.count and entry.batch.epoch == epoch:
                yield entry.batch

    def _start(self) -> Position:
        """Of what waits."""
        places = self._epoch.places
        return places[0].start if places else self._journal.end

    def _forget(self) -> None:
        self._journal.forget(self._start())


def _fuller(older: _Epoch | None, newer: _Epoch | None) -> _Epoch | None:
    """The newer, if it has all that the older has."""
    if older is None or newer is None:
        return newer or older
    return newer if newer.lines >= older.lines else older


def _decoded(record: bytes) -> _Entry | None:
    try:
        return _decoder.decode(record)
    except msgspec.MsgspecError as error:
        log.error("journal damaged: a record is lost", reason=str(error))  # noqa: TRY400 - the trace tells nothing more
        return None
