"""What travels: a UDP datagram, or the body of a TCP frame.

[ !ID! ]  :      blowfish            the id only from an agent, and only when its address does not tell who it is
[ !ID! ]  #AES:  aes
"""

import re

import msgspec

from hids.core.wire.ossec.cipher import BLOWFISH_BLOCK, Keyring, Method, RandomBytes
from hids.core.wire.ossec.message import Message, pack, unpack
from hids.errors import RemoteProtocolError

MAX_BODY = 65_536
"""Bytes of a datagram or frame body that are looked at; Wazuh's own limit."""
MAX_OSSEC_DATAGRAM = 1_024
"""A connected OSSEC agent reads no more of a datagram."""

PING, PONG = b"#ping", b"#pong"
"""A probe of load balancers and its answer, in clear (Wazuh)."""

_BODY = re.compile(rb"(?:!([0-9]{1,8})!)?(:|#AES:)", re.DOTALL)


class Sealed(msgspec.Struct, frozen=True):
    """A body taken apart, still encrypted."""

    agent: str
    """The id that it names; empty when it names none."""
    aes: bool
    data: bytes


def split(body: bytes) -> Sealed:
    """Take a body apart.

    Raises:
        RemoteProtocolError: too long, or not of this protocol.
    """
    head = _BODY.match(body) if len(body) <= MAX_BODY else None
    if head is None:
        raise RemoteProtocolError(f"expected [!ID!]:... or [!ID!]#AES:..., got {len(body)} bytes of something else")
    agent = head[1].decode() if head[1] else ""
    return Sealed(agent, len(head[2]) > 1, body[head.end() :])


def open_sealed(sealed: Sealed, keyring: Keyring) -> tuple[Message, Method]:
    """Decrypt and check.

    Raises:
        RemoteProtocolError: not made with this key.
    """
    if not sealed.aes:
        plain = keyring.decrypt_blowfish(sealed.data)
        if plain is None:
            raise RemoteProtocolError(f"expected a multiple of {BLOWFISH_BLOCK} bytes")
        return unpack(plain), Method.BLOWFISH
    for method, plain in keyring.decrypt_aes(sealed.data):
        try:
            return unpack(plain), method
        except RemoteProtocolError:
            continue
    raise RemoteProtocolError("not a message under this key")


def seal(message: Message, keyring: Keyring, method: Method, random: RandomBytes, agent: str = "") -> bytes:
    """Encrypt a message; `agent` is the id to name, if any.

    Raises:
        LocalProtocolError: the payload is empty or too long.
    """
    named = f"!{agent}!".encode() if agent else b""
    return named + method.marker + keyring.encrypt(pack(message), method, random)
