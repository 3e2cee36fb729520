"""The joining port over real TLS on loopback, with peers that behave and peers that do not."""

import asyncio
import socket
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from hids.adapters.clock import SystemClock
from hids.adapters.identity import client_context, make_csr, new_key, unverified_context
from hids.adapters.joining import JoinDesk, JoinListener
from hids.adapters.listening import listen
from hids.adapters.pki import Authority
from hids.adapters.registry import Registry
from hids.core.wire.frames import FrameReader, frame
from hids.errors import StoreError
from hids.messages.joining import (
    MAX_JOIN_BYTES,
    CaAnswer,
    CaRequest,
    FromJoin,
    JoinAnswer,
    JoinRefusal,
    JoinRequest,
    ToJoin,
)

CA_QUESTION = frame(msgspec.msgpack.encode(CaRequest()))


class Manager:
    """A manager's joining side on this event loop."""

    def __init__(self, folder: Path, **bounds: float) -> None:
        self.clock = SystemClock()
        self.authority = Authority.open_or_create(folder / "ca", self.clock)
        self.registry = Registry(folder / "agents.db")
        self.desk = JoinDesk(self.authority, self.registry, session_port=4711)
        self.listener = JoinListener(**bounds)  # type: ignore[arg-type] - each test knows its bounds
        self.questions: list[tuple[ToJoin, str]] = []
        self.port = 0

    async def answer(self, question: ToJoin, ip: str) -> FromJoin:
        self.questions.append((question, ip))
        return self.desk.answer(question, ip, self.clock.now_ms())

    async def start(self, host: str = "127.0.0.1") -> None:
        listening = listen(host, 0, "join")
        self.port = listening.getsockname()[1]
        self.listener.start(listening, self.authority.joining_context(), self.answer)

    async def ended(self, count: int = 1) -> dict[str, int]:
        """Wait until so many connections have ended."""
        async with asyncio.timeout(10):
            while self.listener.outcomes.total() < count:  # noqa: ASYNC110 - the listener owes tests no event
                await asyncio.sleep(0.005)
        return dict(self.listener.outcomes)

    async def connect(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context or unverified_context())

    async def ask(self, data: bytes, context: ssl.SSLContext | None = None) -> bytes:
        """Send `data`, and return all that comes until the manager closes."""
        reader, writer = await self.connect(context)
        try:
            writer.write(data)
            async with asyncio.timeout(10):
                return await reader.read()
        except ConnectionResetError:
            return b""
        finally:
            writer.transport.abort()


def run(folder: Path, body: Callable[[Manager], Awaitable[None]], **bounds: float) -> None:
    async def main() -> None:
        manager = Manager(folder, **bounds)
        try:
            await manager.start()
            await body(manager)
        finally:
            await manager.listener.stop()
            manager.registry.close()

    asyncio.run(main())


def answer_in(data: bytes) -> FromJoin:
    (payload,) = FrameReader().feed(data)
    answer: FromJoin = msgspec.msgpack.decode(payload, type=FromJoin)
    return answer


def request(token: str, name: str = "web-1", csr: bytes | None = None) -> bytes:
    csr = make_csr(new_key()) if csr is None else csr
    return frame(msgspec.msgpack.encode(JoinRequest(token=token, name=name, csr=csr, machine_id="m1")))


def test_a_stranger_is_shown_the_ca(tmp_path: Path):
    async def body(manager: Manager) -> None:
        assert answer_in(await manager.ask(CA_QUESTION)) == CaAnswer(pem=manager.authority.ca_pem)
        assert manager.questions == [(CaRequest(), "127.0.0.1")]
        assert await manager.ended() == {"answered": 1}

    run(tmp_path, body)


def test_a_newcomer_is_taken_in(tmp_path: Path):
    async def body(manager: Manager) -> None:
        token = manager.registry.create_token(manager.clock.now_ms())
        answer = answer_in(await manager.ask(request(token), client_context(manager.authority.ca_pem)))
        assert isinstance(answer, JoinAnswer)
        assert (answer.agent_id, answer.name, answer.session_port) == ("001", "web-1", 4711)
        assert answer.ca == manager.authority.ca_pem
        assert manager.registry.get("001").address == "127.0.0.1"

    run(tmp_path, body)


def test_a_refusal_is_an_answer_and_spends_nothing(tmp_path: Path):
    async def body(manager: Manager) -> None:
        token = manager.registry.create_token(manager.clock.now_ms())
        for data, reason in (
            (request("wrong"), "does not know the token"),
            (request(token, csr=b"nonsense"), "cannot be read"),
            (request(token, name="-"), "cannot be used"),
        ):
            answer = answer_in(await manager.ask(data))
            assert isinstance(answer, JoinRefusal)
            assert reason in answer.reason
        assert isinstance(answer_in(await manager.ask(request(token))), JoinAnswer)

    run(tmp_path, body)


NESTED = b"\x82\xa4type\xa2ca\xa1x" + b"\x91" * 60_000 + b"\xc0"


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        frame(b"\xc1 not msgpack"),
        frame(b""),
        frame(msgspec.msgpack.encode({"type": "unknown"})),
        frame(msgspec.msgpack.encode({"type": "join", "token": 7})),
        frame(NESTED),
        b"\xff\xff\xff\xff",
        (MAX_JOIN_BYTES + 1).to_bytes(4, "big") + bytes(MAX_JOIN_BYTES + 1),
    ],
    ids=["http", "no msgpack", "empty", "unknown", "wrong type", "nested", "4 GiB", "one too long"],
)
def test_garbage_ends_the_connection_and_nothing_else(tmp_path: Path, data: bytes):
    async def body(manager: Manager) -> None:
        assert await manager.ask(data) == b""
        assert await manager.ended() == {"protocol": 1}
        assert manager.questions == []
        assert answer_in(await manager.ask(CA_QUESTION))

    run(tmp_path, body)


def test_a_question_in_pieces_is_understood(tmp_path: Path):
    async def body(manager: Manager) -> None:
        reader, writer = await manager.connect()
        for byte in CA_QUESTION:
            writer.write(bytes([byte]))
            await writer.drain()
        assert isinstance(answer_in(await reader.read()), CaAnswer)
        writer.transport.abort()

    run(tmp_path, body)


def test_only_one_question_is_answered(tmp_path: Path):
    async def body(manager: Manager) -> None:
        assert isinstance(answer_in(await manager.ask(CA_QUESTION * 3)), CaAnswer)
        await manager.ended()
        assert len(manager.questions) == 1

    run(tmp_path, body)


def test_who_hangs_up_early_is_counted(tmp_path: Path):
    async def body(manager: Manager) -> None:
        _, writer = await manager.connect()
        writer.write(CA_QUESTION[:-1])
        writer.close()
        assert await manager.ended() == {"protocol": 1}

    run(tmp_path, body)


def test_another_protocol_in_the_handshake_is_not_served(tmp_path: Path):
    async def body(manager: Manager) -> None:
        web = unverified_context()
        web.set_alpn_protocols(["h2"])
        assert await manager.ask(CA_QUESTION, web) == b""
        assert await manager.ended() == {"protocol": 1}

    run(tmp_path, body)


OLD_REQUEST = b"OSSEC A:'web1'\n"


def unnamed() -> ssl.SSLContext:
    """A handshake as old agents make it: TLS 1.2, no protocol named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


async def serve_old_agents(manager: Manager, got: list[tuple[bytes, str]]) -> None:
    async def enrol(received: bytes, ip: str) -> bytes:
        got.append((received, ip))
        return b"OSSEC K:'001 web1 any key'\n\n"

    await manager.listener.stop()
    listening = listen("127.0.0.1", 0, "join")
    manager.port = listening.getsockname()[1]
    context = manager.authority.joining_context(old_agents=True)
    manager.listener.start(listening, context, manager.answer, enrol)


def test_old_agents_are_served_only_when_that_is_switched_on(tmp_path: Path):
    async def body(manager: Manager) -> None:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            await manager.ask(OLD_REQUEST, unnamed())
        modern = unnamed()
        modern.maximum_version = ssl.TLSVersion.TLSv1_3
        assert await manager.ask(OLD_REQUEST, modern) == b""
        assert (await manager.ended(2))["protocol"] == 1
        got: list[tuple[bytes, str]] = []
        await serve_old_agents(manager, got)
        assert await manager.ask(OLD_REQUEST, unnamed()) == b"OSSEC K:'001 web1 any key'\n\n"
        assert await manager.ask(OLD_REQUEST) == b"", "a newcomer of ours does not get the old grammar"
        assert got == [(OLD_REQUEST, "127.0.0.1")]
        assert isinstance(answer_in(await manager.ask(CA_QUESTION)), CaAnswer)

    run(tmp_path, body)


@pytest.mark.parametrize("data", [b"OSSEC A:'" + b"x" * 80_000, b"OSSEC " * 20_000, b"GET / HTTP/1.0\r\n\r\n"])
def test_an_enrolment_is_bounded(tmp_path: Path, data: bytes):
    async def body(manager: Manager) -> None:
        got: list[tuple[bytes, str]] = []
        await serve_old_agents(manager, got)
        assert await manager.ask(data, unnamed()) == b""
        assert await manager.ended() == {"protocol": 1}
        assert got == []

    run(tmp_path, body)


def test_who_speaks_no_tls_is_let_go(tmp_path: Path):
    async def body(manager: Manager) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", manager.port)
        writer.write(CA_QUESTION + b"plain text, no TLS")
        async with asyncio.timeout(10):
            await reader.read()
        writer.transport.abort()
        assert await manager.ended() == {"network": 1}

    run(tmp_path, body)


@pytest.mark.parametrize("tls", [True, False], ids=["after the handshake", "before it"])
def test_a_slow_client_is_cut_off(tmp_path: Path, *, tls: bool):
    async def body(manager: Manager) -> None:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", manager.port, ssl=unverified_context() if tls else None
        )
        writer.write(b"\0")
        async with asyncio.timeout(10):
            assert await reader.read() == b""
        writer.transport.abort()
        assert await manager.ended() == {"timeout": 1}

    run(tmp_path, body, timeout_s=0.2)


def test_a_client_that_never_reads_is_cut_off(tmp_path: Path):
    async def body(manager: Manager) -> None:
        with socket.create_connection(("127.0.0.1", manager.port)) as plain:
            loop = asyncio.get_running_loop()
            tls = await loop.run_in_executor(None, unverified_context().wrap_socket, plain)
            with tls:
                tls.sendall(CA_QUESTION)
                assert await manager.ended() == {"timeout": 1}

    run(tmp_path, body, timeout_s=0.2)


def test_no_more_than_the_bound_at_once(tmp_path: Path):
    async def body(manager: Manager) -> None:
        held = [await asyncio.open_connection("127.0.0.1", manager.port) for _ in range(3)]
        extra, extra_writer = await asyncio.open_connection("127.0.0.1", manager.port)
        assert await extra.read() == b""
        assert await manager.ended() == {"full": 1}
        for _, writer in held:
            writer.transport.abort()
        await manager.ended(4)
        assert isinstance(answer_in(await manager.ask(CA_QUESTION)), CaAnswer)
        extra_writer.transport.abort()

    run(tmp_path, body, max_connections=3)


def test_a_failing_registry_ends_one_connection(tmp_path: Path):
    async def body(manager: Manager) -> None:
        async def fail(_: ToJoin, __: str) -> FromJoin:
            raise StoreError("disk full")

        await manager.listener.stop()
        manager.answer = fail  # type: ignore[method-assign]
        await manager.start()
        assert await manager.ask(CA_QUESTION) == b""
        assert await manager.ended() == {"failed": 1}

    run(tmp_path, body)


def test_stop_closes_the_port_and_all_connections(tmp_path: Path):
    async def body(manager: Manager) -> None:
        reader, writer = await manager.connect()
        await manager.listener.stop()
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        with pytest.raises(ConnectionRefusedError):
            await manager.connect()
        writer.transport.abort()

    run(tmp_path, body)


def test_all_addresses_means_both_families(tmp_path: Path):
    async def body(manager: Manager) -> None:
        await manager.listener.stop()
        await manager.start(host="")
        assert answer_in(await manager.ask(CA_QUESTION))
        assert manager.questions[-1][1] == "127.0.0.1"

    run(tmp_path, body)
