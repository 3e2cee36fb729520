"""Where outputs send to, as real as this machine can have it: each can go away, come back, and say which alerts it has.

What has a server of its own (PostgreSQL, MariaDB, NATS) is killed with SIGKILL and started again; others close their port, or
lose their network. Kinds whose server is not installed are left out.
"""

import asyncio
import contextlib
import json
import re
import socket
import sqlite3
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Protocol

import servers
from aiosmtpd.smtp import Envelope
from certificates import certificate
from receiver import Receiver
from sinks import LineSink, MailSink, free_port
from wire import Wire

PASSWORD = "a passing word"  # noqa: S105 - of servers that live for minutes
_ID = re.compile(r"[\w./]+-\d+-\d+(?:-\d+)?")
"""An alert's, and other things that look like one."""


class Destination(Protocol):
    """One of them."""

    output: str
    """As `hidsctl outputs list` names the output."""
    settings: str
    """Its `[[output]]` in manager.toml."""

    def leave(self) -> None:
        """Be away."""
        ...

    def come_back(self) -> None:
        """Be there again."""
        ...

    def ids(self) -> Counter[str]:
        """How often it has each alert."""
        ...


class Mails:
    """SMTP: what comes together shares a mail, so none is only counted."""

    output = "email:email"

    def __init__(self) -> None:
        self._ids: Counter[str] = Counter()
        self._sink = _Mailbox(self._ids)
        self.settings = (
            '[[output]]\ntype = "email"\nto = ["ops@example.org"]\nfrom = "hids@example.org"\n'
            f'server = "127.0.0.1:{self._sink.port}"\ntls = "none"\ngroup_s = 0\nmax_per_hour = 0\nurgent = 17\n'
        )

    def leave(self) -> None:
        """Stop the server."""
        self._sink.stop()

    def come_back(self) -> None:
        """Start it."""
        self._sink.start()

    def ids(self) -> Counter[str]:
        """Of all mails."""
        return Counter(self._ids)


class _Mailbox(MailSink):
    """Keeps the alerts' ids and not the mails."""

    def __init__(self, ids: Counter[str]) -> None:
        super().__init__()
        self._found = ids

    async def handle_DATA(self, server: Any, session: Any, envelope: Envelope) -> str:  # noqa: N802 - the library's name
        answer = await super().handle_DATA(server, session, envelope)
        while self.mails:
            body = self.mails.pop().get_body(("plain",))
            assert body is not None
            self._found.update(set(_ID.findall(body.get_content())))
        return answer


class Stream:
    """Syslog over TCP or TLS, JSON lines."""

    def __init__(self, name: str, pem: Path | None = None) -> None:
        self.output = f"syslog:{name}"
        self._sink = LineSink(pem)
        protocol = "tcp" if pem is None else f'tls"\nframing = "lines"\nca_file = "{pem}'
        self.settings = (
            f'[[output]]\ntype = "syslog"\nname = "{name}"\nserver = "127.0.0.1:{self._sink.port}"\n'
            f'protocol = "{protocol}"\nformat = "json"\nmax_bytes = 60000\n'
        )

    def leave(self) -> None:
        """As if killed: what is not read is lost."""
        self._sink.stop()

    def come_back(self) -> None:
        """Listen."""
        self._sink.start()

    def ids(self) -> Counter[str]:
        """Of whole lines."""
        return Counter(filter(None, map(_id_of_line, tuple(self._sink.lines))))


class Datagrams:
    """Syslog over UDP, JSON."""

    output = "syslog:udp"

    def __init__(self) -> None:
        self._port = free_port()
        self._ids: Counter[str] = Counter()
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self.settings = (
            f'[[output]]\ntype = "syslog"\nname = "udp"\nserver = "127.0.0.1:{self._port}"\nformat = "json"\n'
            "max_bytes = 60000\n"
        )

    def leave(self) -> None:
        """Close the port, when what has arrived is read."""
        if self._socket is not None and self._thread is not None:
            self._wake()
            self._thread.join()
            self._socket.close()
            self._socket = self._thread = None

    def come_back(self) -> None:
        """Listen."""
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with contextlib.suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 * 1024 * 1024)
        self._socket.bind(("127.0.0.1", self._port))
        self._thread = threading.Thread(target=self._read, args=(self._socket,), daemon=True)
        self._thread.start()

    def ids(self) -> Counter[str]:
        """Of all datagrams."""
        return Counter(self._ids)

    def _read(self, listening: socket.socket) -> None:
        while data := listening.recv(65_536):
            self._ids[_id_of_line(data)] += 1

    def _wake(self) -> None:
        """An empty datagram ends the reader."""
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            sock.sendto(b"", ("127.0.0.1", self._port))


class Hooks:
    """A webhook."""

    output = "webhook:webhook"

    def __init__(self) -> None:
        self._port = free_port()
        self._receivers: list[Receiver] = []
        self.settings = f'[[output]]\ntype = "webhook"\nurl = "http://127.0.0.1:{self._port}/hids"\n'

    def leave(self) -> None:
        """Close the port."""
        if self._receivers:
            self._receivers[-1].close()

    def come_back(self) -> None:
        """Listen."""
        self._receivers.append(Receiver(port=self._port))

    def ids(self) -> Counter[str]:
        """Of all that was posted."""
        return sum((receiver.seen for receiver in self._receivers), Counter[str]())


class SearchEngine:
    """OpenSearch's double, which keeps everything in memory: so its network goes, not itself."""

    output = "opensearch:opensearch"

    def __init__(self, stack: ExitStack) -> None:
        from osmem_server import resolve_binary  # noqa: PLC0415 - installed for tests

        self._port = free_port()
        argv = [resolve_binary(), "--addr", f"127.0.0.1:{self._port}", "--no-ja", "--no-stdin-watch"]
        silent = subprocess.DEVNULL
        process = subprocess.Popen(argv, stdin=silent, stdout=silent, stderr=silent)
        stack.callback(process.wait)
        stack.callback(process.kill)
        servers.answers(self._port, process)
        self._wire = Wire()
        self._wire.target = self._port
        self.settings = f'[[output]]\ntype = "opensearch"\nurls = ["http://127.0.0.1:{self._wire.port}"]\n'

    def leave(self) -> None:
        """Cut the network."""
        self._wire.refuse(True)
        self._wire.cut()

    def come_back(self) -> None:
        """Mend it."""
        self._wire.refuse(False)

    def ids(self) -> Counter[str]:
        """Of all documents."""
        found: Counter[str] = Counter()
        with closing(HTTPConnection("127.0.0.1", self._port, timeout=60)) as connection:
            self._ask(connection, "_refresh", {})
            first, step = 0, 5_000
            total = self._ask(connection, "_count", {})["count"]
            while found.total() < total and first < 100 * step:
                span = {"range": {"hids.number": {"gte": first, "lt": first + step}}}
                answer = self._ask(connection, "_search", {"size": 10_000, "_source": ["event.id"], "query": span})
                found.update(hit["_source"]["event"]["id"] for hit in answer["hits"]["hits"])
                first += step
        return found

    def _ask(self, connection: HTTPConnection, what: str, body: dict[str, Any]) -> Any:
        connection.request(
            "POST", f"/hids-alerts-*/{what}", json.dumps(body) if body else "", {"Content-Type": "application/json"}
        )
        answer = json.load(connection.getresponse())
        assert "error" not in answer, answer
        return answer


class Lite:
    """SQLite: somebody holds the file."""

    output = "sql:lite"

    def __init__(self, folder: Path) -> None:
        self._path = folder / "alerts.db"
        self._holder: sqlite3.Connection | None = None
        self.settings = f'[[output]]\ntype = "sql"\nname = "lite"\nurl = "sqlite:///{self._path}"\ntimeout_s = 3.0\n'

    def leave(self) -> None:
        """Lock the file."""
        self._holder = sqlite3.connect(self._path, timeout=60, isolation_level=None, check_same_thread=False)
        self._holder.execute("BEGIN EXCLUSIVE")

    def come_back(self) -> None:
        """Let go of it."""
        if self._holder is not None:
            self._holder.execute("ROLLBACK")
            self._holder.close()
            self._holder = None

    def ids(self) -> Counter[str]:
        """Of all rows."""
        with (
            closing(sqlite3.connect(self._path, timeout=60)) as connection,
            contextlib.suppress(sqlite3.OperationalError),
        ):
            return Counter(name for (name,) in connection.execute("SELECT id FROM hids_alerts"))
        return Counter()


class Database:
    """PostgreSQL or MariaDB, killed and started again."""

    def __init__(self, name: str, scheme: str, server: servers.Server, secret: Path) -> None:
        self.output = f"sql:{name}"
        self._server = server
        self._scheme = scheme
        self.settings = (
            f'[[output]]\ntype = "sql"\nname = "{name}"\nurl = "{scheme}://hids@127.0.0.1:{server.port}/hids"\n'
            f'password_file = "{secret}"\ntimeout_s = 10.0\n'
        )

    def leave(self) -> None:
        """SIGKILL."""
        self._server.kill()

    def come_back(self) -> None:
        """Start it; it repairs itself."""
        if self._server.process is None:
            self._server.start()

    def ids(self) -> Counter[str]:
        """Of all rows."""
        with closing(self._connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT id FROM hids_alerts")
            return Counter(name for (name,) in cursor.fetchall())

    def _connect(self) -> Any:
        if self._scheme == "postgresql":
            import pg8000.dbapi  # noqa: PLC0415 - only where there is a server

            return pg8000.dbapi.connect("hids", "127.0.0.1", "hids", self._server.port, PASSWORD)
        import pymysql  # noqa: PLC0415 - as above

        return pymysql.connect(
            host="127.0.0.1", port=self._server.port, user="hids", password=PASSWORD, database="hids"
        )


class Subject:
    """NATS JetStream, killed and started again."""

    output = "nats:nats"

    def __init__(self, server: servers.Server) -> None:
        self._server = server
        self.settings = f'[[output]]\ntype = "nats"\nservers = ["nats://127.0.0.1:{server.port}"]\nstream = "HIDS"\n'

    def leave(self) -> None:
        """SIGKILL."""
        self._server.kill()

    def come_back(self) -> None:
        """Start it."""
        if self._server.process is None:
            self._server.start()

    def ids(self) -> Counter[str]:
        """Of all messages."""
        return Counter(json.loads(data)["id"] for data in asyncio.run(self._messages()))

    async def _messages(self) -> list[bytes]:
        import nats  # noqa: PLC0415 - only where there is a server

        connection = await nats.connect(f"nats://127.0.0.1:{self._server.port}")
        try:
            stream = connection.jetstream()
            info = await stream.stream_info("HIDS")
            found: list[bytes] = []
            reader = await stream.pull_subscribe("hids.alerts", stream="HIDS")
            while len(found) < info.state.messages:
                for message in await reader.fetch(500, timeout=30):
                    found.append(message.data)
                    await message.ack()  # the server holds back after 1,000 that are not acknowledged
            return found
        finally:
            await connection.close()


def _id_of_line(line: bytes) -> str:
    """Of a line that may be torn: its server was killed."""
    try:
        return str(json.loads(line[line.index(b"{") :])["id"])
    except ValueError:
        return ""


def destinations(folder: Path, stack: ExitStack) -> Iterator[Destination]:
    """All that this machine can have, up and listening; `stack` ends them."""
    pem = certificate(folder)
    secret = folder / "password"
    secret.write_text(PASSWORD)
    secret.chmod(0o600)
    made: list[Callable[[], Destination]] = [
        Mails,
        lambda: Stream("tcp"),
        lambda: Stream("tls", pem),
        Datagrams,
        Hooks,
        lambda: SearchEngine(stack),
        lambda: Lite(folder),
    ]
    if servers.program("postgres", servers.POSTGRES_BIN) is not None:
        made.append(
            lambda: Database("postgres", "postgresql", stack.enter_context(servers.postgresql(PASSWORD)), secret)
        )
    if servers.program("mariadbd", "usr/sbin") is not None:
        made.append(lambda: Database("mariadb", "mariadb", stack.enter_context(servers.mariadb(PASSWORD)), secret))
    if servers.program("nats-server") is not None:
        (folder / "nats").mkdir()
        made.append(lambda: Subject(stack.enter_context(servers.nats(folder / "nats"))))
    for make in made:
        destination = make()
        destination.come_back()
        stack.callback(destination.leave)
        yield destination
