"""fanotify: the kernel tells of every change in a whole file system, and which process made it. Linux 5.15 and later.

The kernel's structures are in linux/fanotify.h; libc has the two calls. What comes are events of the newer form: a
directory's handle and a name in it, with a descriptor of the process (pidfd) and none of the file.
"""

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hids.agent.authors import AuthorsError

MODIFY, ATTRIB, CLOSE_WRITE = 0x2, 0x4, 0x8
MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x40, 0x80, 0x100, 0x200
OVERFLOW = 0x4000
ONDIR = 0x4000_0000
CHANGES = MODIFY | ATTRIB | CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | ONDIR
"""Whatever changes a file or a directory."""
READ_BYTES = 65_536
"""Read at a time: some 500 events."""

_CLASS_NOTIF, _CLOEXEC, _NONBLOCK, _REPORT_PIDFD, _REPORT_DFID_NAME = 0x0, 0x1, 0x2, 0x80, 0xC00
_ADD, _FILESYSTEM, _EVENT_ON_CHILD = 0x1, 0x100, 0x0800_0000
_AT_FDCWD = -100
_DFID_NAME, _PIDFD = 2, 4
_VERSION = 3
_METADATA = struct.Struct("=IBBHQii")
_RECORD = struct.Struct("=BBH")
_FID = struct.Struct("=iiIi")
"""File system's id in two halves, bytes of the handle, type of the handle."""
_INT = struct.Struct("=i")
_MAX_HANDLE = 128
_MAX_EVENT = 1_024
"""Longer than any: headers, a handle and a name."""

Directory = tuple[int, int, bytes]
"""(file system's id, as os.statvfs has it; type of the handle; handle)"""


class FanotifyError(AuthorsError):
    """The kernel does not tell who changes files here; the text says why, and what to do."""


class Event(NamedTuple):
    """One change."""

    mask: int
    pid: int
    pidfd: int
    """Belongs to the receiver, who closes it; negative when the process has ended."""
    directory: Directory | None
    """None: the event is about none (`OVERFLOW`)."""
    name: bytes
    """In the directory; b"." for the directory itself."""


class Fanotify:
    """One instance. Needs CAP_SYS_ADMIN, and CAP_DAC_READ_SEARCH for `path_of`."""

    def __init__(self) -> None:
        """Open an instance.

        Raises:
            FanotifyError: not on this kernel, or not with these rights.
        """
        self._libc = _libc()
        flags = _CLASS_NOTIF | _CLOEXEC | _NONBLOCK | _REPORT_PIDFD | _REPORT_DFID_NAME
        self._descriptor: int = self._libc.fanotify_init(flags, os.O_RDONLY | os.O_CLOEXEC)
        if self._descriptor < 0:
            reason = os.strerror(ctypes.get_errno())
            raise FanotifyError(
                f"no fanotify: {reason}; it needs Linux 5.15 or later and CAP_SYS_ADMIN, which containers seldom have"
            )
        self._mounts: dict[int, int] = {}
        self.is_drained = True
        """Whether the last read took all there was."""

    def fileno(self) -> int:
        """For select and poll."""
        return self._descriptor

    def mark_filesystem(self, path: str) -> None:
        """Hear of all changes in the file system in which a path lies.

        Raises:
            FanotifyError: the file system cannot, or the path is not there.
        """
        self._mark(path, CHANGES, _ADD | _FILESYSTEM)
        try:
            number = os.statvfs(path).f_fsid
            if number not in self._mounts:
                self._mounts[number] = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise FanotifyError(f"{path}: {error.strerror}") from error

    def mark_directory(self, path: str) -> None:
        """Hear of changes of what is right in a directory.

        Raises:
            FanotifyError: as with `mark_filesystem`.
        """
        self._mark(path, CHANGES | _EVENT_ON_CHILD, _ADD)

    def read(self) -> list[Event]:
        """What has happened; nothing if nothing has. Does not wait.

        Raises:
            FanotifyError: what came is not of the form that this kernel promised.
        """
        try:
            data = os.read(self._descriptor, READ_BYTES)
        except BlockingIOError:
            self.is_drained = True
            return []
        except OSError as error:
            raise FanotifyError(f"fanotify cannot be read: {error.strerror}") from error
        self.is_drained = len(data) < READ_BYTES - _MAX_EVENT
        return list(parse(data))

    def path_of(self, directory: Directory) -> str | None:
        """Where a directory is now; None when it is gone, or in a file system that is not marked."""
        number, kind, handle = directory
        mount = self._mounts.get(number)
        if mount is None:
            return None
        packed = ctypes.create_string_buffer(struct.pack("=Ii", len(handle), kind) + handle)
        descriptor: int = self._libc.open_by_handle_at(mount, packed, os.O_PATH | os.O_CLOEXEC)
        if descriptor < 0:
            return None
        try:
            return os.readlink(f"/proc/self/fd/{descriptor}") if os.fstat(descriptor).st_nlink else None
        except OSError:
            return None
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Hear no more."""
        for descriptor in (*self._mounts.values(), self._descriptor):
            os.close(descriptor)
        self._mounts.clear()

    def _mark(self, path: str, mask: int, flags: int) -> None:
        if self._libc.fanotify_mark(self._descriptor, flags, mask, _AT_FDCWD, os.fsencode(path)) < 0:
            raise FanotifyError(f"the file system of {path} does not tell: {os.strerror(ctypes.get_errno())}")


def handle_of(path: str) -> Directory | None:
    """A directory, as events name it; None when it is not there or its file system has no handles."""
    packed = ctypes.create_string_buffer(struct.pack("=Ii", _MAX_HANDLE, 0) + bytes(_MAX_HANDLE))
    mount = ctypes.c_int()
    if _libc().name_to_handle_at(_AT_FDCWD, os.fsencode(path), packed, ctypes.byref(mount), 0) < 0:
        return None
    size, kind = struct.unpack_from("=Ii", packed)
    try:
        return os.statvfs(path).f_fsid, kind, packed.raw[8 : 8 + size]
    except OSError:
        return None


def parse(data: bytes) -> Iterator[Event]:
    """The events of one read.

    Raises:
        FanotifyError: they are of another form.
    """
    offset = 0
    try:
        while offset < len(data):
            size, version, _, header, mask, _, pid = _METADATA.unpack_from(data, offset)
            if version != _VERSION or size < header or header < _METADATA.size or offset + size > len(data):
                raise FanotifyError(f"fanotify: events of version {_VERSION} expected, got {version} of {size} bytes")
            yield _event(data, mask, pid, offset + header, offset + size)
            offset += size
    except struct.error as error:
        raise FanotifyError(f"fanotify: an event ends too early: {error}") from error


def _event(data: bytes, mask: int, pid: int, start: int, end: int) -> Event:
    directory, name, pidfd = None, b"", -1
    while start < end:
        kind, _, size = _RECORD.unpack_from(data, start)
        if size < _RECORD.size or start + size > end:
            raise FanotifyError(f"fanotify: a record of {size} bytes where {end - start} are left")
        after = start + _RECORD.size
        if kind == _PIDFD:
            (pidfd,) = _INT.unpack_from(data, after)
        elif kind == _DFID_NAME:
            low, high, length, handle_kind = _FID.unpack_from(data, after)
            handle = after + _FID.size
            if handle + length > start + size:
                raise FanotifyError(f"fanotify: a handle of {length} bytes is longer than its record")
            directory = ((high & 0xFFFF_FFFF) << 32 | low & 0xFFFF_FFFF, handle_kind, data[handle : handle + length])
            name = data[handle + length : start + size].split(b"\0", 1)[0]
        start += size
    return Event(mask, pid, pidfd, directory, name)


def _libc() -> ctypes.CDLL:
    """The C library.

    Raises:
        FanotifyError: it has no such calls; this is no Linux.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    try:
        libc.fanotify_mark.argtypes = [ctypes.c_int, ctypes.c_uint, ctypes.c_uint64, ctypes.c_int, ctypes.c_char_p]
        libc.fanotify_init.argtypes = [ctypes.c_uint, ctypes.c_uint]
        libc.open_by_handle_at.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_int]
        libc.name_to_handle_at.argtypes = [
            ctypes.c_int,
            ctypes.c_char_p,
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int,
        ]
    except AttributeError as error:
        raise FanotifyError("no fanotify: this system is no Linux") from error
    return libc
