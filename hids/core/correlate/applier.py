"""Applier: what becomes of an outcome, or of what did not come; the lane's thought, without its mailbox and clock.

Windows and cells are in memory; what is touched leaves with what is applied, and the ledger commits it.
"""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from hids.core.correlate.accumulate import Accumulator
from hids.core.correlate.alert import alert_id
from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import FIRST_SEEN_DAYS, IGNORED_DAYS, LATE_MAX_MS, Correlator
from hids.core.correlate.expectations import Sender
from hids.core.correlate.incidents import Incidents
from hids.core.correlate.reach import Reach
from hids.core.correlate.repeats import Repeats
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.telling import Teller, Told
from hids.core.correlate.windows import WindowKey, Windows
from hids.core.correlate.words import agent_line, lent_line, words_about
from hids.messages.evaluation import EventOut, Lent, Outcome, OutcomeBody
from hids.messages.lane import Applied, DerivedKind, Progress, ReadThrough
from hids.messages.lines import LogLine
from hids.messages.rule_table import RuleTable

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


class Applier:
    """Windows, cells, and what asks them. Outcomes of a source come in sequence, each once."""

    def __init__(
        self,
        load_window: Callable[[WindowKey], bytes | None],
        table_of: Callable[[str], RuleTable],
        knows: Callable[[str, bytes, int], bool],
        timestamp: Callable[[int], str],
        fired: Mapping[str, int],
        next_alert: int,
        sources: Iterable[str],
        *,
        log_level: int,
        budget_bytes: int,
        first_seen_days: int = FIRST_SEEN_DAYS,
        ignored_days: int = IGNORED_DAYS,
        tells_all: bool = False,
    ) -> None:
        """Begin with what the ledger has.

        Args:
            load_window: reads the committed state of a window or cell.
            table_of: a ruleset's table by its hash; LookupError when there is none.
            knows: whether a batch (source, digest) was committed in an epoch before this one.
            timestamp: writes an event time in the manager's zone.
            fired: rule identity -> times fired so far.
            next_alert: number of the next alert.
            sources: whose lines are committed.
            log_level: lowest level of a rule that is told.
            budget_bytes: what windows may hold in memory.
            first_seen_days: how long first-time-seen keys are remembered.
            ignored_days: how long what `<ignore>` writes down is.
            tells_all: an event may give several alerts.
        """
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
        self._timestamp = timestamp
        self._teller = Teller(Incidents(self._cells), fired, next_alert, log_level, timestamp)
        self._rulesets = _rulesets_decoder.decode(self._cells.get(_RULESETS) or _encode(()))
        self._reach = Reach(self._cells, (name for name in sources if not name.startswith("derived/")))
        self._table_of = table_of
        self._knows = knows
        self._applied: dict[tuple[str, bytes], int] = {}
        """(source, digest) -> epoch."""

    def apply(self, outcome: Outcome, now_ms: int, lane_s: float, at: Callable[[int], None]) -> Applied:
        """Apply the next outcome of its source.

        Args:
            outcome: what the worker made of a batch.
            now_ms: the clock's time.
            lane_s: seconds that the lane has run: what memory forgets goes by these.
            at: told each sequence before it is judged, so that one that ends the process is known.
        """
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
        work = _Work(outcome, body, [self._table_of(name) for name in body.rulesets], now_ms)
        self._note_rulesets(body.rulesets, now_ms)
        self._leave_out(work, at)
        for text in body.suspended:
            work.lines.append(("agent", agent_line(f"rule suspended: {text}", work.now_ms)))
        for event in body.events:
            if not work.left_out or (event.offset, event.ruleset) not in work.left_out:
                at(outcome.first_seq + event.offset)
                self._judge(work, event)
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
            state=self._take_state(lane_s),
            fired=work.fired,
            facts=body.facts,
            findings=body.findings,
            lines=(*work.lines, *words_about(outcome, letters, work.now_ms)),
            dead=tuple((outcome.epoch, outcome.first_seq + letter.offset, letter) for letter in letters),
            counts={what: n for what, n in work.counts.items() if n},
        )

    def missed(self, report: ReadThrough, now_ms: int, lane_s: float) -> Applied | None:
        """Alert for all that has not come in time, now that all is applied that the report is about."""
        told = Told()
        self._reach.report(report.source, report.at_ms, now_ms)
        fleet_ms = self._reach.through(now_ms)
        for table in filter(None, map(self._table_if_there, self._rulesets)):
            self._miss(told, table, report, fleet_ms)
        state = self._take_state(lane_s)
        if not state:
            return None
        told.counts["alerts"] = len(told.alerts)
        return Applied(
            source=report.source,
            agent=report.agent,
            alerts=tuple(told.alerts),
            state=state,
            fired=told.fired,
            counts={what: n for what, n in told.counts.items() if n},
        )

    def committed(self, state: Mapping[WindowKey, tuple[bytes, int]]) -> None:
        """The state of these windows is on disk."""
        self._windows.committed(state)
        self._cells.committed(state)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {
            "windows": len(self._windows),
            "window_bytes": self._windows.bytes_held,
            "spilled": self._windows.spilled,
            "cells": len(self._cells),
            "cell_bytes": self._cells.bytes_held,
            "unknown": self._correlator.expectations.unknown,
        }

    def _take_state(self, lane_s: float) -> dict[WindowKey, tuple[bytes, int]]:
        return self._windows.take_touched(lane_s) | self._cells.take_touched()

    def _note_rulesets(self, rulesets: tuple[str, ...], now_ms: int) -> None:
        if rulesets != self._rulesets:
            self._rulesets = rulesets
            self._cells.put(_RULESETS, _encode(rulesets), now_ms, _FOR_GOOD_MS)

    def _tell_late(self, work: _Work) -> None:
        """One word an agent and hour about events that came too late to be counted."""
        if not work.counts["late"]:
            return
        agent, hour = work.outcome.agent, work.now_ms // HOUR_MS
        where = ("late", agent.id.encode())
        if self._cells.get(where) != _encode(hour):
            self._cells.put(where, _encode(hour), work.now_ms)
            text = (
                f"lines late: from {self._timestamp(work.latest_late_ms)} or before, more than {LATE_MAX_MS // HOUR_MS} h: "
                "counted nowhere"
            )
            work.lines.append(("agent", agent_line(text, work.now_ms)))

    def _miss(self, told: Told, table: RuleTable, report: ReadThrough, fleet_ms: int) -> None:
        """Alert for all of a ruleset that has not come in time."""
        agent_ms = report.at_ms - SETTLE_MS
        for rule, missed in self._correlator.due(table, report.agent.id, agent_ms, fleet_ms - SETTLE_MS):
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

    def _leave_out(self, work: _Work, at: Callable[[int], None]) -> None:
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
            at(work.outcome.first_seq + lending.offset)
            fields = self._accumulator.lend(name, lending.key, lending.fields, lending.at_ms)
            if fields:
                work.left_out.add((lending.offset, lending.ruleset))
                work.lines.append(("accumulate", lent_line(lending, Lent(name, fields))))

    def _judge(self, work: _Work, event: EventOut) -> None:
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
