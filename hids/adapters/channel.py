"""A framed connection between two of the manager's own processes, on an asyncio loop.

msgpack of a tagged union both ways, u32 length before it. The peer is our own program, so a malformed frame is a bug
and closes the channel.

What is sent within one turn of the loop goes out in one write: a write is a system call that wakes the other process,
and costs far more than what a small message says.
"""

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from hids.core.wire.frames import FrameReader, frame
from hids.errors import ProtocolError

log = structlog.get_logger()

MAX_MESSAGE_BYTES = 64 * 1024 * 1024
"""A committed group or an outcome with 512 alerts of 64 KiB lines fits."""

_READ_BYTES = 256 * 1024


class Channel(asyncio.Protocol):
    """One end. Made by `open_channel`; what is sent before it is connected waits."""

    def __init__(
        self,
        decoder: msgspec.msgpack.Decoder[Any],
        on_message: Callable[[Any], None],
        on_close: Callable[[], None],
    ) -> None:
        self._decoder = decoder
        self._encode = msgspec.msgpack.Encoder().encode
        self._on_message = on_message
        self._on_close: Callable[[], None] | None = on_close
        self._frames = FrameReader(MAX_MESSAGE_BYTES)
        self._transport: asyncio.Transport | None = None
        self._queued: list[bytes] = []
        """Frames that are not yet given to the transport."""
        self._flushing = False
        """`flush` is due."""
        self.opening: asyncio.Task[Any] | None = None
        """Held so that the loop does not lose the task that connects."""
        self.closed = False
        """Nothing more is sent; what was queued before may still be on its way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: ready to write."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_unix_connection gives
        self._transport = transport
        self.flush()
        if self.closed:
            transport.close()

    def data_received(self, data: bytes) -> None:
        """Asyncio: bytes came."""
        try:
            for payload in self._frames.feed(data):
                self._on_message(self._decoder.decode(payload))
        except (ProtocolError, msgspec.MsgspecError) as error:
            log.error("channel closed: the other process sent nonsense", error=str(error))  # noqa: TRY400
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio: the other end is gone, or `close` was called."""
        self.closed = True
        on_close, self._on_close = self._on_close, None
        if on_close is not None:
            on_close()

    def send(self, message: Any) -> None:
        """Queue a message for the other process, in this turn of the loop.

        It is dropped when the channel is closed (the peer starts anew then).
        """
        if self.closed:
            return
        self._queued.append(frame(self._encode(message), MAX_MESSAGE_BYTES))
        if not self._flushing:
            self._flushing = True
            asyncio.get_running_loop().call_soon(self.flush)

    def flush(self) -> None:
        """Write what is queued now, not at the end of this turn of the loop."""
        self._flushing = False
        if self._transport is not None and self._queued:
            queued, self._queued = self._queued, []
            self._transport.write(b"".join(queued))

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the other process has not yet taken."""
        held = sum(map(len, self._queued))
        return held + (self._transport.get_write_buffer_size() if self._transport is not None else 0)

    def close(self) -> None:
        """Close after what is queued has been written."""
        self.flush()
        self.closed = True
        if self._transport is not None:
            self._transport.close()

    def pause(self) -> None:
        """Stop reading."""
        if self._transport is not None and not self.closed:
            self._transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._transport is not None and not self.closed:
            self._transport.resume_reading()


def open_channel(
    sock: socket.socket,
    union: Any,
    on_message: Callable[[Any], None],
    on_close: Callable[[], None],
) -> Channel:
    """Make a channel of one end of a socket pair, on the running loop.

    Args:
        sock: a connected stream socket; the channel owns it from now on.
        union: the type of what the peer sends.
        on_message: called with each message, on this loop.
        on_close: called once when the peer is gone.
    """
    sock.setblocking(False)
    loop = asyncio.get_running_loop()
    channel = Channel(msgspec.msgpack.Decoder(union), on_message, on_close)
    task = loop.create_task(loop.create_unix_connection(lambda: channel, sock=sock))
    channel.opening = task
    return channel
