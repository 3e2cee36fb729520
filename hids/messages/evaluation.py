"""What a worker is given, and what it makes of it.

main --Job--> worker --Outcome (OutcomeBody)--> main -> lane
"""

import msgspec

from hids.messages.lines import Batch
from hids.messages.supervision import Pulse
from hids.messages.terms import Agent, SourceId


class Job(msgspec.Struct, frozen=True, tag="job"):
    """main -> worker: evaluate one batch."""

    source: SourceId
    agent: Agent
    batch: Batch
    received_ms: int
    clock_offset_ms: int = 0
    """Added to the agent's times to get the manager's."""
    careful: bool = False
    """A worker died on this batch: note every line, not every 32nd."""
    skip: tuple[int, ...] = ()
    """Offsets of lines that killed a worker: they become dead letters."""


class EventOut(msgspec.Struct, frozen=True, array_like=True):
    """One event that asks, alerts or feeds a window."""

    offset: int
    """Sequence = first_seq + offset."""
    at_ms: int
    ruleset: int
    """Index into `OutcomeBody.rulesets`."""
    residual: int
    """Index into `OutcomeBody.residuals`."""
    slots: tuple[bytes | None, ...]
    """Values of the key fields, in the order of `RuleTable.slots`; None where the event lacks the field."""
    tail: bytes
    """The alert's JSON after the rule, without the outer braces."""
    text: bytes
    """The log line, cut at 1,256 bytes, for the `previous_output` of composites."""
    descriptions: tuple[tuple[int, bytes], ...] = ()
    """(rule, JSON string) for each rule of the residual whose description names fields of the event."""


class Lending(msgspec.Struct, frozen=True, array_like=True):
    """An event whose decoder accumulates: it may lack fields that events before it had."""

    offset: int
    at_ms: int
    ruleset: int
    """Index into `OutcomeBody.rulesets`."""
    key: bytes
    """Names the transaction."""
    fields: dict[str, bytes]
    """What it can lend."""
    location: str
    text: bytes


class Lent(msgspec.Struct, frozen=True, array_like=True):
    """Fields that an event gets from those before it.

    Packed in the `facts` of a line of `derived/accumulate/<agent>`: the event once more, for one ruleset.
    """

    ruleset: str
    """Its name."""
    fields: dict[str, bytes]


class Dropped(msgspec.Struct, frozen=True, array_like=True):
    """A line that was not evaluated."""

    offset: int
    reason: str
    """"poison", "malformed"."""
    line: bytes = b""
    """The text of the line; words about it when it has none that can be read."""
    packed: bytes = b""
    """msgpack of the whole `LogLine`, with its event time by the manager's clock: all that it takes to send it again."""


ResidualNode = tuple[int, int, int, int]
"""(op, rule, yes, no). Ask whether `rule` holds and go on at node `yes` or `no`:

    0 FINAL   no question: the result is this rule, reached below rule `yes`; rule -1: no rule
    1 WINDOW  did enough events come before?
    2 FTS     is the event's first-time-seen key new?
    3 DIFF    is the log another than the last one of this rule and host?

Rules are indexes into the rule table, nodes into the residual; node 0 is where to start."""

FINAL, WINDOW, FTS, DIFF = range(4)

Residual = tuple[ResidualNode, ...]


class OutcomeBody(msgspec.Struct, frozen=True, array_like=True):
    """What the lane does for one batch."""

    rulesets: tuple[str, ...]
    """Content hashes: the names of the rule tables that the indexes below belong to."""
    residuals: tuple[Residual, ...]
    events: tuple[EventOut, ...]
    facts: tuple[tuple[int, int, bytes], ...] = ()
    """(offset, event time, packed `FileFact`)."""
    dropped: tuple[Dropped, ...] = ()
    lending: tuple[Lending, ...] = ()
    digests: tuple[bytes, ...] = ()
    """For each ruleset that drops repeated logs, 16 bytes a line (hids.core.correlate.repeats); else empty."""
    suspended: tuple[str, ...] = ()
    """Rules and decoders whose pattern ran out of steps too often, in words (hids.core.rules.suspended)."""
    judged: int = 0
    """Lines that the rules have seen, as counted where they were seen. With the facts and what was dropped they must
    make up the batch: the ledger compares."""
    canary: bytes = b""
    """The last line of the batch that looks like an agent's canary, now that the rules have seen it."""
    scans: tuple[tuple[int, bytes], ...] = ()
    """(event time, line) of what came of policies."""
    findings: tuple[tuple[int, bytes], ...] = ()
    """(event time, text) of lines of rootcheck, which the rules have seen as well."""


class Outcome(msgspec.Struct, frozen=True, tag="outcome"):
    """worker -> main -> lane. Main reads the head and leaves the body alone."""

    source: SourceId
    agent: Agent
    epoch: int
    first_seq: int
    count: int
    chain: bytes
    digest: bytes
    """First 16 bytes of SHA-256 over the batch's data: recognises it in another epoch."""
    worker: int
    body: bytes
    """msgpack of `OutcomeBody`."""


FromWorker = Outcome | Pulse
