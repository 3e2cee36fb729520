"""A message: counters and payload, with a checksum, deflated.

body  = RRRRR GGGGGGGGGG : LLLL : payload      random, global and local counter in decimal
plain = ! (1 to 8 times)  zlib(md5(body) body)
"""

import hashlib
import re
import zlib

import msgspec

from hids.errors import LocalProtocolError, RemoteProtocolError

MAX_INFLATED = 65_536
"""Bytes that a message may inflate to, as in Wazuh. 64 KiB of zeros fit in a hundred bytes."""
HEADER_BYTES = 53
"""Checksum, random number, counters and colons before the payload."""
MAX_PAYLOAD = MAX_INFLATED - HEADER_BYTES
MAX_OSSEC_PAYLOAD = 6_016
"""What OSSEC sends at most; its manager takes 6,091."""

_SUM_BYTES = 32
_BODY = re.compile(rb"([0-9]{5})([0-9]{10}):([0-9]{4}):")
_ALIGN = 8


class Counters(msgspec.Struct, frozen=True, order=True, array_like=True):
    """A message's number: (global, local), compared in that order."""

    global_: int
    local: int


class Message(msgspec.Struct, frozen=True):
    """One message in clear."""

    payload: bytes
    counters: Counters
    random: int
    """0 to 65,535; only makes equal messages differ."""


def pack(message: Message) -> bytes:
    """Make the plaintext that is to be encrypted; its length is a multiple of 8.

    Raises:
        LocalProtocolError: empty or too long.
    """
    if not 0 < len(message.payload) <= MAX_PAYLOAD:
        raise LocalProtocolError(f"a payload of {len(message.payload)} bytes; expected 1 to {MAX_PAYLOAD}")
    number = message.counters
    body = b"%05d%010d:%04d:" % (message.random, number.global_, number.local) + message.payload
    deflated = zlib.compress(_md5(body) + body, 9)
    return b"!" * (_ALIGN - len(deflated) % _ALIGN) + deflated


def unpack(plain: bytes) -> Message:
    """Read what `pack` made.

    Raises:
        RemoteProtocolError: it is none. All that can be wrong looks the same, so that nobody learns from the difference.
    """
    deflated = plain.lstrip(b"!")
    if len(deflated) == len(plain):
        raise _wrong()
    inflater = zlib.decompressobj()
    try:
        whole = inflater.decompress(deflated, MAX_INFLATED)
    except zlib.error as error:
        raise _wrong() from error
    if not inflater.eof or len(whole) <= HEADER_BYTES:
        raise _wrong()
    body = whole[_SUM_BYTES:]
    head = _BODY.match(body)
    if head is None or _md5(body) != whole[:_SUM_BYTES]:
        raise _wrong()
    random, global_, local = map(int, head.groups())
    return Message(body[head.end() :], Counters(global_, local), random)


def _md5(data: bytes) -> bytes:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().encode()


def _wrong() -> RemoteProtocolError:
    return RemoteProtocolError("not a message under this key")
