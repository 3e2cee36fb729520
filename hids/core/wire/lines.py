"""Lines <-> the bytes of a batch, and the chain over batches.

A batch's data is zstd over msgpack `[sources, lines]`: `sources` is a list of `[kind, location]`, a line is
`[source index, at_ms, read_ms, text, facts]`. The unpacked size is read from the zstd frame header and checked
before memory is taken.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Annotated

import msgspec
import zstandard

from hids.errors import RemoteProtocolError
from hids.messages.lines import (
    MAX_BATCH_LINES,
    MAX_BATCH_PACKED,
    MAX_BATCH_UNPACKED,
    MAX_LINE_BYTES,
    MAX_LOCATION,
    LogLine,
)
from hids.messages.terms import Kind, Number

GENESIS = bytes(32)
"""Chain value before the first line of an epoch."""

_UNPACKED_LIMIT = MAX_BATCH_UNPACKED + MAX_BATCH_LINES * 64
"""Text plus msgpack's own bytes and times."""


_Location = Annotated[str, msgspec.Meta(max_length=MAX_LOCATION)]


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    sources: tuple[tuple[Kind, _Location], ...]
    lines: tuple[tuple[Number, Number, Number, bytes, bytes], ...]


_decoder = msgspec.msgpack.Decoder(_Packed)
_encoder = msgspec.msgpack.Encoder()


def pack(lines: Iterable[LogLine], level: int = 1) -> bytes:
    """Pack lines in their order. Lines over `MAX_LINE_BYTES` are cut."""
    sources: dict[tuple[Kind, str], int] = {}
    rows = tuple(
        (
            sources.setdefault((line.kind, line.location), len(sources)),
            line.at_ms,
            line.read_ms,
            line.text[:MAX_LINE_BYTES],
            line.facts,
        )
        for line in lines
    )
    plain = _encoder.encode(_Packed(sources=tuple(sources), lines=rows))
    return zstandard.ZstdCompressor(level=level).compress(plain)


def unpack(data: bytes, count: int) -> tuple[LogLine, ...]:
    """Unpack what `pack` made.

    Raises:
        RemoteProtocolError: not zstd, too large, not our msgpack, or not `count` lines.
    """
    try:
        size = zstandard.frame_content_size(data)
        if not 0 <= size <= _UNPACKED_LIMIT:
            raise RemoteProtocolError(f"a batch may unpack to {_UNPACKED_LIMIT} bytes, this one says {size}")
        plain = zstandard.ZstdDecompressor().decompress(data, max_output_size=size)
        packed = _decoder.decode(plain)
        if len(packed.lines) != count:
            raise RemoteProtocolError(f"a batch of {count} lines was announced, {len(packed.lines)} came")
        sources = packed.sources
        lines = [
            LogLine(sources[source][1], text[:MAX_LINE_BYTES], at_ms, read_ms, sources[source][0], facts)
            for source, at_ms, read_ms, text, facts in packed.lines
        ]
        return tuple(lines)
    except (zstandard.ZstdError, msgspec.MsgspecError, IndexError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"a batch that cannot be unpacked: {error}") from error


def link(before: bytes, data: bytes) -> bytes:
    """Chain value after a batch: SHA-256 over the value before it and its bytes."""
    return hashlib.sha256(before + data).digest()


def cut(lines: Sequence[LogLine]) -> list[tuple[LogLine, ...]]:
    """Cut lines into batches that respect the limits on lines and unpacked bytes, in order."""
    batches: list[tuple[LogLine, ...]] = []
    start = size = 0
    for index, line in enumerate(lines):
        length = min(len(line.text), MAX_LINE_BYTES) + len(line.facts) + len(line.location.encode())
        if index > start and (index - start == MAX_BATCH_LINES or size + length > MAX_BATCH_UNPACKED):
            batches.append(tuple(lines[start:index]))
            start, size = index, 0
        size += length
    if start < len(lines):
        batches.append(tuple(lines[start:]))
    return batches


def batched(lines: Sequence[LogLine]) -> Iterator[tuple[int, bytes]]:
    """Cut and pack lines, in order: (how many, packed). What packs badly is halved until it fits `MAX_BATCH_PACKED`."""
    waiting = list(reversed(cut(lines)))
    while waiting:
        part = waiting.pop()
        data = pack(part)
        if len(data) > MAX_BATCH_PACKED and len(part) > 1:
            half = len(part) // 2
            waiting += [part[half:], part[:half]]
        else:
            yield len(part), data
