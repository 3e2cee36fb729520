"""Main and the lane, which correlates and commits; and the lane's actors among each other.

main --Outcome, Hole, Notice, ...--> lane: correlation window --Applied--> syscheck store --Applied--> ledger
lane --LaneReady, Committed--> main
"""

from typing import Literal

import msgspec

from hids.messages.baseline import Baseline, BaselineOrder, DigestCheck, FileChange, Maintain, Maintenance
from hids.messages.evaluation import Dropped, Outcome
from hids.messages.lines import Batch, LogLine
from hids.messages.outputs import Cursors
from hids.messages.supervision import Pulse
from hids.messages.terms import Agent, Kind, SourceId

DerivedKind = Kind | Literal["accumulate"]
"""Kind of the source of a derived line."""


class Progress(msgspec.Struct, frozen=True, array_like=True):
    """Committed so far."""

    epoch: int
    seq: int
    """Last committed sequence; 0 for none."""
    chain: bytes


class Place(msgspec.Struct, frozen=True, array_like=True):
    """One line."""

    source: str
    epoch: int
    seq: int


class Hole(msgspec.Struct, frozen=True, tag="hole"):
    """main -> lane: sequences of a source that will never come; progress moves over them and an alert is made."""

    source: SourceId
    agent: Agent
    epoch: int
    first: int
    last: int
    chain: bytes
    reason: str


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """main -> lane: something about an agent that rules shall see, as a derived line."""

    boot: str
    number: int
    """Numbered by main within its `boot`: repeated until committed, written once."""
    agent: Agent
    text: str
    at_ms: int


class ReadThrough(msgspec.Struct, frozen=True, tag="read_through"):
    """session -> dispatcher -> lane: all that an agent logged up to a time is in the lines up to `seq`.

    Of a session's reports only the last matters; one that is lost is made good by the next.
    """

    source: SourceId
    agent: Agent
    epoch: int
    seq: int
    at_ms: int
    """By the manager's clock."""


class Settle(msgspec.Struct, frozen=True, tag="settle"):
    """control -> main -> lane: what shall become of these dead letters."""

    letters: tuple[int, ...]
    """Their numbers in the quarantine."""
    verdict: Literal["replayed", "dropped"]


class DerivedBatch(msgspec.Struct, frozen=True, array_like=True):
    """lane -> main: lines the lane wrote, to be evaluated like any others."""

    source: SourceId
    agent: Agent
    batch: Batch


class Applied(msgspec.Struct, frozen=True):
    """correlation window -> syscheck store -> ledger, inside the lane: one outcome, hole or notice, thought through."""

    source: SourceId
    agent: Agent
    progress: Progress | None = None
    first: int = 0
    """First sequence that `progress` moves over."""
    digest: bytes = b""
    canary: bytes = b""
    scans: tuple[tuple[int, bytes], ...] = ()
    """See `OutcomeBody`, both."""
    alerts: tuple[bytes, ...] = ()
    state: dict[tuple[str, bytes], tuple[bytes, int]] = {}
    """Windows touched: (rule identity, key) -> (bytes, time until which it matters)."""
    fired: dict[str, int] = {}
    facts: tuple[tuple[int, int, bytes], ...] = ()
    findings: tuple[tuple[int, bytes], ...] = ()
    """See `OutcomeBody`."""
    baselines: dict[tuple[str, str], Baseline | None] = {}
    changes: tuple[FileChange, ...] = ()
    checks: tuple[DigestCheck, ...] = ()
    maintenance: tuple[Maintenance, ...] = ()
    order: BaselineOrder | None = None
    lines: tuple[tuple[DerivedKind, LogLine], ...] = ()
    """Lines to be derived for this agent, by the kind of their source."""
    hole: Hole | None = None
    dead: tuple[tuple[int, int, Dropped], ...] = ()
    """(epoch, sequence, what was dropped)."""
    counts: dict[str, int] = {}
    notice: int = 0
    """Number of the notice that this came from."""


class LaneReady(msgspec.Struct, frozen=True, tag="lane_ready"):
    """lane -> main at its start: what is committed, and which derived lines still wait."""

    progress: dict[str, Progress]
    derived: tuple[DerivedBatch, ...]
    outbox_next: int
    poison: tuple[Place, ...] = ()
    """Lines that ended the lane twice: they shall come as dead letters."""


class Committed(msgspec.Struct, frozen=True, tag="committed"):
    """lane -> main after a group's COMMIT."""

    progress: dict[str, Progress]
    """Only the sources that moved."""
    derived: tuple[DerivedBatch, ...]
    notices: int
    """Highest notice number of this boot that is committed."""
    outbox_next: int
    canaries: dict[str, bytes] = {}
    """Source -> its last canary among what is committed."""


ToLane = Outcome | Hole | Notice | Cursors | ReadThrough | Settle | BaselineOrder | Maintain

FromLane = LaneReady | Committed | Pulse
