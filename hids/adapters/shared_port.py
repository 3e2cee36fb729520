"""The agents' TCP port when old agents use it, too: what a connection begins with tells who is there.

TLS goes on here as with `SessionPort`; anything else is given away, unread.
"""

import asyncio
import socket
import ssl
from collections.abc import Callable

import structlog

from hids.adapters.session_port import HANDSHAKE_S, Connection
from hids.core.wire.ossec.stream import DECIDING_BYTES, is_tls

log = structlog.get_logger()

MAX_UNDECIDED = 512
"""Connections that have not said enough to tell; the oldest makes room."""
DECIDE_S = 10.0
LOOK_AGAIN_S = 0.1
"""Until the next look at a connection that has said one or two bytes only."""
ACCEPT_BURST = 64
ACCEPT_PAUSE_S = 0.1
"""Wait after a failed accept: out of descriptors, most likely."""


class SharedPort:
    """Listens on the running loop."""

    def __init__(
        self,
        sock: socket.socket,
        context: ssl.SSLContext,
        accept: Callable[[Connection], None],
        give_away: Callable[[socket.socket, str], None],
    ) -> None:
        """Begin to listen.

        Args:
            sock: listens, non-blocking; closed by `close`.
            context: for our own agents.
            accept: takes their connections after the handshake.
            give_away: takes the others: the socket, which is his from then on, and the peer's address.
        """
        self._sock = sock
        self._context = context
        self._accept = accept
        self._give_away = give_away
        self._loop = asyncio.get_running_loop()
        self._undecided: dict[socket.socket, tuple[str, asyncio.TimerHandle]] = {}
        self._shaking: set[asyncio.Task[None]] = set()
        self._retry: asyncio.TimerHandle | None = None
        self._loop.add_reader(sock, self._welcome)

    def close(self) -> None:
        """Accept no more; open connections stay."""
        self._loop.remove_reader(self._sock)
        if self._retry is not None:
            self._retry.cancel()
        self._sock.close()
        for sock in tuple(self._undecided):
            self._forget(sock)
            sock.close()
        for task in self._shaking:
            task.cancel()

    def _welcome(self) -> None:
        for _ in range(ACCEPT_BURST):
            try:
                sock, peer = self._sock.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.warning("the agents' port cannot accept", error=str(error))
                self._loop.remove_reader(self._sock)
                self._retry = self._loop.call_later(ACCEPT_PAUSE_S, self._loop.add_reader, self._sock, self._welcome)
                return
            sock.setblocking(False)
            if len(self._undecided) >= MAX_UNDECIDED:
                self._drop(next(iter(self._undecided)))
            timer = self._loop.call_later(DECIDE_S, self._drop, sock)
            self._undecided[sock] = (peer[0].removeprefix("::ffff:"), timer)
            self._loop.add_reader(sock, self._look, sock)

    def _look(self, sock: socket.socket) -> None:
        """Peek at the first bytes; nothing is taken from the connection."""
        if sock not in self._undecided:
            return
        try:
            start = sock.recv(DECIDING_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            start = b""
        if not start:
            self._drop(sock)
        elif len(start) < DECIDING_BYTES:
            self._loop.remove_reader(sock)  # it stays readable, and must not keep us busy
            self._loop.call_later(LOOK_AGAIN_S, self._look, sock)
        else:
            address = self._forget(sock)
            if is_tls(start):
                task = self._loop.create_task(self._shake_hands(sock))
                self._shaking.add(task)
                task.add_done_callback(self._shaking.discard)
            else:
                self._give_away(sock, address)

    async def _shake_hands(self, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(
                lambda: Connection(self._accept), sock, ssl=self._context, ssl_handshake_timeout=HANDSHAKE_S
            )
        except OSError as error:  # ssl.SSLError is one
            log.debug("handshake failed", reason=str(error))
            sock.close()

    def _drop(self, sock: socket.socket) -> None:
        if sock in self._undecided:
            self._forget(sock)
            sock.close()

    def _forget(self, sock: socket.socket) -> str:
        address, timer = self._undecided.pop(sock)
        timer.cancel()
        self._loop.remove_reader(sock)
        return address
