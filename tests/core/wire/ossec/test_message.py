import hashlib
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.message import MAX_INFLATED, Counters, Message, pack, unpack
from hids.errors import RemoteProtocolError

GOOD = Message(b"1:x:y", Counters(7, 8), 9)


def body(text: bytes) -> bytes:
    return hashlib.md5(text, usedforsecurity=False).hexdigest().encode() + text


@given(
    st.binary(min_size=1, max_size=300), st.integers(0, 9_999_999_999), st.integers(0, 9_999), st.integers(0, 65_535)
)
def test_what_is_packed_is_unpacked(payload: bytes, global_: int, local: int, random: int):
    message = Message(payload, Counters(global_, local), random)
    plain = pack(message)
    assert unpack(plain) == message
    assert len(plain) % 8 == 0
    assert 1 <= len(plain) - len(plain.lstrip(b"!")) <= 8


def test_the_body_is_as_documented():
    plain = pack(Message(b"1:/var/log/auth.log:hello", Counters(1_700_000_000, 42), 12_345))
    assert zlib.decompress(plain.lstrip(b"!"))[32:] == b"123451700000000:0042:1:/var/log/auth.log:hello"


def test_any_zlib_stream_and_junk_behind_it_will_do():
    whole = body(b"000090000000007:0008:1:x:y")
    for level in range(10):
        assert unpack(b"!!!" + zlib.compress(whole, level) + b"junk") == GOOD


@pytest.mark.parametrize(
    "plain",
    [
        b"",
        b"!",
        b":" + bytes(60),
        b"x" + zlib.compress(body(b"000090000000007:0008:1:x:y")),
        zlib.compress(body(b"000090000000007:0008:1:x:y")),
        b"!" + zlib.compress(b""),
        *(b"!" + zlib.compress(b"x" * size) for size in range(1, 62)),
        b"!" + zlib.compress(body(b"000090000000007:0008:")),
        b"!" + zlib.compress(body(b"00009000000000700008:1:x:y")),
        b"!" + zlib.compress(body(b"000090000000007:00081:x:yyyy")),
        b"!" + zlib.compress(body(b"00009000000000a:0008:1:x:y")),
        b"!" + zlib.compress(b"0" * 32 + b"000090000000007:0008:1:x:y"),
        b"!" + zlib.compress(body(b"000090000000007:0008:1:x:y"))[:-3],
    ],
)
def test_all_that_is_wrong_looks_the_same(plain: bytes):
    with pytest.raises(RemoteProtocolError) as raised:
        unpack(plain)
    assert str(raised.value) == "not a message under this key"


def test_a_bomb_is_not_inflated():
    bomb = b"!" + zlib.compress(body(b"000090000000007:0008:" + bytes(MAX_INFLATED)), 9)
    assert len(bomb) < 200
    with pytest.raises(RemoteProtocolError):
        unpack(bomb)


@given(st.binary(max_size=400))
def test_garbage(data: bytes):
    with pytest.raises(RemoteProtocolError):
        unpack(b"!" + data)
