"""What becomes of an event: its residual is run against what the lane remembers.

Windows, first-time-seen keys and changed logs are asked in the order in which the walk meets them, which is that of
the rule language; then come `ignore` and the lists of `<ignore>`; what is left is told, and remembered as the
ruleset's correlation has it (`Semantics`).
"""

from typing import NamedTuple

import msgspec

from hids.core.correlate.cells import DAY_MS, Cells
from hids.core.correlate.changed import Changed
from hids.core.correlate.compat import Compat
from hids.core.correlate.expectations import FLEET, Expectations, Missed, Origin, Sender
from hids.core.correlate.firstseen import FirstSeen
from hids.core.correlate.native import Native, Progress, parts, scope, window_key
from hids.core.correlate.occurrence import Occurrence
from hids.core.correlate.seen import Seen
from hids.core.correlate.semantics import NO_RULE, Semantics
from hids.core.correlate.window import PREVIOUS_TOLD, Entry
from hids.core.correlate.windows import Windows
from hids.errors import LocalProtocolError
from hids.messages.evaluation import DIFF, FINAL, FTS, WINDOW, EventOut, Residual
from hids.messages.rule_table import RuleRow, RuleTable

LATE_MAX_MS = 24 * 3600 * 1000
"""Events older than this at their arrival are not correlated, but counted (`Decision.late`)."""

FIRST_SEEN_DAYS = 365
"""First-time-seen keys are new again when they were not met for so long. OSSEC and Wazuh keep them for good."""
IGNORED_DAYS = 30
"""What `<ignore>` noted counts for so long. OSSEC keeps it until somebody empties the file."""

NOTHING_FIRED: frozenset[int] = frozenset()

TABLES_KEPT = 16
"""Rulesets, and versions of them, for which plain rules are remembered."""

_encode = msgspec.msgpack.Encoder().encode


class Decision(NamedTuple):
    """What becomes of an event."""

    rule: int
    """Index into the rule table; `NO_RULE` for none."""
    previous: tuple[Entry, ...] = ()
    """Past events that a composite counted, newest first."""
    silent: bool = False
    """No alert: the rule's `ignore` time runs, or the event's values are on a list of `<ignore>`."""
    late: bool = False
    previous_log: bytes = b""
    """The log before, where the rule asks for a changed one."""
    stands_for: int = NO_RULE
    """The rule that the event is really of, when Wazuh's `ignore` lets its parent speak instead."""
    also: tuple["Decision", ...] = ()
    """Further rules that the event fulfils, the highest level first. This one is that of the highest that is not silent."""

    @property
    def result(self) -> int:
        """The rule whose firings are counted."""
        return self.rule if self.stands_for == NO_RULE else self.stands_for


class Correlator:
    """Runs residuals. One for the lane; logtest has one on a throwaway state."""

    def __init__(
        self,
        windows: Windows,
        cells: Cells | None = None,
        *,
        first_seen_days: int = FIRST_SEEN_DAYS,
        ignored_days: int = IGNORED_DAYS,
        silences: bool = True,
        tells_all: bool = False,
    ) -> None:
        """Make one over the lane's state.

        Args:
            windows: of all rulesets.
            cells: likewise.
            first_seen_days: as in `[limits]`.
            ignored_days: likewise.
            silences: False: `ignore` and its lists have no effect, as in OSSEC's and Wazuh's logtest.
            tells_all: a composite that fires does not take the place of the event's own rule, which is told too.
        """
        self._windows = windows
        self._tells_all = tells_all
        self._silences = silences
        self._cells = Cells() if cells is None else cells
        self._first_seen = FirstSeen(self._cells, first_seen_days * DAY_MS)
        self._changed = Changed(self._cells)
        self.expectations = Expectations(self._cells)
        self._ignored_ms = ignored_days * DAY_MS
        self._plain: dict[str, dict[int, Decision]] = {}
        self._natives: dict[str, Native] = {}
        self._compats: dict[str, tuple[str, Compat]] = {}

    def decide(
        self,
        table: RuleTable,
        residual: Residual,
        event: EventOut,
        agent: str,
        now_ms: int,
        sender: Sender | None = None,
    ) -> Decision:
        """Find the event's rule, and change the state that it concerns.

        Args:
            table: the rules that the residual's numbers mean.
            residual: the worker's answer, open where past events matter.
            event: what the worker extracted.
            agent: id of the sender, for rules that count per agent.
            now_ms: when the event was received, for the limit on lateness.
            sender: the batch that it came in; without one no expectation (`unless`) begins or ends.
        """
        late = now_ms - event.at_ms > LATE_MAX_MS
        if len(residual) == 1 and not late and (plain := self._plain_of(table).get(residual[0][1])) is not None:
            return plain
        occurrence = Occurrence(table, event, agent)
        semantics = self._semantics(table)
        if late:
            return self._late(_base(residual, {}), semantics, occurrence)
        run = _Run(self, semantics, occurrence)
        ends = run.ends(residual)
        if not run.fired and semantics.asks_once:
            return self._usual(ends[0], run, semantics, occurrence, sender)
        results = self._speaking(ends, run, semantics, occurrence)
        kept = [result for result in results if not (semantics.forgets_silenced and result.silent)]
        base = _base(residual, run.answers)
        occurrence.rules = {base, *run.fired}
        semantics.remember(base, tuple(result.rule for result in kept), frozenset(run.fired), occurrence)
        if sender is not None and semantics.waiting:
            self._expect(semantics, occurrence, Origin(table.hash, sender, event))
        if not results:
            return Decision(ends[0].rule)
        highest, *also = sorted(results, key=lambda result: (result.silent, -_level(table, result.rule)))
        return highest._replace(also=tuple(also)) if also else highest

    def _usual(
        self, end: "_End", run: "_Run", semantics: Semantics, occurrence: Occurrence, sender: Sender | None
    ) -> Decision:
        """`decide` where no composite fired, as for nearly all events: then there is one end, and it is the base rule."""
        table, rule = occurrence.table, end.rule
        if _level(table, rule) > 0:
            result = self._result(end, run, semantics, occurrence)
            finals = () if semantics.forgets_silenced and result.silent else (result.rule,)
        else:
            result, finals = Decision(rule), ()
        semantics.remember(rule, finals, NOTHING_FIRED, occurrence)
        if sender is not None and semantics.waiting:
            occurrence.rules = {rule}
            self._expect(semantics, occurrence, Origin(table.hash, sender, occurrence.event))
        return result

    def due(self, table: RuleTable, agent: str, through_ms: int, fleet_through_ms: int) -> list[tuple[int, Missed]]:
        """What did not come, by rule, now that all events up to a time are decided: an agent's, and those of all agents."""
        found: list[tuple[int, Missed]] = []
        for rule in self._semantics(table).waiting:
            row = table.rules[rule]
            alone = row.window is None or row.window.per_agent
            whose, until_ms = (agent, through_ms) if alone else (FLEET, fleet_through_ms)
            found += ((rule, missed) for missed in self.expectations.due(row, whose, until_ms))
        return found

    def miss(self, table: RuleTable, rule: int, missed: Missed) -> tuple[Decision, EventOut]:
        """Decide about something that did not come: as about an event of that rule at the deadline."""
        event = msgspec.structs.replace(missed.origin.event, at_ms=missed.deadline_ms)
        occurrence = Occurrence(table, event, missed.origin.sender.agent.id)
        semantics = self._semantics(table)
        decision = Decision(rule)
        if self._silences:
            decision = self._silence(decision, NO_RULE, semantics, occurrence)
        semantics.remember(rule, (rule,), frozenset(), occurrence)
        return decision, event

    def _late(self, base: int, semantics: Semantics, occurrence: Occurrence) -> Decision:
        """It counts nowhere, and what it might have ended is in doubt."""
        for rule in semantics.waits({base}, occurrence):
            row = occurrence.table.rules[rule]
            if row.window is not None:
                self.expectations.doubt(row, scope(row.window, occurrence), occurrence.at_ms)
        return Decision(base, late=True)

    def _expect(self, semantics: Semantics, occurrence: Occurrence, origin: Origin) -> None:
        for rule in semantics.waits(occurrence.rules, occurrence):
            row = occurrence.table.rules[rule]
            spec = row.window
            key = None if spec is None else window_key(spec, occurrence)
            if spec is None or key is None:
                continue
            begins, ends = parts(spec, occurrence)
            whose = scope(spec, occurrence)
            if ends:
                self.expectations.end(row, whose, key, occurrence.at_ms)
            if begins:
                self.expectations.begin(row, whose, key, origin)

    def progress(self, table: RuleTable, residual: Residual, event: EventOut, agent: str) -> list[Progress]:
        """How near composites are to firing, after `decide` has seen an event. Only native correlation can tell."""
        semantics = self._semantics(table)
        if not isinstance(semantics, Native):
            return []
        return list(semantics.progress(_base(residual, {}), Occurrence(table, event, agent)))

    def _speaking(
        self, ends: list["_End"], run: "_Run", semantics: Semantics, occurrence: Occurrence
    ) -> list[Decision]:
        """Composites that fired; the event's own rule where none did, or where all that did are silent."""
        fired = [end for end in ends if end.fired]
        speaking = ends if self._tells_all else fired or ends
        results = self._results(speaking, run, semantics, occurrence)
        if speaking is not ends and len(results) == len(fired) and all(result.silent for result in results):
            own = [end for end in ends if not end.fired]
            results += self._results(own, run, semantics, occurrence)
        return results

    def _results(self, ends: list["_End"], run: "_Run", semantics: Semantics, occurrence: Occurrence) -> list[Decision]:
        """One for each end whose rule is not of level 0: who fires that says that the event is nothing."""
        return [self._result(end, run, semantics, occurrence) for end in ends if _level(occurrence.table, end.rule) > 0]

    def _result(self, end: "_End", run: "_Run", semantics: Semantics, occurrence: Occurrence) -> Decision:
        """One rule that the event fulfils, and whether it is silent."""
        rule = end.rule
        row = occurrence.table.rules[rule]
        previous = run.fired.get(rule, ())[:PREVIOUS_TOLD]
        decision = Decision(rule, previous, previous_log=occurrence.previous_log if rule in run.changed else b"")
        if self._silences and (row.ignore_ms or row.check_ignored or row.ignore_fields):
            return self._silence(decision, end.parent, semantics, occurrence)
        return decision

    def ask(self, operation: int, rule: int, occurrence: Occurrence) -> bool:
        """A question that is no window's."""
        return self._first_seen.ask(occurrence) if operation == FTS else self._changed.ask(rule, occurrence)

    def _silence(self, decision: Decision, parent: int, semantics: Semantics, occurrence: Occurrence) -> Decision:
        """`ignore`, `<check_if_ignored>` and `<ignore>`, in this order. Wazuh's lists never have an effect."""
        table = occurrence.table
        if semantics.silences(decision.rule, occurrence):
            if table.dialect == "wazuh" and parent != NO_RULE:
                return Decision(parent, stands_for=decision.rule)
            return decision._replace(silent=True)
        row = table.rules[decision.rule]
        if table.dialect == "wazuh" or not (row.check_ignored or row.ignore_fields):
            return decision
        noted = Seen(self._cells, f"ignored:{table.name}", self._ignored_ms)
        line = _values_line(row.check_ignored, occurrence)
        if line is not None and noted.has(line, occurrence.at_ms):
            return decision._replace(silent=True)
        line = _values_line(row.ignore_fields, occurrence)
        if line is not None:
            noted.add(line, occurrence.at_ms)
        return decision

    def _plain_of(self, table: RuleTable) -> dict[int, Decision]:
        """The decision for each rule that asks, remembers and silences nothing; most alerts are of such."""
        plain = self._plain.get(table.hash)
        if plain is None:
            if len(self._plain) >= TABLES_KEPT:
                self._plain.clear()
            plain = self._plain[table.hash] = _plain(table)
        return plain

    def _semantics(self, table: RuleTable) -> Semantics:
        if table.correlation == "compat":
            return self._compat(table)
        native = self._natives.get(table.hash)
        if native is None:
            native = self._natives[table.hash] = Native(self._windows, table)
        return native

    def _compat(self, table: RuleTable) -> Compat:
        """A ruleset's ring goes on when the ruleset is loaded anew; outcomes of both versions may come in turns."""
        held = self._compats.get(table.name)
        if held is None:
            held = (table.hash, Compat(self._cells, table))
        elif held[0] != table.hash:
            held[1].take_over(table)
            held = (table.hash, held[1])
        self._compats[table.name] = held
        return held[1]


class _End(NamedTuple):
    """Where a way through a residual ends."""

    rule: int
    parent: int
    """The rule that it hangs under."""
    fired: bool
    """A composite fired on the way."""


class _Run:
    """One event's way through its residual."""

    def __init__(self, correlator: Correlator, semantics: Semantics, occurrence: Occurrence) -> None:
        self._correlator = correlator
        self._semantics = semantics
        self._occurrence = occurrence
        self.answers: dict[tuple[int, int], bool] = {}
        """(operation, rule) -> last answer."""
        self.fired: dict[int, tuple[Entry, ...]] = {}
        """Composites that fired, with the events that they counted."""
        self.changed: set[int] = set()
        """Rules whose log changed."""

    def ends(self, residual: Residual) -> list["_End"]:
        """Ask and follow the answers; each rule once, in the order of the walk.

        Where every composite fires, a way goes on behind each that did, as if it had not: so all are asked. No way
        through a residual meets a node twice, so it has at most as many steps as nodes, and there is one way more
        than composites that fired.
        """
        found: dict[int, _End] = {}
        ways = [(0, False)]
        while ways:
            place, fired = ways.pop()
            for _ in residual:
                operation, rule, yes, no = residual[place]
                if operation == FINAL:
                    found.setdefault(rule, _End(rule, yes, fired))
                    break
                answer = self._ask(operation, rule, residual)
                if answer and operation == WINDOW:
                    if self._semantics.fires_all:
                        ways.append((no, fired))
                    fired = True
                place = yes if answer else no
            else:
                raise _endless(residual)
        return list(found.values())

    def _ask(self, operation: int, rule: int, residual: Residual) -> bool:
        key = (operation, rule)
        if key in self.answers and self._semantics.asks_once:
            return self.answers[key]
        if operation == WINDOW:
            spec = self._occurrence.table.rules[rule].window
            if spec is not None and spec.first:
                self._occurrence.rules = {_base(residual, self.answers), *self.fired}
            entries = self._semantics.ask(rule, self._occurrence)
            answer = entries is not None
            if entries is not None:
                self.fired[rule] = entries
        else:
            answer = self._first_or_changed(operation, rule)
        self.answers[key] = answer
        return answer

    def _first_or_changed(self, operation: int, rule: int) -> bool:
        """The first-time-seen key is the event's: natively it has one answer for all rules."""
        if operation == FTS and self._semantics.asks_once:
            for (asked, _), answer in self.answers.items():
                if asked == FTS:
                    return answer
        answer = self._correlator.ask(operation, rule, self._occurrence)
        if operation == DIFF and answer:
            self.changed.add(rule)
        return answer


def _base(residual: Residual, answers: dict[tuple[int, int], bool]) -> int:
    """The rule that results when every composite answers "no". What was not asked is answered "no", too."""
    place = 0
    for _ in residual:
        operation, rule, yes, no = residual[place]
        if operation == FINAL:
            return rule
        place = yes if operation != WINDOW and answers.get((operation, rule)) else no
    raise _endless(residual)


def _level(table: RuleTable, rule: int) -> int:
    return 0 if rule == NO_RULE else table.rules[rule].level


def _plain(table: RuleTable) -> dict[int, Decision]:
    searched = any(row.window is not None and row.window.regex >= 0 for row in table.rules)
    if searched or table.correlation != "native":
        return {}
    return {n: Decision(n) for n, row in enumerate(table.rules) if _is_plain(row)}


def _is_plain(row: RuleRow) -> bool:
    remembered = row.feeds or row.window is not None or row.check_ignored or row.ignore_fields
    return row.level > 0 and row.ignore_ms == 0 and not remembered


def _endless(residual: Residual) -> LocalProtocolError:
    return LocalProtocolError(f"a residual whose nodes lead round in a circle: {residual}")


def _values_line(slots: tuple[int, ...], occurrence: Occurrence) -> bytes | None:
    """The event's values under their names; None when it has none of them."""
    names = occurrence.table.slots
    values = sorted((names[slot], value) for slot in slots if (value := occurrence.value(slot)) is not None)
    return _encode(values) if values else None
