"""What a view of Windows' registry gives: keys with their values. The live one is in winregistry.py, hive files in hives.py."""

import hashlib
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from hids.errors import HidsError

MAX_NAME = 16_383
"""Characters of a value's name, as Windows has it."""


class RegistryError(HidsError):
    """A registry or a hive file cannot be read; the text says which and why."""


class Value(NamedTuple):
    """One value of a key."""

    name: str
    """Empty: the key's default value."""
    type: str
    """`REG_SZ` and the like."""
    size: int
    """Bytes."""
    sha256: str
    """Of the data, hex."""


class Key(NamedTuple):
    """One key."""

    path: str
    """From the root key on, with backslashes."""
    mtime_ns: int
    values: tuple[Value, ...]


class View(Protocol):
    """Where keys come from."""

    def keys(self) -> Iterator[Key]:
        """All keys, each once, parents first.

        Raises:
            RegistryError: it cannot be read, or not to its end.
        """
        ...


def value_of(name: str, kind: str, data: bytes) -> Value:
    """A value with its data's hash."""
    return Value(name[:MAX_NAME], kind, len(data), hashlib.sha256(data).hexdigest())
