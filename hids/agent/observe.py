"""Looking at one path for syscheck: what it is now, as a fact. Blocks.

Nothing but regular files is opened, and those without following links; a file that changes while it is hashed is
looked at again. What was read belongs to the times that are noted with it: the descriptor says so after the reading.
"""

import hashlib
import os
import stat
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec
import structlog

from hids.agent.accounts import group_name, user_name
from hids.agent.folders import Folder
from hids.agent.paths import shown
from hids.core.syscheck.attributes import ACL, CAPABILITIES, DEFAULT_ACL, LABEL, known_texts
from hids.messages.syscheck import FileFact

log = structlog.get_logger()

Seen = Literal["baseline", "scan", "live"]

HASH_CHUNK = 256 * 1024
"""Bytes hashed at a time; hashlib lets other threads run meanwhile."""
TRIES = 3
"""A file that changes while it is hashed is hashed again, so often at most; its next change is noticed anyway."""
PREFILTER_S = 30.0
MAX_XATTRS = 32
MAX_XATTR_TEXT = 128
"""Longer values are told by their SHA-256."""
_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
_TEXTS = frozenset({ACL, DEFAULT_ACL, CAPABILITIES, LABEL})


class Known(msgspec.Struct, frozen=True, array_like=True):
    """What was seen of a path, as it is kept."""

    fact: FileFact
    ctime_ns: int


class _Content(NamedTuple):
    """What was read of a regular file."""

    info: os.stat_result
    """Of the file that was read, after the reading."""
    sums: dict[str, str]
    """Name of the hash -> hex."""
    xattrs: dict[str, bytes]
    grown: bool = False


class Observer:
    """Looks at paths."""

    def __init__(
        self, max_file_bytes: int, prefilter: Sequence[str] = (), paid: Callable[[int], None] = lambda _bytes: None
    ) -> None:
        """`paid` is called with the bytes that were read, and may take its time; a raise ends the look."""
        self._max_file_bytes = max_file_bytes
        self._prefilter = tuple(prefilter)
        self._paid = paid

    def look(
        self,
        path: str,
        info: os.stat_result,
        seen: Seen,
        folder: Folder,
        before: FileFact | None = None,
        at: tuple[int, str] | None = None,
    ) -> Known | None:
        """What a path is now; None when it is gone.

        Args:
            path: whole, with links resolved but for the last name.
            info: its lstat, just taken.
            seen: goes into the fact.
            folder: says what it is checked for.
            before: what it was, for files that may grow.
            at: (descriptor of its directory, its name) if there is one; saves the kernel the way.
        """
        is_file = stat.S_ISREG(info.st_mode)
        if is_file and (folder.hashes or folder.extended):
            content = self._read(path, info, folder, before, at)
            if content is None:
                return None
            info, sums, xattrs, grown = content
        else:
            sums, grown = {}, False
            xattrs = _path_xattrs(path) if folder.extended else {}
        checks = folder.checks
        is_dir = stat.S_ISDIR(info.st_mode)
        acl, capabilities, label = known_texts(xattrs) if xattrs else ("", "", "")
        return Known(
            FileFact(
                path=shown(path),
                seen=seen,
                kind=_kind(info.st_mode),
                # A directory's size and time move with its entries, which are told themselves.
                size=info.st_size if "size" in checks and not is_dir else 0,
                mode=stat.S_IMODE(info.st_mode) if "permissions" in checks else 0,
                uid=info.st_uid if "owner" in checks else 0,
                gid=info.st_gid if "group" in checks else 0,
                user=user_name(info.st_uid) if "owner" in checks else "",
                group=group_name(info.st_gid) if "group" in checks else "",
                mtime_ns=info.st_mtime_ns if "mtime" in checks and not is_dir else 0,
                inode=info.st_ino if "inode" in checks else 0,
                links=info.st_nlink if is_file and info.st_nlink > 1 and "links" in checks else 0,
                sha256=sums.get("sha256", ""),
                sha1=sums.get("sha1", ""),
                md5=sums.get("md5", ""),
                target=_target(path) if "target" in checks and stat.S_ISLNK(info.st_mode) else "",
                acl=acl if "acl" in checks else "",
                capabilities=capabilities if "capabilities" in checks else "",
                label=label if "label" in checks else "",
                xattrs=_other_xattrs(xattrs) if xattrs and "xattrs" in checks else {},
                grown=grown,
                unchecked=folder.unchecked,
            ),
            info.st_ctime_ns,
        )

    def _read(
        self, path: str, info: os.stat_result, folder: Folder, before: FileFact | None, at: tuple[int, str] | None
    ) -> _Content | None:
        """Hash a regular file and read its attributes. One that cannot be read has no hashes; None: it is gone."""
        try:
            descriptor = os.open(at[1], _FLAGS, dir_fd=at[0]) if at is not None else os.open(path, _FLAGS)
        except FileNotFoundError:
            return None
        except OSError:
            return _Content(info, {}, _path_xattrs(path) if folder.extended else {})
        try:
            return self._read_open(descriptor, path, info, folder, before)
        finally:
            os.close(descriptor)

    def _read_open(
        self, descriptor: int, path: str, info: os.stat_result, folder: Folder, before: FileFact | None
    ) -> _Content:
        sums: dict[str, str] = {}
        grown = False
        after = info
        for _ in range(TRIES):
            info = after
            try:
                if folder.hashes and info.st_size <= self._max_file_bytes:
                    sums, grown = self._sums(descriptor, path, info.st_size, folder, before)
            except OSError as error:
                log.debug("a file cannot be read", path=shown(path), reason=str(error))
                sums = {}
            after = os.fstat(descriptor)
            if _is_unmoved(info, after) or not stat.S_ISREG(after.st_mode):
                break
        if not stat.S_ISREG(after.st_mode):
            sums, grown = {}, False
        return _Content(after, sums, _descriptor_xattrs(descriptor) if folder.extended else {}, grown)

    def _sums(
        self, descriptor: int, path: str, size: int, folder: Folder, before: FileFact | None
    ) -> tuple[dict[str, str], bool]:
        if self._prefilter:
            filtered = self._filtered(path, folder.hashes)
            if filtered is not None:
                return filtered, False
        digests = [hashlib.new(name) for name in folder.hashes]
        mark = (
            before.size
            if before is not None and before.sha256 and size > before.size and folder.is_growing(path)
            else 0
        )
        was_there = not mark
        offset = 0
        while offset <= self._max_file_bytes:  # it may grow while it is read
            wanted = min(HASH_CHUNK, mark - offset) if offset < mark else min(HASH_CHUNK, max(size - offset, 0) + 1)
            chunk = os.pread(descriptor, wanted, offset)
            if not chunk:
                break
            for digest in digests:
                digest.update(chunk)
            offset += len(chunk)
            self._paid(len(chunk))
            if offset == mark and before is not None:
                was_there = dict(zip(folder.hashes, digests, strict=True))["sha256"].hexdigest() == before.sha256
            if offset == size and offset > mark:
                break  # the descriptor's size afterwards tells whether there is more
        sums: dict[str, str] = {name: digest.hexdigest() for name, digest in zip(folder.hashes, digests, strict=True)}
        return sums, bool(mark) and was_there

    def _filtered(self, path: str, hashes: tuple[str, ...]) -> dict[str, str] | None:
        """Hashes of what the filter makes of a file; None when it fails, and the file itself is hashed."""
        digests = [hashlib.new(name) for name in hashes]
        left = self._max_file_bytes
        try:
            with subprocess.Popen(
                [*self._prefilter, path],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"},
            ) as filtering:
                alarm = threading.Timer(PREFILTER_S, filtering.kill)
                alarm.start()
                try:
                    while filtering.stdout is not None and (chunk := filtering.stdout.read(HASH_CHUNK)):
                        left -= len(chunk)
                        if left < 0:
                            filtering.kill()
                            break
                        for digest in digests:
                            digest.update(chunk)
                finally:
                    alarm.cancel()
        except OSError as error:
            log.debug("prefilter_cmd failed, the file itself is hashed", path=shown(path), reason=str(error))
            return None
        if filtering.returncode:
            log.debug("prefilter_cmd failed, the file itself is hashed", path=shown(path), status=filtering.returncode)
            return None
        return {name: digest.hexdigest() for name, digest in zip(hashes, digests, strict=True)}


def is_same(before: Known, info: os.stat_result, folder: Folder) -> bool:
    """Whether nothing moved that would show a change: a change without a new ctime needs a rewritten disk."""
    fact = before.fact
    if before.ctime_ns != info.st_ctime_ns or _kind(info.st_mode) != fact.kind:
        return False
    checks = folder.checks
    if "inode" in checks and fact.inode != info.st_ino:
        return False
    if "permissions" in checks and fact.mode != stat.S_IMODE(info.st_mode):
        return False
    if fact.kind == "dir":
        return True
    return ("size" not in checks or fact.size == info.st_size) and (
        "mtime" not in checks or fact.mtime_ns == info.st_mtime_ns
    )


def has_grown(before: FileFact, info: os.stat_result) -> bool:
    """Whether a file may be what it was with something added at its end, as far as its status tells."""
    return (
        before.kind == "file"
        and info.st_size > before.size
        and (before.inode, before.mode, before.uid, before.gid)
        == (info.st_ino, stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid)
    )


def is_news(before: FileFact | None, now: FileFact) -> bool:
    """Whether two sights of a path differ in more than how it was seen."""
    return before is None or msgspec.structs.replace(before, seen=now.seen, grown=now.grown, diff="") != now


def status_of(path: str) -> os.stat_result | None:
    """The path's own status, links not followed; None when there is nothing."""
    try:
        return os.lstat(path)
    except OSError:
        return None


def _is_unmoved(before: os.stat_result, after: os.stat_result) -> bool:
    return (before.st_ino, before.st_size, before.st_mtime_ns, before.st_ctime_ns) == (
        after.st_ino,
        after.st_size,
        after.st_mtime_ns,
        after.st_ctime_ns,
    )


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


def _descriptor_xattrs(descriptor: int) -> dict[str, bytes]:
    try:
        names = os.listxattr(descriptor)
        return {name: os.getxattr(descriptor, name) for name in names[:MAX_XATTRS]} if names else {}
    except OSError:  # no such thing on this file system, or one went meanwhile: its change is noticed
        return {}


def _path_xattrs(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {name: os.getxattr(path, name, follow_symlinks=False) for name in names[:MAX_XATTRS]} if names else {}
    except OSError:
        return {}


def _other_xattrs(values: dict[str, bytes]) -> dict[str, str]:
    return {shown(name): _xattr_text(values[name]) for name in sorted(values) if name not in _TEXTS}


def _xattr_text(value: bytes) -> str:
    text = value.decode("utf-8", "replace")
    if len(text) <= MAX_XATTR_TEXT and text.isprintable() and "\ufffd" not in text:
        return text
    return f"sha256:{hashlib.sha256(value).hexdigest()}"
