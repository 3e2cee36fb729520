"""RuleShard: recognised lines in, one outcome out.

    decoder --Recognition--> rule shard --Outcome--> main

State    none that a restart loses; plans and their caches are rebuilt.
A bug    ends the worker's process; main sends the job to another.
"""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from hids.actors.decoder import MARK_EVERY, Judged, Mark, Recognition, event_time, is_derived, is_fact, is_lent
from hids.actors.stage import LoopActor, Mailbox
from hids.core.correlate.accumulate import own_fields, transaction
from hids.core.correlate.repeats import NO_LOG, log_digest
from hids.core.decode.event import Event
from hids.core.rules.plan import Plan
from hids.core.rules.profile import Profile
from hids.core.rules.render import sender_members, tail
from hids.core.rules.suspended import Suspensions
from hids.core.wire.canary import MAX_BYTES, PREFIX
from hids.messages.evaluation import EventOut, Lending, Outcome, OutcomeBody, Residual
from hids.messages.lines import LogLine
from hids.ports import Emit

TEXT_BYTES = 1_256
"""What a composite's alert shows of a past log; OSSEC cuts there too (rule language 6.1)."""

_encode = msgspec.msgpack.Encoder().encode


class RuleShard(LoopActor):
    """Judge each line by every ruleset, and render what alerts may need."""

    def __init__(
        self,
        mailbox: Mailbox,
        plans: Sequence[Plan],
        mark: Mark,
        emit: Emit[Outcome],
        *,
        worker: int,
        manager: str,
        profile: Profile | None = None,
    ) -> None:
        super().__init__(mailbox)
        self._plans = tuple(plans)
        self._mark = mark
        self._emit = emit
        self._worker = worker
        self._manager = manager
        self._profile = profile
        self._suspensions = Suspensions(tuple(plan.ruleset for plan in plans))
        self._accumulating = frozenset(n for n, plan in enumerate(self._plans) if plan.ruleset.decoders.accumulates)

    def on_receive(self, message: Recognition) -> None:
        """One recognition in is one outcome out."""
        job, batch = message.job, message.job.batch
        residuals = _Numbered()
        events: list[EventOut] = []
        for ruleset in range(len(self._plans)):
            events += self._judge(message, ruleset, residuals)
        if len(self._plans) > 1:
            events.sort(key=lambda event: event.offset)
        self._sample(message)
        facts = tuple(
            (offset, event_time(job, line), line.text)
            for offset, line in enumerate(message.lines)
            if line.kind == "syscheck" and is_fact(job, line) and offset not in job.skip
        )
        body = OutcomeBody(
            rulesets=tuple(plan.hash for plan in self._plans),
            residuals=tuple(residuals.each),
            events=tuple(events),
            facts=facts,
            dropped=message.dropped,
            lending=tuple(
                lending for ruleset in range(len(self._plans)) for lending in self._lending(message, ruleset)
            ),
            digests=tuple(self._digests(message, ruleset) for ruleset in range(len(self._plans))),
            suspended=self._suspensions.news(),
            judged=_judged(message.events),
            canary=_canary(message.lines),
            scans=tuple(
                (event_time(job, line), line.text)
                for offset, line in enumerate(message.lines)
                if line.kind == "sca" and offset not in job.skip
            ),
            findings=tuple(
                (event_time(job, line), line.text)
                for offset, line in enumerate(message.lines)
                if line.kind == "rootcheck" and offset not in job.skip
            ),
        )
        self._emit(
            Outcome(
                source=job.source,
                agent=job.agent,
                epoch=batch.epoch,
                first_seq=batch.first_seq,
                count=batch.count,
                chain=batch.chain,
                digest=hashlib.sha256(batch.data).digest()[:16],
                worker=self._worker,
                body=_encode(body),
            )
        )

    def _sample(self, message: Recognition) -> None:
        """Have a look at one line in some hundred, for `hidsctl rules stats`."""
        job = message.job
        if self._profile is None or not message.events:
            return
        host = job.agent.name.encode()
        for offset in self._profile.due(len(message.lines)):
            line = message.lines[offset]
            if offset not in job.skip and not is_fact(job, line):
                self._mark(message.number, offset)
                self._profile.look(line, host)

    def _judge(self, message: Recognition, ruleset: int, residuals: "_Numbered") -> list[EventOut]:
        job, plan = message.job, self._plans[ruleset]
        if not message.events:
            return []
        judge, mark, careful = plan.judge, self._mark, job.careful
        told: list[EventOut] = []
        sender = sender_members(job.agent, self._manager)
        for offset, event in enumerate(message.events[ruleset]):
            if careful or not offset & MARK_EVERY:
                mark(message.number, offset)
            if not isinstance(event, Event):
                continue
            verdict = judge(event)
            if verdict is None:
                continue
            line = message.lines[offset]
            told.append(
                EventOut(
                    offset,
                    event_time(job, line),
                    ruleset,
                    residuals.number(verdict.residual),
                    verdict.slots,
                    tail(event, line, sender, full_log=verdict.full_log),
                    event.full_log[:TEXT_BYTES] if verdict.remembered else b"",
                    verdict.descriptions,
                )
            )
        return told

    def _lending(self, message: Recognition, ruleset: int) -> Iterator[Lending]:
        """Events that may lack fields of those before them."""
        job, plan = message.job, self._plans[ruleset]
        if ruleset not in self._accumulating or not message.events or is_lent(job):
            return
        for offset, event in enumerate(message.events[ruleset]):
            if not isinstance(event, Event) or (key := transaction(event)) is None:
                continue
            line = message.lines[offset]
            fields = own_fields(event.fields, plan.ruleset.dialect)
            yield Lending(offset, event_time(job, line), ruleset, key, fields, line.location, line.text)

    def _digests(self, message: Recognition, ruleset: int) -> bytes:
        """What the lane needs to drop repeated logs; only OSSEC does, and only with correlation as it was."""
        table = self._plans[ruleset].table
        if table.correlation != "compat" or table.dialect != "ossec" or is_derived(message.job) or not message.events:
            return b""
        return b"".join(
            log_digest(event.full_log) if isinstance(event, Event) and event.decoder_type == "syslog" else NO_LOG
            for event in message.events[ruleset]
        )


class _Numbered:
    """The residuals of one batch. A plan has one object for each, so these are told apart without looking inside."""

    def __init__(self) -> None:
        self.each: list[Residual] = []
        self._numbers: dict[int, int] = {}

    def number(self, residual: Residual) -> int:
        """Place in `each`."""
        number = self._numbers.get(id(residual))
        if number is None:
            number = self._numbers[id(residual)] = len(self.each)
            self.each.append(residual)
        return number


def _canary(lines: Sequence[LogLine]) -> bytes:
    """The last line that says it is a canary; main looks at its signature."""
    for line in reversed(lines):
        if line.text.startswith(PREFIX):
            return line.text[:MAX_BYTES]
    return b""


def _judged(events: tuple[tuple[Judged, ...], ...]) -> int:
    """Lines that at least one ruleset has judged."""
    if len(events) == 1:
        return len(events[0]) - events[0].count(None)
    return sum(any(one is not None for one in line) for line in zip(*events, strict=True))
