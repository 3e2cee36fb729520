"""The port where Prometheus asks. One answer, `/metrics`; nothing can be sent that changes anything.

Not aiohttp's server: that waits for ever for the head of a request, and takes any number of connections.
"""

import asyncio
import contextlib
import socket
from collections.abc import Awaitable, Callable

from hids.core.exposition import CONTENT_TYPE

MAX_HEAD_BYTES = 8 * 1024
HEAD_S = 5.0
MAX_CONNECTIONS = 16
"""More are closed at once: Prometheus needs one."""


class MetricsPort:
    """Listens on a bound socket from `start` to `stop`."""

    def __init__(self, sock: socket.socket, measure: Callable[[], Awaitable[str]]) -> None:
        """`measure` gives the text."""
        self._sock = sock
        self._measure = measure
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Begin to listen."""
        self._server = await asyncio.start_server(self._serve, sock=self._sock, limit=MAX_HEAD_BYTES)

    async def stop(self) -> None:
        """Close the port and every connection."""
        for task in tuple(self._connections):
            task.cancel()
        if self._server is not None:
            self._server.close()
        self._sock.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - start_server runs this as one
        try:
            if len(self._connections) < MAX_CONNECTIONS:
                self._connections.add(task)
                async with asyncio.timeout(2 * HEAD_S):
                    writer.write(await self._answer(reader))
                    await writer.drain()
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            self._connections.discard(task)
            with contextlib.suppress(OSError):
                writer.close()

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        try:
            async with asyncio.timeout(HEAD_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return _response("400 Bad Request", "expected an HTTP request\n")
        method, _, rest = head.partition(b" ")
        path = rest.partition(b" ")[0].partition(b"?")[0]
        if method not in (b"GET", b"HEAD"):
            return _response("405 Method Not Allowed", "only GET\n")
        if path not in (b"/metrics", b"/"):
            return _response("404 Not Found", "the figures are at /metrics\n")
        return _response("200 OK", await self._measure(), CONTENT_TYPE, body=method == b"GET")


def _response(status: str, text: str, kind: str = "text/plain; charset=utf-8", *, body: bool = True) -> bytes:
    data = text.encode("utf-8", "replace")
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(data)}\r\nConnection: close\r\n\r\n"
    return head.encode() + (data if body else b"")
