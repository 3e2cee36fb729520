"""The listener with real ports: who may send, what happens when nobody takes the lines, and strangers."""

import asyncio
import contextlib
import ipaddress
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from waiting import until

from hids.actors import syslog_listener as module
from hids.actors.stage import Mailbox
from hids.actors.syslog_intake import Arrived, Backlog, ReadUpTo
from hids.actors.syslog_listener import MAX_WAITING, SyslogListener
from hids.adapters.clock import SystemClock
from hids.adapters.listening import listen, listen_udp
from hids.adapters.syslog_ports import Door, SyslogPorts
from hids.messages.terms import MANAGER, Agent

HOME = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1"))


class Yard:
    """A listener with a UDP and a TCP port, and a mailbox in the intake's place."""

    def __init__(self, **door: Any) -> None:
        keys = {"allow": HOME, **door}
        self.udp = Door(listen_udp("127.0.0.1", 0, "udp"), "udp", **keys)
        self.tcp = Door(listen("127.0.0.1", 0, "tcp"), "tcp", **keys)
        self.udp_address = self.udp.sock.getsockname()
        self.tcp_address = self.tcp.sock.getsockname()
        self.intake = Mailbox("syslog_intake", 4)
        self.backlog = Backlog()
        self.told: list[Any] = []
        self.mailbox = Mailbox("syslog_listener")
        self.ended: list[Any] = []
        self.mailbox.on_exit = self.ended.append
        SyslogListener.start(
            self.mailbox,
            lambda take: SyslogPorts((self.udp, self.tcp), take),
            self.intake,
            self.backlog,
            Agent(MANAGER, "boss", ""),
            SystemClock(),
            self.told.append,
        )

    def taken(self) -> list[tuple[str, bytes]]:
        """Empty the intake's mailbox."""
        lease = self.intake.lease(lambda: None)
        found: list[tuple[str, bytes]] = []
        while self.intake.depth:
            message = lease.get().message
            if isinstance(message, ReadUpTo):
                continue
            assert isinstance(message, Arrived)
            found += [(line.location, line.text) for line in message.lines]
        return found

    def send(self, *messages: bytes) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as device:
            for message in messages:
                device.sendto(message, self.udp_address)

    async def stop(self) -> None:
        self.mailbox.shut_down()
        await until(lambda: self.ended, "it")
        assert self.ended[0].failure is None
        await asyncio.sleep(0.01)


def run(scene: Callable[[Yard], Awaitable[None]], **door: Any) -> None:
    async def main() -> None:
        yard = Yard(**door)
        try:
            await scene(yard)
        finally:
            await yard.stop()

    asyncio.run(main())


def test_datagrams_and_streams_become_lines():
    async def scene(yard: Yard) -> None:
        yard.send(b"<34>one\n", b"", b"<34>")
        _, writer = await asyncio.open_connection(*yard.tcp_address)
        writer.write(b"<34>two\n7 <34>sixlast")
        await writer.drain()
        writer.close()
        found: list[tuple[str, bytes]] = []

        def all_here() -> bool:
            found.extend(yard.taken())
            return len(found) == 4

        await until(all_here, "it")
        assert sorted(found) == sorted(("127.0.0.1", text) for text in (b"one", b"two", b"six", b"last"))

    run(scene)


def test_who_is_not_allowed_is_counted_and_cut_off():
    async def scene(yard: Yard) -> None:
        yard.send(b"<34>x")
        reader, writer = await asyncio.open_connection(*yard.tcp_address)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()
        await until(lambda: yard.mailbox.facts()["refused"] == 2, "it")
        assert yard.taken() == []

    run(scene, deny=(ipaddress.ip_network("127.0.0.1"),))
    run(scene, allow=(ipaddress.ip_network("192.0.2.0/24"),))


def test_connections_are_bounded():
    async def scene(yard: Yard) -> None:
        _, first = await asyncio.open_connection(*yard.tcp_address)
        await until(lambda: yard.mailbox.facts()["connections"] == 1, "it")
        reader, second = await asyncio.open_connection(*yard.tcp_address)
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        first.close()
        second.close()

    run(scene, max_connections=1)


def test_while_nobody_takes_lines_streams_wait_and_datagrams_are_counted_and_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "TELL_S", 0.05)

    async def scene(yard: Yard) -> None:
        yard.backlog.lines = MAX_WAITING
        _, writer = await asyncio.open_connection(*yard.tcp_address)
        for number in range(3 * MAX_WAITING):
            writer.write(b"<34>tcp %d\n" % number)
        await until(lambda: yard.mailbox.facts()["received"] >= MAX_WAITING, "it")
        for _ in range(20):
            yard.send(*[b"<34>udp"] * 20)
            await asyncio.sleep(0)
        await until(lambda: yard.mailbox.facts()["dropped"] and yard.told, "it")
        assert yard.told[0].text.startswith("lines dropped: ")
        yard.backlog.lines = 0
        found: list[bytes] = []

        def all_here() -> bool:
            found.extend(text for _, text in yard.taken() if text.startswith(b"tcp"))
            return len(found) == 3 * MAX_WAITING

        await until(all_here, "it")
        assert found == [b"tcp %d" % number for number in range(3 * MAX_WAITING)]
        writer.close()

    run(scene)


def test_a_count_that_is_too_large_ends_the_connection():
    async def scene(yard: Yard) -> None:
        reader, writer = await asyncio.open_connection(*yard.tcp_address)
        writer.write(b"999999999 <34>x")
        with contextlib.suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.close()

    run(scene)
