"""Decoder: jobs in, recognised lines out.

    main --Job--> decoder --Recognition--> rule shard --Outcome--> main

State    none that a restart loses; plans are read-only.
Full     main gives a worker one job at a time and one to wait, or small ones of LINES_A_WORKER lines together.
Bad line a batch that cannot be unpacked goes on with every line dropped as "malformed".
A bug    ends the worker's process; main sends the job to another.
"""

import time
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache

import msgspec

from hids.actors.stage import LoopActor, Mailbox
from hids.core.decode.event import Event, Origin
from hids.core.rules.plan import Plan
from hids.core.wire.lines import unpack
from hids.errors import RemoteProtocolError
from hids.messages.evaluation import Dropped, Job, Lent
from hids.messages.lines import LogLine
from hids.messages.terms import MANAGER, Agent
from hids.ports import Emit

Mark = Callable[[int, int], None]
"""Notes in shared memory what is being worked on: (number of the job, offset of the line)."""

AHEAD_MAX_MS = 5_000
"""Event times further than this after the arrival are cut: no agent's clock reaches into the future."""

_lent_decoder = msgspec.msgpack.Decoder(Lent)
_encode = msgspec.msgpack.Encoder().encode

MARK_EVERY = 31
"""Offsets that have none of these bits are marked, unless every line is to be."""


class Quiet(Enum):
    """Stands for an event of a log that came before, and is known to matter to nobody."""

    QUIET = "quiet"


Judged = Event | Quiet | None


class Recognition(msgspec.Struct, frozen=True):
    """decoder -> rule shard."""

    job: Job
    number: int
    """Counts this worker's jobs, from 1."""
    lines: tuple[LogLine, ...]
    events: tuple[tuple[Judged, ...], ...]
    """For each ruleset, each line; None for what is no text or is set aside."""
    dropped: tuple[Dropped, ...]


class Decoder(LoopActor):
    """Unpack a batch and recognise each line: header, program class, pattern answers."""

    def __init__(self, mailbox: Mailbox, plans: Sequence[Plan], mark: Mark, emit: Emit[Recognition]) -> None:
        super().__init__(mailbox)
        self._plans = tuple(plans)
        self._mark = mark
        self._emit = emit
        self._number = 0

    def on_receive(self, message: Job) -> None:
        """One job in is one recognition out."""
        self._number += 1
        batch = message.batch
        try:
            lines = unpack(batch.data, batch.count)
        except RemoteProtocolError as error:
            dropped = tuple(
                Dropped(offset, "malformed", str(error).encode() if offset == 0 else b"")
                for offset in range(batch.count)
            )
            self._emit(Recognition(message, self._number, (), (), dropped))
            return
        lents = tuple(_lent_decoder.decode(line.facts) for line in lines) if is_lent(message) else ()
        if (lents or not is_derived(message)) and any(line.facts for line in lines):
            # They go into alerts unread, so only the manager may set them.
            lines = tuple(msgspec.structs.replace(line, facts=b"") for line in lines)
        skip = set(message.skip)
        self._emit(
            Recognition(
                job=message,
                number=self._number,
                lines=lines,
                events=tuple(self._recognise(plan, message, lines, lents, skip) for plan in self._plans),
                dropped=tuple(_poison(message, offset, lines[offset]) for offset in sorted(skip)),
            )
        )

    def _recognise(
        self, plan: Plan, job: Job, lines: Sequence[LogLine], lents: Sequence[Lent], skip: set[int]
    ) -> tuple[Judged, ...]:
        notice, mark, careful = plan.notice, self._mark, job.careful

        def wall(line: LogLine) -> int:
            return local_ms(event_time(job, line))

        origin = Origin(job.agent.name.encode(), agent_prefix(job.agent), wall)
        result: list[Judged] = []
        for offset, line in enumerate(lines):
            if careful or not offset & MARK_EVERY:
                mark(self._number, offset)
            if offset in skip or (line.kind == "syscheck" and is_fact(job, line)):
                result.append(None)  # facts are for the lane's syscheck store, not for the rules
            elif lents:
                result.append(_with_fields(plan, line, origin, lents[offset]))
            else:
                result.append(notice(line, origin) or Quiet.QUIET)
        return tuple(result)


def _with_fields(plan: Plan, line: LogLine, origin: Origin, lent: Lent) -> Event | None:
    """An event once more, with fields from those before it; None when they are of another ruleset."""
    if lent.ruleset != plan.name:
        return None
    event = plan.recognise(line, origin)
    event.given = lent.fields
    return event


def agent_prefix(agent: Agent) -> bytes | None:
    """What stands before the locations of an agent's lines, None for the manager's own."""
    return None if agent.id == MANAGER else f"({agent.name}) {agent.ip}".encode("utf-8", "surrogateescape")


def event_time(job: Job, line: LogLine) -> int:
    """The line's time by the manager's clock, milliseconds UTC; not before 1970, whatever clock the agent has."""
    at_ms, latest = line.at_ms + job.clock_offset_ms, job.received_ms + AHEAD_MAX_MS
    if 0 <= at_ms <= latest:
        return at_ms
    return max(0, min(at_ms, latest))


def local_ms(at_ms: int) -> int:
    """The time on the manager's wall then, as if that were UTC."""
    return at_ms + 1000 * _offset_s(at_ms // _QUARTER_MS)


_QUARTER_MS = 900_000
"""Zones change their offset at full quarters of an hour, if at all."""


@lru_cache(maxsize=64)
def _offset_s(quarter: int) -> int:
    return time.localtime(quarter * (_QUARTER_MS // 1000)).tm_gmtoff


def is_lent(job: Job) -> bool:
    """Whether the lines are events once more, with fields from those before them (`Lent`)."""
    return job.source.startswith("derived/accumulate/")


def is_derived(job: Job) -> bool:
    """Whether the manager made these lines itself. What comes again from the quarantine is still an agent's."""
    return job.source.startswith("derived/") and not job.source.startswith("derived/replay/")


def is_fact(job: Job, line: LogLine) -> bool:
    """Whether the line is a packed `FileFact` from an agent."""
    return line.kind == "syscheck" and not is_derived(job)


def _poison(job: Job, offset: int, line: LogLine) -> Dropped:
    """A line that ended a process twice, with all that it takes to try it again."""
    again = msgspec.structs.replace(line, at_ms=event_time(job, line))
    return Dropped(offset, "poison", line.text, _encode(again))
