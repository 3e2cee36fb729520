"""What the inside asks of the outside. Adapters implement these; tests bring their own."""

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from hids.messages.baseline import Baseline, BaselineOrder, DigestCheck, FileChange, Maintenance
from hids.messages.evaluation import Dropped
from hids.messages.lane import DerivedBatch, Hole, Progress
from hids.messages.lines import Batch, LogLine
from hids.messages.terms import Agent, SourceId

M_contra = TypeVar("M_contra", contravariant=True)


class Clock(Protocol):
    """Time, handed in so that tests can move it."""

    def now_ms(self) -> int:
        """Milliseconds since the epoch, UTC: for what people and agents see."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never jump: for timeouts and rates."""
        ...


class Emit(Protocol[M_contra]):
    """Hands a message on. An actor is given one and does not know who is behind it."""

    def __call__(self, message: M_contra, /) -> None:
        """Deliver `message`; waits or raises when the receiver is full (see hids.actors.stage)."""
        ...


class Wire(Protocol):
    """One agent's connection, as its session has it (hids.adapters.session_port)."""

    address: str
    certificate: bytes

    def attach(self, deliver: Callable[[Any], int], closed: Callable[[str], None]) -> None:
        """Connect the session."""
        ...

    def send(self, message: Any) -> None:
        """Send to the agent."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def close(self, reason: str) -> None:
        """End."""
        ...


class Mark(Protocol):
    """Notes what the lane works on where its successor can read it."""

    def begin(self, source: str, epoch: int) -> None:
        """Lines of this source follow."""
        ...

    def at(self, seq: int) -> None:
        """This line is in work."""
        ...

    def done(self) -> None:
        """None is."""
        ...


class NoMark:
    """For whoever has no successor, such as a trial of rules."""

    def begin(self, source: str, epoch: int) -> None:
        """Nothing."""

    def at(self, seq: int) -> None:
        """Nothing."""

    def done(self) -> None:
        """Nothing."""


class DeadLetter(msgspec.Struct, frozen=True):
    """A line that was set aside without being judged."""

    number: int
    """In the quarantine, from 1."""
    source: SourceId
    epoch: int
    seq: int
    reason: str
    text: bytes
    at_ms: int
    """When it was set aside."""
    state: str
    """"kept", "replayed" or "dropped"."""
    settled_ms: int = 0
    agent: Agent | None = None
    line: LogLine | None = None
    """What a replay sends; None when it could not be read."""


class Stretch(msgspec.Struct):
    """What became of consecutive lines of one source and epoch."""

    first: int
    last: int
    counts: dict[str, int] = {}
    """How many by what: "evaluated", "known", "lost" and "dropped:<reason>" add up to the lines."""


class Group(msgspec.Struct):
    """All that one commit writes."""

    at_ms: int = 0
    """When it is committed."""
    alerts: list[bytes] = []
    """Final lines, numbered densely from the outbox's next number."""
    state: dict[tuple[str, bytes], tuple[bytes, int]] = {}
    """(rule identity, key) -> (bytes, time until which it matters)."""
    fired: dict[str, int] = {}
    """Rule identity -> times fired so far."""
    baselines: dict[tuple[str, str], Baseline | None] = {}
    """(agent, path) -> what is there now; None: gone."""
    changes: list[FileChange] = []
    checks: list[DigestCheck] = []
    maintenance: list[Maintenance] = []
    order: BaselineOrder | None = None
    """Carried out before all else of the group."""
    derived: list[DerivedBatch] = []
    holes: list[Hole] = []
    dead: list[tuple[SourceId, int, int, Dropped, Agent]] = []
    """(source, epoch, sequence, what was dropped, whose it was)."""
    settled: dict[int, str] = {}
    """Number of a dead letter -> what became of it."""
    progress: dict[str, Progress] = {}
    digests: list[tuple[str, int, bytes]] = []
    """(source, epoch, digest) of each batch applied."""
    counts: dict[tuple[str, str], int] = {}
    """(source, what) -> how many more."""
    stretches: dict[tuple[str, int], Stretch] = {}
    """(source, epoch) -> the lines that this commit moves over."""
    notices: tuple[str, int] | None = None
    """(boot, highest notice number)."""
    cursors: dict[str, int] = {}


class Mail(msgspec.Struct, frozen=True):
    """A mail for people that is no alert: a report."""

    id: str
    """The same in every try: letters, digits, dots and hyphens."""
    made_ms: int
    to: tuple[str, ...]
    subject: str
    text: str
    html: str
    """The same; names a picture as `cid:NAME`."""
    pictures: dict[str, bytes] = {}
    """PNGs by name."""


class Mailer(Protocol):
    """Sends what was written for people."""

    def send(self, mail: Mail) -> str:
        """Hand one mail over; returns why it will never be taken, or nothing.

        Raises:
            StoreError: not now; it is tried again.
        """
        ...


class LedgerStore(Protocol):
    """Where the lane commits."""

    def commit(self, group: Group, first_alert: int) -> None:
        """Write one group durably, or raise and write nothing of it."""
        ...

    def dead_letters(self, numbers: Sequence[int]) -> list[DeadLetter]:
        """Those of these dead letters that are there."""
        ...

    def expire(self, before_ms: int) -> int:
        """Forget windows that mattered until a time before; returns how many went."""
        ...

    def trim_state(self, limit: int) -> tuple[int, int] | None:
        """Drop the oldest windows beyond a number; returns (how many, until when the newest of them mattered)."""
        ...

    def wal_bytes(self) -> int:
        """Size of the write-ahead log."""
        ...

    def trim_history(self, before_ms: int, limit: int) -> int:
        """Forget changes of files that were stored before a time, and the oldest beyond a number; returns how many went."""
        ...

    def trim_outbox(self, limit_bytes: int, before_ms: int) -> tuple[int, int] | None:
        """Drop the oldest alerts over the budget or from before a time; returns (first, last) number dropped."""
        ...


class Journal(Protocol):
    """Keeps lines of sources that cannot send again, from their arrival until they are committed. For one thread."""

    @property
    def epoch(self) -> int:
        """Numbers this history."""
        ...

    @property
    def next(self) -> int:
        """Sequence that the next line gets."""
        ...

    @property
    def oldest(self) -> int:
        """First sequence that is still here, or the next one."""
        ...

    def chain_before(self, seq: int) -> bytes:
        """Chain value before the batch that starts there."""
        ...

    @property
    def size(self) -> int:
        """Bytes of what waits."""
        ...

    def append(self, lines: Sequence[LogLine]) -> None:
        """Store lines durably, or raise OSError and store none."""
        ...

    def batches(self, from_seq: int, limit_bytes: int) -> Sequence[Batch]:
        """Batches from the first that starts there or later on: at least one if one is here, then up to the limit.

        Where the disk lost something, a sequence is missing between two.
        """
        ...

    def trim(self, through_seq: int) -> None:
        """Forget what is committed."""
        ...

    def new_epoch(self, after: int, now_ms: int) -> None:
        """Number anew what is here, in an epoch larger than `after`."""
        ...

    def close(self) -> None:
        """Close the files."""
        ...
