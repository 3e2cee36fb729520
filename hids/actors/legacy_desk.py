"""LegacyDesk: speaks with OSSEC's and Wazuh's agents, in a process of its own.

    port --Arrived|Hungup--> legacy desk: decrypts, checks, numbers; journal; then answers the agents, and
    legacy desk --LegacyBatch|LegacySeen|...--> main;  main --LegacyKeys|LegacyProgress|LegacyOrder--> legacy desk

State    the journal: lines that are not committed, numbers, counters. A new life reads it and sends main what is open.
Order    nothing is answered and nothing counts before the journal has it. A group is what came meanwhile.
Full     too much under way: lines wait in the journal. The disk is full: nothing is read. The journal is full: lines are
         dropped, counted and told.
A bug    ends the process, as anything may that hostile bytes do here; agents and main go on with the next one.
"""

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import msgspec
import structlog

from hids.actors.stage import Control, LoopActor, Mailbox, OneLife
from hids.core.wire.ossec.arrivals import arrival, fact_lines
from hids.core.wire.ossec.book import Book, Entry, Mark, encode_group, entries_in
from hids.core.wire.ossec.cipher import RandomBytes
from hids.core.wire.ossec.counters import first_sent
from hids.core.wire.ossec.dbsync import COMPONENTS, DbSync, Rows
from hids.core.wire.ossec.events import DBSYNC, SYSCHECK, OldEvent
from hids.core.wire.ossec.manager import Arrived, Limits, News, OldManager, Peer, Refusal, Route
from hids.errors import RemoteProtocolError, StoreError
from hids.messages.lane import Hole, Progress
from hids.messages.legacy import (
    LegacyBatch,
    LegacyDone,
    LegacyKeys,
    LegacyNotice,
    LegacyOrder,
    LegacyProgress,
    LegacyReady,
    LegacySeen,
)
from hids.messages.lines import LogLine
from hids.messages.terms import Agent, AgentId
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0
GROUP_BYTES = 2 * 1024 * 1024
"""Text that waits at most before a group is written, while more is arriving."""
UNDER_WAY_BYTES = 8 * 1024 * 1024
"""Packed batches that main may hold uncommitted."""
NOTICE_S = 600.0
"""The same is not told of an agent more often."""
OWN_LOCATION = "ossec-monitord"
"""Where OSSEC's own lines about agents come from."""


class Journal(Protocol):
    """Where what came is durable (hids.adapters.journal)."""

    @property
    def size(self) -> int:
        """Bytes on disk."""
        ...

    @property
    def start(self) -> Any:
        """Before the oldest record."""
        ...

    def append(self, records: Sequence[bytes]) -> object:
        """Make records durable, or raise OSError."""
        ...

    def read(self, after: Any) -> Iterator[tuple[Any, bytes]]:
        """Records behind a position, each with its own."""
        ...

    def forget(self, before: Any) -> None:
        """What is before this position is not needed any more."""
        ...

    def close(self) -> None:
        """Close it."""
        ...


class Port(Protocol):
    """The sockets (hids.adapters.legacy_port)."""

    def send(self, route: Route, body: bytes) -> None:
        """Send, or drop what cannot be sent."""
        ...

    def hang_up(self, route: Route) -> None:
        """End a connection."""
        ...

    def proven(self, route: Route) -> None:
        """Somebody with a key speaks there."""
        ...

    def pause(self) -> None:
        """Read nothing."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def close(self) -> None:
        """Close everything."""
        ...


class Hungup(Control):
    """port -> legacy desk: a connection has ended."""

    def __init__(self, route: Route) -> None:
        self.route = route


class Tick(OneLife):
    """timer -> legacy desk."""


class _Out(NamedTuple):
    position: Any
    """In the journal, behind the record."""
    entries: tuple[Entry, ...]
    size: int


class LegacyDesk(LoopActor):
    """Take, keep, answer, hand on."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_port: Callable[[Callable[[Arrived], int], Callable[[Route], None]], Port],
        open_journal: Callable[[Callable[[], bytes]], Journal],
        rows: Rows,
        shared: Callable[[str], tuple[str, bytes]],
        random: RandomBytes,
        clock: Clock,
        emit: Emit[Any],
        *,
        manager: str,
        limits: Limits,
        journal_bytes: int,
    ) -> None:
        super().__init__(mailbox)
        self._clock = clock
        self._emit = emit
        self._journal_bytes = journal_bytes
        self._rows = rows
        self._sync = DbSync(rows)
        self._book = Book()
        self._journal = open_journal(self._book.head)
        self._cursor = self._journal.start
        self._read_book()
        sent = first_sent(self._book.sent, clock.now_ms() // 1000)
        self._manager = OldManager(sent, random, manager, limits)
        self._manager.shared = shared
        self._lines: dict[AgentId, tuple[Agent, list[LogLine]]] = {}
        self._lines_bytes = 0
        self._completed: set[AgentId] = set()
        self._out: deque[_Out] = deque()
        self._out_bytes = 0
        self._progress: dict[str, Progress] = {}
        self._informed = False
        """Main has said what is committed."""
        self._introduced = False
        """... and who there is."""
        self._expected: dict[str, tuple[int, int]] = {}
        """Source -> (epoch, sequence) of the batch that main gets next."""
        self._told: dict[tuple[AgentId, str], float] = {}
        self._counts: Counter[str] = Counter()
        self._disk_full = False
        self._port = open_port(self._deliver, lambda route: mailbox.tell(Hungup(route)))
        self._port.pause()  # until it is known who there is and what is committed
        self._timer: asyncio.TimerHandle = self.later(TICK_S, Tick())
        emit(LegacyReady())

    def on_receive(self, message: Arrived | Hungup | Tick | LegacyKeys | LegacyProgress | LegacyOrder) -> None:
        """Take one message; write a group when nothing more waits."""
        match message:
            case Arrived():
                self._take(message)
            case Hungup():
                self._manager.lost(message.route)
            case LegacyKeys():
                self._know(message)
            case LegacyProgress():
                self._committed(message)
            case LegacyOrder():
                problem = self._manager.order(message, self._clock.monotonic_s())
                self._emit(LegacyDone(message.number, problem))
            case Tick():
                self._manager.tick(self._clock.monotonic_s())
                self._timer = self.later(TICK_S, Tick())
        if self.mailbox.depth == 0 or self._lines_bytes > GROUP_BYTES:
            self._flush()
        if self.mailbox.depth == 0 and self._informed and self._introduced and not self._disk_full:
            self._port.resume()

    def closing(self) -> None:
        """Close sockets and files."""
        self._timer.cancel()
        self._port.close()
        self._journal.close()
        self._rows.close()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        states = Counter(peer.state for peer in self._manager.peers)
        return {
            "agents": states.total(),
            "active": states["active"],
            "journal_bytes": self._journal.size,
            "under_way": self._out_bytes,
            **{f"refused: {reason}": times for reason, times in sorted(self._manager.refused.items())},
            **self._counts,
        }

    def _deliver(self, arrived: Arrived) -> int:
        self.mailbox.tell(arrived)
        return self.mailbox.depth

    def _read_book(self) -> None:
        """Learn from the journal where everything stands; what is open is sent once main has said what is committed."""
        for _position, record in self._journal.read(self._cursor):
            self._book.read(record)

    # -- what comes

    def _know(self, keys: LegacyKeys) -> None:
        self._introduced = True
        for peer in self._manager.know(keys.agents):
            mark = self._book.mark(peer.known.agent.id)
            peer.complete = mark.complete
            if mark.generation == peer.known.generation:
                peer.seen = mark.seen
        with contextlib.suppress(StoreError):
            self._rows.keep_only({known.agent.id for known in keys.agents})
        self._manager.assume(keys.connected, self._clock.monotonic_s())

    def _take(self, arrived: Arrived) -> None:
        now_s, now_ms = self._clock.monotonic_s(), self._clock.now_ms()
        for body, route in arrived.bodies:
            refusal = self._manager.receive(body, route, now_s)
            if refusal is not None:
                self._refused(refusal, route, now_s)
            elif route.is_tcp:
                self._port.proven(route)
        for peer, event in self._manager.events:
            if event.queue == DBSYNC and event.location in COMPONENTS:
                self._synchronise(peer, event, now_s, now_ms)
                continue
            came = arrival(event, now_ms, complete=peer.complete)
            if came.completed:
                peer.complete = True
            if came.dropped:
                self._counts[came.dropped] += 1
            if self._keep(peer, came.lines) and event.queue == SYSCHECK and came.lines:
                with contextlib.suppress(StoreError):
                    self._sync.told(peer.known.agent.id, event.message)
        self._manager.events.clear()

    def _synchronise(self, peer: Peer, event: OldEvent, now_s: float, now_ms: int) -> None:
        """A Wazuh agent compares its list of files with ours. Without an answer it believes that they agree."""
        self._counts["dbsync"] += 1
        if self._journal.size > self._journal_bytes:
            self._counts["dropped: journal full"] += 1
            return
        try:
            outcome = self._sync.take(peer.known.agent.id, event.message, now_s)
        except RemoteProtocolError:
            self._counts["malformed dbsync message"] += 1
            return
        except StoreError:
            self._counts["dbsync: no room"] += 1
            return
        if outcome.dropped:
            self._counts[outcome.dropped] += 1
        self._keep(peer, fact_lines(outcome.facts, now_ms))
        if outcome.answer:
            self._manager.send(peer, outcome.answer)

    def _refused(self, refusal: Refusal, route: Route, now_s: float) -> None:
        if route.is_tcp:
            self._port.hang_up(route)
        if refusal.peer is not None:
            self._tell(refusal.peer, f"agent refused: {refusal.reason}", now_s)

    def _keep(self, peer: Peer, lines: Iterable[LogLine]) -> bool:
        """Put lines into the next group; False: the journal is full."""
        agent = _whereabouts(peer)
        if self._journal.size > self._journal_bytes:
            dropped = len(tuple(lines))
            self._counts["dropped: journal full"] += dropped
            self._tell(peer, "lines lost: the journal of old agents is full", self._clock.monotonic_s())
            return False
        _, kept = self._lines.setdefault(agent.id, (agent, []))
        for line in lines:
            kept.append(line)
            self._lines_bytes += len(line.text) + len(line.location)
        return True

    # -- groups

    def _flush(self) -> None:
        """Make durable what came, then answer and hand on."""
        manager = self._manager
        self._hear_news()
        if self._lines or manager.touched or manager.sent.global_ > self._book.sent:
            group = self._book.group(
                {agent: waiting for agent, waiting in self._lines.items() if waiting[1]},
                {agent: _mark(peer) for agent in manager.touched if (peer := manager.get(agent)) is not None},
                self._progress,
                manager.sent.global_,
                self._clock.now_ms(),
            )
            try:
                self._journal.append((encode_group(group),))
            except OSError as error:
                self._wait_for_room(error)
                return
            self._book.enter(group)
            self._lines.clear()
            self._lines_bytes = 0
            manager.touched.clear()
        self._disk_full = False
        with contextlib.suppress(StoreError):
            self._rows.commit()
        for route, body in manager.answers:
            self._port.send(route, body)
        manager.answers.clear()
        for route in manager.closing:
            self._port.hang_up(route)
        manager.closing.clear()
        self._pump()

    def _wait_for_room(self, error: OSError) -> None:
        """Nothing is read until the disk takes it; the next tick tries again."""
        if not self._disk_full:
            log.error("old agents are not heard: the journal cannot be written", reason=error.strerror)
        self._disk_full = True
        self._port.pause()

    def _hear_news(self) -> None:
        news, self._manager.news = self._manager.news, []
        for peer, what in news:
            self._hear(peer, what)

    def _hear(self, peer: Peer, what: News) -> None:
        agent, now_s, now_ms = _whereabouts(peer), self._clock.monotonic_s(), self._clock.now_ms()
        if what == "stopped":
            text = f"ossec: Agent stopped: '{agent.name}->{peer.known.ip}'."
            self._keep(peer, (LogLine(OWN_LOCATION, text.encode(), now_ms, now_ms),))
        elif peer.missed:
            self._tell(peer, f"lines lost: {peer.missed} messages of this agent never came", now_s)
            peer.missed = 0
        self._emit(
            LegacySeen(
                agent=agent,
                connected=peer.state in ("active", "pending"),
                at_ms=now_ms - max(0, int((now_s - peer.heard_s) * 1000)),
                changed=what != "alive",
                os=peer.keepalive.os if peer.keepalive is not None else "",
                software=peer.software,
                method=_method(peer),
                lines=peer.lines,
            )
        )

    def _tell(self, peer: Peer, text: str, now_s: float) -> None:
        mark = (peer.known.agent.id, text.partition(": ")[2][:24])
        if now_s - self._told.get(mark, float("-inf")) >= NOTICE_S:
            self._told[mark] = now_s
            self._emit(LegacyNotice(_whereabouts(peer), text))

    # -- to main

    def _committed(self, message: LegacyProgress) -> None:
        self._informed = True
        self._progress |= message.progress
        while self._out and all(map(self._is_committed, self._out[0].entries)):
            done = self._out.popleft()
            self._out_bytes -= done.size
            self._journal.forget(done.position)

    def _is_committed(self, entry: Entry) -> bool:
        there = self._progress.get(entry.source)
        return there is not None and (there.epoch, there.seq) >= (entry.batch.epoch, entry.last)

    def _pump(self) -> None:
        """Hand on from the journal while main has room."""
        if self._out_bytes >= UNDER_WAY_BYTES or not self._informed:
            return
        for position, record in self._journal.read(self._cursor):
            entries = tuple(entry for entry in entries_in(record) if not self._is_committed(entry))
            for entry in entries:
                self._hand_on(entry)
            size = sum(len(entry.batch.data) for entry in entries)
            self._cursor = position
            self._out.append(_Out(position, entries, size))
            self._out_bytes += size
            if self._out_bytes >= UNDER_WAY_BYTES:
                return

    def _hand_on(self, entry: Entry) -> None:
        batch = entry.batch
        there = self._progress.get(entry.source)
        same = there is not None and there.epoch == batch.epoch
        epoch, expected = self._expected.get(
            entry.source, (batch.epoch, there.seq + 1 if same and there is not None else 1)
        )
        if epoch != batch.epoch:
            expected = 1
        if batch.first_seq > expected:
            self._emit(
                Hole(
                    entry.source,
                    entry.agent,
                    batch.epoch,
                    expected,
                    batch.first_seq - 1,
                    entry.before,
                    "the journal was damaged",
                )
            )
        self._expected[entry.source] = batch.epoch, entry.last + 1
        self._emit(LegacyBatch(entry.agent, batch, entry.received_ms))


def _mark(peer: Peer) -> Mark:
    return Mark(seen=peer.seen, complete=peer.complete, generation=peer.known.generation)


def _whereabouts(peer: Peer) -> Agent:
    """The agent as alerts name it: with its address, or with what client.keys has until that is known."""
    return msgspec.structs.replace(peer.known.agent, ip=peer.route.address) if peer.route else peer.known.agent


def _method(peer: Peer) -> str:
    if peer.method is None or peer.route is None:
        return ""
    return f"{peer.method.value} over {'TCP' if peer.route.is_tcp else 'UDP'}"
