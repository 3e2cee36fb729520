"""The seals beside a file to which records are added, and the file's way to its place when its day is over.

The writer feeds what it has appended; `seal` then covers it, so that what somebody changes on the disk before it is
sealed shows, too. After a crash, or when another program wrote as well, the file itself is read instead.

A rotation is a signed head first (where the file shall go), then two renames. A life that finds the head and not the
renames finishes them, so there is no moment at which a crash leaves a file without its seals.
"""

import hashlib
import os
from base64 import b64encode
from collections.abc import Callable
from datetime import date
from pathlib import Path

import msgspec
import structlog

from hids.adapters.evidence.heads import Heads, append_durably, first_line, last_line
from hids.adapters.files import sync_folder
from hids.adapters.rotated import CHAIN, PACKED, place_for, rotated
from hids.core.evidence import (
    GENESIS,
    Begin,
    Head,
    Seal,
    Sealed,
    Why,
    begin_line,
    marks_of,
    seal_line,
    split,
)
from hids.ports import Clock

PIECE_BYTES = 4 * 1024 * 1024
"""Of a file that is read again, so much is one seal."""
FED_BYTES = 16 * 1024 * 1024
"""Held in memory at most between two seals; beyond it the file is read again."""
AT_ONCE_BYTES = 64 * 1024 * 1024
"""Read again in one call at most: a large file from before there were seals is sealed over some seconds."""

log: structlog.stdlib.BoundLogger = structlog.get_logger()


class Records(msgspec.Struct, frozen=True):
    """How records stand in a file."""

    end: bytes
    number: Callable[[bytes], int | None]


class Seals:
    """Seals the file at `path`. For one thread; OSError where the disk refuses."""

    def __init__(self, path: Path, records: Records, heads: Heads, clock: Clock, *, head_every_s: float) -> None:
        self._data = path
        self._path = path.with_name(path.name + CHAIN)
        self._records = records
        self._heads = heads
        self._clock = clock
        self._every_s = head_every_s
        self._headed_s = clock.monotonic_s()
        self._n, self._chain, self._last = 0, GENESIS, 0
        self._fed: list[bytes] = []
        self._fed_bytes = 0
        self._knows = False
        """What was fed is all that the file has behind what is sealed."""
        self.sealed = 0
        """Bytes of the file."""

    # -- where to go on

    def recover(self) -> bool:
        """Finish a rotation that a crash cut short; whether the next file is still to be made."""
        head = self._heads.last
        if head is None or head.why != "rotated":
            return False
        begin = first_line(self._path)
        if begin is not None and begin.n < head.n:
            self._move(self._data.parent / head.file)
        return not self._data.exists()

    def go_on(self, fd: int, boundary: int) -> None:
        """A file was opened, in which a record ends at `boundary`: go on with its seals, or begin them."""
        self.forget_fed()
        last = last_line(self._path)
        match last:
            case Begin():
                self._n, self._chain, self.sealed = last.n, last.chain, 0
                return
            case Sealed(seal=seal) if seal.end <= boundary and _is_there(fd, seal):
                self._n, self._chain, self._last, self.sealed = seal.n, last.chain, seal.last, seal.end
                return
            case _:
                self._begin_anew(last)

    def _begin_anew(self, last: Sealed | None) -> None:
        """There are no seals, or they are those of another file."""
        if self._path.exists():
            aside = self._data.with_name(f"{self._data.name}.{last.seal.n if last else 0}{CHAIN}")
            log.error("a file is not what was sealed: moved, cut or altered", file=str(self._data), seals=str(aside))
            self._path.rename(aside)
        self._n, self._chain = self._newest(last)
        self.sealed = 0
        stream = self._data.name
        append_durably(self._path, begin_line(Begin(stream, self._n, self._chain, self._clock.now_ms())))

    def _newest(self, last: Sealed | None) -> tuple[int, str]:
        """The end of the stream, as far as anything tells it."""
        known = [(0, GENESIS)]
        if self._heads.last is not None:
            known.append((self._heads.last.n, self._heads.last.chain))
        before = rotated(self._data)
        ends = (last, last_line(before[-1].chain) if before else None)
        known += [(read.seal.n, read.chain) for read in ends if isinstance(read, Sealed)]
        return max(known)

    # -- sealing

    def feed(self, data: bytes) -> None:
        """These whole records were appended to the file."""
        if self._fed_bytes + len(data) > FED_BYTES:
            self.forget_fed()
        self._fed.append(data)
        self._fed_bytes += len(data)

    def forget_fed(self) -> None:
        """What is in the file is not known any more."""
        self._fed, self._fed_bytes, self._knows = [], 0, False

    def seal(self, fd: int, upto: int) -> None:
        """Seal what the file has up to a byte at which a record ends; it must be on the disk already."""
        lines: list[bytes] = []
        n, chain, sealed, last, left = self._n, self._chain, self.sealed, self._last, AT_ONCE_BYTES
        while sealed < upto and left > 0:
            data = self._fed_up_to(upto) if not lines else None
            data = data or self._read(fd, sealed, upto)
            if not data:
                break
            seal = self._seal_of(data, n + 1, sealed)
            line, chain = seal_line(seal, chain)
            lines.append(line)
            n, sealed, last, left = seal.n, seal.end, seal.last or last, left - len(data)
        if lines:
            append_durably(self._path, b"".join(lines))
            self._n, self._chain, self.sealed, self._last = n, chain, sealed, last
            self.forget_fed()
            self._knows = sealed == upto

    def _fed_up_to(self, upto: int) -> bytes | None:
        if self._knows and self.sealed + self._fed_bytes == upto:
            return b"".join(self._fed)
        return None

    def _read(self, fd: int, start: int, upto: int) -> bytes:
        data = os.pread(fd, min(PIECE_BYTES, upto - start), start)
        if start + len(data) < upto:
            whole = data.rfind(self._records.end)
            data = data[: whole + len(self._records.end)] if whole >= 0 else data
        return data

    def _seal_of(self, data: bytes, n: int, start: int) -> Seal:
        records = split(data, self._records.end)
        numbers = [self._number(record) for record in (records[0], records[-1])]
        return Seal(
            n=n,
            start=start,
            end=start + len(data),
            records=len(records),
            first=numbers[0],
            last=numbers[1],
            at_ms=self._clock.now_ms(),
            sha256=hashlib.sha256(data).hexdigest(),
            marks=b64encode(marks_of(records)).decode(),
        )

    def _number(self, record: bytes) -> int:
        return self._records.number(record.removesuffix(self._records.end)) or 0

    # -- heads

    def tick(self) -> None:
        """Sign a head when it is time and there is something new."""
        if self._clock.monotonic_s() - self._headed_s >= self._every_s:
            self._sign("time")

    def stop(self) -> None:
        """Sign what there is: nobody watches from now on."""
        self._sign("stopped")

    def _sign(self, why: Why, file: str = "") -> None:
        self._headed_s = self._clock.monotonic_s()
        signed = self._heads.last.n if self._heads.last is not None else 0
        if why == "rotated" or signed < self._n:
            self._heads.add(Head(self._data.name, self._n, self._chain, self._last, self._clock.now_ms(), why, file))

    def rotate(self, day: date) -> None:
        """Bring the file, which is sealed to its end, to its place among those of a day."""
        target = place_for(self._data, day)
        target.parent.mkdir(mode=0o750, parents=True, exist_ok=True)
        self._sign("rotated", str(target.relative_to(self._data.parent)))
        self._move(target)

    def _move(self, target: Path) -> None:
        if not target.exists() and not target.with_name(target.name + PACKED).exists():
            self._data.rename(target)
        self._path.rename(target.with_name(target.name + CHAIN))
        sync_folder(target.parent)
        sync_folder(self._data.parent)


def _is_there(fd: int, seal: Seal) -> bool:
    """Whether a file still has what a seal covers."""
    digest = hashlib.sha256()
    place = seal.start
    while place < seal.end and (data := os.pread(fd, min(PIECE_BYTES, seal.end - place), place)):
        digest.update(data)
        place += len(data)
    return digest.hexdigest() == seal.sha256
