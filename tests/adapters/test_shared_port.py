"""One port for both: TLS stays, everything else is given away unread."""

import asyncio
import contextlib
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import settle, until

from hids.adapters import shared_port
from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity, client_context, key_pem, make_csr, new_key
from hids.adapters.listening import listen
from hids.adapters.pki import Authority
from hids.adapters.session_port import Connection
from hids.adapters.shared_port import SharedPort
from hids.messages.terms import AgentId


class Stand:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority.open_or_create(folder / "ca", SystemClock())
        self.ours: list[Connection] = []
        self.given: list[tuple[socket.socket, str]] = []
        listening = listen("127.0.0.1", 0, "agents")
        self.number: int = listening.getsockname()[1]
        self.port = SharedPort(
            listening, self.authority.server_context(), self.ours.append, lambda sock, ip: self.given.append((sock, ip))
        )

    def context(self) -> Any:
        key = new_key()
        signed = self.authority.sign_agent(make_csr(key), AgentId("007"), "web1")
        Identity("127.0.0.1", self.number, key_pem(key), signed, self.authority.ca_pem).write(self.folder)
        return client_context(self.authority.ca_pem, Identity.file(self.folder))

    async def connect(self, start: bytes = b"") -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.number)
        writer.write(start)
        return reader, writer


def run(folder: Path, test: Callable[[Stand], Any]) -> None:
    async def main() -> None:
        stand = Stand(folder)
        await test(stand)
        for connection in stand.ours:
            connection.close("over")
        for sock, _ in stand.given:
            sock.close()
        stand.port.close()
        await settle()

    asyncio.run(main())


def test_our_agents_are_welcome(tmp_path: Path):
    async def test(stand: Stand) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", stand.number, ssl=stand.context())
        await until(lambda: stand.ours, "the session")
        assert stand.ours[0].certificate
        assert stand.given == []
        writer.close()

    run(tmp_path, test)


@pytest.mark.parametrize("start", [b"\x66\x00\x00\x00!007!", b"\x16\x03\x00\x00x", b"#ping", b"\x00\x00\x01\x00"])
def test_others_are_given_away_with_all_that_they_said(tmp_path: Path, start: bytes):
    async def test(stand: Stand) -> None:
        _, writer = await stand.connect(start)
        await until(lambda: stand.given, "given away")
        sock, ip = stand.given[0]
        assert ip == "127.0.0.1"
        assert sock.recv(100) == start
        writer.close()

    run(tmp_path, test)


def test_who_says_too_little_is_waited_for_and_then_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_port, "DECIDE_S", 0.3)
    monkeypatch.setattr(shared_port, "LOOK_AGAIN_S", 0.01)

    async def test(stand: Stand) -> None:
        slow, slow_writer = await stand.connect(b"\x66\x00")
        silent, silent_writer = await stand.connect()
        _late, late_writer = await stand.connect(b"\x66")
        late_writer.write(b"\x00\x00\x00x")
        await until(lambda: stand.given, "the one that went on")
        assert await silent.read() == b""
        with contextlib.suppress(ConnectionResetError):  # what it said was never read
            assert await slow.read() == b""
        assert len(stand.given) == 1
        for writer in (slow_writer, silent_writer, late_writer):
            writer.close()

    run(tmp_path, test)


def test_half_open_connections_do_not_keep_others_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shared_port, "MAX_UNDECIDED", 5)

    async def test(stand: Stand) -> None:
        idle = [await stand.connect() for _ in range(20)]
        _, writer = await stand.connect(b"\x66\x00\x00\x00")
        await until(lambda: stand.given, "given away")
        for _, one in idle:
            one.close()
        writer.close()

    run(tmp_path, test)


def test_a_hand_that_is_not_shaken_is_let_go(tmp_path: Path):
    async def test(stand: Stand) -> None:
        reader, writer = await stand.connect(b"\x16\x03\x01\x00\x05hello")
        with contextlib.suppress(ConnectionResetError):
            await reader.read()
        assert stand.ours == []
        writer.close()

    run(tmp_path, test)
