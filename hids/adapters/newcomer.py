"""A machine that wants to become an agent, and what the registry takes of strangers' words."""

import re
from collections.abc import Sequence

import msgspec

from hids.errors import ConfigError, JoinRefused

MAX_TEXT = 200
"""Characters kept of what an agent says about its software and system."""

_NAME = re.compile(r"[A-Za-z0-9_.][A-Za-z0-9._-]{0,63}")
_GROUP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
MAX_GROUPS = 32
_MACHINE_ID = re.compile(r"[A-Za-z0-9-]{1,64}")


class Newcomer(msgspec.Struct, frozen=True, kw_only=True):
    """Who wants to join, in its own words."""

    name: str
    machine_id: str
    address: str
    os: str = ""
    software: str = ""
    key: str = ""
    """SHA-256 of the public key, in hex."""


def check(newcomer: Newcomer) -> None:
    """See that it says nothing that cannot be used.

    Raises:
        JoinRefused: it does.
    """
    check_name(newcomer.name, JoinRefused)
    if not _MACHINE_ID.fullmatch(newcomer.machine_id):
        raise JoinRefused(f"expected a machine id of 1 to 64 letters, digits and -, got {newcomer.machine_id[:80]!r}")


def check_name(name: str, error: type[JoinRefused | ConfigError]) -> None:
    """See that an agent can be called so; raises `error` when it cannot."""
    if not _NAME.fullmatch(name) or name.isdigit():
        raise error(
            f"the name {name[:80]!r} cannot be used: expected 1 to 64 of A-Z a-z 0-9 . _ -, not starting "
            "with -, and not digits alone, which are ids; use another --name"
        )


def groups_text(names: Sequence[str]) -> str:
    """Write groups as they are stored.

    Raises:
        ConfigError: one has a name that cannot be used.
    """
    for name in names:
        if not _GROUP.fullmatch(name):
            raise ConfigError(f"the group {name[:80]!r} cannot be used: expected 1 to 64 of A-Z a-z 0-9 . _ -")
    if len(names) > MAX_GROUPS:
        raise ConfigError(f"an agent is in at most {MAX_GROUPS} groups, got {len(names)}")
    return ",".join(dict.fromkeys(names))


def printable(text: str) -> str:
    """Cut what a stranger says, and take out what a terminal would obey."""
    return "".join(char if char.isprintable() else "?" for char in text[:MAX_TEXT])
