"""Looking at files for syscheck: what a path is now, and whether that differs from what was seen before. Blocks."""

import fnmatch
import functools
import grp
import hashlib
import os
import pwd
import re
import stat
from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from hids.agent.paths import Excluded, shown
from hids.messages import FileFact

Seen = Literal["baseline", "scan", "live"]

HASH_CHUNK = 256 * 1024
"""Bytes hashed at a time; hashlib lets other threads run meanwhile."""
HASH_TRIES = 3
"""A file that changes while it is hashed is hashed again, so often at most; its next change is noticed anyway."""


class Known(msgspec.Struct, frozen=True):
    """What was seen of a path, as the spool keeps it."""

    fact: FileFact
    ctime_ns: int


class Change(msgspec.Struct, frozen=True):
    """One path looked at: what is to be remembered, and whether it is news."""

    name: str
    known: Known | None
    """None: it is gone."""
    fact: FileFact | None
    """None: only the change time moved."""


class Observer:
    """Looks at directories under one configuration."""

    def __init__(self, ignore: Iterable[str], excluded: Excluded, max_file_bytes: int) -> None:
        self._ignored = [re.compile(fnmatch.translate(pattern)) for pattern in ignore]
        self._excluded = excluded
        self._max_file_bytes = max_file_bytes

    def is_ignored(self, path: str) -> bool:
        """Tell whether a path is left out."""
        return any(pattern.match(path) for pattern in self._ignored) or path in self._excluded

    def changes(
        self, directory: str, known: dict[str, Known], names: Iterable[str] | None, seen: Seen
    ) -> Iterator[Change]:
        """Compare a directory's entries with what is known of them, one after the other.

        Args:
            directory: its path.
            known: by shown name.
            names: look at these entries only; None is all, gone ones included.
            seen: goes into the facts.
        """
        looked_at: set[str] = set()
        for name in _entries(directory) if names is None else names:
            looked_at.add(shown(name))
            change = self._change(directory, name, known.get(shown(name)), seen)
            if change is not None:
                yield change
        if names is None:
            for name in known.keys() - looked_at:
                yield _gone(name, known[name], seen)

    def _change(self, directory: str, name: str, before: Known | None, seen: Seen) -> Change | None:
        path = os.path.join(directory, name)
        try:
            info = os.lstat(path)
        except OSError:
            return None if before is None else _gone(shown(name), before, seen)
        if (before is not None and _same(before, info)) or self.is_ignored(path):
            return None
        fact = self._look(path, info, seen)
        now = Known(fact, info.st_ctime_ns)
        is_news = before is None or msgspec.structs.replace(before.fact, seen=seen) != fact
        return Change(shown(name), now, fact if is_news else None)

    def _look(self, path: str, info: os.stat_result, seen: Seen) -> FileFact:
        kind = _kind(info.st_mode)
        is_dir = kind == "dir"
        return FileFact(
            path=shown(path),
            seen=seen,
            kind=kind,
            # A directory's size and time move with its entries, which are told themselves.
            size=0 if is_dir else info.st_size,
            mode=stat.S_IMODE(info.st_mode),
            uid=info.st_uid,
            gid=info.st_gid,
            user=_user(info.st_uid),
            group=_group(info.st_gid),
            mtime_ns=0 if is_dir else info.st_mtime_ns,
            inode=info.st_ino,
            sha256=self._hash(path) if kind == "file" and info.st_size <= self._max_file_bytes else "",
            target=_target(path) if kind == "link" else "",
        )

    def _hash(self, path: str) -> str:
        """SHA-256 of a regular file in hex; empty when it cannot be read."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        except OSError:
            return ""
        digest = ""
        try:
            for _ in range(HASH_TRIES):
                before = os.fstat(descriptor)
                if not stat.S_ISREG(before.st_mode):
                    return ""
                digest = self._digest(descriptor)
                after = os.fstat(descriptor)
                if (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns):
                    break
        except OSError:
            return ""
        finally:
            os.close(descriptor)
        return digest

    def _digest(self, descriptor: int) -> str:
        digest = hashlib.sha256()
        offset = 0
        while offset <= self._max_file_bytes:  # it may grow while it is read
            chunk = os.pread(descriptor, HASH_CHUNK, offset)
            if not chunk:
                break
            digest.update(chunk)
            offset += len(chunk)
        return digest.hexdigest()


def subdirectories(directory: str) -> list[str]:
    """Directories right below, links not followed; none when it cannot be read."""
    try:
        with os.scandir(directory) as entries:
            return sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except OSError:
        return []


def is_directory(path: str) -> bool:
    """Tell whether a path is a directory itself, not a link to one."""
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except OSError:
        return False


def forget_names() -> None:
    """Ask for the names of users and groups anew: they may have changed."""
    _user.cache_clear()
    _group.cache_clear()


def _entries(directory: str) -> list[str]:
    try:
        return sorted(os.listdir(directory))
    except OSError:
        return []


def _gone(name: str, before: Known, seen: Seen) -> Change:
    return Change(name, None, msgspec.structs.replace(before.fact, seen=seen, gone=True))


def _same(before: Known, info: os.stat_result) -> bool:
    """Tell whether nothing moved that would show a change: a change without a new ctime needs a rewritten disk."""
    fact = before.fact
    return (fact.inode, fact.mode, fact.uid, fact.gid, before.ctime_ns) == (
        info.st_ino,
        stat.S_IMODE(info.st_mode),
        info.st_uid,
        info.st_gid,
        info.st_ctime_ns,
    ) and (fact.kind == "dir" or (fact.size, fact.mtime_ns) == (info.st_size, info.st_mtime_ns))


def _kind(mode: int) -> Literal["file", "dir", "link", "other"]:
    if stat.S_ISREG(mode):
        return "file"
    if stat.S_ISDIR(mode):
        return "dir"
    return "link" if stat.S_ISLNK(mode) else "other"


def _target(path: str) -> str:
    try:
        return shown(os.readlink(path))
    except OSError:
        return ""


@functools.lru_cache(maxsize=1024)
def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


@functools.lru_cache(maxsize=1024)
def _group(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return ""
