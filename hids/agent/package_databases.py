"""The databases of dpkg, rpm and apk on this host: what is installed, what it owns, whether it is being changed. Blocks.

Of a package manager at work nobody can say what is whose: its files are written before its database. `is_busy` tells.
"""

import contextlib
import fcntl
import os
import shutil
import struct
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol

import structlog

from hids.core.syscheck.packages import (
    RPM_FILES,
    RPM_PACKAGES,
    DpkgEntry,
    Owned,
    Package,
    apk_installed,
    dpkg_list,
    dpkg_status,
    dpkg_sums,
    is_below,
    rpm_files,
    rpm_packages,
)

log = structlog.get_logger()

MAX_DATABASE_BYTES = 512 * 1024**2
"""Larger ones are not read: dpkg's status of a large desktop has 10 MB."""
RPM_S = 120.0
_FLOCK = "@hhqqi"
"""struct flock of Linux on 64 bits: type, whence, start, length, pid."""


class PackageDatabase(Protocol):
    """One package manager."""

    name: str

    def token(self) -> object:
        """Differs when something may have changed; cheap."""
        ...

    def packages(self) -> dict[str, Package]:
        """What is installed, by key."""
        ...

    def owned(self, key: str, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """What a package owns below some directories."""
        ...

    def is_busy(self) -> bool:
        """Whether it is being changed right now."""
        ...


class Dpkg:
    """`/var/lib/dpkg`. Its lists name what a package owns, its sums the MD5 of what is no conffile."""

    name = "dpkg"

    def __init__(self, folder: Path = Path("/var/lib/dpkg"), root: str = "") -> None:
        """`root`: where the packages are installed, if it is not `/` (`dpkg --instdir`)."""
        self._folder = folder
        self._info = folder / "info"
        self._root = os.fsencode(root)
        self._status: dict[str, DpkgEntry] = {}
        self._status_token: object = None

    def token(self) -> object:
        """A list that is written anew moves the folder's time."""
        return _stamp(self._folder / "status"), _stamp(self._info)

    def packages(self) -> dict[str, Package]:
        """By the name of their files in info."""
        self._read_status()
        result: dict[str, Package] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._info) as entries:
            for entry in entries:
                if entry.name.endswith(".list"):
                    key = entry.name.removesuffix(".list")
                    info = entry.stat()
                    known = self._status.get(key)
                    stamp = f"{info.st_mtime_ns} {info.st_ino} {info.st_size} {known.version if known else ''}"
                    result[key] = Package(
                        known.name if known else key,
                        known.version if known else "",
                        stamp,
                        info.st_mtime_ns // 1_000_000,
                    )
        return result

    def owned(self, key: str, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """Paths with their sums; conffiles with those that the package brought."""
        inside = tuple(root.removeprefix(self._root) for root in roots if root.startswith(self._root))
        paths = list(dpkg_list(_content(self._info / f"{key}.list"), inside))
        if not paths:
            return
        sums = dict(dpkg_sums(_lines(self._info / f"{key}.md5sums")))
        known = self._status.get(key)
        conffiles = {each.path: each for each in known.conffiles} if known is not None else {}
        for path in paths:
            each = conffiles.get(path) or Owned(path, sums.get(path, ""))
            yield each._replace(path=self._root + path)

    def is_busy(self) -> bool:
        """Dpkg holds its lock."""
        return _is_locked(self._folder / "lock")

    def _read_status(self) -> None:
        token = _stamp(self._folder / "status")
        if token == self._status_token:
            return
        self._status = {}
        for entry in dpkg_status(_lines(self._folder / "status")):
            self._status[entry.name] = entry
            self._status[f"{entry.name}:{entry.architecture}"] = entry
        self._status_token = token


class Apk:
    """`/lib/apk/db`."""

    name = "apk"

    def __init__(self, folder: Path = Path("/lib/apk/db")) -> None:
        self._file = folder / "installed"
        self._lock = folder / "lock"

    def token(self) -> object:
        """The file is written anew each time."""
        return _stamp(self._file)

    def packages(self) -> dict[str, Package]:
        """By their names."""
        return {package.name: package for package, _ in self._read()}

    def owned(self, key: str, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """Paths with their SHA-1."""
        for package, files in self._read():
            if package.name == key:
                yield from (each for each in files if is_below(each.path, roots))

    def is_busy(self) -> bool:
        """Apk holds its lock."""
        return _is_locked(self._lock)

    def _read(self) -> Iterator[tuple[Package, tuple[Owned, ...]]]:
        try:
            at_ms = self._file.stat().st_mtime_ns // 1_000_000
        except OSError:
            return
        yield from apk_installed(_lines(self._file), at_ms)


class Rpm:
    """What `rpm` tells."""

    name = "rpm"

    def __init__(self, program: str, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._packages: dict[str, str] = {}
        """Key -> number in the database."""

    def token(self) -> object:
        """Whichever file holds the database."""
        return tuple(
            _stamp(self._folder / name) for name in ("rpmdb.sqlite", "rpmdb.sqlite-wal", "Packages.db", "Packages")
        )

    def packages(self) -> dict[str, Package]:
        """By name, architecture and number: several versions may be there."""
        return {
            f"{package.name} {number}": package
            for number, package in rpm_packages(self._ask("-qa", "--qf", RPM_PACKAGES))
        }

    def owned(self, key: str, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """Paths with their digests and targets."""
        number = key.rpartition(" ")[2]
        files = rpm_files(self._ask("-q", "--qf", RPM_FILES, "--querybynumber", number))
        yield from (each for each in files if is_below(each.path, roots))

    def is_busy(self) -> bool:
        """Rpm holds its lock."""
        return _is_locked(self._folder / ".rpm.lock")

    def _ask(self, *arguments: str) -> Sequence[bytes]:
        try:
            done = subprocess.run(
                [self._program, "--dbpath", str(self._folder), *arguments],
                capture_output=True,
                stdin=subprocess.DEVNULL,
                timeout=RPM_S,
                check=False,
                env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            log.warning("rpm does not answer: no change of a file is explained", reason=str(error))
            return ()
        return done.stdout.splitlines()


def databases() -> list[PackageDatabase]:
    """Those of this host. Dpkg's is where dpkg itself would look (DPKG_ADMINDIR, DPKG_ROOT)."""
    found: list[PackageDatabase] = []
    dpkg = Path(os.environ.get("DPKG_ADMINDIR") or "/var/lib/dpkg")
    if (dpkg / "status").exists():
        found.append(Dpkg(dpkg, os.environ.get("DPKG_ROOT", "").rstrip("/")))
    if Path("/lib/apk/db/installed").exists():
        found.append(Apk())
    program = shutil.which("rpm")
    for folder in (Path("/usr/lib/sysimage/rpm"), Path("/var/lib/rpm")):
        if program is not None and any(
            (folder / name).exists() for name in ("rpmdb.sqlite", "Packages", "Packages.db")
        ):
            found.append(Rpm(program, folder))
            break
    return found


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        info = path.stat()
    except OSError:
        return 0, 0, 0
    return info.st_mtime_ns, info.st_ino, info.st_size


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read() if os.fstat(file.fileno()).st_size <= MAX_DATABASE_BYTES else b""
    except OSError:
        return b""


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size <= MAX_DATABASE_BYTES:
                yield from file
    except OSError:
        return


def _is_locked(path: Path) -> bool:
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
