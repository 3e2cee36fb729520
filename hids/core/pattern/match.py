"""What a pattern gives: where it matched, or why it cannot be used."""

import msgspec

from hids.errors import ConfigError


class PatternError(ConfigError):
    """A pattern cannot be used; the text says why."""


class Match(msgspec.Struct, frozen=True):
    """Where a pattern matched."""

    captures: tuple[bytes | None, ...]
    """The groups. In OSSEC's languages only those that are set; else None stands for an unset one."""
    end: int
    """Offset where a search for what follows goes on; mostly that behind the match."""
