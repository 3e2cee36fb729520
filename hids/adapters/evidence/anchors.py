"""Anchors: seals and heads in a place that whoever owns this machine cannot change.

A file, on another machine's mount say, gets all seals and heads: against it the very record that was altered can be named.
A command gets the signed heads on its standard input, one a line: to send them by mail, or to another host's syslog.
"""

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from hids.adapters.evidence.heads import MODE, whole_lines
from hids.adapters.evidence.verify import ARCHIVE, RETIRED, parts_of
from hids.adapters.files import write_atomically
from hids.core.evidence import GENESIS, Begin, Damaged, Sealed, begin_line, read_line
from hids.errors import StoreError

COMMAND_S = 60.0
AT_ONCE_BYTES = 16 * 1024 * 1024
"""One round carries so much of a stream at most."""


class Place(msgspec.Struct):
    """How far an anchor has come."""

    seals: dict[str, int] = {}
    """Stream -> number of its last seal there."""
    heads: dict[str, int] = {}
    """File of heads -> how many of its bytes are there."""


class Anchor(Protocol):
    """Where seals and heads go."""

    name: str
    takes_seals: bool

    def take(self, lines: bytes) -> None:
        """Keep these lines; StoreError when it does not."""
        ...


class FileAnchor:
    """Adds to a file, and never does anything else to it: it may be append-only (chattr +a)."""

    takes_seals = True

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self._path = path

    def take(self, lines: bytes) -> None:
        """Add the lines to the file, durably. A line that a crash tore is ended first; `verify` passes over it."""
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, MODE)
            try:
                size = os.fstat(fd).st_size
                if size and os.pread(fd, 1, size - 1) != b"\n":
                    lines = b"\n" + lines
                while lines:
                    lines = lines[os.write(fd, lines) :]
                os.fdatasync(fd)
            finally:
                os.close(fd)
        except OSError as error:
            raise StoreError(f"{self._path}: cannot add to this anchor: {error.strerror}") from error


class CommandAnchor:
    """Runs a command for each round of heads."""

    takes_seals = False

    def __init__(self, argv: Sequence[str]) -> None:
        self.name = argv[0]
        self._argv = tuple(argv)

    def take(self, lines: bytes) -> None:
        """Give the lines to the command; it must end with status 0."""
        try:
            done = subprocess.run(self._argv, input=lines, capture_output=True, timeout=COMMAND_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise StoreError(f"{self.name}: cannot be run: {error}") from error
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip()[:200]
            raise StoreError(f"{self.name}: ended with status {done.returncode}: {said}")


class Anchoring:
    """Brings what is new to one anchor. For one thread."""

    def __init__(self, anchor: Anchor, evidence: Path, streams: Sequence[Path], cursor: Path) -> None:
        self._anchor = anchor
        self._evidence = evidence
        self._streams = streams
        self._cursor = cursor

    def run(self) -> list[str]:
        """One round; nothing is to be told of it.

        Raises:
            StoreError: the anchor did not take it; it gets the same again.
        """
        place = self._load()
        try:
            lines = b"".join(self.news(place))
        except OSError as error:
            raise StoreError(f"{self._evidence}: cannot be read: {error.strerror}") from error
        if lines:
            self._anchor.take(lines)
            write_atomically(self._cursor, msgspec.json.encode(place))
        return []

    def news(self, place: Place) -> Iterator[bytes]:
        """What the anchor lacks behind `place`, which is moved."""
        for stream in self._streams:
            if self._anchor.takes_seals:
                yield from self._seals(stream, place)
            yield from self._heads(self._evidence / f"{stream.name}.heads", place)
        for name in (ARCHIVE, RETIRED):
            yield from self._heads(self._evidence / name, place)

    def _seals(self, stream: Path, place: Place) -> Iterator[bytes]:
        done, size, told = place.seals.get(stream.name, 0), 0, False
        for part in parts_of(stream):
            if part.n <= done:
                continue
            for line in whole_lines(part.chain):
                try:
                    read = read_line(line)
                except Damaged:
                    break  # `verify` tells it
                if not isinstance(read, Sealed) or read.seal.n <= done:
                    continue
                if not told:
                    told = True
                    yield begin_line(Begin(stream.name, read.seal.n - 1, GENESIS, read.seal.at_ms))
                yield line + b"\n"
                done, size = read.seal.n, size + len(line)
                if size > AT_ONCE_BYTES:
                    break
        place.seals[stream.name] = done

    def _heads(self, path: Path, place: Place) -> Iterator[bytes]:
        for line in whole_lines(path, place.heads.get(path.name, 0)):
            place.heads[path.name] = place.heads.get(path.name, 0) + len(line) + 1
            yield line + b"\n"

    def _load(self) -> Place:
        try:
            return msgspec.json.decode(self._cursor.read_bytes(), type=Place)
        except (FileNotFoundError, msgspec.MsgspecError):
            return Place()
        except OSError as error:
            raise StoreError(f"{self._cursor}: cannot be read: {error.strerror}") from error


def export(evidence: Path, streams: Sequence[Path]) -> Iterator[bytes]:
    """All seals and heads there are, as an anchor would have them."""
    anchoring = Anchoring(FileAnchor(evidence), evidence, streams, evidence / "none")
    place = Place()
    while news := list(anchoring.news(place)):
        yield from news
