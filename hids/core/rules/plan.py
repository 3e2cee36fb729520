"""The plan: a ruleset made ready for a line that matters to nobody, which is what most lines are.

    line -> header -> program class -> one scan for all its patterns -> ids
         -> (class, ids): decoders, remembered
         -> (class, decoders, relevant ids): rules, remembered -> verdict

Nothing is decided here that `walk` does not decide: the plan remembers what walks with the same knowledge did
(`trie`), and asks the line itself only what class, scan and decoders leave open. All caches are bounded; a
line for which the scan cannot speak is walked naively.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hids.core.decode.decoder import Selection
from hids.core.decode.event import Event, decode, select
from hids.core.decode.header import read_header
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
from hids.messages import LogLine, Residual, RuleTable

MAX_PROGRAMS = 4_096
"""Program names remembered. A name comes from the log, so an attacker can make up any number."""
MAX_CLASSES = 256
"""Classes compiled; OSSEC's rules have 69, Wazuh's 102. A line of a further class is walked naively."""
MAX_PLANS = 2_048
"""Answers of the scan remembered in each class, and as many rule trees."""

RELAY = "OSSECAlert_Decoder"
"""The plug-in for alerts of another manager."""

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


class _Chosen:
    """End of a walk through the decoders."""

    __slots__ = ("relays", "rules", "selection")

    def __init__(self, selection: Selection | None, rules: Trie[Event, _Outcome]) -> None:
        self.selection = selection
        self.rules = rules
        self.relays = selection is not None and any(member.plugin == RELAY for member in selection.chain)
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
        self.decoders: dict[tuple[int, ...], Trie[Event, _Chosen]] = {}
        self.rules: dict[tuple[Selection | None, frozenset[int]], Trie[Event, _Outcome]] = {}
        self._below: dict[Selection | None, _Below] = {}

    def below(self, selection: Selection | None) -> _Below:
        """The rules below these decoders; there are as many choices as decoders."""
        found = self._below.get(selection)
        if found is None:
            found = self._below[selection] = _Below(self.program, selection)
        return found


class Recognised:
    """A line with header, class, pattern answers and decoders: what rules start from."""

    __slots__ = ("chosen", "event", "ids", "kind")

    def __init__(self, event: Event, kind: _Class | None, ids: tuple[int, ...], chosen: _Chosen | None) -> None:
        self.event = event
        self.kind = kind
        """None: the plan has nothing for this line, it is walked naively."""
        self.ids = ids
        self.chosen = chosen


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
        self._ascii_only = any(pattern.utf for pattern in scanned_patterns(ruleset))
        self._programs: dict[bytes | None, _Class | None] = {}
        self._classes: dict[Signature, _Class] = {}
        self._outcomes: dict[Residual, _Outcome] = {}
        self._class_of(None)

    def recognise(self, line: LogLine, host: bytes | None = None, local_ms: int | None = None) -> Recognised:
        """Read the header, scan, choose the decoders.

        Args:
            line: what came.
            host: stands in where the header names none.
            local_ms: when it came, by the clock on the wall; the line's own time when left out.
        """
        header = read_header(line, self.ruleset.dialect, blind=self.ruleset.correlation == "compat")
        event = Event(line, header, self.ruleset.dialect, host, local_ms)
        event.log_fw = self.ruleset.log_fw
        kind = self._class_of(header.program)
        if kind is None or (self._ascii_only and not header.log.isascii()):
            decode(self.ruleset.decoders, event)
            return Recognised(event, None, (), None)
        ids = kind.scan(header.log)
        trie = kind.decoders.get(ids)
        chosen = None if trie is None else trie.find(event)
        if chosen is None:
            chosen = self._choose(kind, ids, event)
        event.selection = chosen.selection
        return Recognised(event, kind, ids, None if chosen.relays else chosen)

    def judge(self, recognised: Recognised) -> Verdict | None:
        """Walk the rules. None: the event asks, alerts and feeds nothing."""
        event, chosen = recognised.event, recognised.chosen
        if chosen is None or event.given:
            outcome = self._outcome(naive(self.ruleset, event))
        else:
            outcome = chosen.rules.find(event) or self._walk(recognised, chosen)
        if not outcome.matters:
            return None
        return verdict(outcome.residual, self._slots, event, outcome.ends)

    # ---- what is not remembered yet ----------------------------------------------------------------------

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
        _remember(self._programs, program, kind, MAX_PROGRAMS)
        return kind

    def _choose(self, kind: _Class, ids: tuple[int, ...], event: Event) -> _Chosen:
        answers = frozenset(ids)
        trail = Trail[Event](lambda question: kind.program.knows_decoder(question, answers), event)
        selection = select(kind.program.roots, trail.ask)
        relevant = kind.below(selection).relevant & answers
        rules = _recall(kind.rules, (selection, relevant), Trie[Event, _Outcome])
        trie = _recall(kind.decoders, ids, Trie[Event, _Chosen])
        return trie.grow(trail, _Chosen(selection, rules))

    def _walk(self, recognised: Recognised, chosen: _Chosen) -> _Outcome:
        kind, answers = recognised.kind, frozenset(recognised.ids)
        if kind is None:
            raise AssertionError("decoders are chosen for a class only")
        below = kind.below(chosen.selection)
        trail = Trail[Event](
            lambda question: kind.program.knows_condition(question, answers, below.possible), recognised.event
        )
        return chosen.rules.grow(trail, self._outcome(walk(self.ruleset, trail.ask, below.rules)))

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
