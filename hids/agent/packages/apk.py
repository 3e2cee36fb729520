"""Apk's database: one file. Blocks."""

import os
from collections.abc import Iterator
from pathlib import Path

from hids.agent.packages.database import is_locked, lines, stamp
from hids.core.syscheck.packages import Owned, Package, apk_installed, is_below


class Apk:
    """`/lib/apk/db`."""

    name = "apk"

    def __init__(self, folder: Path = Path("/lib/apk/db"), root: str = "") -> None:
        """`root`: where the packages are installed, if it is not `/` (`apk --root`)."""
        self._file = folder / "installed"
        self._lock = folder / "lock"
        self._root = os.fsencode(root)

    def token(self) -> object:
        """The file is written anew each time."""
        return stamp(self._file)

    def packages(self) -> dict[str, Package]:
        """By their names."""
        return {package.name: package for package, _ in self._read()}

    def owned(self, key: str, package: Package, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """Paths with their SHA-1."""
        for each, files in self._read():
            if each.name == key:
                yield from (file for file in files if is_below(file.path, roots))

    def claims(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        """Reads it through."""
        return (each for _, files in self._read() for each in files if each.path in paths)

    def is_busy(self) -> bool:
        """Apk holds its lock."""
        return is_locked(self._lock)

    def _read(self) -> Iterator[tuple[Package, tuple[Owned, ...]]]:
        try:
            at_ms = self._file.stat().st_mtime_ns // 1_000_000
        except OSError:
            return
        for package, files in apk_installed(lines(self._file), at_ms):
            yield package, tuple(each._replace(path=self._root + each.path) for each in files)
