"""What real programs sent opens, and is made again byte for byte; everything else is refused in one way."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ossec_vectors import REAL_OSSEC, VECTORS, WEB01, Vector

from hids.core.wire.ossec.cipher import Keyring, Method
from hids.core.wire.ossec.datagram import MAX_BODY, open_sealed, seal, split
from hids.core.wire.ossec.keys import encryption_key
from hids.core.wire.ossec.message import MAX_PAYLOAD, Counters, Message
from hids.errors import LocalProtocolError, RemoteProtocolError

KEYS = {key.id: Keyring(encryption_key(key)) for key in {vector.key for vector in VECTORS}}
RING = KEYS[WEB01.id]
methods = st.sampled_from(Method)
messages = st.builds(
    Message,
    st.binary(min_size=1, max_size=7_000),
    st.builds(Counters, st.integers(0, 9_999_999_999), st.integers(0, 9_997)),
    st.integers(0, 65_535),
)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_real_messages_open(vector: Vector):
    sealed = split(vector.body)
    assert sealed.agent == vector.named
    assert open_sealed(sealed, KEYS[vector.key.id]) == (vector.message, vector.method)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector.name)
def test_real_messages_are_made_again(vector: Vector):
    marker = vector.body.index(vector.method.marker) + len(vector.method.marker)
    made = seal(
        vector.message, KEYS[vector.key.id], vector.method, lambda n: vector.body[marker : marker + n], vector.named
    )
    assert made == vector.body


@given(messages, methods, st.sampled_from(["", "1", "0042"]))
def test_what_is_sealed_opens(message: Message, method: Method, agent: str):
    sealed = split(seal(message, RING, method, bytes, agent))
    assert (sealed.agent, *open_sealed(sealed, RING)) == (agent, message, method)


@given(st.binary(max_size=300), st.sampled_from([b"", b":", b"#AES:", b"!001!:", b"!001!#AES:"]))
def test_garbage_is_refused(garbage: bytes, start: bytes):
    with pytest.raises(RemoteProtocolError):
        open_sealed(split(start + garbage), RING)


@settings(max_examples=60)
@given(messages, methods, st.data())
def test_a_changed_bit_is_refused(message: Message, method: Method, data: st.DataObject):
    body = bytearray(seal(message, RING, method, bytes))
    start = len(method.marker)
    place = data.draw(st.integers(start, len(body) - 1))
    body[place] ^= 1 << data.draw(st.integers(0, 7))
    try:
        opened, _ = open_sealed(split(bytes(body)), RING)
    except RemoteProtocolError:
        return
    assert opened == message


@given(messages, methods)
def test_another_key_is_refused(message: Message, method: Method):
    body = seal(message, RING, method, bytes)
    with pytest.raises(RemoteProtocolError):
        open_sealed(split(body), KEYS[REAL_OSSEC.id])


def test_cut_datagrams_are_refused():
    body = VECTORS[1].body
    for length in range(len(body)):
        with pytest.raises(RemoteProtocolError):
            open_sealed(split(body[:length]), RING)


def test_sizes_are_bounded():
    with pytest.raises(RemoteProtocolError):
        split(b":" + bytes(MAX_BODY))
    with pytest.raises(LocalProtocolError):
        seal(Message(bytes(MAX_PAYLOAD + 1), Counters(0, 1), 0), RING, Method.BLOWFISH, bytes)
    with pytest.raises(LocalProtocolError):
        seal(Message(b"", Counters(0, 1), 0), RING, Method.BLOWFISH, bytes)
    longest = Message(bytes(MAX_PAYLOAD), Counters(0, 1), 0)
    assert open_sealed(split(seal(longest, RING, Method.WAZUH_AES, bytes)), RING)[0] == longest
