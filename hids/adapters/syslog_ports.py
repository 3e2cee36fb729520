"""Ports for syslog: UDP (RFC 5426), TCP (RFC 6587) and TLS (RFC 5425), open to the addresses of an allow-list.

Whoever is not on the list gets no answer: a datagram is dropped, a connection closed, both counted. Connections, the bytes that each
may have under way, and the time that it may be silent are bounded.
"""

import asyncio
import ipaddress
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Literal

import msgspec
import structlog

from hids.core.wire.syslog import SyslogStream
from hids.errors import RemoteProtocolError

log = structlog.get_logger()

HANDSHAKE_S = 10.0
SILENT_S = 3600.0
"""A connection without a message for so long is closed: its device will connect again."""
MAX_LOGGED = 1000
"""Refused addresses of which the log has told."""

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Take = Callable[[bytes, str, bool], None]
"""Takes (message, address, whether the port can be told to wait)."""


class Door(msgspec.Struct):
    """One port as configured."""

    sock: socket.socket
    """Bound; listening where it is TCP or TLS."""
    protocol: Literal["udp", "tcp", "tls"]
    allow: Sequence[Network]
    deny: Sequence[Network] = ()
    context: ssl.SSLContext | None = None
    max_connections: int = 256

    def admits(self, address: str) -> bool:
        """Tell whether this address may send."""
        try:
            peer = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(peer in network for network in self.allow) and not any(peer in network for network in self.deny)


class SyslogPorts:
    """All ports, on the running loop."""

    def __init__(self, doors: Sequence[Door], take: Take) -> None:
        self._take = take
        self._connections: set[_Connection] = set()
        self._servers: list[asyncio.Server] = []
        self._transports: list[asyncio.BaseTransport] = []
        self._doors = doors
        self._refused = 0
        self._logged: set[str] = set()
        self.paused = False
        self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        for door in self._doors:
            if door.protocol == "udp":
                transport, _ = await loop.create_datagram_endpoint(
                    lambda door=door: _Datagrams(self, door),  # type: ignore[misc]
                    sock=door.sock,
                )
                self._transports.append(transport)
            else:
                server = await loop.create_server(
                    lambda door=door: _Connection(self, door),
                    sock=door.sock,
                    ssl=door.context,
                    ssl_handshake_timeout=HANDSHAKE_S if door.context else None,
                )
                self._servers.append(server)

    def take(self, message: bytes, address: str, *, can_wait: bool) -> None:
        """Hand on one message."""
        self._take(message, address, can_wait)

    def refuse(self, address: str, door: Door) -> None:
        """Note that a stranger tried."""
        self._refused += 1
        if address not in self._logged and len(self._logged) < MAX_LOGGED:
            self._logged.add(address)
            log.warning("syslog refused: the address is not allowed", address=address, protocol=door.protocol)

    def count(self, door: Door) -> int:
        """Connections of one port."""
        return sum(connection.door is door for connection in self._connections)

    def join(self, connection: "_Connection") -> None:
        """A connection begins."""
        self._connections.add(connection)

    def leave(self, connection: "_Connection") -> None:
        """A connection has ended."""
        self._connections.discard(connection)

    def pause(self) -> None:
        """Read no more from connections."""
        self.paused = True
        for connection in self._connections:
            connection.pause()

    def resume(self) -> None:
        """Go on."""
        self.paused = False
        for connection in tuple(self._connections):
            connection.resume()

    def facts(self) -> dict[str, int]:
        """Figures for status."""
        return {"connections": len(self._connections), "refused": self._refused}

    def close(self) -> None:
        """Close all."""
        if not self._starting.done():
            self._starting.cancel()
        for transport in self._transports:
            transport.close()
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.abort()
        for door in self._doors:
            if not self._starting.done():
                door.sock.close()


class _Datagrams(asyncio.DatagramProtocol):
    """One datagram is one message."""

    def __init__(self, ports: SyslogPorts, door: Door) -> None:
        self._ports = ports
        self._door = door

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        address = plain_ip(addr[0])
        if self._door.admits(address):
            self._ports.take(data.rstrip(b"\r\n\0"), address, can_wait=False)
        else:
            self._ports.refuse(address, self._door)


class _Connection(asyncio.Protocol):
    """A stream of messages."""

    def __init__(self, ports: SyslogPorts, door: Door) -> None:
        self._ports = ports
        self.door = door
        self._stream = SyslogStream()
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a TCP server makes
        peer = transport.get_extra_info("peername") or ("",)
        self._address = plain_ip(peer[0])
        if not self.door.admits(self._address):
            self._ports.refuse(self._address, self.door)
            transport.abort()
            return
        if self._ports.count(self.door) >= self.door.max_connections:
            log.warning("syslog refused: too many connections", address=self._address, max=self.door.max_connections)
            transport.abort()
            return
        self._transport = transport
        self._ports.join(self)
        if self._ports.paused:
            transport.pause_reading()
        self._watch()

    def data_received(self, data: bytes) -> None:
        if self._transport is None:
            return
        try:
            messages = self._stream.feed(data)
        except RemoteProtocolError as error:
            log.warning("syslog connection closed", address=self._address, reason=str(error))
            self.abort()
            return
        for message in messages:
            self._ports.take(message, self._address, can_wait=True)
        if messages:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if self._timer is not None:
            self._timer.cancel()
        if self._transport is not None:
            for message in self._stream.end():
                self._ports.take(message, self._address, can_wait=True)
        self._ports.leave(self)

    def pause(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def resume(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.resume_reading()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def _watch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(SILENT_S, self.abort)


def tls_context(certificate: str, key: str, client_ca: str) -> ssl.SSLContext:
    """TLS 1.2 or newer for devices; with a `client_ca` only those that it vouches for (RFC 5425 4.2).

    Raises:
        OSError: a file that is missing or no certificate.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(certificate, key or None)
    if client_ca:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(client_ca)
    return context


def plain_ip(address: str) -> str:
    """Write an IPv4 peer of a dual-stack socket as people do, and leave out an IPv6 zone."""
    address = address.partition("%")[0]
    return address.removeprefix("::ffff:") if "." in address else address
