"""A bar chart as a PNG: for mail, whose readers show no SVG. Two colours, so that a month is a KiB."""

import struct
import zlib
from collections.abc import Sequence

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PAPER, _INK = b"\xff\xff\xff", b"\x3b\x7d\xd8"
MAX_SIDE = 4_096


def bar_chart(counts: Sequence[int], width: int, height: int) -> bytes:
    """Draw one bar for each count, the highest over the whole height; every bar that is not zero shows.

    Args:
        counts: from left to right; beyond one a pixel several share a column, which shows the highest.
        width: pixels, 1 to `MAX_SIDE`.
        height: pixels, 1 to `MAX_SIDE`.
    """
    if not (0 < width <= MAX_SIDE and 0 < height <= MAX_SIDE):
        raise ValueError(f"expected 1 to {MAX_SIDE} pixels a side, got {width} x {height}")
    columns = _columns(counts, width)
    highest = max(1, *columns) if columns else 1
    tops = [-(-height * count // highest) for count in columns]
    rows = bytearray()
    for above in range(height, 0, -1):
        rows.append(0)  # no filter
        rows += _packed([top >= above for top in tops])
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel, by palette
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", _PAPER + _INK),
            _chunk(b"IDAT", zlib.compress(bytes(rows), 9)),
            _chunk(b"IEND", b""),
        )
    )


def _columns(counts: Sequence[int], width: int) -> list[int]:
    """What each column of pixels shows; bars that are wide enough have a gap before the next."""
    columns = [0] * width
    for place, count in enumerate(counts):
        begin, end = place * width // len(counts), (place + 1) * width // len(counts)
        gap = end - begin > 2  # noqa: PLR2004 - else nothing of the bar would be left
        for x in range(begin, max(begin + 1, end - gap)):
            columns[x] = max(columns[x], count)
    return columns


def _packed(pixels: Sequence[bool]) -> bytes:
    """Eight pixels a byte, the first in the highest bit."""
    bits = "".join("1" if pixel else "0" for pixel in pixels)
    size = -(-len(pixels) // 8)
    return int(bits.ljust(8 * size, "0"), 2).to_bytes(size, "big")


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
