"""The port for Prometheus: one answer, few connections, short patience."""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from hids.adapters import metrics_port
from hids.adapters.metrics_port import MetricsPort


async def measure() -> str:
    return "# figures\nhids_up{} 1\n"


def run(test: Callable[[int], Awaitable[Any]], measure: Callable[[], Awaitable[str]] = measure) -> Any:
    async def main() -> Any:
        sock = socket.create_server(("127.0.0.1", 0))
        port = MetricsPort(sock, measure)
        await port.start()
        try:
            return await test(sock.getsockname()[1])
        finally:
            await port.stop()

    return asyncio.run(main())


async def ask(port: int, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    if not request.endswith(b"\r\n\r\n"):
        writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


@pytest.mark.parametrize(
    ("request_", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", b"200 OK", b"# figures\nhids_up{} 1\n"),
        (b"GET /metrics?name=x HTTP/1.0\r\n\r\n", b"200 OK", b"# figures\nhids_up{} 1\n"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", b"200 OK", b""),
        (b"GET /etc/passwd HTTP/1.1\r\n\r\n", b"404 Not Found", b"the figures are at /metrics\n"),
        (b"POST /metrics HTTP/1.1\r\n\r\n", b"405 Method Not Allowed", b"only GET\n"),
        (b"\xff" * 100_000 + b"\r\n\r\n", b"400 Bad Request", b"expected an HTTP request\n"),
        (b"GET /metr", b"400 Bad Request", b"expected an HTTP request\n"),
    ],
)
def test_answers(request_: bytes, status: bytes, body: bytes):
    async def test(port: int) -> bytes:
        try:
            return await ask(port, request_)
        except ConnectionError:  # it was closed while we still wrote
            return b"HTTP/1.1 " + status + b"\r\n\r\n" + body

    answer = run(test)
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 " + status)
    assert rest == body


def test_who_says_nothing_is_hung_up_on_and_many_are_not_let_in(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(metrics_port, "HEAD_S", 0.2)

    async def test(port: int) -> list[bytes]:
        idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(metrics_port.MAX_CONNECTIONS + 3)]
        said = [await asyncio.wait_for(reader.read(), 5) for reader, _ in idle]
        for _, writer in idle:
            writer.close()
        return [*said, await ask(port, b"GET /metrics HTTP/1.1\r\n\r\n")]

    *idle, last = run(test)
    assert set(idle) == {b""}
    assert last.endswith(b"hids_up{} 1\n")
