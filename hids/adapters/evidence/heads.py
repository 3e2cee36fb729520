"""The signed heads of one stream: a file to which lines are added, the newest last. One process writes it."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from hids.adapters.evidence.key import EvidenceKey
from hids.core.evidence import Begin, Damaged, Head, Sealed, head_bytes, head_line, read_head, read_line

MODE = 0o640
_TAIL = 64 * 1024


class Heads:
    """Adds heads, and knows the last one of each stream. OSError where the disk refuses."""

    def __init__(self, path: Path, key: EvidenceKey) -> None:
        self._path = path
        self._key = key
        self.last: Head | None = None
        for head in read_heads(path):
            self.last = head[0]

    def add(self, head: Head) -> None:
        """Sign a head and bring it to the disk."""
        raw = head_bytes(head)
        append_durably(self._path, head_line(raw, self._key.sign(raw)))
        self.last = head


def append_durably(path: Path, data: bytes) -> None:
    """Add whole lines to a file, after cutting off what a crash tore at its end. When it returns, they are on disk.

    Raises:
        OSError: the disk or the folder refuses.
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
    try:
        size = os.fstat(fd).st_size
        end = _whole(fd, size)
        if end < size:
            os.ftruncate(fd, end)
        written = 0
        while written < len(data):
            written += os.pwrite(fd, data[written:], end + written)
        os.fdatasync(fd)
    finally:
        os.close(fd)


def _whole(fd: int, size: int) -> int:
    """Where the last whole line ends."""
    end = size
    while end > 0:
        start = max(0, end - _TAIL)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            return start + newline + 1
        end = start
    return 0


def read_heads(path: Path) -> Iterator[tuple[Head, bytes, bytes, bytes]]:
    """Heads as (head, signed bytes, signature, line); lines that are none are passed over.

    Raises:
        OSError: the file is there and cannot be read.
    """
    for line in whole_lines(path):
        try:
            yield (*read_head(line), line)
        except Damaged:
            continue


def whole_lines(path: Path, start: int = 0) -> Iterator[bytes]:
    """The whole lines of a file from a byte on, without their newlines; none where there is no file."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(start)
        for line in file:
            if line.endswith(b"\n"):
                yield line[:-1]


def first_line(path: Path) -> Begin | None:
    """The first line beside a file; None: there is none that can be read."""
    for line in whole_lines(path):
        with suppress(Damaged):
            read = read_line(line)
            return read if isinstance(read, Begin) else None
        return None
    return None


def last_line(path: Path) -> Sealed | Begin | None:
    """The last whole line beside a file; None: there is none that can be read."""
    try:
        with path.open("rb") as file:
            size, back = file.seek(0, os.SEEK_END), _TAIL
            while True:
                file.seek(max(0, size - back))
                *lines, _torn = file.read(back).split(b"\n")
                if len(lines) > 1 or back >= size:
                    return read_line(lines[-1]) if lines else None
                back *= 4
    except (FileNotFoundError, Damaged):
        return None
