"""Spooler: the thread that owns the spool file.

    collectors --Append--> spooler --Stored--> collectors;   link --Fetch, OpenEpoch...--> spooler (asked)

State    none that a restart loses: what is not yet stored waits at the `Desk`, which outlives a life.
Order    appends are stored in the order in which they came, several in one transaction (group commit).
Hurry    a batch is cut when it is stored. What comes right after one is gathered: for SPACING_S, or for HOLD_S while the
         manager has not acknowledged what was sent or is away; a full batch, or one that a collector waits for, goes at
         once. So a steady flow costs little here, and a busy manager gets few, larger batches.
Full     over its budget nothing is stored and nobody answered, so the collectors stop reading; a full disk likewise,
         tried again each second.
A bug    ends this life; the next one opens the file again, and checks it.
"""

import sqlite3
import threading
from collections import Counter, deque
from pathlib import Path
from typing import Any

import msgspec
import structlog

from hids.actors.stage import Mailbox, ThreadActor, Wake
from hids.agent.collector import IN_FLIGHT
from hids.agent.spool import Numbers, Spool
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, Append, Batch, LogLine, Stored
from hids.ports import Clock

log = structlog.get_logger()

GROUP = 64
"""Appends in one transaction, at most: 32,768 lines."""
HOLD_S = 1.0
"""So long lines are gathered at most when there is no hurry; until then their files still have them."""
SPACING_S = 0.2
"""From one batch to the next when there is; a line after a quiet moment goes at once. What a batch costs, here and at
the manager, is ten times what its lines cost."""
RESUME_BELOW = 0.9
"""Share of the budget below which a full spool takes lines again, so that it does not flap."""
RETRY_S = 1.0

AGENT_LOCATION = "hids-agent"
"""Where the agent's own lines come from; also their source's name."""


class Fetch(msgspec.Struct, frozen=True):
    """link -> spooler (asked): batches from this sequence on, for about so many bytes."""

    from_seq: int
    limit_bytes: int


class AskNumbers(msgspec.Struct, frozen=True):
    """link -> spooler (asked): the numbers for a HELLO."""


class OpenEpoch(msgspec.Struct, frozen=True):
    """link -> spooler (asked): number anew, in an epoch larger than `after`."""

    after: int


class Recall(msgspec.Struct, frozen=True):
    """collector -> spooler (asked): the positions under a prefix, including those not yet stored."""

    prefix: str


class RecallKeys(msgspec.Struct, frozen=True):
    """syscheck -> spooler (asked): those of these positions that are there, as a dict."""

    keys: tuple[str, ...]


class RecallRange(msgspec.Struct, frozen=True):
    """syscheck -> spooler (asked): the first positions from a key on and before another, as (key, value) in order.

    The answer, as that of `RecallLast`, is `NOT_NOW` while something waits that cannot be stored.
    """

    first: str
    end: str
    limit: int


class RecallLast(msgspec.Struct, frozen=True):
    """syscheck -> spooler (asked): the last position under a prefix whose key is not after another.

    The answer is (key, value, next key): empty where there is none.
    """

    prefix: str
    key: str


NOT_NOW = "not now"


class Desk:
    """What outlives one life of the spooler, and the registers through which others speak to it.

    Plain attributes, each written by one side only. After writing `trimmed`, wake the spooler's mailbox.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.routes: dict[str, Mailbox] = {}
        """Source -> who waits for its `Stored`."""
        self.link: Mailbox | None = None
        """Woken when there is something new to send."""
        self.trimmed: tuple[int, int] = (0, 0)
        """(epoch, sequence) through which the manager has committed. Written by the link."""
        self.hurry = True
        """What is stored can go on at once. Written by the link; wake the spooler when it becomes true."""
        self.next = 0
        self.lines = 0
        """Lines that wait for the manager. Written by the spooler, as are the next two."""
        self.bytes = 0
        self.stopped = ""
        """Why nothing is stored at the moment; empty when all is well."""
        self.waiting: deque[Append] = deque()
        """Taken from the mailbox and not yet stored. For the spooler's thread; others may see whether there are some."""


class _Gathered:
    """How much waits to be stored."""

    def __init__(self) -> None:
        self._appends = Counter[str]()
        self._lines = 0
        self._bytes = 0
        self.is_enough = False
        """It makes a full batch, or a collector waits for it. Without lines it makes no batch: nothing is won by waiting."""

    def add(self, append: Append) -> None:
        """Count one more."""
        self._appends[append.source] += 1
        self._lines += len(append.lines)
        self._bytes += sum(len(line.text) for line in append.lines)
        self.is_enough = (
            self._appends[append.source] >= IN_FLIGHT
            or not 0 < self._lines < MAX_BATCH_LINES
            or self._bytes >= MAX_BATCH_PACKED
        )


class Spooler(ThreadActor):
    """Store, fetch and trim."""

    def __init__(self, mailbox: Mailbox, path: Path, desk: Desk, clock: Clock) -> None:
        self._spool = Spool.open(path, clock.now_ms())
        self._desk = desk
        self._clock = clock
        self._leaving = False
        self._damage: sqlite3.Error | None = None
        self._retry: threading.Timer | None = None
        self._gathered = _Gathered()
        self._since_s = 0.0
        """Monotonic, as are the next two: since when something waits."""
        self._cut_s = float("-inf")
        """When the last batch was cut."""
        self._release_s = 0.0
        self._release: threading.Timer | None = None
        """Wakes us when gathering ends."""
        self._publish()
        super().__init__(mailbox)

    def on_start(self) -> None:
        """Say what is lost, and store what the life before left."""
        if self._spool.replaces_damaged:
            epoch = self._spool.numbers.previous_epoch
            text = f"lines lost: unknown number of epoch {epoch}: spool damaged"
            self._desk.waiting.appendleft(
                Append(source=AGENT_LOCATION, lines=(agent_line(text, self._clock.now_ms()),), positions={})
            )
        self.mailbox.wake()

    def on_receive(self, message: Any) -> Any:
        """Handle one message; the last of a burst stores all appends in it, whatever that one asks."""
        answer: object = None
        match message:
            case Append():
                self._take(message)
            case Wake():
                if self._damage is not None:
                    raise self._damage
                self._trim()
            case Fetch():
                answer = self._fetch(message)
            case AskNumbers():
                answer = self._numbers()
            case OpenEpoch():
                answer = self._open_epoch(message)
            case Recall():
                answer = self._recall(message)
            case RecallKeys() | RecallRange() | RecallLast():
                answer = self._recall_stored(message)
            case _:
                raise TypeError(f"{self.mailbox.name} cannot handle {type(message).__name__}")
        if self.mailbox.depth == 0 and not self._is_held():
            self._store()
        self._leave_when_done()
        return answer

    def on_shutdown(self) -> None:
        """Stop when all that was read is stored."""
        self._leaving = True
        self._leave_when_done()

    def closing(self) -> None:
        """Close the file."""
        for timer in (self._retry, self._release):
            if timer is not None:
                timer.cancel()
        self._spool.close()

    def _leave_when_done(self) -> None:
        if self._leaving and self.mailbox.depth == 0:
            self._store()
            self.stop()

    # -- writing

    def _take(self, append: Append) -> None:
        """Have it wait for the others of its burst."""
        if not self._desk.waiting:
            self._since_s = self._clock.monotonic_s()
        self._desk.waiting.append(append)
        self._gathered.add(append)
        if len(self._desk.waiting) >= GROUP:
            self._store()

    def _is_held(self) -> bool:
        """Whether more is being gathered now; sees to it that this ends."""
        if not self._desk.waiting or self._gathered.is_enough or len(self._desk.waiting) >= GROUP:
            return False
        due_s = self._cut_s + SPACING_S if self._desk.hurry else self._since_s + HOLD_S
        now_s = self._clock.monotonic_s()
        is_awaited = self._release is not None and now_s < self._release_s <= due_s
        if due_s > now_s and not is_awaited:
            self._forget_release()
            self._release_s = due_s
            self._release = threading.Timer(due_s - now_s, self.mailbox.wake)
            self._release.daemon = True
            self._release.start()
        return due_s > now_s

    def _forget_release(self) -> None:
        if self._release is not None:
            self._release.cancel()
            self._release = None

    def _store(self) -> None:
        waiting = self._desk.waiting
        self._gathered = _Gathered()
        self._forget_release()
        if not waiting:
            return
        lines = [line for append in waiting for line in append.lines]
        positions = {key: value for append in waiting for key, value in append.positions.items()}
        try:
            if self._is_full():
                return
            self._spool.append(lines, positions)
        except sqlite3.OperationalError as error:
            self._try_later(error)
            return
        if lines:
            self._cut_s = self._clock.monotonic_s()
        self._went_well()
        while waiting:
            append = waiting.popleft()
            route = self._desk.routes.get(append.source)
            if route is not None:
                route.tell(Stored(lines=len(append.lines)))
        if lines and self._desk.link is not None:
            self._desk.link.wake()

    def _is_full(self) -> bool:
        share = RESUME_BELOW if self._desk.stopped == "spool full" else 1.0
        full = self._spool.packed_bytes >= self._desk.max_bytes * share
        if full and self._desk.stopped != "spool full":
            self._spool.append((agent_line("reading stopped: spool full", self._clock.now_ms()),), {})
            self._desk.stopped = "spool full"
            log.error(
                "reading stopped: the spool is full",
                bytes=self._spool.packed_bytes,
                max_bytes=self._desk.max_bytes,
                to_do="see why the manager does not answer, or raise max_bytes in [spool]",
            )
            self._publish()
        return full

    def _trim(self) -> None:
        epoch, seq = self._desk.trimmed
        if epoch == self._spool.numbers.epoch and seq >= self._spool.numbers.oldest:
            try:
                self._spool.trim(seq)
            except sqlite3.OperationalError as error:
                self._try_later(error)
            self._publish()

    def _try_later(self, error: sqlite3.OperationalError) -> None:
        """Disk full or out of order: keep everything where it is and try again."""
        if self._desk.stopped != str(error):
            self._desk.stopped = str(error)
            log.error("reading stopped: the spool cannot be written", reason=str(error), to_do="make room on the disk")
        self._retry = threading.Timer(RETRY_S, self.mailbox.wake)
        self._retry.daemon = True
        self._retry.start()

    def _went_well(self) -> None:
        if self._desk.stopped:
            log.info("reading goes on", stopped_by=self._desk.stopped)
            self._desk.stopped = ""
        self._publish()

    def _publish(self) -> None:
        self._desk.next = self._spool.numbers.next
        self._desk.lines = self._spool.numbers.lines
        self._desk.bytes = self._spool.packed_bytes

    # -- answering

    def _fetch(self, message: Fetch) -> tuple[Batch, ...]:
        if not self._is_held():
            self._store()
        try:
            return self._spool.batches(message.from_seq, message.limit_bytes)
        except sqlite3.Error as error:
            self._fail(error)
            raise

    def _numbers(self) -> Numbers:
        self._store()
        return self._spool.numbers

    def _open_epoch(self, message: OpenEpoch) -> Numbers:
        try:
            self._spool.new_epoch(message.after, self._clock.now_ms())
        except sqlite3.Error as error:
            self._fail(error)
            raise
        self._publish()
        return self._spool.numbers

    def _recall(self, message: Recall) -> dict[str, bytes]:
        positions: dict[str, bytes | None] = dict(self._spool.positions(message.prefix))
        for append in self._desk.waiting:
            positions |= {key: value for key, value in append.positions.items() if key.startswith(message.prefix)}
        return {key: value for key, value in positions.items() if value is not None}

    def _recall_stored(self, message: RecallKeys | RecallRange | RecallLast) -> object:
        """Positions as they are on disk, once all that was appended is there."""
        self._store()
        if self._desk.waiting:
            return NOT_NOW
        match message:
            case RecallKeys():
                return self._spool.positions_of(message.keys)
            case RecallRange():
                return self._spool.positions_from(message.first, message.end, message.limit)
            case RecallLast():
                return self._spool.last_position(message.prefix, message.key)

    def _fail(self, error: sqlite3.Error) -> None:
        """A raise while answering goes to the asker only; this life must end as well, so that the file is checked."""
        self._damage = error
        self.mailbox.wake()


def agent_line(text: str, now_ms: int) -> LogLine:
    """A line in which the agent speaks of itself."""
    return LogLine(location=AGENT_LOCATION, text=text.encode(), at_ms=now_ms, read_ms=now_ms, kind="agent")
