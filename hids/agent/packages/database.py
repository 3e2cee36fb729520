"""What a package manager answers, and how its files are read. Blocks.

Of a package manager at work nobody can say what is whose: its files are written before its database. `is_busy` tells.
"""

import fcntl
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

from hids.core.syscheck.packages import Owned, Package

MAX_FILE_BYTES = 64 * 1024**2
"""Larger files of a database are not read: dpkg's status of a large desktop has 10 MB, the largest list 5 MB."""
_CHUNK = 256 * 1024
_FLOCK = "@hhqqi"
"""struct flock of Linux on 64 bits: type, whence, start, length, pid."""


class PackageDatabase(Protocol):
    """One package manager. It keeps nothing in memory."""

    name: str

    def token(self) -> object:
        """Differs when something may have changed; cheap."""
        ...

    def packages(self) -> dict[str, Package]:
        """What is installed, by key."""
        ...

    def owned(self, key: str, package: Package, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """What a package, as `packages` gave it, owns below some directories."""
        ...

    def claims(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        """What packages say of these very paths, wherever they lie. Searches the database through: some 50 ms."""
        ...

    def is_busy(self) -> bool:
        """Whether it is being changed right now."""
        ...


class Aliases:
    """Links in the root directory, such as /bin, and how a database may therefore call a file."""

    def __init__(self, root: str = "/") -> None:
        """`root`: the directory whose links count; paths are relative to it."""
        self._root = os.fsencode(root.rstrip("/"))
        self._links = self._read()

    def real(self, path: bytes) -> bytes:
        """Where a path really is: /bin and its like may be links into /usr."""
        first = path[: path.find(b"/", 1)] if path.count(b"/") > 1 else path
        target = self._links.get(first)
        return path if target is None else target + path[len(first) :]

    def spellings(self, path: bytes) -> tuple[bytes, ...]:
        """A real path, and all others by which a link leads to it."""
        return (
            path,
            *(
                link + path[len(target) :]
                for link, target in self._links.items()
                if path == target or path.startswith(target + b"/")
            ),
        )

    def links_into(self, path: bytes) -> tuple[bytes, ...]:
        """The links that lead to something below a path."""
        return tuple(link for link, target in self._links.items() if target == path or target.startswith(path + b"/"))

    def _read(self) -> dict[bytes, bytes]:
        links: dict[bytes, bytes] = {}
        with os.scandir(self._root or b"/") as entries:
            for entry in entries:
                if entry.is_symlink():
                    real = os.path.realpath(entry.path)
                    if real.startswith(self._root + b"/"):
                        links[b"/" + entry.name] = real.removeprefix(self._root)
        return links


def stamp(path: Path) -> tuple[int, int, int]:
    """Differs when the file was written; zeros when it is not there."""
    try:
        info = path.stat()
    except OSError:
        return 0, 0, 0
    return info.st_mtime_ns, info.st_ino, info.st_size


def content(path: Path) -> bytes:
    """A file of a database; empty when it cannot be read, or is larger than any is."""
    try:
        with path.open("rb") as file:
            return file.read() if os.fstat(file.fileno()).st_size <= MAX_FILE_BYTES else b""
    except OSError:
        return b""


def lines(path: Path) -> Iterator[bytes]:
    """The same line by line."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= MAX_FILE_BYTES:
                yield from file
    except OSError:
        return


def holds(path: Path, wanted: Sequence[bytes]) -> bool:
    """Whether one of these texts is in a file of a database, which begins with a new line for this. Without taking it into memory."""
    overlap = max(map(len, wanted), default=1)
    text = b"\n"
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                text = text[-overlap:] + chunk
                if any(each in text for each in wanted):
                    return True
    except OSError:
        pass
    return False


def is_locked(path: Path) -> bool:
    """Whether another process holds a lock on a file, fcntl's or flock's."""
    return _is_locked_by_fcntl(path) or _is_in_proc_locks(path)


def _is_locked_by_fcntl(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            question = struct.pack(_FLOCK, fcntl.F_RDLCK, os.SEEK_SET, 0, 0, 0)
            answer = fcntl.fcntl(file.fileno(), fcntl.F_GETLK, question)
    except OSError:
        return False
    kind: int = struct.unpack(_FLOCK, answer)[0]
    return kind != fcntl.F_UNLCK


def _is_in_proc_locks(path: Path) -> bool:
    """Needs no right to open the file."""
    try:
        info = path.stat()
        where = f"{os.major(info.st_dev):02x}:{os.minor(info.st_dev):02x}:{info.st_ino}"
        with Path("/proc/locks").open(encoding="ascii", errors="replace") as locks:
            return any(where in words and "WRITE" in words for words in map(str.split, locks))
    except OSError:
        return False
