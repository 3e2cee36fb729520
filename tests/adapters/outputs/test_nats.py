"""NATS: a real server with JetStream, killed and started again."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import servers
from certificates import certificate

from hids.adapters.outputs.nats import NatsDestination
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import Nats

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(servers.program("nats-server") is None, reason="no nats-server is installed"),
]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[servers.Server]:
    with servers.nats(tmp_path) as server:
        yield server


@pytest.fixture
def deliver(make_lines: Callable[..., bytes]) -> Callable[..., Delivery]:
    def make(first: int, count: int = 1, **members: Any) -> Delivery:
        lines = make_lines(first, count, **members).split(b"\n")[:-1]
        return Delivery(first, first + count - 1, tuple(lines))

    return make


@asynccontextmanager
async def opened(server: servers.Server, **options: Any) -> AsyncIterator[NatsDestination]:
    destination = NatsDestination(Nats(servers=(f"nats://127.0.0.1:{server.port}",), **options))
    try:
        yield destination
    finally:
        await destination.close()


async def messages(destination: NatsDestination) -> list[bytes]:
    await destination.open()
    stream = destination._stream
    reader = await stream.pull_subscribe("hids.alerts", durable="test")
    info = await stream.stream_info("HIDS")
    return [message.data for message in await reader.fetch(info.state.messages, timeout=10)]


def test_each_alert_once_and_in_order_though_the_server_was_killed(
    server: servers.Server, deliver: Callable[..., Delivery]
):
    async def go() -> None:
        async with opened(server, stream="HIDS", timeout_s=2) as destination:
            await destination.post(deliver(1, 100))
            server.kill()
            with pytest.raises(Refused):
                await destination.post(deliver(101, 50))
            server.start()
            await destination.post(deliver(101, 50))
            await destination.post(deliver(101, 50))
            assert await messages(destination) == [*deliver(1, 150).alerts]

    asyncio.run(go())


def test_a_subject_that_no_stream_takes(server: servers.Server, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with opened(server) as destination:
            with pytest.raises(Refused, match="NoStreamResponse") as refused:
                await destination.post(deliver(1))
            assert refused.value.hopeless == {}

    asyncio.run(go())


def test_an_alert_larger_than_any_message_is_hopeless(server: servers.Server, deliver: Callable[..., Delivery]):
    async def go() -> None:
        async with opened(server, stream="HIDS") as destination:
            large = deliver(2, full_log="x" * 2_000_000).alerts
            with pytest.raises(Refused) as refused:
                await destination.post(Delivery(1, 3, (*deliver(1).alerts, *large, b"{")))
            assert refused.value.taken == {0}
            assert refused.value.hopeless.keys() == {1, 2}

    asyncio.run(go())


def test_a_server_that_wants_a_token(tmp_path: Path, deliver: Callable[..., Delivery]):
    secret = tmp_path / "token"
    secret.write_text("t0k3n\n")
    secret.chmod(0o600)

    async def go(server: servers.Server) -> None:
        async with opened(server, stream="HIDS") as destination:
            with pytest.raises(Refused):
                await destination.post(deliver(1))
        async with opened(server, stream="HIDS", token_file=str(secret)) as destination:
            await destination.post(deliver(1))
            assert len(await messages(destination)) == 1

    with servers.nats(tmp_path / "data", "--auth", "t0k3n") as server:
        asyncio.run(go(server))


def test_a_server_that_takes_connections_and_says_nothing(deliver: Callable[..., Delivery]):
    async def go() -> None:
        async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        hanging = await asyncio.start_server(silent, "127.0.0.1", 0)
        port = hanging.sockets[0].getsockname()[1]
        destination = NatsDestination(Nats(servers=(f"nats://127.0.0.1:{port}",), timeout_s=1))
        with pytest.raises(Refused):
            await destination.post(deliver(1))
        await destination.close()
        hanging.close()

    asyncio.run(go())


def test_over_tls_the_server_must_show_a_certificate_that_is_trusted(tmp_path: Path, deliver: Callable[..., Delivery]):
    pem = certificate(tmp_path)

    async def go(port: int) -> None:
        for ca_file in (str(pem), ""):
            output = Nats(servers=(f"tls://127.0.0.1:{port}",), stream="HIDS", ca_file=ca_file, timeout_s=5)
            destination = NatsDestination(output)
            if ca_file:
                await destination.post(deliver(1))
            else:
                with pytest.raises(Refused):
                    await destination.post(deliver(1))
            await destination.close()

    with servers.nats(tmp_path / "data", "--tls", "--tlscert", str(pem), "--tlskey", str(pem)) as server:
        asyncio.run(go(server.port))
