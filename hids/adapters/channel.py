"""A framed connection between two of the manager's own processes, on an asyncio loop.

msgpack of a tagged union both ways, u32 length before it. The peer is our own program, so a malformed frame is a bug
and closes the channel.
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
        self._early: list[bytes] = []
        self.opening: asyncio.Task[Any] | None = None
        """Held so that the loop does not lose the task that connects."""
        self.closed = False
        """Nothing more is sent; what was queued before may still be on its way."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: ready to write."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what create_unix_connection gives
        self._transport = transport
        for data in self._early:
            transport.write(data)
        self._early.clear()
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
        """Queue a message for the other process; dropped when the channel is closed (the peer starts anew then)."""
        if self.closed:
            return
        data = frame(self._encode(message), MAX_MESSAGE_BYTES)
        if self._transport is None:
            self._early.append(data)
        else:
            self._transport.write(data)

    @property
    def waiting_bytes(self) -> int:
        """Bytes that the other process has not yet taken."""
        return self._transport.get_write_buffer_size() if self._transport is not None else 0

    def close(self) -> None:
        """Close after what is queued has been written."""
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
