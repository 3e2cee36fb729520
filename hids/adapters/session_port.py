"""The session port: TLS connections of agents, cut into messages, with backpressure.

Strangers can connect, but nobody without a certificate of our CA gets past the handshake. Frames are bounded before
memory is taken; while the session's mailbox is filling up, nothing more is read from the socket.
"""

import asyncio
import socket
import ssl
from asyncio import sslproto
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from hids.core.wire.frames import FrameReader, frame
from hids.errors import RemoteProtocolError
from hids.messages.agent_link import ToManager

log = structlog.get_logger()

ALPN = "hids"
HANDSHAKE_S = 10.0
BACKLOG = 512
PAUSE_DEPTH = 32
"""Messages waiting for the session at which reading pauses."""
SEND_LIMIT = 1024 * 1024
"""Bytes that a peer may leave unread before it is cut off: acknowledgements are small."""
TLS_BUFFER = 32 * 1024
"""Bytes that a connection has to read into, always: two records. asyncio's own 256 KiB are 2.5 GiB for 10,000 agents."""

sslproto.SSLProtocol.max_size = TLS_BUFFER

_decoder = msgspec.msgpack.Decoder(ToManager)
_encode = msgspec.msgpack.Encoder().encode


class Connection(asyncio.Protocol):
    """One agent's connection, as its session sees it."""

    def __init__(self, accept: "Callable[[Connection], None]") -> None:
        self._accept = accept
        self._frames = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._deliver: Callable[[Any], int] | None = None
        self._closed: Callable[[str], None] | None = None
        self._early: list[Any] = []
        self._paused = False
        self._ended: str | None = None
        """Why, once it has."""
        self.address = ""
        self.certificate = b""
        """The peer's, DER; verified by the handshake."""

    def attach(self, deliver: Callable[[Any], int], closed: Callable[[str], None]) -> None:
        """Connect a session.

        Args:
            deliver: takes a message, returns how many wait there.
            closed: told once why the connection ended.
        """
        self._deliver, self._closed = deliver, closed
        early, self._early = self._early, []
        for message in early:
            deliver(message)
        if self._ended is not None:
            self._end(self._ended)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Asyncio: the handshake is done."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TLS server makes
        self._transport = transport
        transport.set_write_buffer_limits(high=SEND_LIMIT)
        peer = transport.get_extra_info("peername") or ("",)  # None: it has hung up already
        self.address = peer[0].removeprefix("::ffff:")
        tls: ssl.SSLObject = transport.get_extra_info("ssl_object")
        self.certificate = tls.getpeercert(binary_form=True) or b""
        if tls.selected_alpn_protocol() != ALPN or not self.certificate:
            transport.abort()
            return
        self._accept(self)

    def data_received(self, data: bytes) -> None:
        """Asyncio: bytes came."""
        try:
            for payload in self._frames.feed(data):
                message = _decoder.decode(payload)
                if self._deliver is None:
                    self._early.append(message)
                    waiting = len(self._early)
                else:
                    waiting = self._deliver(message)
                if waiting > PAUSE_DEPTH and not self._paused:
                    self._paused = True
                    assert self._transport is not None  # noqa: S101 - data came through it
                    self._transport.pause_reading()
        except (RemoteProtocolError, msgspec.MsgspecError, RecursionError) as error:
            self.close(f"protocol: {error}")

    def resume(self) -> None:
        """The session has room again."""
        if self._paused and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._transport.resume_reading()

    def pause_writing(self) -> None:
        """Asyncio: the peer does not read what we send."""
        self.close("it does not read its acknowledgements")

    def send(self, message: Any) -> None:
        """Send a message; nothing happens once closed."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(frame(_encode(message)))

    def close(self, reason: str) -> None:
        """End the connection after what is queued."""
        if self._transport is not None:
            self._transport.close()
        self._end(reason)

    def connection_lost(self, exc: Exception | None) -> None:
        """Asyncio: it has ended."""
        self._end(str(exc) if exc else "the agent closed")

    def _end(self, reason: str) -> None:
        self._ended = self._ended or reason
        if self._closed is not None:
            closed, self._closed = self._closed, None
            closed(reason)


class SessionPort:
    """Listens for agents on the running loop."""

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, accept: Callable[[Connection], None]) -> None:
        self._sock = sock
        loop = asyncio.get_running_loop()
        self._server: asyncio.Server | None = None
        self._starting = loop.create_task(self._start(context, accept))

    async def _start(self, context: ssl.SSLContext, accept: Callable[[Connection], None]) -> None:
        self._server = await asyncio.get_running_loop().create_server(
            lambda: Connection(accept),
            sock=self._sock,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_S,
            backlog=BACKLOG,
        )

    @property
    def port(self) -> int:
        """The port that it listens on."""
        port: int = self._sock.getsockname()[1]
        return port

    def close(self) -> None:
        """Accept no more; open connections stay."""
        if self._server is not None:
            self._server.close()
        else:
            self._starting.cancel()
            self._sock.close()
