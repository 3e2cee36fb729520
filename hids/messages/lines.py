"""Lines, from the source that read them into the spool and, by the batch, out of it.

collector --Append--> spool --Stored--> collector;  spool -> link -> manager: Batch
"""

import msgspec

from hids.messages.terms import Digest, Kind, Number

MAX_LINE_BYTES = 65_536
"""Longer lines are cut here. OS_MAXSTR is 65,536 in Wazuh and 6,144 in OSSEC; RFC 5424 6.1 asks for 2,048."""

MAX_LOCATION = 16_384
"""Characters. PATH_MAX is 4,096 bytes, each of which may be spelled in four characters."""

MAX_BATCH_LINES = 512

MAX_BATCH_PACKED = 256 * 1024
"""Bytes of one batch as it travels. Measured best between 256 and 512 lines (docs/benchmarks.md)."""

MAX_BATCH_UNPACKED = 2 * 1024 * 1024
"""Bytes of text in one batch, so that a decompression bomb is refused before memory is taken."""


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One line as a source read it. collector -> spool -> ... -> decoder."""

    location: str
    """Where it was read: a path, "journald", "syscheck"."""
    text: bytes
    at_ms: int
    """Event time by the agent's clock: read time for what was read live, the header's or journal's time otherwise."""
    read_ms: int
    """When the agent read it, by the agent's clock."""
    kind: Kind = "log"
    facts: bytes = b""
    """JSON members that go into the alert as they are (derived lines only), without the outer braces."""


class Append(msgspec.Struct, frozen=True):
    """collector -> spool: store these lines and, in the same transaction, where to go on reading."""

    source: str
    """The collector's name; `Stored` comes back to it."""
    lines: tuple[LogLine, ...]
    positions: dict[str, bytes | None]
    """Key -> value to remember; None forgets the key."""


class Stored(msgspec.Struct, frozen=True):
    """spool -> collector: so many lines of yours are on disk; read on."""

    lines: int


class Batch(msgspec.Struct, frozen=True, tag="batch"):
    """Up to `MAX_BATCH_LINES` consecutive lines. agent -> manager, and main -> worker inside a `Job`."""

    epoch: Number
    first_seq: Number
    count: Number
    chain: Digest
    """Chain value after this batch: SHA-256(chain before, data)."""
    data: bytes
    """zstd of the packed lines (hids.core.wire.lines)."""
