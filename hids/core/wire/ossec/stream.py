"""Frames of the old protocol over TCP (Wazuh): a little-endian u32, not counting itself, then the body."""

import struct

from hids.core.wire.ossec.datagram import MAX_BODY
from hids.errors import LocalProtocolError, RemoteProtocolError

_LENGTH = struct.Struct("<I")

DECIDING_BYTES = 3
"""So many bytes of a connection tell whether it is TLS."""
_TLS_HANDSHAKE, _TLS_MAJOR = 22, 3


def is_tls(start: bytes) -> bool:
    """Whether a connection that begins like this speaks TLS.

    A TLS record starts with 22, 3 and a minor version from 1 on. As a little-endian length that is over 65,536, which no
    old agent sends.
    """
    return start[0] == _TLS_HANDSHAKE and start[1] == _TLS_MAJOR and start[2] > 0


def frame(body: bytes) -> bytes:
    """Put the length before a body.

    Raises:
        LocalProtocolError: too long.
    """
    if not 0 < len(body) <= MAX_BODY:
        raise LocalProtocolError(f"a frame of {len(body)} bytes; expected 1 to {MAX_BODY}")
    return _LENGTH.pack(len(body)) + body


class FrameReader:
    """Cuts a stream into bodies, however the bytes arrive. Holds at most one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived and return the bodies that it completes.

        Raises:
            RemoteProtocolError: a length of 0, or above the limit. The reader is of no use afterwards.
        """
        buffer = self._buffer
        buffer += data
        bodies: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if not 0 < length <= MAX_BODY:
                raise RemoteProtocolError(f"expected a frame of 1 to {MAX_BODY} bytes, got one of {length}")
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            bodies.append(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        del buffer[:start]
        return bodies
