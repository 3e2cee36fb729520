"""Decoders as data: what a decoder asks of a log and which fields it cuts out.

Decoders stand in two levels. A top-level one is chosen by program name and prematch; its children are tried
for the event that chose it, and the chosen child, with the chain behind it, cuts out the fields.
"""

from typing import Literal, NamedTuple

import msgspec

from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Pattern

Offset = Literal["start", "parent", "prematch", "regex"]
"""Where a pattern starts to look: at the log's start, or behind what matched before."""

STATIC_FIELDS = frozenset(
    (
        "srcip",
        "dstip",
        "srcport",
        "dstport",
        "protocol",
        "action",
        "srcuser",
        "dstuser",
        "id",
        "url",
        "status",
        "extra_data",
        "system_name",
        "filename",
        "data",
    )
)
"""Fields with a meaning of their own; every other name is a dynamic field."""

_WAZUH_STATIC = STATIC_FIELDS - {"filename"}


def static_fields(dialect: Dialect) -> frozenset[str]:
    """Fields with a meaning of their own in a dialect."""
    return _WAZUH_STATIC if dialect == "wazuh" else STATIC_FIELDS


WINDOWS_EVENT = "eventchannel"
"""Plug-in of the decoder that takes events of Windows' event channel, which no file defines."""
SYSCHECK = "syscheck"
"""Plug-in of Wazuh's decoders of changed files, which no file defines: it takes what the manager knows of the change."""
SCA = "sca"
"""Plug-in of the decoder that takes what came of policies."""
JSON = "JSON_Decoder"
"""Plug-in that takes all members of a JSON text."""
RELAY = "OSSECAlert_Decoder"
"""Plug-in for alerts of another manager."""
RETYPING = frozenset(("SonicWall_Decoder",))
"""Plug-ins that may change the event's type."""

FtsPart = str
"""A field's name, or `location`; part of what is to be new. The decoder's name always is one."""
FTS_ORDER = ("id", "dstuser", "srcuser", "srcip", "dstip", "data", "extra_data", "system_name", "location")
"""Order of the parts in a key; names of dynamic fields (Wazuh) follow."""

_ALIASES: dict[Dialect, dict[str, str]] = {
    "ossec": {"user": "dstuser", "data": "extra_data", "systemname": "system_name"},
    "wazuh": {"user": "dstuser"},
    "hids": {"user": "dstuser"},
}


def field_name(written: str, dialect: Dialect) -> str:
    """The field that a name in an `<order>` stands for."""
    if dialect == "ossec" and "filename" in written:
        return "filename"
    return _ALIASES[dialect].get(written, written)


class Decoder(msgspec.Struct, frozen=True, eq=False):
    """One decoder in its place. Two with equal text are still two: identity is what counts."""

    written: str
    """Its own name."""
    name: str
    """The name that alerts show and `<decoded_as>` asks for: its parent's unless it has use_own_name."""
    parent: str | None
    type: str
    """Category of the rules that see its events (dialect `ossec`)."""
    program: Pattern | None
    prematch: Pattern | None
    prematch_offset: Offset
    regex: Pattern | None
    regex_offset: Offset
    order: tuple[str, ...]
    """Field of each group of `regex`."""
    static: bool = False
    """All of them have a meaning of their own."""
    takes_over: bool = True
    """The event is its when its regex matches; in Wazuh only a prematch makes it so."""
    plugin: str | None = None
    """Code that takes the fields instead of a regex, by the name that decoders use."""
    plugin_offset: Offset = "start"
    json_null: bytes | None = b"null"
    """What JSON's null gives; None: no field."""
    json_csv: bool = False
    """JSON arrays give their plain members with commas between; else JSON text."""
    fts: tuple[FtsPart, ...] = ()
    """What must be new for `<if_fts>`; empty when it has no `<fts>`."""
    accumulate: bool = False
    """Its events lend each other fields."""
    chained: bool = False
    """The chain goes on with the next sibling."""
    children: tuple["Decoder", ...] = ()

    @property
    def identity(self) -> tuple[str, str, str | None]:
        """All that rules and alerts see of it, its fields apart."""
        return self.name, self.type, self.parent


class Selection(NamedTuple):
    """Which decoders an event goes through."""

    root: Decoder
    current: Decoder
    """The event's decoder, unless a regex of the chain replaces it."""
    chain: tuple[Decoder, ...]
    """Whose regexes and plug-ins run, in this order."""

    settled: bool
    """Running the chain cannot change what rules and alerts see of the decoder."""
    fields: frozenset[str]
    """Every field that the event can have from a regex."""
    accumulates: bool = False
    """The event may lend fields to others."""


class DecoderTree(msgspec.Struct, frozen=True, eq=False):
    """All decoders of a ruleset."""

    dialect: Dialect
    with_program: tuple[Decoder, ...]
    """Top-level decoders that ask for a program name: tried for lines that have one, and no others are."""
    without_program: tuple[Decoder, ...]
    count: int

    def roots(self, program: bytes | None) -> tuple[Decoder, ...]:
        """The top-level decoders that are tried for a line."""
        return self.without_program if program is None else self.with_program

    @property
    def accumulates(self) -> bool:
        """Whether any decoder's events lend each other fields."""
        roots = (*self.with_program, *self.without_program)
        return any(decoder.accumulate for root in roots for decoder in (root, *root.children))

    @property
    def names(self) -> frozenset[str]:
        """Every name that an event's decoder can have."""
        return frozenset(
            decoder.name for root in (*self.with_program, *self.without_program) for decoder in (root, *root.children)
        )
