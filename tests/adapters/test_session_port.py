"""The session port over real TLS: who gets in, what is delivered, and when reading pauses."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waiting import settle, until

from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity, client_context, key_pem, make_csr, new_key
from hids.adapters.listening import listen
from hids.adapters.pki import Authority
from hids.adapters.session_port import PAUSE_DEPTH, TLS_BUFFER, Connection, SessionPort
from hids.core.wire.frames import FrameReader, frame
from hids.messages.agent_link import Ack, Bye, Heartbeat, ToAgent
from hids.messages.lines import Batch
from hids.messages.terms import AgentId


class Stand:
    """A port, and what its connections have delivered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.open_or_create(folder / "ca", SystemClock())
        self.connections: list[Connection] = []
        self.got: list[Any] = []
        self.waiting = 0
        """What the session says waits there."""
        self.ended: list[str] = []
        self.attaches = True
        self.port = SessionPort(listen("127.0.0.1", 0, "agents"), self.authority.server_context(), self._accept)

    def _accept(self, connection: Connection) -> None:
        self.connections.append(connection)
        if self.attaches:
            self.attach(connection)

    def attach(self, connection: Connection) -> None:
        def deliver(message: Any) -> int:
            self.got.append(message)
            return self.waiting

        connection.attach(deliver, self.ended.append)

    def context(self, authority: Authority | None = None, *, certificate: bool = True) -> ssl.SSLContext:
        signed_by = authority or self.authority
        key = new_key()
        folder = self.folder / f"identity-{id(key)}"
        folder.mkdir()
        signed = signed_by.sign_agent(make_csr(key), AgentId("007"), "web1")
        identity = Identity("127.0.0.1", self.port.port, key_pem(key), signed, self.authority.ca_pem)
        identity.write(folder)
        return client_context(self.authority.ca_pem, Identity.file(folder) if certificate else None)

    async def connect(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port.port, ssl=context or self.context())


def run(folder: Path, test: Callable[[Stand], Any]) -> None:
    async def main() -> None:
        stand = Stand(folder)
        await until(lambda: stand.port._server, "it listens")
        await test(stand)
        for connection in stand.connections:
            connection.close("over")
        stand.port.close()
        await settle()

    asyncio.run(main())


def packed(*messages: Any) -> bytes:
    return b"".join(frame(msgspec.msgpack.encode(message)) for message in messages)


BEAT = Heartbeat(1, 1)


async def end(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, ssl.SSLError):
        await writer.wait_closed()


def test_messages_arrive_with_who_sent_them_and_answers_go_back(tmp_path: Path):
    async def test(stand: Stand) -> None:
        reader, writer = await stand.connect()
        batch = Batch(1, 1, 1, bytes(32), b"data")
        writer.write(packed(BEAT, batch, Bye("so long")))
        await until(lambda: len(stand.got) == 3, "they arrive")
        assert stand.got == [BEAT, batch, Bye("so long")]
        connection = stand.connections[0]
        assert connection.address == "127.0.0.1"
        assert connection.certificate
        connection.send(Ack(5, 6))
        connection.close("done")
        answer = FrameReader().feed(await asyncio.wait_for(reader.read(), 5))
        assert [msgspec.msgpack.decode(item, type=ToAgent) for item in answer] == [Ack(5, 6)]
        assert stand.ended == ["done"]
        connection.send(Ack(6, 6))
        await end(writer)

    run(tmp_path, test)


def test_a_connection_has_a_small_buffer_and_takes_messages_that_are_larger(tmp_path: Path):
    async def test(stand: Stand) -> None:
        _, writer = await stand.connect()
        batch = Batch(1, 1, 1, bytes(32), b"x" * (TLS_BUFFER * 9))
        writer.write(packed(batch))
        await until(lambda: stand.got == [batch], "the batch")
        transport: Any = stand.connections[0]._transport
        assert len(transport._ssl_protocol._ssl_buffer) == TLS_BUFFER
        await end(writer)

    run(tmp_path, test)


@pytest.mark.parametrize("who", ["nobody", "stranger"])
def test_nobody_gets_in_without_a_certificate_of_ours(tmp_path: Path, who: str):
    async def test(stand: Stand) -> None:
        stranger = Authority.open_or_create(tmp_path / "other", SystemClock())
        context = stand.context(certificate=False) if who == "nobody" else stand.context(stranger)
        with contextlib.suppress(OSError, ssl.SSLError):
            reader, writer = await stand.connect(context)
            writer.write(packed(BEAT))
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await end(writer)
        await settle()
        assert (stand.connections, stand.got) == ([], [])

    run(tmp_path, test)


def test_another_protocol_over_tls_is_not_served(tmp_path: Path):
    async def test(stand: Stand) -> None:
        context = stand.context()
        context.set_alpn_protocols([])
        with contextlib.suppress(OSError, ssl.SSLError):
            reader, writer = await stand.connect(context)
            assert await asyncio.wait_for(reader.read(), 5) == b""
            await end(writer)
        assert stand.connections == []

    run(tmp_path, test)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\xff\xff\xff\xff",
        frame(b"\xc1"),
        frame(b""),
        packed({"type": "heartbeat"}),
        packed({"type": "rumour"}),
        packed({"type": "heartbeat", "clock_ms": -1, "read_through_ms": 0}),
        frame(b"\x91" * 500_000),
    ],
)
def test_nonsense_ends_the_connection_with_a_reason(tmp_path: Path, nonsense: bytes):
    async def test(stand: Stand) -> None:
        reader, writer = await stand.connect()
        writer.write(packed(BEAT) + nonsense)
        assert await asyncio.wait_for(reader.read(), 5) == b""
        assert stand.got == [BEAT] or not stand.got
        assert [reason.startswith("protocol: ") for reason in stand.ended] == [True]
        await end(writer)

    run(tmp_path, test)


def test_reading_pauses_while_the_session_is_busy(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.waiting = PAUSE_DEPTH + 1
        _, writer = await stand.connect()
        batch = packed(Batch(1, 1, 1, bytes(32), bytes(200_000)))
        total = 0
        for _ in range(100):
            writer.write(batch)
            total += 1
            await settle(2)
        await until(lambda: stand.got, "something arrives")
        seen = 0
        while seen != len(stand.got):
            seen = len(stand.got)
            await settle(50)
        assert len(stand.got) < total // 2
        stand.waiting = 0
        stand.connections[0].resume()
        await until(lambda: len(stand.got) == total, "the rest arrives")
        await end(writer)

    run(tmp_path, test)


def test_what_comes_before_its_session_is_bounded_and_not_lost(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.attaches = False
        _, writer = await stand.connect()
        total = 50 * PAUSE_DEPTH
        big = packed(Batch(1, 1, 1, bytes(32), bytes(20_000)))
        for _ in range(total):
            writer.write(big)
        connection = (await until(lambda: stand.connections, "it is accepted"))[0]
        await until(lambda: connection._paused, "reading pauses")
        assert len(connection._early) < total // 2
        stand.attach(connection)
        connection.resume()
        await until(lambda: len(stand.got) == total, "all of it is delivered")
        await end(writer)

    run(tmp_path, test)


def test_a_connection_that_ended_before_its_session_tells_it(tmp_path: Path):
    async def test(stand: Stand) -> None:
        stand.attaches = False
        _, writer = await stand.connect()
        writer.write(packed(BEAT))
        await until(lambda: stand.connections and stand.connections[0]._early, "the message is there")
        await end(writer)
        connection = stand.connections[0]
        await until(lambda: connection._transport is not None and connection._transport.is_closing(), "it has ended")
        await settle()
        stand.attach(connection)
        assert stand.got == [BEAT]
        assert stand.ended == ["the agent closed"]

    run(tmp_path, test)


def test_an_agent_that_hangs_up_is_told_once(tmp_path: Path):
    async def test(stand: Stand) -> None:
        _, writer = await stand.connect()
        await until(lambda: stand.connections, "it is accepted")
        writer.transport.abort()
        await until(lambda: stand.ended, "the end is told")
        stand.connections[0].close("again")
        assert len(stand.ended) == 1

    run(tmp_path, test)


def test_a_closed_port_takes_nobody(tmp_path: Path):
    async def main() -> None:
        stand = Stand(tmp_path)
        number = stand.port.port
        await until(lambda: stand.port._server, "it listens")
        stand.port.close()
        await settle()
        with socket.socket() as sock, pytest.raises(ConnectionRefusedError):
            sock.connect(("127.0.0.1", number))
        other = SessionPort(listen("127.0.0.1", 0, "agents"), stand.authority.server_context(), print)
        other.close()
        await settle()

    asyncio.run(main())
