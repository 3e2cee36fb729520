"""The picture is read back by a reader that knows only the format."""

import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.bar_chart import MAX_SIDE, bar_chart


def pixels(png: bytes) -> list[list[int]]:
    """Rows of palette numbers, of a PNG with one bit a pixel and no filters."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(png):
        (size,) = struct.unpack(">I", png[at : at + 4])
        kind, data = png[at + 4 : at + 8], png[at + 8 : at + 8 + size]
        assert struct.unpack(">I", png[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + data)
        chunks[kind] = data
        at += 12 + size
    assert list(chunks) == [b"IHDR", b"PLTE", b"IDAT", b"IEND"]
    width, height, depth, colours, *rest = struct.unpack(">IIBBBBB", chunks[b"IHDR"])
    assert (depth, colours, rest) == (1, 3, [0, 0, 0])
    raw = zlib.decompress(chunks[b"IDAT"])
    stride = 1 + (width + 7) // 8
    assert len(raw) == height * stride
    rows = [raw[row * stride : (row + 1) * stride] for row in range(height)]
    assert {row[0] for row in rows} == {0}
    return [[row[1 + x // 8] >> (7 - x % 8) & 1 for x in range(width)] for row in rows]


def heights(png: bytes) -> list[int]:
    return [sum(column) for column in zip(*pixels(png), strict=True)]


def test_bars_have_their_heights_and_gaps():
    assert heights(bar_chart([0, 5, 10], 12, 10)) == [0, 0, 0, 0, 5, 5, 5, 0, 10, 10, 10, 0]


def test_one_alert_beside_a_million_shows():
    assert heights(bar_chart([1, 1_000_000], 2, 50)) == [1, 50]


def test_more_counts_than_pixels_share_columns():
    assert heights(bar_chart([1, 9, 3, 2, 0, 0], 3, 9)) == [9, 3, 0]


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (MAX_SIDE + 1, 5)])
def test_a_size_out_of_bounds_is_refused(size: tuple[int, int]):
    with pytest.raises(ValueError, match="pixels a side"):
        bar_chart([1], *size)


@given(st.lists(st.integers(0, 2**40), max_size=40), st.integers(1, 60), st.integers(1, 20))
def test_every_chart_can_be_read_and_its_highest_fills_it(counts: list[int], width: int, height: int):
    drawn = heights(bar_chart(counts, width, height))
    assert len(drawn) == width
    assert max(drawn) == (height if any(counts) else 0)
