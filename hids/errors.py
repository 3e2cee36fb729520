"""What a caller may catch.

HidsError
├── ConfigError            a file or flag that a person wrote is wrong
│   └── RulesetError       ... in a rule or decoder file; holds every problem found, not just the first
├── ProtocolError
│   ├── LocalProtocolError   our own bug: we were about to send nonsense
│   └── RemoteProtocolError  the peer's fault: close the connection, count it
├── JoinRefused            the manager will not give this agent a certificate
├── ManagerUnreachable     nobody answers at that address
└── StoreError             a state file cannot be used as it is
    └── StoreDamaged       ... because what is in it is broken
"""

from collections.abc import Sequence

import msgspec


class HidsError(Exception):
    """Root of all errors that this package raises on purpose."""

    exit_status = 1
    """Of a command that ends with it."""


class ConfigError(HidsError):
    """A setting is wrong. The text says where, what was expected, what came and what to do."""

    exit_status = 2


class Problem(msgspec.Struct, frozen=True, order=True):
    """One thing that is wrong in a rule or decoder file."""

    file: str
    line: int
    """1-based; 0 when the problem is the file itself."""
    text: str
    """What was expected, what came and what to do, on one line."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}" if self.line else f"{self.file}: {self.text}"


class RulesetError(ConfigError):
    """A ruleset is refused. `problems` lists all that is wrong with it, in file and line order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(map(str, self.problems)))


class ProtocolError(HidsError):
    """Bytes on the wire that the protocol does not allow."""


class LocalProtocolError(ProtocolError):
    """We broke the protocol: a bug of ours."""


class RemoteProtocolError(ProtocolError):
    """The peer broke the protocol."""


class JoinRefused(HidsError):  # noqa: N818 - an answer, not a failure of ours
    """The manager refused to enrol an agent; the text is its reason in words for a person."""


class ManagerUnreachable(HidsError):  # noqa: N818 - a state of the world
    """No manager answers at the address given."""


class StoreError(HidsError):
    """A state file is unreadable, of a newer version or damaged."""


class StoreDamaged(StoreError):  # noqa: N818 - a state of the file
    """A state file is broken: a copy may help, another try will not."""
