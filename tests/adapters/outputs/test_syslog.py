"""Real servers over UDP, TCP and TLS: what they took arrives, and what they may have lost comes again."""

import asyncio
import re
import shutil
import socket
import ssl
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import certificate
from sample_alerts import alert
from sinks import LineSink
from waiting import SetClock, until

from hids.adapters.outputs.syslog import AGAIN_S, SyslogDestination
from hids.core.delivery import Delivery, Refused
from hids.core.outputs import SyslogOutput


class Server:
    """A log server on a port of 127.0.0.1."""

    def __init__(self) -> None:
        self.port = 0
        self.got = b""
        self.reads = True
        self.says = b""
        self._server: asyncio.Server | None = None
        self._writers: list[asyncio.StreamWriter] = []

    async def start(self, context: ssl.SSLContext | None = None) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=context, limit=4096)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        writer.write(self.says)
        try:
            while self.reads and (data := await reader.read(65_536)):
                self.got += data
            await asyncio.Event().wait()
        except (ConnectionError, asyncio.CancelledError):
            pass

    async def die(self) -> None:
        """As if killed: what is not read is lost."""
        assert self._server is not None
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()
        await asyncio.sleep(0)

    def numbers(self) -> list[int]:
        return [int(number) for number in re.findall(rb'"id":"007-1-(\d+)"', self.got)]


def output(port: int, protocol: str, **more: Any) -> SyslogOutput:
    return SyslogOutput(
        **{"server": f"127.0.0.1:{port}", "protocol": protocol, "format": "json", "timeout_s": 2.0, **more}
    )


def delivery(first: int, count: int = 1, **more: Any) -> Delivery:
    last = first + count - 1
    return Delivery(first, last, tuple(alert(number, **more) for number in range(first, last + 1)))


async def refused(destination: SyslogDestination) -> None:
    """Post until it is refused: the kernel tells of the end when it likes."""
    while True:
        try:
            await destination.post(delivery(3))
        except Refused:
            return


def run(test: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(test())  # type: ignore[arg-type]


def test_datagrams_arrive_each_with_one_alert():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(5)

        async def test() -> None:
            destination = SyslogDestination(output(server.getsockname()[1], "udp", format="default"), SetClock())
            await destination.post(delivery(1, 3))
            await destination.close()

        run(test)
        got = [server.recv(65_536) for _ in range(3)]
    assert all(
        re.match(rb"<132>[A-Z][a-z]{2} [ \d]\d [\d:]{8} \S+ ossec: Alert Level: 5; Rule: 201210 ", one) for one in got
    )


def test_datagrams_that_come_back_are_refused():
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        port = server.getsockname()[1]

    async def test() -> None:
        destination = SyslogDestination(output(port, "udp"), SetClock())
        for _ in range(2):
            with pytest.raises(Refused, match="refused|nobody listens"):
                await destination.post(delivery(1))

    run(test)


def test_over_tcp_they_arrive_as_lines_and_nonsense_from_the_server_does_no_harm():
    async def test() -> None:
        server = Server()
        server.says = b"\x00nonsense" * 100_000
        await server.start()
        destination = SyslogDestination(output(server.port, "tcp"), SetClock())
        await destination.post(delivery(1, 3))
        await destination.post(delivery(4, 2))
        await until(lambda: server.numbers() == [1, 2, 3, 4, 5], "all arrive")
        assert server.got.count(b"\n") == 5
        await destination.close()
        await server.die()

    run(test)


def test_what_a_dead_server_may_not_have_read_is_sent_again_to_the_next():
    async def test() -> None:
        clock, server = SetClock(), Server()
        await server.start()
        destination = SyslogDestination(output(server.port, "tcp"), clock)
        await destination.post(delivery(1))
        await until(lambda: server.numbers() == [1], "it arrives")
        clock.advance(AGAIN_S + 1)
        await destination.post(delivery(2))
        await until(lambda: server.numbers() == [1, 2], "it arrives")
        await server.die()
        await refused(destination)
        with pytest.raises(Refused, match="refused|Connect"):
            await destination.post(delivery(3))
        server.got = b""
        await server.start()
        await destination.post(delivery(3))
        await until(lambda: 3 in server.numbers(), "it arrives")
        assert server.numbers()[0] == 2
        assert 1 not in server.numbers()
        await destination.close()
        await server.die()

    run(test)


def test_what_may_be_lost_is_sent_again_also_when_nothing_new_comes():
    async def test() -> None:
        clock, server = SetClock(), Server()
        await server.start()
        destination = SyslogDestination(output(server.port, "tcp"), clock)
        assert destination.due_s() is None
        await destination.post(delivery(1))
        await until(lambda: server.numbers() == [1], "it arrives")
        await server.die()
        await server.start()
        await until(destination._link.broken, "the end is seen")
        assert destination.due_s() is not None
        await destination.flush()
        await until(lambda: server.numbers() == [1, 1], "it arrives again")
        clock.advance(AGAIN_S + 1)
        assert destination.due_s() is None
        await destination.close()
        await server.die()

    run(test)


def test_a_server_that_does_not_read_is_given_up_after_the_timeout():
    async def test() -> None:
        server = Server()
        server.reads = False
        await server.start()
        destination = SyslogDestination(output(server.port, "tcp", timeout_s=0.2, max_bytes=65_000), SetClock())
        with pytest.raises(Refused, match="not taken within 0.2 s"):
            await destination.post(delivery(1, 300, full_log="x" * 60_000))
        await server.die()

    run(test)


@pytest.mark.parametrize("trusted", [True, False])
def test_over_tls_the_server_must_show_a_certificate_that_is_trusted(tmp_path: Path, trusted: bool):  # noqa: FBT001
    pem = certificate(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)

    async def test() -> None:
        server = Server()
        await server.start(context)
        destination = SyslogDestination(output(server.port, "tls", ca_file=str(pem) if trusted else ""), SetClock())
        if trusted:
            await destination.post(delivery(1, 2))
            await until(lambda: server.numbers() == [1, 2], "both arrive")
            length, rest = server.got.split(b" ", 1)
            assert rest[int(length) :].split(b" ", 1)[0].isdigit()
        else:
            with pytest.raises(Refused, match="CERTIFICATE_VERIFY_FAILED"):
                await destination.post(delivery(1, 2))
        await destination.close()
        await server.die()

    run(test)


def test_a_tls_connection_that_ends_under_a_try_is_refused_and_all_comes_again(tmp_path: Path):
    async def test() -> None:
        pem = certificate(tmp_path)
        sink = LineSink(pem)
        sink.start()
        destination = SyslogDestination(output(sink.port, "tls", framing="lines", ca_file=str(pem)), SetClock())
        await destination.post(delivery(1))
        destination._link._writer.transport.abort()  # type: ignore[union-attr]
        with pytest.raises(Refused, match="closed"):
            await destination.post(delivery(2))
        await destination.post(delivery(2))
        await until(lambda: any(b'"id":"007-1-2"' in line for line in sink.lines), "it arrives")
        assert sum(b'"id":"007-1-1"' in line for line in sink.lines) == 2
        await destination.close()
        sink.stop()

    run(test)


def test_deliveries_of_any_size_go_over_one_tls_connection_without_a_wait(tmp_path: Path):
    async def test() -> None:
        pem = certificate(tmp_path)
        sink = LineSink(pem)
        sink.start()
        destination = SyslogDestination(output(sink.port, "tls", framing="lines", ca_file=str(pem)), SetClock())
        number = 1
        for count in (1, 1, 2, 100, 3, 100, 100, 1):
            await destination.post(delivery(number, count, full_log="x" * 2_000))
            number += count
        await until(lambda: len(sink.lines) == number - 1, "they arrive")
        await destination.close()
        sink.stop()

    run(test)


def test_what_is_no_alert_is_hopeless_and_the_others_are_sent():
    async def test() -> None:
        server = Server()
        await server.start()
        destination = SyslogDestination(output(server.port, "tcp"), SetClock())
        with pytest.raises(Refused) as refused:
            await destination.post(Delivery(1, 3, (alert(1), b"{}", alert(3))))
        assert refused.value.taken == {0, 2}
        assert list(refused.value.hopeless) == [1]
        await until(lambda: server.numbers() == [1, 3], "the others arrive")
        await destination.close()
        await server.die()

    run(test)


@pytest.fixture
def rsyslog(tmp_path: Path) -> Iterator[tuple[int, Path, Path]]:
    """A real rsyslogd with TLS: its port, its certificate, and the file that it writes."""
    pem, log = certificate(tmp_path), tmp_path / "remote.log"
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    conf = tmp_path / "rsyslog.conf"
    conf.write_text(
        f"""
        global(workDirectory="{tmp_path}" defaultNetstreamDriver="ossl"
               defaultNetstreamDriverCAFile="{pem}" defaultNetstreamDriverCertFile="{pem}"
               defaultNetstreamDriverKeyFile="{pem}" maxMessageSize="64k")
        module(load="imtcp" streamDriver.name="ossl" streamDriver.mode="1" streamDriver.authMode="anon")
        template(name="all" type="string" string="%app-name%|%structured-data%|%msg%\\n")
        input(type="imtcp" port="{port}" address="127.0.0.1")
        action(type="omfile" file="{log}" template="all")
        """
    )
    process = subprocess.Popen(
        ["/usr/sbin/rsyslogd", "-n", "-f", str(conf), "-i", str(tmp_path / "pid")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield port, pem, log
    process.terminate()
    process.wait(10)


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("rsyslogd", path="/usr/sbin:/usr/bin") is None
    or not list(Path("/usr/lib").glob("*/rsyslog/lmnsd_ossl.so")),
    reason="needs rsyslogd with its OpenSSL driver (rsyslog, rsyslog-openssl)",
)
def test_rsyslog_takes_them_over_tls_as_rfc_5424(rsyslog: tuple[int, Path, Path]):
    port, pem, log = rsyslog

    async def test() -> None:
        destination = SyslogDestination(output(port, "tls", rfc="5424", ca_file=str(pem)), SetClock())

        async def sent() -> bool:
            try:
                await destination.post(delivery(1, 50, full_log="ends in \\ and \x1b[31m\nand more"))
            except Refused:
                await asyncio.sleep(0.02)  # it is still starting
                return False
            return True

        while not await sent():
            pass
        await until(lambda: log.exists() and log.read_bytes().count(b"\n") >= 50, "all are written", 20)
        await destination.close()

    run(test)
    lines = log.read_text().splitlines()
    assert len(lines) == 50
    assert [re.search(r'sequenceId="(\d+)"', line)[1] for line in lines] == [str(n) for n in range(1, 51)]  # type: ignore[index]
    assert all(line.startswith("hids|") and '"id":"007-1-' in line for line in lines)
