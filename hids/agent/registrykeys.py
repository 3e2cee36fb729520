"""Windows' registry, as the agent asks for it: a view gives all keys below one, a registry the values of one key as text.

The live one is in winregistry.py, hive files are in hives.py.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import NamedTuple, Protocol, cast

from hids.errors import HidsError

MAX_NAME = 16_383
"""Characters of a value's name, as Windows has it."""
MAX_VALUES = 10_000
"""Of one key, where a rule looks at it."""
MAX_TEXT = 16_384
"""Characters of a value's data, where a rule looks at it."""
_SHORT = {
    "HKLM": "HKEY_LOCAL_MACHINE",
    "HKCU": "HKEY_CURRENT_USER",
    "HKCR": "HKEY_CLASSES_ROOT",
    "HKU": "HKEY_USERS",
    "HKCC": "HKEY_CURRENT_CONFIG",
}


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


class Registry(Protocol):
    """What rules ask."""

    def values(self, key: str) -> Mapping[str, str] | None:
        r"""Names and data of the values of a key such as `HKLM\SOFTWARE\X`; None: there is no such key.

        Raises:
            RegistryError: it cannot be looked at.
        """
        ...


def whole_key(key: str) -> str:
    """A key's path with the whole name of its root."""
    root, backslash, path = key.partition("\\")
    return _SHORT.get(root.upper(), root) + backslash + path


def text_of(data: object) -> str:
    """A value's data as rules see it: numbers in decimals, texts as they are, several joined by blanks, bytes in hex."""
    match data:
        case bytes():
            text = data[:MAX_TEXT].hex()
        case None:
            text = ""
        case list() | tuple():
            text = " ".join(map(text_of, cast("list[object]", data)))
        case _:
            text = str(data)
    return text[:MAX_TEXT]


def value_of(name: str, kind: str, data: bytes) -> Value:
    """A value with its data's hash."""
    return Value(name[:MAX_NAME], kind, len(data), hashlib.sha256(data).hexdigest())
