"""Who changes files, by fanotify: the kernel names the process, /proc says who that is, or who it was (processes.py)."""

import os
import time
from collections.abc import Sequence

from hids.agent.accounts import named
from hids.agent.authors import Note, Scope
from hids.agent.fanotify import (
    MOVED_FROM,
    MOVED_TO,
    ONDIR,
    OVERFLOW,
    Directory,
    Event,
    Fanotify,
    FanotifyError,
    handle_of,
)
from hids.agent.process import who_is
from hids.agent.processwatch import ProcessWatch
from hids.messages.syscheck import Who

MAX_DIRECTORIES = 65_536
"""Handles of watched directories, and as many of others, that are remembered: some 20 MiB."""


class FanotifyAuthors:
    """Authors by fanotify, and the process connector where there is one."""

    name = "fanotify"

    def __init__(self, scope: Scope) -> None:
        """Open it.

        Raises:
            FanotifyError: not on this kernel, or not with these rights.
        """
        self._scope = scope
        self._fanotify = Fanotify()
        try:
            self._fanotify.mark_directory(scope.own)
        except FanotifyError:
            self._fanotify.close()
            raise
        self._watched: dict[Directory, str] = {}
        self._elsewhere: set[Directory] = set()
        self._marked: set[int] = set()
        self._remember(scope.own)
        self._since_ns = time.monotonic_ns()
        """Nothing that is read from now on happened before."""
        self._processes = ProcessWatch()

    def descriptors(self) -> tuple[int, ...]:
        """Of its queue."""
        return (self._fanotify.fileno(),)

    def cover(self, directory: str) -> None:
        """Have the file system's changes told, and know the directory again when it is gone.

        Raises:
            FanotifyError: the file system cannot tell.
        """
        handle = self._remember(directory)
        if handle is not None and handle[0] not in self._marked:
            self._marked.add(handle[0])
            self._fanotify.mark_filesystem(directory)

    def prove(self) -> None:
        """See whether processes are known that have ended."""
        self._processes.prove()

    @property
    def lacks(self) -> str:
        """Whether those that end at once are known."""
        trouble = self._processes.trouble
        return f"who ends at once is not named: {trouble}" if trouble else ""

    def take(self, note: Note) -> bool:
        """Tell what has happened."""
        now_ns = time.monotonic_ns()
        events = self._fanotify.read()
        try:
            lost = self._tell(events, note)
        finally:
            for event in events:
                if event.pidfd >= 0:
                    os.close(event.pidfd)
        if self._fanotify.is_drained:
            self._since_ns = now_ns
        if lost:
            self._forget_places()
        return lost

    def close(self) -> None:
        """Hear no more."""
        self._fanotify.close()
        self._processes.close()

    def _tell(self, events: Sequence[Event], note: Note) -> bool:
        known: dict[int, Who] = {}
        lost = False
        for event in events:
            if event.mask & OVERFLOW:
                lost = True
                continue
            path = self._path(event)
            if path is not None:
                if event.pid not in known:
                    known[event.pid] = self._who(event)
                note(path, known[event.pid])
            if event.mask & ONDIR and event.mask & (MOVED_FROM | MOVED_TO):
                self._forget_places()  # the handles of all below have other paths now
        return lost

    def _who(self, event: Event) -> Who:
        who = who_is(event.pid, event.pidfd)
        if not who.command:
            who = self._processes.recall(event.pid, self._since_ns if who.gone else None) or who
        return who if who.gone else named(who)

    def _path(self, event: Event) -> str | None:
        """The path that an event is about, if it matters who changed it."""
        if event.directory is None or event.directory in self._elsewhere:
            return None
        directory = self._where(event.directory)
        if directory is None:
            return None
        path = directory if event.name in (b".", b"") else os.path.join(directory, os.fsdecode(event.name))
        return path if self._scope.has(path) else None  # what no root leads to (a root's own parent) is none of ours

    def _where(self, handle: Directory) -> str | None:
        """The path of a directory whose entries matter to us."""
        known = self._watched.get(handle)
        if known is not None:
            return known
        path = self._fanotify.path_of(handle)
        if path is None:
            return None
        if self._scope.matters(path):
            if len(self._watched) < MAX_DIRECTORIES:
                self._watched[handle] = path
            return path
        if len(self._elsewhere) >= MAX_DIRECTORIES:
            self._elsewhere.clear()
        self._elsewhere.add(handle)
        return None

    def _remember(self, directory: str) -> Directory | None:
        handle = handle_of(directory)
        if handle is not None and len(self._watched) < MAX_DIRECTORIES:
            self._watched[handle] = directory
        return handle

    def _forget_places(self) -> None:
        self._watched.clear()
        self._elsewhere.clear()
        self._remember(self._scope.own)
