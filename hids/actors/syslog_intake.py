"""SyslogIntake: puts on disk what arrived by syslog, and brings it to the workers as an agent's session would.

    syslog listener --Arrived, ReadUpTo--> syslog intake --Job|Hole|ReadThrough--> dispatcher;  progress register --wake--> syslog intake

State    none: lines are in the journal before they count, and leave it when they are committed.
Full     while the journal is over its budget or its disk is full, lines wait here and in the mailbox; the listener sees that,
         reads no more from connections, and counts the datagrams that it has to drop.
A bug    ends this life; the next one sends again what is not committed.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import structlog

from hids.actors.registers import ProgressRegister
from hids.actors.stage import Mailbox, ThreadActor, Wake
from hids.core.wire.session import PROTOCOL_VERSION, Fork, GoOn, Missing, judge
from hids.messages.agent_link import Hello
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, ReadThrough
from hids.messages.lines import MAX_BATCH_LINES, LogLine
from hids.messages.terms import Agent, SourceId
from hids.ports import Clock, Emit, Journal

log = structlog.get_logger()

SOURCE = SourceId("syslog/in")
WINDOW_BYTES = 4 * 1024 * 1024
"""Under way and not committed; the rest waits on disk."""
RETRY_S = 1.0


class Arrived(msgspec.Struct, frozen=True):
    """syslog listener -> syslog intake."""

    lines: tuple[LogLine, ...]


class ReadUpTo(msgspec.Struct, frozen=True):
    """syslog listener -> syslog intake: all that came before this time has been handed on."""

    at_ms: int


class Backlog:
    """What the listener looks at before it hands on more. A register: the intake writes, the listener reads."""

    def __init__(self) -> None:
        self.lines = 0
        """Taken from the mailbox and not yet on disk."""


class _Out(NamedTuple):
    last: int
    size: int


class SyslogIntake(ThreadActor):
    """Store, feed, trim."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_journal: Callable[[], Journal],
        manager: Agent,
        register: ProgressRegister,
        backlog: Backlog,
        clock: Clock,
        emit: Emit[Job | Hole | ReadThrough],
        *,
        max_bytes: int,
    ) -> None:
        super().__init__(mailbox)
        self._journal = open_journal()
        self._manager = manager
        self._register = register
        self._backlog = backlog
        self._clock = clock
        self._emit = emit
        self._max_bytes = max_bytes
        self._waiting: list[LogLine] = []
        self._out: deque[_Out] = deque()
        self._out_bytes = 0
        self._next: int | None = None
        """The sequence to feed next; None until it is known what is committed."""
        self._problem = ""
        self._retry: threading.Timer | None = None
        register.watch(SOURCE, mailbox.wake)
        mailbox.wake()

    def on_receive(self, message: Arrived | ReadUpTo | Wake) -> None:
        """Store what came, in groups; feed what may go."""
        match message:
            case Arrived():
                self._waiting += message.lines
            case Wake():
                self._settle()
            case ReadUpTo():
                pass
        if self._waiting and (not isinstance(message, Arrived) or self.mailbox.depth == 0 or self._has_group()):
            self._store()
        self._backlog.lines = len(self._waiting)
        self._feed()
        if isinstance(message, ReadUpTo) and not self._waiting and self._next is not None:
            journal = self._journal
            self._emit(ReadThrough(SOURCE, self._manager, journal.epoch, journal.next - 1, message.at_ms))

    def closing(self) -> None:
        """Close the journal."""
        self._register.unwatch(SOURCE, self.mailbox.wake)
        if self._retry is not None:
            self._retry.cancel()
        self._journal.close()

    def facts(self) -> dict[str, int | str]:
        """Figures for `hidsctl status`."""
        return {"next": self._journal.next, "journal_bytes": self._journal.size, "stopped": self._problem}

    def _has_group(self) -> bool:
        return len(self._waiting) >= MAX_BATCH_LINES

    def _store(self) -> None:
        """Put the group on disk; when that cannot be done it waits, and so does the listener."""
        if self._journal.size >= self._max_bytes:
            self._hold("the journal is full")
            return
        try:
            self._journal.append(self._waiting)
        except OSError as error:
            self._hold(error.strerror or str(error))
            return
        if self._problem:
            log.info("syslog goes on", stopped_by=self._problem)
        self._waiting, self._problem = [], ""

    def _hold(self, problem: str) -> None:
        if self._retry is not None:
            self._retry.cancel()
        if problem != self._problem:
            self._problem = problem
            log.error(
                "syslog is not taken", reason=problem, to_do="see why nothing is committed; make room on the disk"
            )
        self._retry = threading.Timer(RETRY_S, self.mailbox.wake)
        self._retry.daemon = True
        self._retry.start()

    def _settle(self) -> None:
        """The register has moved: begin, or let go of what is committed."""
        if self._next is None:
            self._begin()
        progress = self._register.get(SOURCE)
        if progress is None or progress.epoch != self._journal.epoch:
            return
        while self._out and self._out[0].last <= progress.seq:
            self._out_bytes -= self._out.popleft().size
        self._journal.trim(progress.seq)

    def _begin(self) -> None:
        """Compare the journal with what is committed, as a session does with its agent's hello."""
        if not self._register.known:
            return
        journal = self._journal
        hello = Hello(
            version=PROTOCOL_VERSION,
            machine_id="",
            epoch=journal.epoch,
            oldest=journal.oldest,
            next=journal.next,
            chain=journal.chain_before(journal.oldest),
            clock_ms=self._clock.now_ms(),
        )
        match judge(hello, self._register.get(SOURCE)):
            case GoOn(from_seq):
                self._next = from_seq
            case Missing(first, last, chain):
                self._lose(first, last, chain, "the journal has them no more")
            case Fork(reason, after):
                log.warning("the journal of syslog begins a new epoch", reason=reason)
                journal.new_epoch(after, self._clock.now_ms())
                self._begin()

    def _lose(self, first: int, last: int, chain: bytes, reason: str) -> None:
        log.error("lines lost", source=SOURCE, epoch=self._journal.epoch, first=first, last=last, reason=reason)
        self._emit(Hole(SOURCE, self._manager, self._journal.epoch, first, last, chain, reason))

    def _feed(self) -> None:
        while self._next is not None and self._next < self._journal.next and self._out_bytes < WINDOW_BYTES:
            batches = self._journal.batches(self._next, WINDOW_BYTES - self._out_bytes)
            if not batches:
                return
            for batch in batches:
                if batch.first_seq > self._next:
                    before = self._journal.chain_before(batch.first_seq)
                    self._lose(self._next, batch.first_seq - 1, before, "the journal was damaged")
                self._next = batch.first_seq + batch.count
                self._out.append(_Out(self._next - 1, len(batch.data)))
                self._out_bytes += len(batch.data)
                self._emit(Job(SOURCE, self._manager, batch, self._clock.now_ms()))
