"""What is odd about a ruleset that loads: rules no event can reach, twins, patterns that never match, windows too wide.

Nothing here stops a ruleset from being used. Each finding names the rule, what it is and what to do.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Literal

import msgspec

from hids.core.decode.decoder import Decoder, Selection
from hids.core.pattern.pattern import Pattern
from hids.core.rules.certificate import beyond_ascii
from hids.core.rules.conditions import InList, fields_of
from hids.core.rules.reach import Possible, possible_for
from hids.core.rules.rule import Rule, Ruleset
from hids.messages.evaluation import FTS

Kind = Literal[
    "unreachable",
    "missing field",
    "shadowed",
    "duplicate",
    "never matches",
    "missing list",
    "never new",
    "beyond ASCII",
    "one key",
    "no description",
]


class Finding(msgspec.Struct, frozen=True, order=True):
    """Something odd about one rule."""

    rule: int
    kind: Kind
    text: str
    """What was found and what to do."""

    def __str__(self) -> str:
        return f"rule {self.rule}: {self.kind}: {self.text}"


CanMatch = Callable[[Pattern], bool]
"""Tells of a pattern whether any text can match it; True where that is not known."""


def lint(ruleset: Ruleset, can_match: CanMatch) -> list[Finding]:
    """Look at every rule, in load order."""
    found = [*_unreachable(ruleset), *_overtaken(ruleset), *_patterns(ruleset, can_match)]
    found += [*_lists(ruleset), *_never_new(ruleset), *_manners(ruleset)]
    index = {rule.id: rule.index for rule in ruleset.rules}
    return sorted(found, key=lambda finding: (index[finding.rule], finding))


# ---- reach ------------------------------------------------------------------------------------------------------


def _unreachable(ruleset: Ruleset) -> Iterator[Finding]:
    outcomes = _outcomes(ruleset)
    reached = _reached(ruleset, outcomes, lambda condition, outcome: outcome.knows(condition) is not False)
    if len(reached) == len(ruleset.rules):
        return
    without_fields = _reached(
        ruleset,
        outcomes,
        lambda condition, outcome: bool(fields_of(condition)) or outcome.knows(condition) is not False,
    )
    parents: dict[int, int] = {}
    for parent in ruleset.rules:
        for child in ruleset.children[parent.index]:
            parents.setdefault(child.index, parent.index)
    for rule in ruleset.rules:
        if rule.index in reached or _waits(rule):
            continue
        if (above := parents.get(rule.index, -1)) >= 0 and above not in reached:
            text = f"stands below rule {ruleset.rules[above].id}, which no event reaches"
            yield Finding(rule.id, "unreachable", text)
        elif rule.index in without_fields:
            names = sorted({name for condition in rule.conditions for name in fields_of(condition)})
            text = f"no decoder of its events gives {' and '.join(names)}; check the decoder's <order>"
            yield Finding(rule.id, "missing field", text)
        else:
            text = "no decoder, category and parent can all be as it asks; check <decoded_as>, <category> and <if_sid>"
            yield Finding(rule.id, "unreachable", text)


def _outcomes(ruleset: Ruleset) -> list[Possible]:
    """Everything that decoding can make of an event, as far as rules without past can tell it apart."""
    found: dict[tuple[object, ...], Possible] = {}
    tree = ruleset.decoders
    for root in (*tree.with_program, *tree.without_program):
        for selection in _selections(root):
            possible = possible_for(selection)
            found.setdefault((possible.names, possible.types, possible.fields, possible.open), possible)
    undecoded = possible_for(None)
    return [undecoded, *found.values()]


def _selections(root: Decoder) -> Iterator[Selection]:
    """Each choice below a top-level decoder, wide enough to hold whatever its chain may do."""
    members = (root, *root.children)
    fields = frozenset(name for member in members for name in member.order)
    yield Selection(root, root, members, settled=False, fields=fields)


def _reached(ruleset: Ruleset, outcomes: Iterable[Possible], holds: Callable[[object, Possible], bool]) -> set[int]:
    """Rules of which some outcome lets all conditions hold, below others of the kind."""
    reached: set[int] = set()
    for outcome in outcomes:
        known: dict[object, bool] = {}
        seen: set[int] = set()
        waiting = list(ruleset.top)
        while waiting:
            rule = waiting.pop()
            if rule.index in seen:
                continue
            seen.add(rule.index)
            for condition in rule.conditions:
                answer = known.get(condition)
                if answer is None:
                    answer = known[condition] = holds(condition, outcome)
                if not answer:
                    break
            else:
                reached.add(rule.index)
                waiting += ruleset.children[rule.index]
    return reached


def _waits(rule: Rule) -> bool:
    """No event reaches it: time does."""
    source = None if rule.window is None else rule.window.source
    return source is not None and source.sequence is not None and source.sequence.unless


# ---- siblings ---------------------------------------------------------------------------------------------------


def _overtaken(ruleset: Ruleset) -> Iterator[Finding]:
    """Rules whose events an earlier sibling takes every time."""
    told: set[int] = set()
    for siblings in (ruleset.top, *ruleset.children):
        earlier: dict[frozenset[object], Rule] = {}
        for rule in siblings:
            conditions = frozenset(rule.conditions)
            if rule.index not in told and (before := _taker(rule, conditions, earlier)) is not None:
                told.add(rule.index)
                yield _taken(rule, conditions, before)
            if _takes_all(rule):
                earlier.setdefault(conditions, rule)


def _taker(rule: Rule, conditions: frozenset[object], earlier: dict[frozenset[object], Rule]) -> Rule | None:
    if (same := earlier.get(conditions)) is not None:
        return same
    for wider, other in earlier.items():
        if wider < conditions and other is not rule:
            return other
    return None


def _takes_all(rule: Rule) -> bool:
    """It has a result of its own whenever its conditions hold."""
    return rule.window is None and not rule.noalert and not rule.asks


def _taken(rule: Rule, conditions: frozenset[object], before: Rule) -> Finding:
    if conditions == frozenset(before.conditions) and _takes_all(rule) and rule.level == before.level:
        return Finding(rule.id, "duplicate", f"asks the same as rule {before.id}; delete one of them")
    text = f"rule {before.id} stands before it and takes all its events; give it a higher level or a parent of its own"
    return Finding(rule.id, "shadowed", text)


# ---- patterns, manners ------------------------------------------------------------------------------------------


def _patterns(ruleset: Ruleset, can_match: CanMatch) -> Iterator[Finding]:
    known: dict[Pattern, bool] = {}
    for rule in ruleset.rules:
        for condition in rule.conditions:
            pattern: object = getattr(condition, "pattern", None)
            if not isinstance(pattern, Pattern):
                continue
            if beyond_ascii(ruleset.dialect, pattern):
                text = f'Wazuh never matches {_shown(pattern)}, and we do; type="pcre2" is the same in both'
                yield Finding(rule.id, "beyond ASCII", text)
            if getattr(condition, "negated", False):
                continue
            if pattern not in known:
                known[pattern] = can_match(pattern)
            if not known[pattern]:
                yield Finding(rule.id, "never matches", f"no text can match {_shown(pattern)}")


def _shown(pattern: Pattern) -> str:
    return f"the {pattern.key[0]} pattern {pattern.key[1].decode('utf-8', 'replace')!r}"


def _lists(ruleset: Ruleset) -> Iterator[Finding]:
    """OSSEC loads a rule that names a list that is not there, and so do we: the rule never holds."""
    for rule in ruleset.rules:
        for condition in rule.conditions:
            if isinstance(condition, InList) and condition.table.entries is None:
                text = f"the list {condition.table.name!r} is not there, so the rule never holds; add the list"
                yield Finding(rule.id, "missing list", text)


def _never_new(ruleset: Ruleset) -> Iterator[Finding]:
    """`<if_fts>` asks whether what a decoder's `<fts>` names is new. Without any it holds for nothing."""
    tree = ruleset.decoders
    roots = (*tree.with_program, *tree.without_program)
    if any(decoder.fts for root in roots for decoder in (root, *root.children)):
        return
    for rule in ruleset.rules:
        if FTS in rule.asks:
            text = "<if_fts> never holds, since no decoder says with <fts> what is to be new; add one to the decoder of its events"
            yield Finding(rule.id, "never new", text)


def _manners(ruleset: Ruleset) -> Iterator[Finding]:
    for rule in ruleset.rules:
        if rule.window is not None and not rule.window.like.same and not _waits(rule):
            text = "counts the events of all hosts and addresses together; add same_source_ip or another same_*"
            yield Finding(rule.id, "one key", text)
        if not rule.description:
            yield Finding(rule.id, "no description", "add a <description>: it is what people read in the alert")
