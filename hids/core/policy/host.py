"""What a policy asks of a host. Tests bring their own; the agent's is in hids.agent.policyhost."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from hids.errors import HidsError


class Unavailable(HidsError):  # noqa: N818 - a state of the world
    """It cannot be looked at, so a rule about it neither holds nor fails. The text is the reason, for a person."""


class Host(Protocol):
    """The views of a host. Each raises Unavailable when it cannot tell."""

    def is_file(self, path: str) -> bool:
        """A regular file is there."""
        ...

    def is_directory(self, path: str) -> bool:
        """A directory is there."""
        ...

    def lines(self, path: str) -> Iterable[bytes]:
        """A file's lines, without their ends."""
        ...

    def files_below(self, path: str) -> Iterable[tuple[str, str]]:
        """(name, path) of each regular file in a directory and in those below it."""
        ...

    def processes(self) -> Sequence[str]:
        """Names and programs' paths of what runs."""
        ...

    def output(self, command: str) -> Sequence[bytes]:
        """What a command prints, line by line; without any output that is one empty line."""
        ...

    def registry(self, key: str) -> Mapping[str, str] | None:
        """Values of a key of Windows' registry by name; None: there is no such key."""
        ...
