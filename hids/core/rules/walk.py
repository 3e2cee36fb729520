"""The walk through the rules: which rule is an event's, told without knowing the past.

Rules form a tree. Siblings are tried in order; the first whose conditions hold takes the event, and its
children may take it from there. Some rules need the past, which the walk does not have: it notes the question and
follows both answers. So the result is a `Residual`, a small graph that the lane runs
(hids.messages.evaluation.ResidualNode).

`judge` is the naive form, which looks at everything itself; the plan uses the same walk with a faster `ask`,
and is tested against this one.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from functools import lru_cache, partial
from typing import NamedTuple

import msgspec

from hids.core.decode.event import NOWHERE, Event, Origin, decode, undecoded
from hids.core.rules.conditions import Condition
from hids.core.rules.rule import Rule, Ruleset
from hids.core.rules.slots import Slots
from hids.messages.evaluation import FINAL, WINDOW, Residual, ResidualNode
from hids.messages.lines import LogLine

_json = msgspec.json.Encoder()

NO_RULE: Residual = ((0, -1, -1, 0),)
"""The event is no rule's."""

_UNFINISHED: ResidualNode = (-1, -1, -1, -1)
"""Holds the place of a question whose answers are being followed; equal to no node, so that none is taken for it."""


class Verdict(msgspec.Struct, frozen=True):
    """What the rules say of one event."""

    residual: Residual
    slots: tuple[bytes | None, ...]
    """Values of `RuleTable.slots`."""
    descriptions: tuple[tuple[int, bytes], ...] = ()
    """(rule, JSON string): those of the residual's rules that name fields of the event."""
    full_log: bool = True
    """False: each rule that may be the event's wants alerts without the line."""
    remembered: bool = True
    """False: no composite will ever show the line as one of those before."""


Ask = Callable[[Condition], bool]


def walk(ruleset: Ruleset, ask: Ask, among: Container[int] | None = None) -> Residual:
    """Go through the tree; `ask` says whether a condition holds.

    Only rules whose index is in `among` can hold, where that is known; the others are not asked about.
    """
    steps = _Walk(ruleset, ask, among)
    steps.siblings(ruleset.top, 0, -1, steps.nothing)
    return tuple(steps.nodes)


class _Walk:
    """Nodes are numbered in the order in which they are reached, so node 0 is the start."""

    def __init__(self, ruleset: Ruleset, ask: Ask, among: Container[int] | None) -> None:
        self._children = ruleset.children
        self._ask = ask
        self._among = among
        self.nodes: list[ResidualNode] = []

    def siblings(self, rules: tuple[Rule, ...], start: int, parent: int, otherwise: Callable[[], int]) -> int:
        """Node of the first rule from `start` on that takes the event; `otherwise()` when none does."""
        for position in range(start, len(rules)):
            rule = rules[position]
            if not self._holds(rule):
                continue
            following = _once(partial(self.siblings, rules, position + 1, parent, otherwise))
            if not rule.asks:
                return self._inside(rule, parent, following)
            if all(map(self._ask, rule.late)):
                return self._asking(rule, rule.asks, following, partial(self._inside, rule, parent, following))
            # The questions have their effects all the same; only a window comes behind these conditions.
            before = tuple(op for op in rule.asks if op != WINDOW)
            return self._asking(rule, before, following, following)
        return otherwise()

    def _asking(
        self, rule: Rule, asks: tuple[int, ...], following: Callable[[], int], inside: Callable[[], int]
    ) -> int:
        """Node of the first question, with the others behind its "yes"; "no" goes on behind the rule."""
        if not asks:
            return inside()
        node = len(self.nodes)
        self.nodes.append(_UNFINISHED)
        self.nodes[node] = (asks[0], rule.index, self._asking(rule, asks[1:], following, inside), following())
        return node

    def _holds(self, rule: Rule) -> bool:
        return (self._among is None or rule.index in self._among) and all(map(self._ask, rule.conditions))

    def _inside(self, rule: Rule, parent: int, following: Callable[[], int]) -> int:
        """Node for an event that `rule` takes: a child's, or its own, or with noalert what follows it."""
        own = following if rule.noalert else _once(lambda: self._add((0, rule.index, parent, 0)))
        return self.siblings(self._children[rule.index], 0, rule.index, own)

    def nothing(self) -> int:
        """Node for an event that no rule takes."""
        return self._add(NO_RULE[0])

    def _add(self, node: ResidualNode) -> int:
        if node in self.nodes:
            return self.nodes.index(node)
        self.nodes.append(node)
        return len(self.nodes) - 1


def _once(make: Callable[[], int]) -> Callable[[], int]:
    """A continuation that several paths share is worked out once."""
    made: list[int] = []

    def get() -> int:
        if not made:
            made.append(make())
        return made[0]

    return get


def base(residual: Residual) -> int:
    """Index of the rule when every question is answered "no"; -1 for none."""
    node = residual[0]
    while node[0]:
        node = residual[node[3]]
    return node[1]


def matters(ruleset: Ruleset, residual: Residual) -> bool:
    """Somebody must hear of an event with this residual: it asks, alerts or feeds a window."""
    if residual[0][0]:
        return True
    index = residual[0][1]
    if index < 0 or ruleset.rules[index].level == 0:
        return False
    return ruleset.rules[index].log >= 0 or bool(ruleset.feeds[index])


class Finals(NamedTuple):
    """What the rules that a residual may end in mean for its events."""

    described: tuple[Rule, ...]
    """Those whose descriptions name fields of the event."""
    full_log: bool
    slots: tuple[int, ...]
    """What the lane may look at."""
    of_log: bool
    """Slots and descriptions follow from the log, whoever sent it and whenever."""
    remembered: bool
    """A composite may show the event's line."""


def finals(ruleset: Ruleset, residual: Residual) -> Finals:
    """The rules of all ends. A rule's parent counts: in Wazuh's sets `ignore` makes it the result."""
    ends = [node for node in residual if node[0] == FINAL and node[1] >= 0]
    indexes = dict.fromkeys(index for node in ends for index in node[1:3] if index >= 0)
    rules = [ruleset.rules[index] for index in {**indexes, **dict.fromkeys(_waiting(ruleset, indexes))}]
    described = tuple(rule for rule in rules if rule.template is not None)
    full_log = not ends or any(ruleset.rules[node[1]].full_log for node in ends)
    slots = slots_of(ruleset)
    needed = slots.needed(_concerned(ruleset, residual))
    templates = (rule.template for rule in described)
    of_log = slots.of_log(needed) and all(template is None or template.of_log for template in templates)
    remembered = (
        len(residual) > 1
        or ruleset.correlation == "compat"
        or bool(_searching(ruleset))
        or any(ruleset.feeds[index] for index in indexes)
    )
    return Finals(described, full_log, needed, of_log, remembered)


def _waiting(ruleset: Ruleset, indexes: Iterable[int]) -> Iterator[int]:
    """Rules that one of these begins and whose alert is about that event (`unless`)."""
    for composite in {composite for index in indexes for composite in ruleset.feeds[index]}:
        window = ruleset.rules[composite].window
        if window is not None and window.source.sequence is not None and window.source.sequence.unless:
            yield composite


def _concerned(ruleset: Ruleset, residual: Residual) -> Iterator[Rule]:
    """Rules that are asked or may be the result, and composites that may count the event."""
    for index in {index for node in residual for index in (node[1:3] if node[0] == FINAL else node[1:2]) if index >= 0}:
        yield ruleset.rules[index]
        counting = {*ruleset.feeds[index], *ruleset.sid_lists[index], *(mark[0] for mark in ruleset.group_marks[index])}
        for composite in counting:
            yield ruleset.rules[composite]
    yield from _searching(ruleset)


@lru_cache(maxsize=8)
def _searching(ruleset: Ruleset) -> tuple[Rule, ...]:
    """Composites that search all past logs, whatever their rules."""
    return tuple(rule for rule in ruleset.rules if rule.window is not None and rule.window.source.regex is not None)


def verdict(residual: Residual, slots: Slots, event: Event, ends: Finals) -> Verdict:
    """Put together what the lane needs of an event that matters."""
    descriptions = tuple(
        [
            (rule.index, _json.encode(rule.template.text(event).decode("utf-8", "replace")))
            for rule in ends.described
            if rule.template is not None
        ]
    )
    return Verdict(residual, slots.values(event, ends.slots), descriptions, ends.full_log, ends.remembered)


@lru_cache(maxsize=8)
def slots_of(ruleset: Ruleset) -> Slots:
    """The slots of a ruleset."""
    return Slots(ruleset.rules)


def judge(ruleset: Ruleset, event: Event) -> Verdict | None:
    """Walk without any plan. None: the event asks, alerts and feeds nothing."""
    residual = naive(ruleset, event)
    if not matters(ruleset, residual):
        return None
    return verdict(residual, slots_of(ruleset), event, finals(ruleset, residual))


def naive(ruleset: Ruleset, event: Event) -> Residual:
    """The walk that asks everything of the event itself. A relayed alert has its rule already."""
    if event.relayed_rule is not None:
        index = ruleset.by_id.get(event.relayed_rule)
        return NO_RULE if index is None else ((0, index, -1, 0),)
    return walk(ruleset, lambda condition: condition.holds(event))


def decoded(ruleset: Ruleset, line: LogLine, origin: Origin = NOWHERE) -> Event:
    """The line as an event with its decoders chosen."""
    event = undecoded(line, ruleset.dialect, origin, log_fw=ruleset.log_fw, blind=ruleset.correlation == "compat")
    decode(ruleset.decoders, event)
    return event
