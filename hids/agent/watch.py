"""Kernel notifications on the event loop (inotify)."""

import asyncio
import os
from collections.abc import Callable
from typing import NamedTuple

import inotify_simple

from hids.errors import HidsError


class WatchError(HidsError):
    """The kernel gives no more watches; the text says which limit to raise."""


class Event(NamedTuple):
    """One notification."""

    wd: int
    mask: int
    name: str
    """Entry of the watched directory, or empty."""


F = inotify_simple.flags
OVERFLOWED = int(F.Q_OVERFLOW)
IGNORED = int(F.IGNORED)
ENTRIES = int(F.CREATE | F.MOVED_TO | F.MOVED_FROM | F.DELETE | F.ATTRIB | F.ONLYDIR)
"""A directory's entries come, go, or change their rights."""
CONTENT = int(F.MODIFY | F.ATTRIB | F.MOVE_SELF | F.DELETE_SELF)
"""A file grows, shrinks, moves or goes."""


class Watcher:
    """One inotify instance whose events are handed to a callback on the loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[list[Event]], None]) -> None:
        """Raises:
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
        loop.add_reader(self._inotify.fileno(), self._read)

    def add(self, path: str, mask: int) -> int | None:
        """Watch a path; returns the watch's number, or None when the path is not there or may not be watched.

        Raises:
            WatchError: no more watches.
        """
        try:
            return int(self._inotify.add_watch(path, mask))
        except (FileNotFoundError, NotADirectoryError, PermissionError):
            return None
        except OSError as error:
            raise WatchError(
                f"cannot watch {path}: {error.strerror}; raise the sysctl fs.inotify.max_user_watches"
            ) from error

    def remove(self, wd: int) -> None:
        """Stop a watch; fine when the kernel has removed it already."""
        try:
            self._inotify.rm_watch(wd)
        except OSError:
            pass  # its file is gone, and the watch with it

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
        events = inotify_simple.parse_events(data)
        self._callback([Event(event.wd, event.mask, event.name) for event in events])
