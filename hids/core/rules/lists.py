"""Lists of keys with values, in which rules look fields up.

A list is a text, one `key:value` a line. A missing list is a table without a text: nothing holds for it, not even
"is absent", as in OSSEC.
"""

import re
from collections.abc import Mapping
from typing import Literal, get_args

from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Pattern

Lookup = Literal[
    "match_key",
    "not_match_key",
    "match_key_value",
    "address_match_key",
    "not_address_match_key",
    "address_match_key_value",
]
LOOKUPS: tuple[Lookup, ...] = get_args(Lookup)
"""All of them. Those of addresses also look for the dotted beginnings of the field: `10.1.`, `10.`."""

MAX_LIST_BYTES = 64 * 1024 * 1024
"""Of one list's text: a million addresses with room to spare."""

_QUOTED = re.compile(rb'"((?:[^"\\]|\\.)*)"')


class ListTable:
    """One list. Equal by name: a ruleset has one of each."""

    __slots__ = ("_inverted", "entries", "name")

    def __init__(self, name: str, entries: Mapping[bytes, bytes] | None, dialect: Dialect = "hids") -> None:
        """`entries` is None for a list that is not there."""
        self.name = name
        self.entries = entries
        self._inverted = dialect != "hids"

    def holds(self, lookup: Lookup, key: bytes, value: Pattern | None) -> bool:
        """Look `key` up. For OSSEC's and Wazuh's sake `address_match_key_value` holds when nothing is found there."""
        if self.entries is None:
            return False
        found = self._found(key, addresses="address" in lookup)
        if lookup.startswith("not_"):
            return found is None
        if not lookup.endswith("_value"):
            return found is not None
        matches = found is not None and (value is None or bool(value.matches(found)))
        return matches is not (self._inverted and lookup == "address_match_key_value")

    def _found(self, key: bytes, *, addresses: bool) -> bytes | None:
        entries = self.entries or {}
        found = entries.get(key)
        dot = len(key)
        while found is None and addresses and (dot := key.rfind(b".", 0, dot)) >= 0:
            found = entries.get(key[: dot + 1])
        return found

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ListTable) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"ListTable({self.name!r})"


def read_list(text: bytes, dialect: Dialect) -> dict[bytes, bytes]:
    """Key -> value of a list's text; of a key that stands twice the first counts, as upstream's search finds it first.

    OSSEC's lines end at `###`; Wazuh's keys and values may stand in quotes, with colons inside.
    """
    entries: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):
        if dialect == "ossec":
            line = line.partition(b"###")[0]  # noqa: PLW2901
        key, value = _entry(line.strip(b"\r"), quotes=dialect != "ossec")
        if key:
            entries.setdefault(key, value)
    return entries


def _entry(line: bytes, *, quotes: bool) -> tuple[bytes, bytes]:
    line = line.strip(b" \t")
    quoted = _QUOTED.match(line) if quotes else None
    if quoted is not None:
        key, rest = quoted.group(1), line[quoted.end() :].lstrip(b" \t")
        value = rest.removeprefix(b":")
    else:
        key, _, value = line.partition(b":")
    value = value.strip(b" \t")
    if quotes and len(value) > 1 and value[:1] == value[-1:] == b'"':
        value = value[1:-1]
    return key.strip(b" \t"), value
