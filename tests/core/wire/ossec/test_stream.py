import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.datagram import MAX_BODY
from hids.core.wire.ossec.stream import FrameReader, frame, is_tls
from hids.errors import LocalProtocolError, RemoteProtocolError


@given(st.lists(st.binary(min_size=1, max_size=40), max_size=8), st.data())
def test_frames_arrive_however_they_are_torn(bodies: list[bytes], data: st.DataObject):
    stream = b"".join(map(frame, bodies))
    reader, got = FrameReader(), []
    while stream:
        cut = data.draw(st.integers(1, len(stream)))
        got += reader.feed(stream[:cut])
        stream = stream[cut:]
    assert got == bodies


def test_the_length_is_little_endian():
    assert frame(bytes(106))[:4].hex() == "6a000000"


@pytest.mark.parametrize("length", ["00000000", "01000100", "ffffffff", "16030100"])
def test_impossible_lengths_are_refused_before_anything_else_comes(length: str):
    with pytest.raises(RemoteProtocolError):
        FrameReader().feed(bytes.fromhex(length))


def test_the_longest_frame_passes():
    assert FrameReader().feed(frame(bytes(MAX_BODY))) == [bytes(MAX_BODY)]
    with pytest.raises(LocalProtocolError):
        frame(bytes(MAX_BODY + 1))


@given(st.integers(1, MAX_BODY))
def test_no_frame_looks_like_tls(length: int):
    assert not is_tls(length.to_bytes(4, "little")[:3])


def test_tls_looks_like_tls():
    assert is_tls(bytes.fromhex("160301"))
    assert is_tls(bytes.fromhex("160303"))
