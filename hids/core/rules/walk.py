"""The walk through the rules: which rule is an event's, told without knowing the past.

Rules form a tree. Siblings are tried in order; the first whose conditions hold takes the event, and its
children may take it from there. Composites need the past, which the walk does not have: it notes an Ask and
follows both answers. So the result is a `Residual`, a small graph that the lane runs
(hids.messages.ResidualNode).

`judge` is the naive form, which looks at everything itself; the plan uses the same walk with a faster `ask`,
and is tested against this one.
"""

from collections.abc import Callable, Container
from functools import partial
from typing import NamedTuple

from hids.core.decode.event import Event, decode
from hids.core.decode.header import read_header
from hids.core.rules.conditions import Condition, field
from hids.core.rules.rule import Rule, Ruleset
from hids.messages import LogLine, Residual, ResidualNode

NO_RULE: Residual = ((0, -1, -1, 0),)
"""The event is no rule's."""


class Verdict(NamedTuple):
    """What the rules say of one event."""

    residual: Residual
    slots: tuple[bytes | None, ...]
    """Values of `RuleTable.slots`."""
    event: Event


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
            if rule.window is None:
                return self._inside(rule, parent, following)
            node = len(self.nodes)
            self.nodes.append(NO_RULE[0])
            self.nodes[node] = (1, rule.index, self._inside(rule, parent, following), following())
            return node
        return otherwise()

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
    """Index of the rule when every composite is answered "no"; -1 for none."""
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


def slot_values(slots: tuple[str, ...], event: Event) -> tuple[bytes | None, ...]:
    """What windows may key on. `location` is the host and, in our dialect, the file as well."""
    return tuple(_slot(name, event) for name in slots)


def _slot(name: str, event: Event) -> bytes | None:
    if name == "user":
        return field(event, ("dstuser", "srcuser"))
    if name != "location":
        return field(event, (name,))
    if event.dialect == "ossec":
        return event.hostname
    return (event.hostname or b"") + b"->" + event.location.encode("utf-8", "surrogateescape")


def slot_names(rules: tuple[Rule, ...]) -> tuple[str, ...]:
    """Every field that some composite keys on."""
    return tuple(sorted({name for rule in rules if rule.window is not None for name in rule.window.key}))


def judge(ruleset: Ruleset, line: LogLine, host: bytes | None = None) -> Verdict | None:
    """Decode and walk without any plan. None: the event asks, alerts and feeds nothing."""
    event = decoded(ruleset, line, host)
    residual = walk(ruleset, lambda condition: condition.holds(event))
    if not matters(ruleset, residual):
        return None
    return Verdict(residual, slot_values(slot_names(ruleset.rules), event), event)


def decoded(ruleset: Ruleset, line: LogLine, host: bytes | None = None) -> Event:
    """The line as an event with its decoders chosen."""
    event = Event(line, read_header(line, ruleset.dialect), ruleset.dialect, host)
    decode(ruleset.decoders, event)
    return event
