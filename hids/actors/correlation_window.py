"""CorrelationWindow: outcomes in, alerts and changed state out.

    main --Outcome|Hole|Notice--> correlation window --Applied--> syscheck store --Applied--> ledger

State    windows in memory; all that a batch touches leaves with it and is committed by the ledger.
Order    per source by sequence; what comes too early is parked, what comes again is refused.
A bug    ends the lane's process: the next lane loads the committed state and main sends again.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from typing import Literal, NamedTuple

import msgspec

from hids.actors.stage import Control, LoopActor, Mailbox
from hids.core.correlate.accumulate import Accumulator
from hids.core.correlate.alert import compose
from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import FIRST_SEEN_DAYS, IGNORED_DAYS, Correlator
from hids.core.correlate.repeats import Repeats
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.sequence import Sequencer
from hids.core.correlate.windows import WindowKey, Windows
from hids.messages import (
    Agent,
    Applied,
    Dropped,
    EventOut,
    Hole,
    Lending,
    Lent,
    LogLine,
    Notice,
    Outcome,
    OutcomeBody,
    Progress,
    RuleRow,
    RuleTable,
    SourceId,
)
from hids.ports import Clock, Emit, Mark, NoMark

_body_decoder = msgspec.msgpack.Decoder(OutcomeBody)
_encode = msgspec.msgpack.Encoder().encode


APPLIED_KEPT = 4_096
"""Digests of the last batches, for those whose group is not yet committed."""


class Settled(Control):
    """ledger -> correlation window: the state of these windows is on disk."""

    def __init__(self, state: Mapping[WindowKey, tuple[bytes, int]]) -> None:
        self.state = state


class Recalled(NamedTuple):
    """What the ledger remembers when the lane starts."""

    progress: dict[str, Progress]
    fired: dict[str, int]
    next_alert: int
    notices: dict[str, int]
    """Highest committed notice by boot."""


class _Work:
    """What becomes of one outcome."""

    def __init__(self, outcome: Outcome, body: OutcomeBody, tables: list[RuleTable], now_ms: int) -> None:
        self.outcome = outcome
        self.body = body
        self.tables = tables
        self.now_ms = now_ms
        self.left_out: set[tuple[int, int]] = set()
        """(offset, ruleset) of events that do not reach the rules."""
        self.alerts: list[bytes] = []
        self.turns: Counter[int] = Counter()
        """Alerts so far by offset."""
        self.fired: dict[str, int] = {}
        self.lines: list[tuple[Literal["accumulate"], LogLine]] = []
        self.counts: Counter[str] = Counter(evaluated=body.judged + len(body.facts))


class CorrelationWindow(LoopActor):
    """Apply outcomes one after another."""

    def __init__(
        self,
        mailbox: Mailbox,
        recalled: Recalled,
        load_window: Callable[[WindowKey], bytes | None],
        table_of: Callable[[str], RuleTable],
        knows: Callable[[str, bytes, int], bool],
        clock: Clock,
        emit: Emit[Applied],
        *,
        log_level: int,
        budget_bytes: int,
        first_seen_days: int = FIRST_SEEN_DAYS,
        ignored_days: int = IGNORED_DAYS,
        mark: Mark | None = None,
    ) -> None:
        super().__init__(mailbox)
        self._sequencer = Sequencer(recalled.progress)
        self._fired = dict(recalled.fired)
        self._number = recalled.next_alert
        self._notices = dict(recalled.notices)
        self._windows = Windows(load_window, budget_bytes)
        self._cells = Cells(load_window)
        self._repeats = Repeats(self._cells)
        self._accumulator = Accumulator(self._cells)
        self._correlator = Correlator(
            self._windows, self._cells, first_seen_days=first_seen_days, ignored_days=ignored_days
        )
        self._table_of = table_of
        self._knows = knows
        self._applied: dict[tuple[str, bytes], int] = {}
        """(source, digest) -> epoch."""
        self._clock = clock
        self._emit = emit
        self._log_level = log_level
        self._mark = mark or NoMark()

    def on_receive(self, message: Outcome | Hole | Notice | Settled) -> None:
        """Apply one message, and what was parked behind it."""
        match message:
            case Outcome():
                ready = self._sequencer.offer(message)
            case Hole():
                after = self._sequencer.skip(message)
                ready = after or []
                if after is not None:
                    self._emit(_hole(message, self._clock.now_ms()))
            case Notice():
                ready = []
                self._notice(message)
            case Settled():
                ready = []
                self._windows.committed(message.state)
                self._cells.committed(message.state)
        for outcome in ready:
            self._emit(self._apply(outcome))

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {
            "windows": len(self._windows),
            "window_bytes": self._windows.bytes_held,
            "spilled": self._windows.spilled,
            "cells": len(self._cells),
            "cell_bytes": self._cells.bytes_held,
            "parked": self._sequencer.parked,
            "repeated": self._sequencer.repeated,
        }

    def _notice(self, notice: Notice) -> None:
        if notice.number <= self._notices.get(notice.boot, 0):
            return
        self._notices[notice.boot] = notice.number
        self._emit(
            Applied(
                source=_derived("agent", notice.agent),
                agent=notice.agent,
                lines=(("agent", _agent_line(notice.text, notice.at_ms)),),
                notice=notice.number,
            )
        )

    def _apply(self, outcome: Outcome) -> Applied:
        progress = Progress(epoch=outcome.epoch, seq=outcome.first_seq + outcome.count - 1, chain=outcome.chain)
        if self._is_known(outcome):
            return Applied(
                source=outcome.source,
                agent=outcome.agent,
                progress=progress,
                first=outcome.first_seq,
                counts={"known": outcome.count},
            )
        body = _body_decoder.decode(outcome.body)
        work = _Work(outcome, body, [self._table_of(name) for name in body.rulesets], self._clock.now_ms())
        self._mark.begin(outcome.source, outcome.epoch)
        self._leave_out(work)
        for event in body.events:
            if (event.offset, event.ruleset) not in work.left_out:
                self._mark.at(outcome.first_seq + event.offset)
                self._judge(work, event)
        self._mark.done()
        work.counts.update(f"dropped:{dropped.reason}" for dropped in body.dropped)
        work.counts["alerts"] = len(work.alerts)
        # A batch that is no batch is one letter, at its first line.
        letters = [dropped for dropped in body.dropped if dropped.line or dropped.packed]
        return Applied(
            source=outcome.source,
            agent=outcome.agent,
            progress=progress,
            first=outcome.first_seq,
            digest=outcome.digest,
            canary=body.canary,
            alerts=tuple(work.alerts),
            state=self._windows.take_touched(self._clock.monotonic_s()) | self._cells.take_touched(),
            fired=work.fired,
            facts=body.facts,
            lines=(*work.lines, *_words_about(outcome, letters, work.now_ms)),
            dead=tuple((outcome.epoch, outcome.first_seq + letter.offset, letter) for letter in letters),
            counts={what: n for what, n in work.counts.items() if n},
        )

    def _leave_out(self, work: "_Work") -> None:
        """Repeated logs are no events; those that are lent fields come once more, with them."""
        for ruleset, digests in enumerate(work.body.digests):
            if digests:
                dropped = self._repeats.offsets(work.tables[ruleset].name, digests, work.now_ms)
                work.left_out.update((offset, ruleset) for offset in dropped)
                work.counts["repeated"] += len(dropped)
        for lending in work.body.lending:
            name = work.tables[lending.ruleset].name
            if (lending.offset, lending.ruleset) in work.left_out:
                continue
            self._mark.at(work.outcome.first_seq + lending.offset)
            fields = self._accumulator.lend(name, lending.key, lending.fields, lending.at_ms)
            if fields:
                work.left_out.add((lending.offset, lending.ruleset))
                work.lines.append(("accumulate", _lent_line(lending, Lent(name, fields))))

    def _judge(self, work: "_Work", event: EventOut) -> None:
        """Decide about one event; write its alert."""
        table = work.tables[event.ruleset]
        residual = work.body.residuals[event.residual]
        decision = self._correlator.decide(table, residual, event, work.outcome.agent.id, work.now_ms)
        work.counts["late"] += decision.late
        if decision.rule == NO_RULE:
            return
        counted = table.rules[decision.result].identity
        self._fired[counted] = work.fired[counted] = self._fired.get(counted, 0) + 1
        row = table.rules[decision.rule]
        if decision.silent:
            work.counts["ignored"] += 1
        elif self._is_told(row):
            alert = compose(
                work.outcome,
                event,
                row,
                ruleset=table.name,
                turn=work.turns[event.offset],
                number=self._number,
                fired=self._fired.get(row.identity, 0),
                timestamp=timestamp(event.at_ms),
                previous=decision.previous,
                previous_log=decision.previous_log,
                description=dict(event.descriptions).get(decision.rule, b'""'),
            )
            work.alerts.append(alert)
            work.turns[event.offset] += 1
            self._number += 1

    def _is_known(self, outcome: Outcome) -> bool:
        """A batch of an epoch that was given up comes again under a new number: it is counted, not evaluated.

        Equal bytes in the same epoch are other lines: a program that says the same many times in one millisecond.
        """
        mark, epoch = (outcome.source, outcome.digest), outcome.epoch
        if self._applied.get(mark, epoch) < epoch or self._knows(*mark, epoch):
            return True
        self._applied[mark] = epoch
        if len(self._applied) > APPLIED_KEPT:
            del self._applied[next(iter(self._applied))]
        return False

    def _is_told(self, row: RuleRow) -> bool:
        return row.level > 0 and row.log >= 0 and (row.log > 0 or row.level >= self._log_level)


def timestamp(at_ms: int) -> str:
    """Event time as Wazuh writes it, `2026-11-24T03:21:43.123+0000`, in the manager's zone."""
    seconds, milliseconds = divmod(at_ms, 1000)
    moment, zone = _second(seconds)
    return f"{moment}.{milliseconds:03d}{zone}"


@lru_cache(maxsize=64)
def _second(seconds: int) -> tuple[str, str]:
    """A second's time and zone; alerts come many a second."""
    local = time.localtime(seconds)
    return time.strftime("%Y-%m-%dT%H:%M:%S", local), time.strftime("%z", local)


def _hole(hole: Hole, now_ms: int) -> Applied:
    text = f"lines lost: {hole.first} to {hole.last} of epoch {hole.epoch}: {hole.reason}"
    return Applied(
        source=hole.source,
        agent=hole.agent,
        progress=Progress(epoch=hole.epoch, seq=hole.last, chain=hole.chain),
        first=hole.first,
        hole=hole,
        lines=(("agent", _agent_line(text, now_ms)),),
        counts={"lost": hole.last - hole.first + 1},
    )


def _agent_line(text: str, at_ms: int) -> LogLine:
    return LogLine(
        location="hids-manager", text=text.encode(errors="replace"), at_ms=at_ms, read_ms=at_ms, kind="agent"
    )


def _words_about(
    outcome: Outcome, letters: Iterable[Dropped], now_ms: int
) -> Iterator[tuple[Literal["agent"], LogLine]]:
    """A line for the rules about each dead letter; none about those that are such a line themselves."""
    if outcome.source.startswith("derived/agent/"):
        return
    for letter in letters:
        seq = outcome.first_seq + letter.offset
        reason = "it ended a process of the manager twice" if letter.reason == "poison" else "its batch is malformed"
        yield "agent", _agent_line(f"line set aside: {seq} of epoch {outcome.epoch}: {reason}", now_ms)


def _lent_line(lending: Lending, lent: Lent) -> LogLine:
    return LogLine(lending.location, lending.text, lending.at_ms, lending.at_ms, facts=_encode(lent))


def _derived(kind: str, agent: Agent) -> SourceId:
    return SourceId(f"derived/{kind}/{agent.id}")
