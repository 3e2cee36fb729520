"""Frames of the native protocol: u32 big-endian length, then that many bytes of msgpack.

The length is checked before memory is taken. Used between agent and manager, and between the manager's processes.
"""

import struct

from hids.errors import LocalProtocolError, RemoteProtocolError

MAX_FRAME_BYTES = 1024 * 1024
"""A batch is at most 256 KiB packed; the rest is room for messages between our own processes."""

_LENGTH = struct.Struct("!I")


def frame(payload: bytes, limit: int = MAX_FRAME_BYTES) -> bytes:
    """Put the length before `payload`.

    Raises:
        LocalProtocolError: it is longer than the reader at the other end takes.
    """
    if len(payload) > limit:
        raise LocalProtocolError(f"a frame of {len(payload)} bytes was to be sent; the limit is {limit}")
    return _LENGTH.pack(len(payload)) + payload


class FrameReader:
    """Cuts a stream of bytes into frames, however the bytes arrive."""

    def __init__(self, limit: int = MAX_FRAME_BYTES) -> None:
        self._limit = limit
        self._buffer = bytearray()

    @property
    def buffered(self) -> int:
        """Bytes of an unfinished frame."""
        return len(self._buffer)

    def feed(self, data: bytes) -> list[bytes]:
        """Take what arrived and return the frames that it completes.

        Raises:
            RemoteProtocolError: a length above the limit. The reader is of no use afterwards.
        """
        buffer = self._buffer
        buffer += data
        frames: list[bytes] = []
        start = 0
        while len(buffer) - start >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(buffer, start)
            if length > self._limit:
                raise RemoteProtocolError(
                    f"expected a frame of at most {self._limit} bytes, got one of {length}; is this the hids protocol?"
                )
            end = start + _LENGTH.size + length
            if len(buffer) < end:
                break
            frames.append(bytes(buffer[start + _LENGTH.size : end]))
            start = end
        if start:
            del buffer[:start]
        return frames
