"""CorrelationWindow: outcomes in, alerts and changed state out.

    main --Outcome|Hole|Notice|ReadThrough--> correlation window --Applied--> syscheck store --Applied--> ledger

State    windows in memory; all that a batch touches leaves with it and is committed by the ledger.
Order    per source by sequence; what comes too early is parked, what comes again is refused.
A bug    ends the lane's process: the next lane loads the committed state and main sends again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal, NamedTuple

import msgspec

from hids.actors.stage import Control, LoopActor, Mailbox
from hids.actors.telling import Teller, Told, timestamp
from hids.core.correlate.accumulate import Accumulator
from hids.core.correlate.alert import alert_id
from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import FIRST_SEEN_DAYS, IGNORED_DAYS, LATE_MAX_MS, Correlator
from hids.core.correlate.expectations import Sender
from hids.core.correlate.incidents import Incidents
from hids.core.correlate.repeats import Repeats
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.sequence import Sequencer
from hids.core.correlate.windows import WindowKey, Windows
from hids.messages.evaluation import Dropped, EventOut, Lending, Lent, Outcome, OutcomeBody
from hids.messages.lane import Applied, DerivedKind, Hole, Notice, Progress, ReadThrough
from hids.messages.lines import LogLine
from hids.messages.rule_table import RuleTable
from hids.messages.terms import Agent, SourceId
from hids.ports import Clock, Emit, Mark, NoMark

_body_decoder = msgspec.msgpack.Decoder(OutcomeBody)
_encode = msgspec.msgpack.Encoder().encode


_rulesets_decoder = msgspec.msgpack.Decoder(tuple[str, ...])

_RULESETS = ("rulesets", b"")
"""Cell with the hashes of the rule tables that the last batch used: time may be up before the next one comes."""

_FOR_GOOD_MS = 36_500 * 24 * 3600 * 1000

HOUR_MS = 3600 * 1000

SETTLE_MS = 5_000
"""A report counts for what was logged so long before it: lines that we derive from an agent's need a moment more."""

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


class _Work(Told):
    """What becomes of one outcome."""

    def __init__(self, outcome: Outcome, body: OutcomeBody, tables: list[RuleTable], now_ms: int) -> None:
        super().__init__()
        self.outcome = outcome
        self.sender = Sender(outcome.source, outcome.agent, outcome.epoch, outcome.first_seq)
        self.body = body
        self.tables = tables
        self.now_ms = now_ms
        self.left_out: set[tuple[int, int]] = set()
        """(offset, ruleset) of events that do not reach the rules."""
        self.turns: dict[int, int] = {}
        """Alerts so far by offset."""
        self.lines: list[tuple[DerivedKind, LogLine]] = []
        self.latest_late_ms = 0
        """Newest event time among those too late to be counted."""
        self.counts["evaluated"] = body.judged + len(body.facts)


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
        tells_all: bool = False,
        mark: Mark | None = None,
    ) -> None:
        super().__init__(mailbox)
        self._sequencer = Sequencer(recalled.progress)
        self._notices = dict(recalled.notices)
        self._windows = Windows(load_window, budget_bytes)
        self._cells = Cells(load_window)
        self._repeats = Repeats(self._cells)
        self._accumulator = Accumulator(self._cells)
        self._correlator = Correlator(
            self._windows,
            self._cells,
            first_seen_days=first_seen_days,
            ignored_days=ignored_days,
            tells_all=tells_all,
        )
        self._tells_all = tells_all
        self._teller = Teller(Incidents(self._cells), recalled.fired, recalled.next_alert, log_level)
        self._rulesets = _rulesets_decoder.decode(self._cells.get(_RULESETS) or _encode(()))
        self._through: dict[str, ReadThrough] = {}
        """The last report of each source, if it is not yet dealt with."""
        self._table_of = table_of
        self._knows = knows
        self._applied: dict[tuple[str, bytes], int] = {}
        """(source, digest) -> epoch."""
        self._clock = clock
        self._emit = emit
        self._mark = mark or NoMark()

    def on_receive(self, message: Outcome | Hole | Notice | ReadThrough | Settled) -> None:
        """Apply one message, and what was parked behind it."""
        match message:
            case Outcome():
                ready = self._sequencer.offer(message)
            case ReadThrough():
                ready = []
                self._through[message.source] = message
                self._look_through(message.source)
            case Hole():
                ready = self._sequencer.skip(message)
            case Notice():
                ready = []
                self._notice(message)
            case Settled():
                ready = []
                self._windows.committed(message.state)
                self._cells.committed(message.state)
        for each in ready:
            if isinstance(each, Hole):
                self._emit(_hole(each, self._clock.now_ms()))
            else:
                self._emit(self._apply(each))
                self._look_through(each.source)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {
            "windows": len(self._windows),
            "window_bytes": self._windows.bytes_held,
            "spilled": self._windows.spilled,
            "cells": len(self._cells),
            "cell_bytes": self._cells.bytes_held,
            "unknown": self._correlator.expectations.unknown,
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
        self._note_rulesets(body.rulesets)
        self._mark.begin(outcome.source, outcome.epoch)
        self._leave_out(work)
        for text in body.suspended:
            work.lines.append(("agent", _agent_line(f"rule suspended: {text}", work.now_ms)))
        for event in body.events:
            if not work.left_out or (event.offset, event.ruleset) not in work.left_out:
                self._mark.at(outcome.first_seq + event.offset)
                self._judge(work, event)
        self._mark.done()
        work.counts.update(f"dropped:{dropped.reason}" for dropped in body.dropped)
        work.counts["alerts"] = len(work.alerts)
        self._tell_late(work)
        work.counts["suspended"] = len(body.suspended)
        # A batch that is no batch is one letter, at its first line.
        letters = [dropped for dropped in body.dropped if dropped.line or dropped.packed]
        return Applied(
            source=outcome.source,
            agent=outcome.agent,
            progress=progress,
            first=outcome.first_seq,
            digest=outcome.digest,
            canary=body.canary,
            scans=body.scans,
            alerts=tuple(work.alerts),
            state=self._take_state(),
            fired=work.fired,
            facts=body.facts,
            findings=body.findings,
            lines=(*work.lines, *_words_about(outcome, letters, work.now_ms)),
            dead=tuple((outcome.epoch, outcome.first_seq + letter.offset, letter) for letter in letters),
            counts={what: n for what, n in work.counts.items() if n},
        )

    def _take_state(self) -> dict[WindowKey, tuple[bytes, int]]:
        return self._windows.take_touched(self._clock.monotonic_s()) | self._cells.take_touched()

    def _note_rulesets(self, rulesets: tuple[str, ...]) -> None:
        if rulesets != self._rulesets:
            self._rulesets = rulesets
            self._cells.put(_RULESETS, _encode(rulesets), self._clock.now_ms(), _FOR_GOOD_MS)

    def _tell_late(self, work: "_Work") -> None:
        """One word an agent and hour about events that came too late to be counted."""
        if not work.counts["late"]:
            return
        agent, hour = work.outcome.agent, work.now_ms // HOUR_MS
        where = ("late", agent.id.encode())
        if self._cells.get(where) != _encode(hour):
            self._cells.put(where, _encode(hour), work.now_ms)
            text = (
                f"lines late: from {timestamp(work.latest_late_ms)} or before, more than {LATE_MAX_MS // HOUR_MS} h: "
                "counted nowhere"
            )
            work.lines.append(("agent", _agent_line(text, work.now_ms)))

    # ---- what did not come --------------------------------------------------------------------------------------

    def _look_through(self, source: str) -> None:
        """When all is applied that a report is about, see whose time is up."""
        report, progress = self._through.get(source), self._sequencer.progress(source)
        if report is None:
            return
        reached = (0, 0) if progress is None else (progress.epoch, progress.seq)
        if reached < (report.epoch, report.seq):
            return
        del self._through[source]
        told = Told()
        for table in filter(None, map(self._table_if_there, self._rulesets)):
            self._miss(told, table, report)
        state = self._take_state()
        if state:
            told.counts["alerts"] = len(told.alerts)
            self._emit(
                Applied(
                    source=report.source,
                    agent=report.agent,
                    alerts=tuple(told.alerts),
                    state=state,
                    fired=told.fired,
                    counts={what: n for what, n in told.counts.items() if n},
                )
            )

    def _miss(self, told: Told, table: RuleTable, report: ReadThrough) -> None:
        """Alert for all of a ruleset that has not come in time."""
        for rule, missed in self._correlator.due(table, report.agent.id, report.at_ms - SETTLE_MS):
            origin, identity = missed.origin, table.rules[rule].identity
            began = self._table_if_there(origin.ruleset)
            same = _place_of(identity, began)
            if began is None or same == NO_RULE:
                continue
            decision, event = self._correlator.miss(began, same, missed)
            name = f"{alert_id(origin.sender, event, 0)}-{began.rules[same].id}"
            self._teller.conclude(told, origin.sender, began, event, decision, name=name)

    def _table_if_there(self, name: str) -> RuleTable | None:
        """A table that no batch has named lately may be gone."""
        try:
            return self._table_of(name)
        except LookupError:
            return None

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
        """Decide about one event; write its alerts."""
        table, sender = work.tables[event.ruleset], work.sender
        residual = work.body.residuals[event.residual]
        decision = self._correlator.decide(table, residual, event, sender.agent.id, work.now_ms, sender)
        if decision.late:
            work.counts["late"] += 1
            work.latest_late_ms = max(work.latest_late_ms, event.at_ms)
        if decision.rule == NO_RULE:
            return
        spoken = False
        for each in (decision, *decision.also):
            turn = work.turns.get(event.offset, 0)
            name = alert_id(sender, event, turn)
            wanted = self._tells_all or not spoken
            if self._teller.conclude(work, sender, table, event, each, name=name, wanted=wanted):
                spoken = True
                work.turns[event.offset] = turn + 1

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


def _place_of(identity: str, table: RuleTable | None) -> int:
    rows = () if table is None else table.rules
    return next((n for n, row in enumerate(rows) if row.identity == identity), NO_RULE)


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
