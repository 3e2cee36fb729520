"""Kernel notifications on the event loop (inotify)."""

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable
from typing import NamedTuple, cast

import inotify_simple  # pyright: ignore[reportMissingTypeStubs]

from hids.errors import HidsError


class WatchError(HidsError):
    """The kernel gives no more watches; the text says which limit to raise."""


class Event(NamedTuple):
    """One notification."""

    wd: int
    mask: int
    name: str
    """Entry of the watched directory, or empty."""
    cookie: int = 0
    """Of the two halves of a move, the same; else 0."""


F = inotify_simple.flags
OVERFLOWED = int(F.Q_OVERFLOW)
IGNORED = int(F.IGNORED)
ENTRIES = int(F.CREATE | F.MOVED_TO | F.MOVED_FROM | F.DELETE | F.ATTRIB | F.ONLYDIR)
"""A directory's entries come, go, or change their rights."""
CONTENT = int(F.MODIFY | F.ATTRIB | F.MOVE_SELF | F.DELETE_SELF)
"""A file grows, shrinks, moves or goes."""


TREE = int(
    F.CREATE
    | F.MODIFY
    | F.CLOSE_WRITE
    | F.ATTRIB
    | F.MOVED_FROM
    | F.MOVED_TO
    | F.DELETE
    | F.DELETE_SELF
    | F.MOVE_SELF
    | F.ONLYDIR
    | F.DONT_FOLLOW
)
"""Whatever changes a directory or one of its entries."""
MODIFIED = int(F.MODIFY)


class Watcher:
    """One inotify instance whose events are handed to a callback on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[list[Event]], None]) -> None:
        """Open an instance.

        Raises:
            WatchError: no more instances.
        """
        try:
            self._inotify = inotify_simple.INotify(nonblocking=True)
        except OSError as error:
            raise WatchError(
                f"no inotify instance: {error.strerror}; raise the sysctl fs.inotify.max_user_instances"
            ) from error
        self._loop = loop
        self._callback = callback
        self.resume()

    def add(self, path: str, mask: int) -> int | None:
        """Watch a path; returns the watch's number, or None when the path is not there or may not be watched.

        Raises:
            WatchError: no more watches.
        """
        try:
            return int(self._inotify.add_watch(path, mask))  # pyright: ignore[reportUnknownMemberType]
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        except OSError as error:
            raise WatchError(
                f"cannot watch {path}: {error.strerror}; raise the sysctl fs.inotify.max_user_watches"
            ) from error

    def remove(self, wd: int) -> None:
        """Stop a watch; fine when the kernel has removed it already."""
        with contextlib.suppress(OSError):  # its file is gone, and the watch with it
            self._inotify.rm_watch(wd)  # pyright: ignore[reportUnknownMemberType]

    def pause(self) -> None:
        """Hear nothing for a while; the kernel keeps notifications, and one of several that are alike."""
        self._loop.remove_reader(self._inotify.fileno())

    def resume(self) -> None:
        """Hear what was said meanwhile, and go on."""
        self._loop.add_reader(self._inotify.fileno(), self._read)

    def close(self) -> None:
        """Stop all."""
        if not self._inotify.closed:
            self._loop.remove_reader(self._inotify.fileno())
            self._inotify.close()

    def _read(self) -> None:
        try:
            data = os.read(self._inotify.fileno(), 65_536)
        except BlockingIOError:
            return
        parsed = cast(
            "Iterable[tuple[int, int, int, str]]",
            inotify_simple.parse_events(data),  # pyright: ignore[reportUnknownMemberType]
        )
        self._callback([Event(wd, mask, name, cookie) for wd, mask, cookie, name in parsed])
