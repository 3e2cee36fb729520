"""The sockets of old agents: real UDP, real TCP, everything bounded."""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from waiting import settle, until

from hids.adapters import legacy_port
from hids.adapters.legacy_port import LegacyPort, hand_over
from hids.adapters.listening import bind_datagrams
from hids.core.wire.ossec.manager import Arrived, Route
from hids.core.wire.ossec.stream import frame


class Stand:
    def __init__(self) -> None:
        self.udp = bind_datagrams("", 0, "[legacy] udp", 1 << 20)
        self.main, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.got: list[tuple[bytes, Route]] = []
        self.ended: list[Route] = []
        self.waiting = 0
        self.port = LegacyPort(self.udp, self.theirs, self._deliver, self.ended.append)

    def _deliver(self, arrived: Arrived) -> int:
        self.got += arrived.bodies
        return self.waiting

    def datagrams(self) -> socket.socket:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.settimeout(5)
        sock.connect(("127.0.0.1", self.udp.getsockname()[1]))
        return sock

    def connect(self) -> socket.socket:
        """A connection, as main gives it away."""
        ours = socket.create_connection(self.listening.getsockname())
        theirs, _ = self.listening.accept()
        assert hand_over(self.main, theirs, "192.0.2.7")
        ours.settimeout(5)
        return ours


def run(test: Callable[[Stand], Any]) -> None:
    async def main() -> None:
        stand = Stand()
        try:
            await test(stand)
        finally:
            stand.port.close()
            await settle()
            for sock in (stand.udp, stand.main, stand.theirs, stand.listening):
                sock.close()

    asyncio.run(main())


def test_datagrams_come_and_go():
    async def test(stand: Stand) -> None:
        with stand.datagrams() as agent:
            agent.send(b"hello")
            await until(lambda: stand.got, "the datagram")
            ((body, route),) = stand.got
            assert (body, route.address, route.is_tcp) == (b"hello", "127.0.0.1", False)
            stand.port.send(route, b"answer")
            assert agent.recv(100) == b"answer"

    run(test)


def test_frames_come_and_go():
    async def test(stand: Stand) -> None:
        with stand.connect() as agent:
            agent.sendall(frame(b"one") + frame(b"two")[:3])
            await until(lambda: stand.got, "the first frame")
            agent.sendall(frame(b"two")[3:])
            await until(lambda: len(stand.got) == 2, "the second")
            assert [body for body, _ in stand.got] == [b"one", b"two"]
            route = stand.got[0][1]
            assert (route.address, route.is_tcp) == ("192.0.2.7", True)
            stand.port.send(route, b"answer")
            await settle()
            assert agent.recv(100) == frame(b"answer")
        await until(lambda: stand.ended == [route], "its end is told")
        stand.port.send(route, b"to nobody")

    run(test)


@pytest.mark.parametrize("data", [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\1\0\1\0"])
def test_a_bad_length_ends_the_connection(data: bytes):
    async def test(stand: Stand) -> None:
        with stand.connect() as agent:
            agent.sendall(data)
            await until(lambda: stand.ended, "cut off")
            assert stand.got == []

    run(test)


def test_strangers_have_little_time_and_little_room(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(legacy_port, "PROVE_S", 0.2)
    monkeypatch.setattr(legacy_port, "MAX_UNPROVEN", 3)

    async def test(stand: Stand) -> None:
        agent = stand.connect()
        agent.sendall(frame(b"x"))
        await until(lambda: stand.got, "a frame")
        known = stand.got[0][1]
        stand.port.proven(known)
        strangers = [stand.connect() for _ in range(5)]
        await until(lambda: len(stand.ended) == 2, "no more than three at once")
        await until(lambda: len(stand.ended) == 5, "none for long")
        assert known not in stand.ended
        for sock in (agent, *strangers):
            sock.close()

    run(test)


def test_reading_pauses_while_too_much_waits(monkeypatch: pytest.MonkeyPatch):
    async def test(stand: Stand) -> None:
        stand.waiting = legacy_port.PAUSE_DEPTH + 1
        with stand.datagrams() as udp, stand.connect() as tcp:
            tcp.sendall(frame(b"1"))
            await until(lambda: stand.got, "the first")
            tcp.sendall(frame(b"2"))
            udp.send(b"3")
            await settle()
            assert len(stand.got) == 1
            stand.waiting = 0
            stand.port.resume()
            await until(lambda: len(stand.got) == 3, "all")

    run(test)


def test_who_does_not_read_is_cut_off(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(legacy_port, "SEND_LIMIT", 1000)

    async def test(stand: Stand) -> None:
        with stand.connect() as agent:
            agent.sendall(frame(b"1"))
            await until(lambda: stand.got, "a frame")
            for _ in range(300):
                stand.port.send(stand.got[0][1], bytes(60_000))
            await until(lambda: stand.ended, "cut off")

    run(test)


def test_a_process_that_takes_nothing_costs_the_connection_only(tmp_path: Path):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    theirs.close()
    one, other = socket.socketpair()
    assert not hand_over(ours, one, "192.0.2.7")
    assert one.fileno() == -1
    ours.close()
    other.close()
