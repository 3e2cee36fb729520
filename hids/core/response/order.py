"""An order's bytes: packed once by the manager, signed, and read by the agent that it is for."""

import msgspec

from hids.errors import RemoteProtocolError
from hids.messages.response import ResponseOrder

CONTEXT = b"hids response order 1\0"
"""Stands before the bytes that are signed, so that no signature over something else will do."""

_decoder = msgspec.msgpack.Decoder(ResponseOrder)
_encoder = msgspec.msgpack.Encoder()


def pack(order: ResponseOrder) -> bytes:
    """The order as it travels."""
    return _encoder.encode(order)


def to_sign(body: bytes) -> bytes:
    """What the manager signs of a packed order."""
    return CONTEXT + body


def unpack(body: bytes) -> ResponseOrder:
    """Read an order.

    Raises:
        RemoteProtocolError: it is none.
    """
    try:
        return _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise RemoteProtocolError(f"expected a response order: {error}") from error


def target_of(order: ResponseOrder) -> str:
    """Against whom it is: an address, a user, or nobody in particular."""
    return order.address or order.user or ""
