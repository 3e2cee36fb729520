"""The plan: a ruleset made ready for a line that matters to nobody, which is what most lines are.

    line -> header -> program class -> one scan for all its patterns -> ids
         -> (class, ids): decoders, remembered
         -> (class, decoders, relevant ids): rules, remembered -> verdict
         -> (class, log): all of this, remembered for logs that come again

Nothing is decided here that `walk` does not decide: the plan remembers what walks with the same knowledge did
(`trie`), and asks the line itself only what class, scan and decoders leave open. All caches are bounded; a
line for which the scan cannot speak is walked naively.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hids.core.decode.decoder import Selection
from hids.core.decode.event import NOWHERE, Event, Origin, decode, line_reader, relays, select
from hids.core.decode.header import Header, header_reader
from hids.core.decode.reading import Reading
from hids.core.dialect import Dialect
from hids.core.rules.conditions import of_log
from hids.core.rules.reach import (
    ProgramClass,
    Signature,
    possible_for,
    program_patterns,
    scanned_patterns,
)
from hids.core.rules.rule import Ruleset
from hids.core.rules.scan import SetCache
from hids.core.rules.table import rule_table
from hids.core.rules.trie import Trail, Trie
from hids.core.rules.walk import Finals, Verdict, finals, matters, naive, slots_of, verdict, walk
from hids.messages.evaluation import Residual
from hids.messages.lines import LogLine
from hids.messages.rule_table import RuleTable

MAX_PROGRAMS = 4_096
"""Program names remembered. A name comes from the log, so an attacker can make up any number."""
MAX_PROGRAM_NAME = 256
"""Bytes of a name that is remembered. Names may be as long as lines."""
MAX_CLASSES = 256
"""Classes compiled; OSSEC's rules have 69, Wazuh's 102. A line of a further class is walked naively."""
MAX_PLANS = 2_048
"""Answers of the scan remembered in each class, and as many rule trees."""

MAX_KNOWN_BYTES = 16 * 1024 * 1024
"""Memory for logs that may come again; when it is full, all are forgotten. Of a realistic load two in five do."""
MAX_KNOWN_LOG = 1_024
"""Longer logs hardly ever come again."""
_KNOWN_BYTES = 1_500
"""What a log costs beside its text (measured with tracemalloc, fields cut out)."""

Key = TypeVar("Key")
Value = TypeVar("Value")


class Counts(NamedTuple):
    """Size of a ruleset."""

    decoders: int
    rules: int


class _Outcome(NamedTuple):
    """End of a walk through the rules."""

    residual: Residual
    matters: bool
    ends: Finals


class _Way(NamedTuple):
    """A remembered walk through the rules."""

    outcome: _Outcome
    of_log: bool
    """It asked of nothing but the log."""


class _Chosen:
    """End of a walk through the decoders."""

    __slots__ = ("relays", "rules", "selection")

    def __init__(self, selection: Selection | None, rules: Trie[Event, _Way]) -> None:
        self.selection = selection
        self.rules = rules
        self.relays = selection is not None and relays(selection)
        """The event may have its rule already, which the walk knows."""


class _Below:
    """What is left of the rules below chosen decoders."""

    def __init__(self, program: ProgramClass, selection: Selection | None) -> None:
        self.possible = possible_for(selection)
        self.rules = program.reachable(self.possible)
        self.relevant = program.relevant(self.rules.values())
        """Ids of the scan that matter to them."""


class _Class:
    """A program class with what is remembered for it."""

    def __init__(self, program: ProgramClass) -> None:
        self.program = program
        self.scan = program.scan
        self.known: dict[bytes, _Known] = {}
        self.decoders: dict[tuple[int, ...], Trie[Event, _Chosen]] = {}
        self.rules: dict[tuple[Selection | None, frozenset[int]], Trie[Event, _Way]] = {}
        self._below: dict[Selection | None, _Below] = {}

    def below(self, selection: Selection | None) -> _Below:
        """The rules below these decoders; there are as many choices as decoders."""
        found = self._below.get(selection)
        if found is None:
            found = self._below[selection] = _Below(self.program, selection)
        return found


class _Known(Reading):
    """What class and log say of an event, whoever sent it and whenever."""

    kind: _Class | None = None
    ids: tuple[int, ...] = ()
    chosen: _Chosen | None = None
    """None: the plan has nothing for this line, it is walked naively."""
    outcome: _Outcome | None = None
    """Of the rules, once it is known that they ask of nothing but the log."""
    verdict: Verdict | None = None
    """Once it is known to come from the log alone."""
    silent: bool = False
    """Nobody needs to hear of such a log: no rule, and no other log that lacks its fields."""


class Plan:
    """A compiled ruleset. Not thread-safe: its caches grow as it works."""

    def __init__(self, ruleset: Ruleset, cache: SetCache | None = None) -> None:
        self.ruleset = ruleset
        self._cache = cache
        self.name = ruleset.name
        self.hash = ruleset.hash
        self.table: RuleTable = rule_table(ruleset)
        self._slots = slots_of(ruleset)
        self.counts = Counts(ruleset.decoders.count, len(ruleset.rules))
        self._program_patterns = program_patterns(ruleset)
        self._by_letters = any(pattern.utf for pattern in scanned_patterns(ruleset))
        self._programs: dict[bytes | None, _Class | None] = {}
        self._classes: dict[Signature, _Class] = {}
        self._outcomes: dict[Residual, _Outcome] = {}
        self._known_bytes = 0
        self._dialect: Dialect = ruleset.dialect
        self._rewrites = ruleset.log_fw and ruleset.dialect == "ossec"
        self._skips = ruleset.correlation != "compat"  # OSSEC's repeats are of lines that matter to nobody, too
        self._read_log = header_reader(ruleset.dialect, blind=ruleset.correlation == "compat")
        self._read = line_reader(ruleset.dialect, blind=ruleset.correlation == "compat")
        self._class_of(None)

    def recognise(self, line: LogLine, origin: Origin = NOWHERE) -> Event:
        """Read the header, scan, choose the decoders."""
        line, header = self._read(line, origin)
        kind = self._programs.get(header.program)
        known = None if kind is None or line.facts else kind.known.get(header.log)
        if known is not None:
            return Event(line, header, known, origin)
        return self._recognised(line, header, origin)

    def notice(self, line: LogLine, origin: Origin = NOWHERE) -> Event | None:
        """The same; None when the log came before and is known to matter to nobody."""
        if line.kind == "log":
            header = self._read_log(line)
        else:
            line, header = self._read(line, origin)
        kind = self._programs.get(header.program)
        if kind is not None and kind.program.is_idle and self._skips:
            return None
        known = None if kind is None or line.facts else kind.known.get(header.log)
        if known is None:
            return self._recognised(line, header, origin)
        if known.silent:
            return None
        return Event(line, header, known, origin)

    def judge(self, event: Event) -> Verdict | None:
        """Walk the rules. None: the event asks, alerts and feeds nothing."""
        known = event.reading
        if not isinstance(known, _Known) or known.chosen is None or event.given:
            outcome = self._outcome(naive(self.ruleset, event))
            return verdict(outcome.residual, self._slots, event, outcome.ends) if outcome.matters else None
        outcome = known.outcome or self._judged(known, known.chosen, event)
        if not outcome.matters:
            return None
        if known.verdict is not None:
            return known.verdict
        found = verdict(outcome.residual, self._slots, event, outcome.ends)
        if outcome.ends.of_log and known.outcome is outcome:
            decoder = known.decoder
            if decoder is None or "location" not in decoder.fts:
                known.verdict = found
        return found

    # ---- what is not remembered yet ----------------------------------------------------------------------

    def _recognised(self, line: LogLine, header: Header, origin: Origin) -> Event:
        log = header.log
        kind = self._class_of(header.program)
        known = _Known(log, self._dialect, self._rewrites, line.facts)
        event = Event(line, header, known, origin)
        if kind is None:
            decode(self.ruleset.decoders, event)
            return event
        known.kind = kind
        known.ids = kind.program.scan_letters(log) if self._by_letters and not log.isascii() else kind.scan(log)
        trie = kind.decoders.get(known.ids)
        chosen = None if trie is None else trie.find(event)
        if chosen is None:
            chosen = self._choose(kind, known.ids, event)
        if chosen.relays:
            event.select(chosen.selection)
            return event
        known.selection, known.chosen = chosen.selection, chosen
        if len(log) <= MAX_KNOWN_LOG and not line.facts:
            self._keep(kind, log, known)
        return event

    def _keep(self, kind: _Class, log: bytes, known: _Known) -> None:
        self._known_bytes += len(log) + _KNOWN_BYTES
        if self._known_bytes > MAX_KNOWN_BYTES:
            self._known_bytes = 0
            for each in self._classes.values():
                each.known.clear()
        kind.known[log] = known

    def _class_of(self, program: bytes | None) -> _Class | None:
        try:
            return self._programs[program]
        except KeyError:
            pass
        matching = frozenset(p for p in self._program_patterns if program is not None and p.matches(program))
        signature = (program is not None, matching)
        kind = self._classes.get(signature)
        if kind is None and len(self._classes) < MAX_CLASSES:
            kind = self._classes[signature] = _Class(ProgramClass(self.ruleset, signature, self._cache))
        if program is None or len(program) <= MAX_PROGRAM_NAME:
            _remember(self._programs, program, kind, MAX_PROGRAMS)
        return kind

    def _choose(self, kind: _Class, ids: tuple[int, ...], event: Event) -> _Chosen:
        answers = frozenset(ids)
        trail = Trail[Event](lambda question: kind.program.knows_decoder(question, answers), event)
        selection = select(kind.program.roots, trail.ask)
        relevant = kind.below(selection).relevant & answers
        rules = _recall(kind.rules, (selection, relevant), Trie[Event, _Way])
        trie = _recall(kind.decoders, ids, Trie[Event, _Chosen])
        return trie.grow(trail, _Chosen(selection, rules))

    def _judged(self, known: _Known, chosen: _Chosen, event: Event) -> _Outcome:
        way = chosen.rules.find(event) or self._walk(known, chosen, event)
        if way.of_log:
            known.outcome = way.outcome
            known.silent = self._skips and not way.outcome.matters and not event.accumulate
        return way.outcome

    def _walk(self, known: _Known, chosen: _Chosen, event: Event) -> _Way:
        kind, answers = known.kind, frozenset(known.ids)
        if kind is None:
            raise AssertionError("decoders are chosen for a class only")
        below = kind.below(chosen.selection)
        trail = Trail[Event](lambda question: kind.program.knows_condition(question, answers, below.possible), event)
        outcome = self._outcome(walk(self.ruleset, trail.ask, below.rules))
        return chosen.rules.grow(trail, _Way(outcome, all(of_log(question) for question, _ in trail.asked)))

    def _outcome(self, residual: Residual) -> _Outcome:
        """Equal residuals are one object, so that batches name them once."""
        found = self._outcomes.get(residual)
        if found is None:
            found = _Outcome(residual, matters(self.ruleset, residual), finals(self.ruleset, residual))
            _remember(self._outcomes, residual, found, MAX_PLANS)
        return found


def compile_plan(ruleset: Ruleset, cache: SetCache | None = None) -> Plan:
    """Make a ruleset ready. Classes are compiled when their first line comes."""
    return Plan(ruleset, cache)


def _recall(cache: dict[Key, Value], key: Key, make: Callable[[], Value]) -> Value:
    found = cache.get(key)
    if found is None:
        found = make()
        _remember(cache, key, found, MAX_PLANS)
    return found


def _remember(cache: dict[Key, Value], key: Key, value: Value, limit: int) -> None:
    """Put into a bounded cache; the oldest entry makes room."""
    if len(cache) >= limit:
        del cache[next(iter(cache))]
    cache[key] = value
