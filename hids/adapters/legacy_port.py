"""The sockets of old agents: UDP, and TCP connections that main hands over once it has seen that they speak no TLS.

Strangers can send here, so all is bounded: connections in all and of those that have not proved to know a key, the time
they have for that, frames, and what a slow reader may leave unread.
"""

import asyncio
import contextlib
import itertools
import socket
from collections import OrderedDict
from collections.abc import Callable, Iterator

from hids.core.wire.ossec.datagram import MAX_BODY
from hids.core.wire.ossec.manager import Arrived, Route
from hids.core.wire.ossec.stream import FrameReader, frame
from hids.errors import ProtocolError

MAX_CONNECTIONS = 20_000
MAX_UNPROVEN = 256
"""Connections of strangers; the oldest makes room."""
PROVE_S = 10.0
"""From the handing over to the first message that somebody with a key has made."""
SEND_LIMIT = 1024 * 1024
"""Bytes that an agent may leave unread."""
BURST = 256
"""Datagrams in one message to the desk."""
PAUSE_DEPTH = 16
"""Messages waiting at the desk at which reading pauses."""

_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3}
_MAX_ADDRESS = 64

Deliver = Callable[[Arrived], int]
"""Takes what came; returns how many messages wait there."""


class _Connection(asyncio.Protocol):
    """One agent's connection."""

    def __init__(self, port: "LegacyPort", address: str, number: int) -> None:
        self.route = Route(address, 0, number)
        self.transport: asyncio.Transport | None = None
        self._port = port
        self._frames = FrameReader()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - what a stream socket gives
        self.transport = transport
        transport.set_write_buffer_limits(high=SEND_LIMIT)

    def data_received(self, data: bytes) -> None:
        try:
            bodies = self._frames.feed(data)
        except ProtocolError:
            self.abort()
            return
        if bodies:
            self._port.deliver(Arrived(tuple((body, self.route) for body in bodies)))

    def pause_writing(self) -> None:
        self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._port.ended(self.route)

    def abort(self) -> None:
        if self.transport is not None:
            self.transport.abort()


class LegacyPort:
    """All sockets of old agents, on the running loop."""

    def __init__(
        self,
        udp: socket.socket,
        handover: socket.socket,
        deliver: Deliver,
        hungup: Callable[[Route], None],
    ) -> None:
        """Begin to read.

        Args:
            udp: bound; it stays open when this is closed, for the next life.
            handover: brings connections, each as one message: the descriptor, and the peer's address as text.
            deliver: takes what came.
            hungup: told of connections that have ended.
        """
        self._loop = asyncio.get_running_loop()
        self._udp = udp
        self._handover = handover
        self._deliver = deliver
        self._hungup = hungup
        self._numbers = itertools.count(1)
        self._connections: dict[int, _Connection] = {}
        self._unproven: OrderedDict[int, asyncio.TimerHandle] = OrderedDict()
        self._paused = False
        self._tasks: set[asyncio.Task[None]] = set()
        udp.setblocking(False)
        handover.setblocking(False)
        self._dual = udp.family == socket.AF_INET6
        self._loop.add_reader(udp, self._read_udp)
        self._loop.add_reader(handover, self._take_over)

    def deliver(self, arrived: Arrived) -> None:
        """Hand on what came; nothing more is read while too much waits."""
        if self._deliver(arrived) > PAUSE_DEPTH:
            self.pause()

    def send(self, route: Route, body: bytes) -> None:
        """Send, or drop what cannot be sent: the protocol repeats what matters."""
        if route.is_tcp:
            connection = self._connections.get(route.connection)
            if connection is not None and connection.transport is not None and not connection.transport.is_closing():
                connection.transport.write(frame(body))
            return
        address = f"::ffff:{route.address}" if self._dual and ":" not in route.address else route.address
        with contextlib.suppress(OSError):
            self._udp.sendto(body, (address, route.port))

    def hang_up(self, route: Route) -> None:
        """End a connection after what is queued."""
        connection = self._connections.get(route.connection)
        if connection is not None and connection.transport is not None:
            connection.transport.close()

    def proven(self, route: Route) -> None:
        """Somebody with a key speaks there."""
        timer = self._unproven.pop(route.connection, None)
        if timer is not None:
            timer.cancel()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        if not self._paused:
            self._paused = True
            self._loop.remove_reader(self._udp)
            for transport in self._transports():
                transport.pause_reading()

    def resume(self) -> None:
        """Read on."""
        if self._paused:
            self._paused = False
            self._loop.add_reader(self._udp, self._read_udp)
            for transport in self._transports():
                transport.resume_reading()

    def ended(self, route: Route) -> None:
        """A connection is gone."""
        self._connections.pop(route.connection, None)
        self.proven(route)
        self._hungup(route)

    def close(self) -> None:
        """Close all connections; the sockets that main gave stay open."""
        self._loop.remove_reader(self._udp)
        self._loop.remove_reader(self._handover)
        for connection in tuple(self._connections.values()):
            connection.abort()

    # ---- reading

    def _read_udp(self) -> None:
        came: list[tuple[bytes, Route]] = []
        for _ in range(BURST):
            try:
                body, peer = self._udp.recvfrom(MAX_BODY + 1)
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # an ICMP error of an earlier answer
                continue
            came.append((body, Route(peer[0].removeprefix("::ffff:"), peer[1])))
        if came:
            self.deliver(Arrived(tuple(came)))

    def _take_over(self) -> None:
        try:
            address, descriptors, _flags, _ = socket.recv_fds(self._handover, _MAX_ADDRESS, 1)
        except (BlockingIOError, InterruptedError):
            return
        if not address:  # main is gone
            self._loop.remove_reader(self._handover)
            return
        for descriptor in descriptors:
            self._adopt(socket.socket(fileno=descriptor), address.decode("ascii", "replace"))

    def _adopt(self, sock: socket.socket, address: str) -> None:
        if len(self._connections) >= MAX_CONNECTIONS:
            sock.close()
            return
        if len(self._unproven) >= MAX_UNPROVEN:
            self._give_up(next(iter(self._unproven)))
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in _KEEPALIVE.items():
            if hasattr(socket, option):
                sock.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
        number = next(self._numbers)
        connection = self._connections[number] = _Connection(self, address, number)
        self._unproven[number] = self._loop.call_later(PROVE_S, self._give_up, number)
        task = self._loop.create_task(self._connect(connection, sock))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, connection: _Connection, sock: socket.socket) -> None:
        try:
            await self._loop.connect_accepted_socket(lambda: connection, sock)
        except OSError:
            sock.close()
            self.ended(connection.route)
            return
        if self._paused and connection.transport is not None:
            connection.transport.pause_reading()

    def _give_up(self, number: int) -> None:
        self._unproven.pop(number, None)
        connection = self._connections.get(number)
        if connection is not None:
            connection.abort()

    def _transports(self) -> Iterator[asyncio.Transport]:
        """Of all open connections."""
        for connection in self._connections.values():
            if connection.transport is not None and not connection.transport.is_closing():
                yield connection.transport


def hand_over(handover: socket.socket, sock: socket.socket, address: str) -> bool:
    """Main's side: give a connection away; False when the other process does not take it, then it is closed."""
    try:
        socket.send_fds(handover, [address.encode()[:_MAX_ADDRESS]], [sock.fileno()])
    except OSError:
        return False
    finally:
        sock.close()
    return True
