"""Syslog: alerts to another log server, over UDP, TCP or TLS.

Syslog has no acknowledgement. Over a stream, a delivery counts as taken when the other side's kernel has all of it. What a
dead server had not read by then is lost with it; so when a connection breaks, what went over it in the last seconds is
sent again first. Over UDP a delivery is taken when it has left, unless the answer is that nobody listens.
"""

import asyncio
import contextlib
import fcntl
import socket
import ssl
import struct
import termios
from collections import deque
from collections.abc import Sequence

from hids.core.alert.forms.syslog import Writer
from hids.core.delivery import Delivery, Refused, read_each, refuse_odd
from hids.core.outputs import SyslogOutput, server_of
from hids.errors import ConfigError
from hids.ports import Clock

AGAIN_S = 10.0
"""What was sent so many seconds before a connection broke is sent again."""
AGAIN_BYTES = 4 * 1024 * 1024
"""At most; the oldest is forgotten."""
WATCH_S = 0.5
"""How often to look for a broken connection in these seconds."""
LOOK_S = 0.01
"""How often to look whether the other side has all; and the pause behind datagrams for an answer that nobody listens."""


class SyslogDestination:
    """Sends deliveries. For one event loop."""

    def __init__(self, output: SyslogOutput, clock: Clock) -> None:
        self._output = output
        self._writer = Writer(output, _host_name(fqdn=output.use_fqdn))
        self._link = _Datagrams(output) if output.protocol == "udp" else _Stream(output, self._writer, clock)

    async def post(self, delivery: Delivery) -> None:
        """Make one try. Raises `Refused` when it cannot be sent."""
        messages, odd = read_each(delivery, self._writer.write)
        await self._send(messages)
        refuse_odd(delivery, odd)

    def due_s(self) -> float | None:
        """See `hids.core.delivery.Timed`: as long as something may be lost, look whether the connection holds."""
        return WATCH_S if self._link.may_lose() else None

    async def flush(self, *, everything: bool = False) -> None:
        """Send again what a connection that broke may have lost. Raises `Refused` when it cannot be sent."""
        if self._link.broken():
            await self._send(())

    async def close(self) -> None:
        """Close the connection."""
        self._link.close()

    async def _send(self, messages: Sequence[bytes]) -> None:
        try:
            async with asyncio.timeout(self._output.timeout_s):
                await self._link.send(messages)
        except TimeoutError as error:
            self._link.close()
            raise Refused(f"not taken within {self._output.timeout_s:g} s") from error
        except (OSError, ssl.SSLError, UnicodeError) as error:
            self._link.close()
            raise Refused(f"{self._output.server}: {type(error).__name__}: {error}") from error


class _Datagrams:
    def __init__(self, output: SyslogOutput) -> None:
        self._output = output
        self._socket: socket.socket | None = None

    async def send(self, messages: Sequence[bytes]) -> None:
        loop = asyncio.get_running_loop()
        if self._socket is None:
            host, port = _server(self._output)
            family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
            self._socket = socket.socket(family, kind, protocol)
            self._socket.setblocking(False)
            self._socket.connect(address)
        for message in messages:
            await loop.sock_sendall(self._socket, message)
        await asyncio.sleep(LOOK_S)
        if number := self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            raise OSError(number, "nobody listens there, the datagrams came back")

    def may_lose(self) -> bool:
        return False  # what is lost, nobody tells

    def broken(self) -> bool:
        return False

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None


class _Stream:
    def __init__(self, output: SyslogOutput, writer: Writer, clock: Clock) -> None:
        self._output = output
        self._frame = writer.frame
        self._clock = clock
        self._writer: asyncio.StreamWriter | None = None
        self._reading: asyncio.Task[None] | None = None
        self._recent: deque[tuple[float, bytes]] = deque()
        """What was sent lately over the connection that is open, or was the last one."""
        self._recent_bytes = 0
        self._fresh = False
        """Nothing has gone over the connection yet."""

    async def send(self, messages: Sequence[bytes]) -> None:
        data = b"".join(map(self._frame, messages))
        if self._reading is not None and self._reading.done():
            self.close()  # the other side has gone since
        if self._writer is None:
            self._writer, self._fresh = await self._connect(), True
            data = b"".join(sent for _, sent in self._recent) + data
        await self._push(self._writer, data)
        if self._fresh:
            self._recent.clear()
            self._recent_bytes, self._fresh = 0, False
        self._recent.append((self._clock.monotonic_s(), data))
        self._recent_bytes += len(data)
        self._forget()

    def may_lose(self) -> bool:
        """Whether what was sent lately might not have been read."""
        if not self.broken():
            self._forget()
        return bool(self._recent)

    def broken(self) -> bool:
        """Whether the connection ended under what was sent lately."""
        return bool(self._recent) and (self._reading is None or self._reading.done())

    def close(self) -> None:
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None
        if self._writer is not None:
            self._writer.transport.abort()
            self._writer = None

    def _forget(self) -> None:
        """Keep what was sent lately. When a connection ends, that is what its other side may not have read."""
        old = self._clock.monotonic_s() - AGAIN_S
        while self._recent and (self._recent_bytes > AGAIN_BYTES or self._recent[0][0] < old):
            self._recent_bytes -= len(self._recent.popleft()[1])

    async def _connect(self) -> asyncio.StreamWriter:
        host, port = _server(self._output)
        context = None
        if self._output.protocol == "tls":
            context = ssl.create_default_context(cafile=self._output.ca_file or None)
            if self._output.certificate:
                context.load_cert_chain(self._output.certificate, self._output.key or None)
        reader, writer = await asyncio.open_connection(host, port, ssl=context)
        # Over TLS a limit of 0 counts as exceeded when nothing waits (sslproto of Python 3.11), and drain may wait for ever.
        writer.transport.set_write_buffer_limits(high=0 if context is None else 1, low=0)
        self._reading = asyncio.ensure_future(_read_to_end(reader))
        self._reading.add_done_callback(lambda _task: self._forget())
        return writer

    async def _push(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        """Send, and wait until the other side's kernel has it."""
        writer.write(data)
        await writer.drain()
        while _unsent(writer):
            self._look()
            await asyncio.sleep(LOOK_S)
        self._look()

    def _look(self) -> None:
        if self._reading is None or self._reading.done():
            raise ConnectionResetError("the server closed the connection")


async def _read_to_end(reader: asyncio.StreamReader) -> None:
    """A log server has nothing to say; what it says is thrown away, and its end is the end of the connection."""
    with contextlib.suppress(OSError):
        while await reader.read(65_536):
            pass


def _unsent(writer: asyncio.StreamWriter) -> int:
    """Bytes that the other side's kernel has not acknowledged (Linux' SIOCOUTQ); 0 where that is not known.

    Raises:
        ConnectionResetError: there is no connection any more.
    """
    sock = writer.get_extra_info("socket")
    if sock is None:  # over TLS the transport lets go of it before the reader hears of the end
        raise ConnectionResetError("the server closed the connection")
    try:
        count: int = struct.unpack("i", fcntl.ioctl(sock.fileno(), termios.TIOCOUTQ, b"\0" * 4))[0]
    except OSError:
        return 0
    return count


def _server(output: SyslogOutput) -> tuple[str, int]:
    server = server_of(output.server)
    if server is None:
        raise ConfigError(f'[[output]] {output.name}: server: expected "host:port", got {output.server!r}')
    return server


def _host_name(*, fqdn: bool) -> str:
    """This machine's name in headers: no spaces, and never empty."""
    name = socket.getfqdn() if fqdn else socket.gethostname().split(".")[0]
    return "".join(c for c in name if (c.isascii() and c.isalnum()) or c in ".-_:") or "manager"
