"""RuleShard: recognised lines in, one outcome out.

    decoder --Recognition--> rule shard --Outcome--> main

State    none that a restart loses; plans and their caches are rebuilt.
A bug    ends the worker's process; main sends the job to another.
"""

import hashlib
from collections.abc import Iterator, Sequence

import msgspec

from hids.actors.decoder import MARK_EVERY, Mark, Recognition, event_time, is_derived, is_fact, is_lent
from hids.actors.stage import LoopActor, Mailbox
from hids.core.correlate.accumulate import own_fields, transaction
from hids.core.correlate.repeats import NO_LOG, log_digest
from hids.core.rules.plan import Plan, Recognised
from hids.core.rules.profile import Profile
from hids.core.rules.render import tail
from hids.core.wire.canary import MAX_BYTES, PREFIX
from hids.messages import EventOut, Lending, LogLine, Outcome, OutcomeBody, Residual
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
        self._accumulating = frozenset(n for n, plan in enumerate(self._plans) if plan.ruleset.decoders.accumulates)

    def on_receive(self, message: Recognition) -> None:
        """One recognition in is one outcome out."""
        job, batch = message.job, message.job.batch
        residuals: dict[Residual, int] = {}
        events: list[EventOut] = []
        for ruleset in range(len(self._plans)):
            events += self._judge(message, ruleset, residuals)
        if len(self._plans) > 1:
            events.sort(key=lambda event: event.offset)
        self._sample(message)
        facts = tuple(
            (offset, event_time(job, line), line.text)
            for offset, line in enumerate(message.lines)
            if is_fact(job, line) and offset not in job.skip
        )
        body = OutcomeBody(
            rulesets=tuple(plan.hash for plan in self._plans),
            residuals=tuple(residuals),
            events=tuple(events),
            facts=facts,
            dropped=message.dropped,
            lending=tuple(
                lending for ruleset in range(len(self._plans)) for lending in self._lending(message, ruleset)
            ),
            digests=tuple(self._digests(message, ruleset) for ruleset in range(len(self._plans))),
            judged=_judged(message.recognised),
            canary=_canary(message.lines),
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
        if self._profile is None or not message.recognised:
            return
        host = job.agent.name.encode()
        for offset in self._profile.due(len(message.lines)):
            line = message.lines[offset]
            if offset not in job.skip and not is_fact(job, line):
                self._mark(message.number, offset)
                self._profile.look(line, host)

    def _judge(self, message: Recognition, ruleset: int, residuals: dict[Residual, int]) -> list[EventOut]:
        job, plan = message.job, self._plans[ruleset]
        if not message.recognised:
            return []
        judge, mark, careful = plan.judge, self._mark, job.careful
        events: list[EventOut] = []
        for offset, recognised in enumerate(message.recognised[ruleset]):
            if careful or not offset & MARK_EVERY:
                mark(message.number, offset)
            if recognised is None:
                continue
            verdict = judge(recognised)
            if verdict is None:
                continue
            line = message.lines[offset]
            events.append(
                EventOut(
                    offset=offset,
                    at_ms=event_time(job, line),
                    ruleset=ruleset,
                    residual=residuals.setdefault(verdict.residual, len(residuals)),
                    slots=verdict.slots,
                    tail=tail(verdict.event, line, job.agent, self._manager, full_log=verdict.full_log),
                    text=verdict.event.full_log[:TEXT_BYTES],
                    descriptions=verdict.descriptions,
                )
            )
        return events

    def _lending(self, message: Recognition, ruleset: int) -> Iterator[Lending]:
        """Events that may lack fields of those before them."""
        job, plan = message.job, self._plans[ruleset]
        if ruleset not in self._accumulating or not message.recognised or is_lent(job):
            return
        for offset, recognised in enumerate(message.recognised[ruleset]):
            if recognised is None or (key := transaction(recognised.event)) is None:
                continue
            line = message.lines[offset]
            fields = own_fields(recognised.event.fields, plan.ruleset.dialect)
            yield Lending(offset, event_time(job, line), ruleset, key, fields, line.location, line.text)

    def _digests(self, message: Recognition, ruleset: int) -> bytes:
        """What the lane needs to drop repeated logs; only OSSEC does, and only with correlation as it was."""
        table = self._plans[ruleset].table
        if (
            table.correlation != "compat"
            or table.dialect != "ossec"
            or is_derived(message.job)
            or not message.recognised
        ):
            return b""
        return b"".join(
            NO_LOG
            if recognised is None or recognised.event.decoder_type != "syslog"
            else log_digest(recognised.event.full_log)
            for recognised in message.recognised[ruleset]
        )


def _canary(lines: Sequence[LogLine]) -> bytes:
    """The last line that says it is a canary; main looks at its signature."""
    for line in reversed(lines):
        if line.text.startswith(PREFIX):
            return line.text[:MAX_BYTES]
    return b""


def _judged(recognised: tuple[tuple[Recognised | None, ...], ...]) -> int:
    """Lines that at least one ruleset has judged."""
    if len(recognised) == 1:
        return len(recognised[0]) - recognised[0].count(None)
    return sum(any(one is not None for one in line) for line in zip(*recognised, strict=True))
