"""Descriptions that name fields of the event: `login of $(dstuser)`."""

import re
from typing import NamedTuple

from hids.core.decode.event import Event
from hids.core.rules.conditions import listed_field

MAX_BYTES = 1_024
"""A description that grows beyond is shown as it is written, as Wazuh does."""

_NAMED = re.compile(r"\$\(([^)]*)\)")


class Template(NamedTuple):
    """A description in pieces."""

    pieces: tuple[tuple[bytes, str], ...]
    """(text, name of the field behind it)."""
    rest: bytes
    written: bytes

    @property
    def of_log(self) -> bool:
        """It names no part of the header."""
        return {"hostname", "program_name"}.isdisjoint(name for _, name in self.pieces)

    def text(self, event: Event) -> bytes:
        """The description of this event; a field that it lacks is empty."""
        parts: list[bytes] = []
        for before, name in self.pieces:
            parts += (before, listed_field(event, (name,)) or b"")
        whole = b"".join((*parts, self.rest))
        return self.written if len(whole) > MAX_BYTES else whole


def template(description: str) -> Template | None:
    """None for a description that names no field. An unclosed `$(` is text."""
    *split, rest = _NAMED.split(description)
    if not split:
        return None
    texts, names = split[::2], split[1::2]
    pieces = tuple((text.encode(), name) for text, name in zip(texts, names, strict=True))
    return Template(pieces, rest.encode(), description.encode())
