"""Program classes: what the program name alone says about a line.

Two program names that the same `<program_name>` patterns match are one class. For a class it is known which
decoders and rules can be reached at all, so only their patterns are scanned for; and given the scan's answer
and the decoders chosen, most conditions are known without looking at the line.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from hids.core.decode.decoder import JSON, Decoder, Selection
from hids.core.decode.event import Prematch, ProgramIs
from hids.core.decode.load import TYPES
from hids.core.pattern.pattern import Pattern, one_byte_each
from hids.core.rules.conditions import (
    Category,
    DecodedAs,
    DynamicMatches,
    FieldMatches,
    LogMatches,
    ProgramName,
    fields_of,
)
from hids.core.rules.rule import Rule, Ruleset
from hids.core.rules.scan import SetCache, build

Signature = tuple[bool, frozenset[Pattern]]
"""Whether there is a program name, and which patterns match it."""


class Scanned(NamedTuple):
    """A pattern to scan for."""

    pattern: Pattern
    sliced: bool
    """It is applied to a part of the log, so the scan can only say no."""


class Possible:
    """What decoders can make of an event: of a whole class, or given those that were chosen."""

    def __init__(self, decoders: Iterable[Decoder], fields: Iterable[str], *, decoded: bool) -> None:
        """`decoders` may be the event's; with `decoded` one of them is."""
        members = tuple(decoders)
        names: set[str | None] = {member.name for member in members}
        types = {member.type for member in members}
        plugins = {member.plugin for member in members if member.plugin is not None}
        if not decoded:
            names.add(None)
            types.add("syslog")
        if plugins - {JSON}:
            types |= set(TYPES)  # some plug-ins change it
        self.names = frozenset(names)
        self.types = frozenset(types)
        self.fields = frozenset(fields) | {name.lower() for name in fields}
        self.open = bool(plugins)
        """Any field may be there, and what is in it may be nowhere in the log."""

    def knows(self, question: object) -> bool | None:
        """The answer to a condition on decoder or fields, None when it depends on the event."""
        if isinstance(question, DecodedAs):
            return _among(question.name, self.names)
        if isinstance(question, Category):
            known = _among(question.type, self.types)
            return None if known and question.complete else known
        names = fields_of(question)
        if names and not self.open and self.fields.isdisjoint(names):
            return False
        return None


def _among(value: str, possible: frozenset[str | None] | frozenset[str]) -> bool | None:
    if value not in possible:
        return False
    return True if len(possible) == 1 else None


def possible_for(selection: Selection | None) -> Possible:
    """What a choice of decoders leaves open."""
    if selection is None:
        return Possible((), (), decoded=False)
    members = (selection.current, *selection.chain)
    possible = Possible(members, selection.fields, decoded=True)
    return (
        Possible(members[:1], selection.fields, decoded=True) if selection.settled and not possible.open else possible
    )


class ProgramClass:
    """One class with its set of patterns."""

    def __init__(self, ruleset: Ruleset, signature: Signature, cache: SetCache | None = None) -> None:
        self._ruleset = ruleset
        self._has_program, self._matching = signature
        tree = ruleset.decoders
        self.roots: tuple[Decoder, ...] = tuple(
            root
            for root in (tree.with_program if self._has_program else tree.without_program)
            if root.program is None or root.program in self._matching
        )
        scanned = [*_scanned_by_decoders(self.roots), *_scanned_by_rules(self.reachable(self._possible()).values())]
        expressions = tuple(dict.fromkeys(e for e in map(_expression, scanned) if e is not None))
        scanner = build([text for text, _ in expressions], "re2" if self._has_program else "hyperscan", cache)
        self.scan = scanner.scan
        """For a log in ASCII, or where no pattern takes letters instead of bytes."""
        self._ids = {expressions[position]: scan_id for position, scan_id in scanner.ids.items()}
        self._of_letters = {scan_id for (_, utf), scan_id in self._ids.items() if utf}

    def _possible(self) -> Possible:
        decoders = [decoder for root in self.roots for decoder in (root, *root.children)]
        return Possible(decoders, {name for decoder in decoders for name in decoder.order}, decoded=False)

    def scan_letters(self, log: bytes) -> tuple[int, ...]:
        """`scan` for any log: each pattern gets what it takes."""
        by_bytes, by_letters = self.scan(log), self.scan(one_byte_each(log))
        return (
            *(scan_id for scan_id in by_bytes if scan_id not in self._of_letters),
            *(scan_id for scan_id in by_letters if scan_id in self._of_letters),
        )

    def reachable(self, possible: Possible) -> dict[int, Rule]:
        """Rules, by index, of which no condition is known not to hold, below others of the kind."""
        found: dict[int, Rule] = {}
        waiting = list(self._ruleset.top)
        while waiting:
            rule = waiting.pop()
            if rule.index in found or any(self._knows(c, possible) is False for c in rule.conditions):
                continue
            found[rule.index] = rule
            waiting += self._ruleset.children[rule.index]
        return found

    def relevant(self, rules: Iterable[Rule]) -> frozenset[int]:
        """Ids of the scan that these rules can ask for."""
        asked = map(_expression, _scanned_by_rules(rules))
        return frozenset(self._ids[expression] for expression in asked if expression in self._ids)

    # ---- what is known -----------------------------------------------------------------------------------

    def knows_decoder(self, question: object, ids: frozenset[int]) -> bool | None:
        """The answer to a decoder's question that follows from class and scan."""
        if isinstance(question, ProgramIs):
            return True  # the class has no other roots
        if isinstance(question, Prematch) and question.decoder.prematch is not None:
            return self._answer(_scanned_prematch(question.decoder.prematch, question), ids)
        return None

    def knows_condition(self, question: object, ids: frozenset[int], possible: Possible) -> bool | None:
        """The answer to a rule's condition that follows from class, scan and decoders."""
        scanned = _scanned_condition(question)
        if scanned is None or (scanned.sliced and possible.open):
            return self._knows(question, possible)
        known = self._answer(scanned, ids)
        if known is None:
            return self._knows(question, possible)
        # What a field lacks is no answer to a negated condition on it: the field may not be there.
        return known is not (isinstance(question, LogMatches) and question.negated)

    def _knows(self, question: object, possible: Possible) -> bool | None:
        if isinstance(question, ProgramName):
            return self._has_program and (question.pattern in self._matching) is not question.negated
        return possible.knows(question)

    def _answer(self, scanned: Scanned, ids: frozenset[int]) -> bool | None:
        """A "no" of the scan is a no; its "yes" counts for an exact pattern on the whole log."""
        expression = _expression(scanned)
        scan_id = None if expression is None else self._ids.get(expression)
        if scan_id is None:
            return None
        if scan_id not in ids:
            return False
        return True if scanned.pattern.scan_is_exact and not scanned.sliced else None


# ---- what is scanned for --------------------------------------------------------------------------------


Expression = tuple[bytes, bool]
"""What is scanned for, and whether it takes letters instead of bytes."""


def _expression(scanned: Scanned) -> Expression | None:
    text = scanned.pattern.loose if scanned.sliced else scanned.pattern.scan
    return None if text is None else (text, scanned.pattern.utf)


def _scanned_prematch(pattern: Pattern, question: Prematch) -> Scanned:
    behind = question.decoder.prematch_offset == "parent" and question.root.prematch is not None
    return Scanned(pattern, sliced=behind)


def _scanned_condition(condition: object) -> Scanned | None:
    """Fields are slices of the log, so a pattern that is nowhere in the log is in no field."""
    if isinstance(condition, LogMatches):
        return Scanned(condition.pattern, sliced=False)
    if isinstance(condition, FieldMatches) and "action" in condition.names:
        return None  # OSSEC rewrites it
    if isinstance(condition, FieldMatches | DynamicMatches) and condition.pattern.telling and not condition.negated:
        return Scanned(condition.pattern, sliced=True)
    return None


def _scanned_by_decoders(roots: Iterable[Decoder]) -> Iterator[Scanned]:
    for root in roots:
        for decoder in (root, *root.children):
            if decoder.prematch is not None:
                yield _scanned_prematch(decoder.prematch, Prematch(decoder, root))


def _scanned_by_rules(rules: Iterable[Rule]) -> Iterator[Scanned]:
    for rule in rules:
        for condition in (*rule.conditions, *rule.late):
            scanned = _scanned_condition(condition)
            if scanned is not None:
                yield scanned


def scanned_patterns(ruleset: Ruleset) -> Iterator[Pattern]:
    """Every pattern that takes part in a scan."""
    roots = (*ruleset.decoders.with_program, *ruleset.decoders.without_program)
    for scanned in (*_scanned_by_decoders(roots), *_scanned_by_rules(ruleset.rules)):
        yield scanned.pattern


def program_patterns(ruleset: Ruleset) -> frozenset[Pattern]:
    """Every pattern that is asked of program names."""
    roots = (*ruleset.decoders.with_program, *ruleset.decoders.without_program)
    return frozenset(
        condition.pattern
        for rule in ruleset.rules
        for condition in (*rule.conditions, *rule.late)
        if isinstance(condition, ProgramName)
    ) | frozenset(root.program for root in roots if root.program is not None)
