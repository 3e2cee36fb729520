"""Which options hold for a path: the nearest configured folder above it says so."""

import fnmatch
import hashlib
import os
import re
from collections.abc import Iterable

import msgspec

from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.paths import Excluded

FACTS_VERSION = b"1"
"""Changes when facts say something new of files that did not change: all are looked at again then."""

HASHES = ("sha256", "sha1", "md5")
_EXTENDED = frozenset({"acl", "capabilities", "label", "xattrs"})


class Folder:
    """One configured folder, ready for use."""

    def __init__(self, options: DirectoryConfig, config: SyscheckConfig) -> None:
        self.path = os.path.realpath(options.path)
        self.realtime = config.realtime if options.realtime is None else options.realtime
        self.whodata = config.whodata if options.whodata is None else options.whodata
        self.realtime |= self.whodata  # who did it is asked for what changes now
        self.report_changes = options.report_changes
        self.recursion = options.recursion
        self.checks = frozenset(options.check)
        self.hashes = tuple(name for name in HASHES if name in self.checks)
        self.extended = bool(self.checks & _EXTENDED)
        self.unchecked = _unchecked(self.checks)
        self.stamp = _stamp(options, config)
        """Differs (8 bytes) when files must be looked at again because they are looked at in another way."""
        self._restrict = _compiled(options.restrict)
        self._growing = _globs(options.growing)
        self._ignored = (*_globs((*config.ignore, *options.ignore)), *_compiled(config.ignore_regex))
        self._nodiff = _globs(config.nodiff)

    def is_ignored(self, path: str) -> bool:
        """Whether a path is left out, with all below it."""
        return _matches(self._ignored, path)

    @property
    def takes_all(self) -> bool:
        """Whether no pattern leaves out anything here."""
        return not self._ignored and not self._restrict

    def is_restricted(self, path: str) -> bool:
        """Whether a path that is no directory is left out because no expression of `restrict` is in it."""
        return bool(self._restrict) and not _matches(self._restrict, path)

    def is_growing(self, path: str) -> bool:
        """Whether a file may grow at its end."""
        return _matches(self._growing, path)

    def may_show(self, path: str) -> bool:
        """Whether what changed inside a file may be kept and told."""
        return self.report_changes and not _matches(self._nodiff, path)

    def depth(self, directory: str) -> int:
        """Levels of a directory below this folder."""
        return directory[len(self.path.rstrip("/")) :].count("/")


class Folders:
    """All configured folders."""

    def __init__(self, config: SyscheckConfig, excluded: Excluded) -> None:
        self._excluded = excluded
        self._by_path = {folder.path: folder for options in config.folders if (folder := Folder(options, config))}
        self.roots = outermost(self._by_path)
        """The folders that do not lie below others."""

    def of(self, directory: str) -> Folder:
        """The folder whose options hold for what is right in a directory, which is a root or below one."""
        here = directory
        while here not in self._by_path and here != "/":
            here = os.path.dirname(here)
        return self._by_path[here]

    def leaves_out(self, folder: Folder, path: str, *, is_dir: bool) -> bool:
        """Whether a path is not looked at."""
        if folder.is_ignored(path):
            return True
        return path in self._excluded.folders if is_dir else folder.is_restricted(path)

    def has(self, path: str) -> bool:
        """Whether a path is a root or below one."""
        return any(_is_in(path, root) for root in self.roots)

    def below(self, directory: str) -> list[str]:
        """The configured folders below a directory that is not gone through, but for those that lie below others."""
        beginning = directory.rstrip("/") + "/"
        return outermost(path for path in self._by_path if path.startswith(beginning))

    @property
    def live_roots(self) -> list[str]:
        """Of `roots`, those in which anything is watched in real time."""
        live = [path for path, folder in self._by_path.items() if folder.realtime]
        return [root for root in self.roots if any(_is_in(path, root) for path in live)]

    @property
    def who_roots(self) -> list[str]:
        """The folders for which it is asked who changes what is in them."""
        return [path for path, folder in self._by_path.items() if folder.whodata]

    @property
    def asks_who(self) -> bool:
        """Whether there are any."""
        return bool(self.who_roots)

    @property
    def watches(self) -> bool:
        """Whether any folder is watched in real time."""
        return any(folder.realtime for folder in self._by_path.values())


def outermost(directories: Iterable[str]) -> list[str]:
    """The directories with links resolved, without those that lie below others."""
    real = sorted({os.path.realpath(directory) for directory in directories})
    kept: list[str] = []
    for path in real:
        if not any(path.startswith(other.rstrip("/") + "/") for other in kept):
            kept.append(path)
    return kept


def _is_in(path: str, root: str) -> bool:
    return path == root or path.startswith(root.rstrip("/") + "/")


def _stamp(options: DirectoryConfig, config: SyscheckConfig) -> bytes:
    # What is told of a change does not alter what a file is.
    looked = {name: value for name, value in msgspec.structs.asdict(options).items() if name != "whodata"}
    parts = (looked, config.ignore, config.ignore_regex, config.max_file_bytes, config.prefilter_cmd)
    return hashlib.blake2b(FACTS_VERSION + msgspec.msgpack.encode(parts), digest_size=8).digest()


def _unchecked(checks: frozenset[str]) -> tuple[str, ...]:
    """What alerts must not show as if it had been looked at. Weak hashes are only shown where there are some."""
    shown = ("size", "permissions", "owner", "group", "mtime", "inode")
    return tuple(name for name in shown if name not in checks)


def _matches(patterns: tuple[re.Pattern[str], ...], path: str) -> bool:
    return any(pattern.search(path) for pattern in patterns)


def _globs(globs: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    """One expression for all of them; `translate` binds the end, this binds the start."""
    return (re.compile(r"\A(?:" + "|".join(fnmatch.translate(glob) for glob in globs) + ")"),) if globs else ()


def _compiled(expressions: tuple[str, ...]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(expression) for expression in expressions)
