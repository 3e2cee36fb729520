"""Lines as a batch's bytes: what goes in comes out, and hostile batches cost nothing but an error."""

import contextlib
import hashlib
import os

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.lines import GENESIS, batched, cut, link, pack, unpack
from hids.errors import RemoteProtocolError
from hids.messages.lines import (
    MAX_BATCH_LINES,
    MAX_BATCH_PACKED,
    MAX_BATCH_UNPACKED,
    MAX_LINE_BYTES,
    MAX_LOCATION,
    LogLine,
)

TIMES = st.integers(0, 2**45)
LINES = st.lists(
    st.builds(
        LogLine,
        location=st.text(max_size=20),
        text=st.binary(max_size=60),
        at_ms=TIMES,
        read_ms=TIMES,
        kind=st.sampled_from(("log", "agent", "syscheck")),
        facts=st.binary(max_size=20),
    ),
    max_size=20,
)


def line(text: bytes = b"text", location: str = "/var/log/x") -> LogLine:
    return LogLine(location, text, 1, 2)


def squeezed(value: object) -> bytes:
    return zstandard.ZstdCompressor().compress(msgspec.msgpack.encode(value))


@given(LINES)
def test_what_is_packed_comes_out(lines: list[LogLine]):
    assert unpack(pack(lines), len(lines)) == tuple(lines)


@given(LINES, st.integers(-2, 2).filter(bool))
def test_another_number_of_lines_than_announced_is_refused(lines: list[LogLine], off: int):
    with pytest.raises(RemoteProtocolError, match="lines was announced"):
        unpack(pack(lines), len(lines) + off)


@given(st.binary(max_size=200))
def test_any_bytes_are_lines_or_a_protocol_error(data: bytes):
    with pytest.raises(RemoteProtocolError):
        unpack(data, 1)


@given(LINES.filter(bool), st.data())
def test_a_damaged_batch_is_lines_or_a_protocol_error(lines: list[LogLine], data: st.DataObject):
    packed = bytearray(pack(lines))
    place = data.draw(st.integers(0, len(packed) - 1))
    packed[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(RemoteProtocolError):
        assert len(unpack(bytes(packed), len(lines))) == len(lines)


MESSAGE = st.recursive(
    st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5) | st.binary(max_size=5),
    lambda inner: st.lists(inner, max_size=4),
    max_leaves=20,
)


@given(MESSAGE, st.integers(0, 4))
def test_any_message_inside_is_lines_or_a_protocol_error(message: object, count: int):
    with contextlib.suppress(RemoteProtocolError):
        assert len(unpack(squeezed(message), count)) == count


@pytest.mark.parametrize(
    ("sources", "rows", "wrong"),
    [
        ([["log", "x"]], [[1, 0, 0, b"", b""]], "a source that is not there"),
        ([["log", "x"]], [[-1, 0, 0, b"", b""]], "a source counted from the end"),
        ([["log", "x"]], [[0, -1, 0, b"", b""]], "a time before 1970"),
        ([["log", "x"]], [[0, 2**64 - 1, 0, b"", b""]], "a time that no store can hold"),
        ([["log", "x"]], [[0, 0, 2**53, b"", b""]], "a read time that no store can hold"),
        ([["log", "x" * (MAX_LOCATION + 1)]], [[0, 0, 0, b"", b""]], "a location without end"),
        ([["rumour", "x"]], [[0, 0, 0, b"", b""]], "a kind that is not there"),
        ([["log", "x"]], [[0, 0, 0, "text", b""]], "text that is no bytes"),
    ],
)
def test_what_no_agent_of_ours_sends_is_refused(sources: list[object], rows: list[object], wrong: str):
    with pytest.raises(RemoteProtocolError):
        unpack(squeezed([sources, rows]), len(rows))
    assert wrong


def test_a_bomb_is_refused_by_its_announced_size():
    bomb = zstandard.ZstdCompressor().compress(bytes(64 * 1024 * 1024))
    assert len(bomb) < 16 * 1024
    with pytest.raises(RemoteProtocolError, match="may unpack to"):
        unpack(bomb, 1)


def test_a_frame_that_hides_its_size_is_refused():
    compressor = zstandard.ZstdCompressor(write_content_size=False)
    with pytest.raises(RemoteProtocolError):
        unpack(compressor.compress(msgspec.msgpack.encode([[], []])), 0)


def test_a_frame_that_lies_about_its_size_is_refused():
    honest = bytearray(pack([line(b"x" * 200)]))
    size = zstandard.frame_content_size(bytes(honest))
    place = 5  # magic, descriptor with the single segment bit: the one byte of size follows
    assert honest[place] == size & 0xFF or size > 0xFF
    honest[place] = 7
    with pytest.raises(RemoteProtocolError):
        unpack(bytes(honest), 1)


def test_long_lines_are_cut_by_whoever_packs_and_by_whoever_unpacks():
    long = b"x" * (MAX_LINE_BYTES + 1)
    assert unpack(pack([line(long)]), 1)[0].text == long[:-1]
    raw = squeezed([[["log", "x"]], [[0, 0, 0, long, b""]]])
    assert unpack(raw, 1)[0].text == long[:-1]


def test_the_chain_covers_every_batch_before():
    first = link(GENESIS, b"one")
    assert first == hashlib.sha256(bytes(32) + b"one").digest()
    assert link(first, b"two") != link(GENESIS, b"two")


@given(LINES)
def test_cutting_loses_and_reorders_nothing(lines: list[LogLine]):
    assert [item for batch in cut(lines) for item in batch] == lines


def test_batches_have_at_most_so_many_lines():
    batches = cut([line()] * (2 * MAX_BATCH_LINES + 1))
    assert [len(batch) for batch in batches] == [MAX_BATCH_LINES, MAX_BATCH_LINES, 1]
    assert cut([]) == []


@pytest.mark.parametrize("letter", ["x", "\N{SNOWMAN}", "\N{PILE OF POO}"])
def test_every_batch_that_is_cut_can_be_unpacked(letter: str):
    """The longest lines from the longest places, each another one, with facts."""
    lines = [
        LogLine(letter * (MAX_LOCATION - 4) + f"{number:04}", b"y" * MAX_LINE_BYTES, 2**45, 2**45, "log", b"z" * 500)
        for number in range(100)
    ] + [LogLine(letter * (MAX_LOCATION - 4) + f"{number:04}", b"", 2**45, 2**45) for number in range(1000)]
    batches = cut(lines)
    assert all(unpack(pack(batch), len(batch)) == batch for batch in batches)
    assert max(sum(len(item.text) for item in batch) for batch in batches) <= MAX_BATCH_UNPACKED


@given(st.lists(st.integers(0, 200_000), max_size=12))
def test_batches_fit_and_keep_the_order(sizes: list[int]):
    lines = [line(os.urandom(min(size, MAX_LINE_BYTES))) for size in sizes]
    batches = list(batched(lines))
    assert [each for count, data in batches for each in unpack(data, count)] == lines
    assert all(len(data) <= MAX_BATCH_PACKED or count == 1 for count, data in batches)
