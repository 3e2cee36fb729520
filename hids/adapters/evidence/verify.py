"""Verify: are the files what was sealed, the seals what was signed, and both what the anchors have?

A piece that is what was sealed costs reading it and one SHA-256; only for one that is not its records are looked at. Files
are checked side by side, on all cores.
"""

import gzip
import hashlib
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
from itertools import chain as concatenated
from pathlib import Path
from typing import BinaryIO, NamedTuple, cast

import msgspec

from hids.adapters.evidence.heads import first_line, last_line, read_heads, whole_lines
from hids.adapters.evidence.key import is_signed
from hids.adapters.evidence.streams import records_of
from hids.adapters.rotated import CHAIN, PACKED, rotated
from hids.core.evidence import (
    GENESIS,
    Begin,
    Damaged,
    Head,
    Seal,
    Sealed,
    first_altered,
    read_chain,
    read_head,
    read_line,
    split,
)
from hids.errors import StoreError

RETIRED = "retired.heads"
"""Heads of files that were removed since their time was over."""
ARCHIVE = "archive.heads"
"""Heads of the archive of events (hids.adapters.event_archive)."""

ALONE_BYTES = 64 * 1024 * 1024
"""Less than this is checked in one process: starting others takes longer."""

_COUNT_BYTES = 1024 * 1024


class Problem(msgspec.Struct, frozen=True):
    """Something that is not what it was. The place is as exact as the seals allow."""

    stream: str
    file: str
    what: str
    line: int = 0
    """1-based; 0: no single line."""
    alert: int = 0
    """Number of the alert; 0: none, or not known."""
    seal: int = 0

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {f'alert {self.alert}: ' if self.alert else ''}{self.what}"


class Part(msgspec.Struct, frozen=True):
    """A file and its seals."""

    data: Path
    """As it lies there; the name that it would have where it is gone."""
    chain: Path
    after: int
    """Seals of the stream before it."""
    before: str
    """The chain value there."""
    n: int
    chain_value: str
    last_ms: int
    """When its last seal was made."""
    open: bool
    """It is still written to."""


class FileCheck(msgspec.Struct, frozen=True):
    """What was found of one file."""

    stream: str
    file: str
    bytes: int
    records: int
    seals: int
    unsealed: int
    """Bytes behind the last seal, in a file that is still written to."""
    problem: Problem | None


class Verdict(msgspec.Struct, frozen=True):
    """What was found of everything."""

    problems: tuple[Problem, ...]
    files: int
    bytes: int
    records: int
    seals: int
    heads: int
    """Signatures that were checked."""
    anchored: int
    """Lines of anchors that were compared."""


def check_file(stream: Path, data: Path, chain: Path, *, is_open: bool = False) -> FileCheck:
    """Compare one file, packed or not, with its seals.

    Raises:
        OSError: it cannot be read.
    """
    done = seals = count = 0
    problem = None
    extra = 0
    with _open(data) as file:
        try:
            for read in read_chain(whole_lines(chain)):
                if isinstance(read, Begin):
                    continue
                seal = read.seal
                piece = file.read(seal.end - seal.start) if seal.start == done else b""
                if hashlib.sha256(piece).hexdigest() != seal.sha256:
                    problem = _altered(stream.name, data, seal, piece)
                    break
                done, seals, count = seal.end, seals + 1, count + seal.records
            else:
                extra = _rest(file)
        except Damaged as error:
            problem = Problem(stream.name, str(chain), f"the seals were altered: {error}")
        except (EOFError, gzip.BadGzipFile, OSError) as error:
            if data.suffix != PACKED:
                raise
            problem = Problem(stream.name, str(data), f"cannot be unpacked behind byte {done}: {error}")
    if problem is None and extra and not is_open:
        problem = Problem(stream.name, str(data), f"{extra} bytes were added behind what is sealed")
    if problem is None and not seals and not is_open:
        problem = Problem(stream.name, str(chain), "there are no seals")
    return FileCheck(stream.name, str(data), done, count, seals, extra, problem)


def verify(
    evidence: Path,
    streams: Sequence[Path],
    public: str,
    *,
    since: date | None = None,
    anchors: Sequence[Path] = (),
    processes: int = 0,
) -> Verdict:
    """Verify everything.

    Args:
        evidence: the folder with the heads.
        streams: the files that are written to now; what was put away of them is found.
        public: the public key, hex.
        since: of earlier days only the seals' ends are looked at.
        anchors: copies of seals and heads from elsewhere.
        processes: at once; 0: one a core.

    Raises:
        StoreError: something cannot be read.
    """
    try:
        return _verify(evidence, streams, public, since, anchors, processes or os.cpu_count() or 1)
    except OSError as error:
        raise StoreError(f"{error.filename or evidence}: cannot be read: {error.strerror or error}") from error


def _verify(
    evidence: Path, streams: Sequence[Path], public: str, since: date | None, anchors: Sequence[Path], processes: int
) -> Verdict:
    problems: list[Problem] = []
    parts = {stream: parts_of(stream) for stream in streams}
    work = [
        (stream, part) for stream in streams for part in parts[stream] if since is None or _day(part.last_ms) >= since
    ]
    checks = list(_check_all(work, processes))
    heads = anchored = 0
    for stream in streams:
        problems += [check.problem for check in checks if check.stream == stream.name and check.problem is not None]
        signed: dict[int, Head] = {}
        retired: list[Head] = []
        for path in (evidence / f"{stream.name}.heads", evidence / RETIRED):
            for head, raw, signature, _ in read_heads(path):
                if head.stream != stream.name:
                    continue
                heads += 1
                if not is_signed(public, raw, signature):
                    text = f"the head signed at {_when(head.at_ms)} is not of this key"
                    problems.append(Problem(stream.name, str(path), text, seal=head.n))
                elif head.why == "retired":
                    retired.append(head)
                else:
                    signed[head.n] = head
        problems += _unbroken(stream, parts[stream], retired)
        problems += _as_signed(stream, parts[stream], signed)
        for anchor in anchors:
            found, compared = _against(stream, parts[stream], anchor, public)
            problems += found
            anchored += compared
    return Verdict(
        tuple(problems),
        len(checks),
        sum(check.bytes for check in checks),
        sum(check.records for check in checks),
        sum(check.seals for check in checks),
        heads,
        anchored,
    )


def parts_of(stream: Path) -> list[Part]:
    """All files of a stream that have seals, in their order."""
    found: list[Part] = []
    for old in rotated(stream):
        if old.chain.exists():
            found += _part(old.there or old.path, old.chain, is_open=False)
    for aside in stream.parent.glob(f"{stream.name}.*{CHAIN}"):
        found += _part(stream, aside, is_open=False)
    found += _part(stream, stream.with_name(stream.name + CHAIN), is_open=True)
    return sorted(found, key=lambda part: (part.after, part.n))


def _part(data: Path, chain: Path, *, is_open: bool) -> Iterator[Part]:
    begin, last = first_line(chain), last_line(chain)
    if begin is not None:
        sealed = last if isinstance(last, Sealed) else None
        n, value, at_ms = (
            (sealed.seal.n, sealed.chain, sealed.seal.at_ms) if sealed else (begin.n, begin.chain, begin.at_ms)
        )
        yield Part(data, chain, begin.n, begin.chain, n, value, at_ms, is_open)


def _check_all(work: Sequence[tuple[Path, Part]], processes: int) -> Iterator[FileCheck]:
    sizes = [part.data.stat().st_size if part.data.exists() else 0 for _, part in work]
    if processes == 1 or len(work) == 1 or sum(sizes) < ALONE_BYTES:
        yield from map(_check_part, work)
        return
    largest = [work[index] for index in sorted(range(len(work)), key=lambda index: -sizes[index])]
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        checks = {check.file: check for check in pool.map(_check_part, largest)}
    yield from (checks[str(part.data)] for _, part in work)


def _check_part(one: tuple[Path, Part]) -> FileCheck:
    stream, part = one
    for data in (part.data, part.data.with_name(part.data.name + PACKED)):  # it may have been compressed since
        if data.exists():
            with suppress(FileNotFoundError):
                return msgspec.structs.replace(
                    check_file(stream, data, part.chain, is_open=part.open), file=str(part.data)
                )
    gone = Problem(stream.name, str(part.data), f"the file is gone; its seals are {part.after + 1} to {part.n}")
    return FileCheck(stream.name, str(part.data), 0, 0, 0, 0, gone)


def _open(path: Path) -> BinaryIO:
    return cast("BinaryIO", gzip.open(path, "rb")) if path.suffix == PACKED else path.open("rb")


def _rest(file: BinaryIO) -> int:
    total = 0
    while data := file.read(_COUNT_BYTES):
        total += len(data)
    return total


def _altered(stream: str, data: Path, seal: Seal, piece: bytes) -> Problem:
    """Which record of a piece is not what was sealed."""
    records = records_of(stream)
    pieces = split(piece, records.end)
    index = first_altered(seal, pieces) or 0
    before = b"".join(pieces[:index]).count(b"\n")
    line = _newlines(data, seal.start) + before + 1
    counted = seal.last - seal.first + 1 == seal.records
    known = records.number(pieces[index].removesuffix(records.end)) if index < len(pieces) else None
    alert = seal.first + index if counted else known or 0
    what = "this record was altered" if index < len(pieces) else "the record that stood here is gone"
    return Problem(stream, str(data), what, line, alert, seal.n)


def _newlines(path: Path, upto: int) -> int:
    total = 0
    with _open(path) as file:
        while upto > 0 and (data := file.read(min(_COUNT_BYTES, upto))):
            total += data.count(b"\n")
            upto -= len(data)
    return total


def _unbroken(stream: Path, parts: Sequence[Part], retired: Sequence[Head]) -> Iterator[Problem]:
    """Does each file go on from the one before, but for those that were removed in order?"""
    n, value = 0, GENESIS
    went = {head.after: head for head in retired}
    for part in parts:
        while n < part.after and (head := went.get(n)) is not None:
            n, value = head.n, head.chain
        if (n, value) != (part.after, part.before):
            yield Problem(
                stream.name,
                str(part.chain),
                f"goes on from seal {part.after}, but what is there before it ends with seal {n}: files are missing, "
                "or they were altered together with their seals",
                seal=n + 1,
            )
        n, value = part.n, part.chain_value


def _as_signed(stream: Path, parts: Sequence[Part], signed: Mapping[int, Head]) -> Iterator[Problem]:
    """Are the chain values those that were signed?"""
    if not signed:
        return
    newest = max(signed)
    end = parts[-1].n if parts else 0
    if newest > end:
        head = signed[newest]
        yield Problem(
            stream.name,
            str(stream),
            f"ends with seal {end}, but seal {newest}, up to alert {head.last}, was signed at {_when(head.at_ms)}: "
            "what was written last was removed",
            seal=end + 1,
        )
    for part in parts:
        due = {n: head for n, head in signed.items() if part.after < n <= part.n}
        for sealed in _sealed(part.chain) if due else ():
            one = due.get(sealed.seal.n)
            if one is not None and one.chain != sealed.chain:
                text = f"seal {one.n} is not the one that was signed at {_when(one.at_ms)}"
                yield Problem(stream.name, str(part.data), f"{text}: this file was altered up to there", seal=one.n)
                return


def _sealed(chain: Path) -> Iterator[Sealed]:
    """The seals of a file, as far as they can be read."""
    with suppress(Damaged):
        for line in whole_lines(chain):
            read = read_line(line)
            if isinstance(read, Sealed):
                yield read


def _against(stream: Path, parts: Sequence[Part], anchor: Path, public: str) -> tuple[list[Problem], int]:
    """Compare the seals here with those that an anchor has: the first that differs, and how many were compared."""
    compared = 0
    here = concatenated.from_iterable(((part, line) for line in whole_lines(part.chain)) for part in parts)
    mine = ((part, n, line) for part, line in here if (n := _number(line)) is not None)
    part, n, line = next(mine, (None, 0, b""))
    for theirs in _lines_of(anchor, stream.name):
        if isinstance(theirs, _Signed):
            if not is_signed(public, theirs.raw, theirs.signature):
                text = f"the anchor {anchor} has a head of {_when(theirs.head.at_ms)} by another key than the one here"
                return [Problem(stream.name, str(stream), text, seal=theirs.head.n)], compared
            wanted, same = theirs.head.n, b'"chain":"%b"}' % theirs.head.chain.encode()
        else:
            wanted, same = _number(theirs) or 0, theirs
        while part is not None and n < wanted:
            part, n, line = next(mine, (None, n, b""))
        if part is None:
            text = f"the anchor {anchor} has seal {wanted}, which is not here: what was written last was removed"
            return [Problem(stream.name, str(stream), text, seal=wanted)], compared
        if n > wanted:
            continue  # said twice by the anchor, or removed here in order
        compared += 1
        if not line.endswith(same):
            return [_differs(stream, part, anchor, theirs)], compared
    return [], compared


def _differs(stream: Path, part: Part, anchor: Path, theirs: "bytes | _Signed") -> Problem:
    """Name the record that is not what an anchor has."""
    if isinstance(theirs, _Signed):
        text = f"was altered before {_when(theirs.head.at_ms)}, with its seals: the anchor {anchor} has another head"
        return Problem(stream.name, str(part.data), text, seal=theirs.head.n)
    read = read_line(theirs)
    assert isinstance(read, Sealed)  # noqa: S101 - only seals are numbered
    seal = read.seal
    with _open(part.data) as file:
        file.seek(seal.start)
        found = _altered(stream.name, part.data, seal, file.read(seal.end - seal.start))
    return msgspec.structs.replace(found, what=f"{found.what}, and its seals with it: the anchor {anchor} has another")


def _number(line: bytes) -> int | None:
    """The number of a seal's line, read without the rest of it."""
    if not line.startswith(b'{"n":'):
        return None
    try:
        return int(line[5 : line.index(b",")])
    except ValueError:
        return None


class _Signed(NamedTuple):
    head: Head
    raw: bytes
    signature: bytes


def heads_of(anchor: Path, stream: str) -> Iterator[Head]:
    """Heads that an anchor has of a stream."""
    yield from (one.head for one in _lines_of(anchor, stream) if isinstance(one, _Signed))


def _lines_of(anchor: Path, stream: str) -> Iterator[bytes | _Signed]:
    """Seals (as lines) and heads that an anchor has of a stream."""
    mine = False
    for line in whole_lines(anchor):
        if line.startswith(b'{"begin":'):
            with suppress(Damaged):
                read = read_line(line)
                mine = isinstance(read, Begin) and read.begin == stream
        elif line.startswith(b'{"head":'):
            with suppress(Damaged):
                signed = _Signed(*read_head(line))
                if signed.head.stream == stream and signed.head.why != "retired":
                    yield signed
        elif mine and line.startswith(b'{"n":') and line.endswith(b'"}'):  # what a crash tore is no seal
            yield line


def _day(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000).date()  # noqa: DTZ006 - local, as the files are named


def _when(at_ms: int) -> str:
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%dT%H:%M:%SZ}"
