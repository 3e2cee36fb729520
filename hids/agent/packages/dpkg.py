"""Dpkg's database, and the links of `update-alternatives` beside it. Blocks."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from hids.agent.packages.database import content, holds, is_locked, lines, stamp
from hids.core.syscheck.packages import (
    DpkgEntry,
    Owned,
    Package,
    alternative_links,
    dpkg_conffiles,
    dpkg_list,
    dpkg_status,
    dpkg_sums,
    is_below,
)


class Dpkg:
    """`/var/lib/dpkg`. Its lists name what a package owns, its sums the MD5 of what is no conffile."""

    name = "dpkg"

    def __init__(self, folder: Path = Path("/var/lib/dpkg"), root: str = "") -> None:
        """`root`: where the packages are installed, if it is not `/` (`dpkg --instdir`)."""
        self._folder = folder
        self._info = folder / "info"
        self._root = os.fsencode(root)

    def token(self) -> object:
        """A list that is written anew moves the folder's time."""
        return stamp(self._folder / "status"), stamp(self._info)

    def packages(self) -> dict[str, Package]:
        """By the name of their files in info."""
        entries = self._status()
        result: dict[str, Package] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._info) as found:
            for file in found:
                if file.name.endswith(".list"):
                    key = file.name.removesuffix(".list")
                    info = file.stat()
                    known = entries.get(key) or DpkgEntry(key, "", "", ())
                    result[key] = Package(
                        known.name,
                        known.version,
                        f"{info.st_mtime_ns} {info.st_ino} {info.st_size} {known.version}",
                        info.st_mtime_ns // 1_000_000,
                        known.conffiles,
                    )
        return result

    def owned(self, key: str, package: Package, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """Paths with their sums; conffiles with those that the package brought."""
        inside = tuple(root.removeprefix(self._root) for root in roots if root.startswith(self._root))
        paths = dict.fromkeys(dpkg_list(content(self._info / f"{key}.list"), inside), "")
        if not paths:
            return
        for path, digest in dpkg_sums(lines(self._info / f"{key}.md5sums")):
            if path in paths:
                paths[path] = digest
        conffiles = {each.path: each for each in package.conffiles}
        for path, digest in paths.items():
            each = conffiles.get(path) or Owned(path, digest)
            yield each._replace(path=self._root + path)

    def claims(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        """With a sum where dpkg has one, else from the lists."""
        inside = tuple(path.removeprefix(self._root) for path in paths if path.startswith(self._root))
        found = list(self._with_sums(inside)) or list(self._listed(inside))
        return (each._replace(path=self._root + each.path) for each in found)

    def is_busy(self) -> bool:
        """Dpkg holds its lock."""
        return is_locked(self._folder / "lock")

    def _status(self) -> dict[str, DpkgEntry]:
        entries: dict[str, DpkgEntry] = {}
        for entry in dpkg_status(lines(self._folder / "status")):
            entries[entry.name] = entry
            entries[f"{entry.name}:{entry.architecture}"] = entry
        return entries

    def _with_sums(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        """A thousand files are searched and not parsed: few questions are asked."""
        endings = [b"  %b\n" % path.removeprefix(b"/") for path in paths]
        for file in self._info.glob("*.md5sums"):
            if holds(file, endings):
                yield from (Owned(path, digest) for path, digest in dpkg_sums(lines(file)) if path in paths)
        yield from dpkg_conffiles(lines(self._folder / "status"), paths)

    def _listed(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        files = list(self._info.glob("*.list"))
        return (Owned(path) for path in paths if any(holds(file, [b"\n%b\n" % path]) for file in files))


class Alternatives:
    """Links that `update-alternatives` sets, for scripts of Debian's packages mostly. They are a package's if what they lead to is."""

    name = "alternatives"

    def __init__(self, folder: Path, root: str = "") -> None:
        """`root` as for `Dpkg`."""
        self._folder = folder
        self._root = os.fsencode(root)

    def token(self) -> object:
        """A file that is written anew moves the folder's time."""
        return stamp(self._folder)

    def packages(self) -> dict[str, Package]:
        """One for each name."""
        result: dict[str, Package] = {}
        with contextlib.suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                info = entry.stat()
                written = f"{info.st_mtime_ns} {info.st_ino} {info.st_size}"
                result[entry.name] = Package(
                    f"alternatives of {entry.name}", "", written, info.st_mtime_ns // 1_000_000
                )
        return result

    def owned(self, key: str, package: Package, roots: tuple[bytes, ...]) -> Iterator[Owned]:
        """The links of a name."""
        for each in alternative_links(lines(self._folder / key), os.fsencode(key)):
            path = self._root + each.path
            if is_below(path, roots):
                yield each._replace(path=path)

    def claims(self, paths: tuple[bytes, ...]) -> Iterator[Owned]:
        """None: nothing but links, whose content nobody answers for."""
        return iter(())

    def is_busy(self) -> bool:
        """It is done in a moment; where a package does it, dpkg's lock is held."""
        return False
