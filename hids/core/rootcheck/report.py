"""How a scan begins and ends in lines, and what the manager reads out of them.

    Starting rootcheck scan.
    (one line for each finding that is new)
    Ending rootcheck scan. {"part":1,"parts":1,"seen":["..."],"excepted":0,"unfinished":[]}

OSSEC's agents tell every finding at every scan, and end with the bare words; ours tell each once, and name at the end of every scan
what is still there, so that the manager knows what is resolved without an alert for it. Rules of OSSEC's users see level 0 in both.
"""

from collections.abc import Iterator, Sequence
from typing import Literal, NamedTuple

import msgspec

STARTING = b"Starting rootcheck scan."
ENDING = b"Ending rootcheck scan."
_OTHER_SCANS = (b"Starting syscheck scan", b"Ending syscheck scan")

PART_BYTES = 48 * 1024
"""Of findings in one ending line; a line has 64 KiB at most, and JSON spells some bytes in six."""
MAX_PARTS = 400
"""Fewer than the lines of a batch, so that an end is stored whole."""


class Ending(msgspec.Struct, frozen=True):
    """What an ending line says beyond its words."""

    seen: tuple[str, ...] = ()
    """Texts of all findings that are there, told in this scan or before."""
    part: int = 1
    parts: int = 1
    excepted: int = 0
    """Findings that the agent's configuration says to leave out."""
    unfinished: tuple[str, ...] = ()
    """Checks that did not come to their end."""


class Said(NamedTuple):
    """One line of rootcheck, understood."""

    what: Literal["finding", "starting", "ending", "other"]
    text: str = ""
    """Of a finding."""
    ending: Ending = Ending()


_decoder = msgspec.json.Decoder(Ending)


def endings(seen: Sequence[str], excepted: int, unfinished: Sequence[str]) -> tuple[bytes, ...]:
    """The lines that end a scan."""
    parts = list(_parts(seen))[:MAX_PARTS]
    return tuple(
        ENDING + b" " + msgspec.json.encode(Ending(part, number, len(parts), excepted, tuple(unfinished)))
        for number, part in enumerate(parts, 1)
    )


def understand(text: bytes) -> Said:
    """What a line of kind `rootcheck` says, whoever sent it. An ending that cannot be read is one without findings named."""
    if text.startswith(STARTING):
        return Said("starting")
    if text.startswith(ENDING):
        try:
            return Said("ending", ending=_decoder.decode(text[len(ENDING) :] or b"{}"))
        except msgspec.MsgspecError:
            return Said("ending")
    if text.startswith(_OTHER_SCANS):
        return Said("other")
    return Said("finding", text.decode("utf-8", "backslashreplace"))


def _parts(seen: Sequence[str]) -> Iterator[tuple[str, ...]]:
    part: list[str] = []
    size = 0
    for text in seen:
        length = len(msgspec.json.encode(text)) + 1
        if part and size + length > PART_BYTES:
            yield tuple(part)
            part, size = [], 0
        part.append(text)
        size += length
    yield tuple(part)
