"""A manager for the agent's tests: real TLS with a real CA, real judgement of HELLOs, a list for a ledger."""

import asyncio
import hashlib
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity, key_pem, make_csr, new_key
from hids.adapters.pki import Authority
from hids.agent.collector import SourceState
from hids.agent.spooler import Desk, Spooler
from hids.core.wire.facts import unpack as unpack_facts
from hids.core.wire.frames import FrameReader, frame
from hids.core.wire.lines import GENESIS, link, unpack
from hids.core.wire.session import Fork, GoOn, judge
from hids.messages.agent_link import (
    Ack,
    Configured,
    Heartbeat,
    Hello,
    NewEpoch,
    Refused,
    Renew,
    Renewed,
    ToManager,
    Welcome,
)
from hids.messages.lane import Progress
from hids.messages.lines import Batch, LogLine
from hids.messages.response import Responded
from hids.messages.syscheck import FileFact
from hids.messages.terms import AgentId

DEADLINE_S = 20.0


def wait_until(condition: Callable[[], object], what: str = "it") -> None:
    """Wait for a condition that another thread or process brings about."""
    deadline = time.monotonic() + DEADLINE_S
    pause = threading.Event()
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {DEADLINE_S:g} s")
        pause.wait(0.005)


class ManagerDouble:
    """Listens on a thread of its own. Attributes may be changed by the test while it runs."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority.open_or_create(folder, SystemClock())
        self._context = self.authority.server_context()
        self.lines: list[LogLine] = []
        self.progress: Progress | None = None
        self.hellos: list[Hello] = []
        self.heartbeats: list[Heartbeat] = []
        self.byes = 0
        self.batches = 0
        self.credit = 4 * 1024 * 1024
        self.refusal: Refused | None = None
        self.acks = True
        self.pushes: list[Any] = []
        """Sent after each welcome."""
        self.configured: list[Configured] = []
        self.responded: list[Responded] = []
        self.renewals = 0
        self.certificates: list[bytes] = []
        """DER, as the sessions showed them."""
        self.silent = False
        """Not even heartbeats are answered."""
        self.close_after: int | None = None
        """Commit so many batches more, then close the connection without a word about them."""
        self.most_out = 0
        """Most bytes that came without an acknowledgement for them."""
        self._known: set[bytes] = set()
        self._unacked = 0
        self._acked = 0
        self._started = threading.Event()
        self.port = 0
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), daemon=True)
        self._thread.start()
        assert self._started.wait(10)

    def identity(self, agent_id: str = "001", port: int | None = None) -> Identity:
        key = new_key()
        certificate = self.authority.sign_agent(make_csr(key), AgentId(agent_id), "web1")
        return Identity("127.0.0.1", port or self.port, key_pem(key), certificate, self.authority.ca_pem)

    @property
    def texts(self) -> list[bytes]:
        return [line.text for line in self.lines if line.kind == "log"]

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def hang_up(self) -> None:
        """Cut all connections."""
        self._loop.call_soon_threadsafe(lambda: [writer.transport.abort() for writer in self._writers])

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._writers: set[asyncio.StreamWriter] = set()
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, ssl=self._context)
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        await self._over.wait()
        server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        frames = FrameReader()
        self._unacked = 0
        try:
            while data := await reader.read(65_536):
                for payload in frames.feed(data):
                    if not self._on_message(msgspec.msgpack.decode(payload, type=ToManager), writer):
                        writer.transport.abort()
                        return
        except OSError:
            pass
        finally:
            self._writers.discard(writer)
            writer.transport.abort()

    def _send(self, writer: asyncio.StreamWriter, message: Any) -> None:
        writer.write(frame(msgspec.msgpack.encode(message)))

    def _on_message(self, message: Any, writer: asyncio.StreamWriter) -> bool:
        match message:
            case Hello():
                return self._greet(message, writer)
            case Batch():
                return self._take(message, writer)
            case Heartbeat():
                self.heartbeats.append(message)
                if not self.silent:
                    self._send(writer, Ack(seq=self._acked, credit=self.credit))
            case Renew():
                self.renewals += 1
                certificate = self.authority.sign_agent(message.csr, AgentId("001"), "web1")
                self._send(writer, Renewed(certificate))
            case Configured():
                self.configured.append(message)
            case Responded():
                self.responded.append(message)
            case _:
                self.byes += 1
        return True

    def _greet(self, hello: Hello, writer: asyncio.StreamWriter) -> bool:
        self.hellos.append(hello)
        if self.refusal is not None:
            self._send(writer, self.refusal)
            return True
        match judge(hello, self.progress):
            case GoOn(from_seq):
                if self.progress is None or self.progress.epoch != hello.epoch:
                    self.progress = Progress(hello.epoch, 0, GENESIS)
            case Fork(reason, after):
                self._send(writer, NewEpoch(reason=reason, after=after))
                return True
            case missing:
                self.progress = Progress(hello.epoch, missing.last, hello.chain)
                from_seq = missing.last + 1
        self._acked = from_seq - 1
        self._send(
            writer,
            Welcome(
                from_seq=from_seq,
                credit=self.credit,
                clock_ms=0,
                agent_id="001",
                agent_name="web1",
                abilities=("renew", "configure", "restart", "respond"),
            ),
        )
        self.certificates.append(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
        for push in self.pushes:
            self._send(writer, push)
        return True

    def _take(self, batch: Batch, writer: asyncio.StreamWriter) -> bool:
        progress = self.progress
        assert progress is not None
        assert batch.epoch == progress.epoch
        assert batch.first_seq == progress.seq + 1, "out of sequence"
        assert batch.chain == link(progress.chain, batch.data), "the chain is broken"
        self._unacked += len(batch.data)
        self.most_out = max(self.most_out, self._unacked)
        digest = hashlib.sha256(batch.data).digest()
        lines = unpack(batch.data, batch.count)
        if digest not in self._known:
            self.lines += lines
        self._known.add(digest)
        self.batches += 1
        self.progress = Progress(batch.epoch, batch.first_seq + batch.count - 1, batch.chain)
        if self.close_after is not None:
            self.close_after -= 1
            if self.close_after == 0:
                self.close_after = None
                return False
        elif self.acks:
            self._unacked = 0
            self._acked = self.progress.seq
            self._send(writer, Ack(seq=self._acked, credit=self.credit))
        return True


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[ManagerDouble]:
    double = ManagerDouble(tmp_path / "ca")
    yield double
    double.close()


@pytest.fixture(scope="session")
def until() -> Callable[..., None]:
    return wait_until


@pytest.fixture(scope="session")
def make_manager() -> Callable[[Path], ManagerDouble]:
    return ManagerDouble


class Yard:
    """A real spooler and its collectors on the running loop, as the agent has them."""

    def __init__(self, folder: Path, max_bytes: int = 1 << 30) -> None:
        self.path = folder / "spool.db"
        self.desk = Desk(max_bytes)
        self.spool = Mailbox("spool", 1024)
        self.said: list[str] = []
        self.failures: list[str | None] = []
        self._running: list[Mailbox] = []
        Spooler.start(self._keep(self.spool), self.path, self.desk, SystemClock())

    def _keep(self, mailbox: Mailbox) -> Mailbox:
        mailbox.on_exit = lambda exited: self.failures.append(exited.failure)
        self._running.append(mailbox)
        return mailbox

    def start(self, kind: Any, name: str, *arguments: Any) -> SourceState:
        """Start a collector that takes (mailbox, spool, state, *arguments, clock, say)."""
        mailbox = self._keep(Mailbox(name))
        self.desk.routes[name] = mailbox
        state = SourceState(name=name)
        kind.start(mailbox, self.spool, state, *arguments, SystemClock(), self.said.append)
        return state

    @property
    def lines(self) -> list[LogLine]:
        """All that is on disk."""
        with closing(sqlite3.connect(self.path)) as db:
            rows = db.execute("SELECT count, data FROM batch ORDER BY first_seq").fetchall()
        return [line for count, data in rows for line in unpack(data, count)]

    @property
    def texts(self) -> list[bytes]:
        return [line.text for line in self.lines]

    @property
    def facts(self) -> list[FileFact]:
        return [fact for line in self.lines if line.kind == "syscheck" for fact in unpack_facts(line.text)]

    async def stop(self) -> None:
        """Stop all, last to first, in order."""
        for mailbox in reversed(self._running):
            count = len(self.failures)
            mailbox.shut_down()
            await wait_on_loop(lambda count=count: len(self.failures) > count, f"the end of {mailbox.name}")


async def wait_on_loop(condition: Callable[[], object], what: str = "it") -> None:
    """Wait on a loop for a condition."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what} did not happen within {DEADLINE_S:g} s")
        await asyncio.sleep(0.005)


@pytest.fixture
def in_yard(tmp_path: Path) -> Callable[..., None]:
    """A function: runs a coroutine function with a `Yard` and `until`; at its end nothing may have failed."""

    def run(scene: Callable[[Yard, Callable[..., Any]], Any], **options: Any) -> None:
        async def main() -> None:
            state = tmp_path / "state"
            state.mkdir(exist_ok=True)
            yard = Yard(state, **options)
            try:
                await scene(yard, wait_on_loop)
            finally:
                await yard.stop()
            assert not any(yard.failures), yard.failures

        asyncio.run(main())

    return run


@pytest.fixture(scope="session")
def until_async() -> Callable[..., Any]:
    return wait_on_loop
