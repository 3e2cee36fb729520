"""Frames: the same whatever pieces the bytes arrive in, and bounded before memory is taken."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.frames import FrameReader, frame
from hids.errors import LocalProtocolError, RemoteProtocolError


@given(st.lists(st.binary(max_size=40), max_size=10), st.data())
def test_frames_are_the_same_in_whatever_pieces_they_arrive(payloads: list[bytes], data: st.DataObject):
    stream = b"".join(map(frame, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    reader = FrameReader()
    got: list[bytes] = []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += reader.feed(stream[start:end])
    assert got == payloads
    assert reader.buffered == 0


@given(st.binary(max_size=200))
def test_any_bytes_give_frames_or_a_protocol_error_and_hold_no_more_than_came(data: bytes):
    reader = FrameReader(limit=16)
    try:
        frames = reader.feed(data)
    except RemoteProtocolError:
        return
    assert sum(4 + len(payload) for payload in frames) + reader.buffered == len(data)
    assert reader.buffered < 4 + 16


def test_a_length_above_the_limit_is_refused_before_its_bytes_come():
    reader = FrameReader(limit=100)
    assert reader.feed(frame(b"x" * 100)) == [b"x" * 100]
    with pytest.raises(RemoteProtocolError, match=r"at most 100 bytes, got one of 101"):
        reader.feed(b"\0\0\0\x65")


def test_another_protocol_is_told_apart_at_once():
    with pytest.raises(RemoteProtocolError, match="is this the hids protocol"):
        FrameReader().feed(b"GET / HTTP/1.1\r\n")


def test_our_own_frames_keep_the_limit():
    assert frame(b"1234", limit=4) == b"\0\0\0\x041234"
    with pytest.raises(LocalProtocolError, match="a frame of 5 bytes was to be sent; the limit is 4"):
        frame(b"12345", limit=4)
