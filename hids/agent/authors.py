"""What who-data asks of the kernel's ways to tell who changes files (fanotify_authors.py, audit_authors.py)."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from hids.agent.folders import Folders
from hids.errors import HidsError
from hids.messages.syscheck import Who

Note = Callable[[str, Who], None]
"""Takes a path and who has changed what is there."""


class AuthorsError(HidsError):
    """The kernel does not tell who changes files; the text says why, and what to do."""


class Scope:
    """Which changes matter: those in folders that ask for their authors, and of a file of the agent's own."""

    def __init__(self, folders: Folders, canary: Path) -> None:
        """`canary` is changed by the agent to see whether that is told; its folder has nothing else in it."""
        self._folders = folders
        self.canary = str(canary)
        self.own = str(canary.parent)
        self.roots = folders.who_roots

    def asks(self, directory: str) -> bool:
        """Whether it matters who changes the entries of a directory."""
        return directory == self.own or (self._folders.has(directory) and self._folders.of(directory).whodata)

    def matters(self, directory: str) -> bool:
        """Whether a directory has such entries, or is where a folder lies that has."""
        return self.asks(directory) or any(os.path.dirname(root) == directory for root in self.roots)

    def has(self, path: str) -> bool:
        """Whether it matters who changed a path that lies in a directory that matters."""
        return path == self.canary or self._folders.has(path)


class Authors(Protocol):
    """One way, opened. `cover` is called by any thread, the others by one."""

    name: str
    """For people."""

    def descriptors(self) -> tuple[int, ...]:
        """Readable when there is something to take."""
        ...

    def cover(self, directory: str) -> None:
        """Tell of changes in a directory.

        Raises:
            AuthorsError: it does not, said once for each reason.
        """
        ...

    def prove(self) -> None:
        """Called before the canary is changed."""
        ...

    @property
    def lacks(self) -> str:
        """What it cannot tell, in words for people; empty when there is nothing. Right once the canary was told of."""
        ...

    def take(self, note: Note) -> bool:
        """Tell what has happened. Does not wait. Returns whether something was lost, because a queue was full.

        Raises:
            AuthorsError: it tells no more.
        """
        ...

    def close(self) -> None:
        """Tell no more."""
        ...
