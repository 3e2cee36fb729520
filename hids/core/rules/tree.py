"""Puts each rule below its parents as it comes: definitions in, the tree of rules out."""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache

from hids.core.dialect import Dialect, Refused
from hids.core.markup import Element
from hids.core.pattern.pattern import Pattern
from hids.core.rules.composite import Sequence as RuleSequence
from hids.core.rules.composite import Source, Window
from hids.core.rules.definition import TEMPLATES, Definition
from hids.core.rules.lists import ListTable
from hids.core.rules.rule import Rule
from hids.errors import Problem

BUILT_IN: dict[Dialect, frozenset[str]] = {
    "ossec": frozenset(
        (
            *("rootcheck", "hostinfo_new", "hostinfo_modified", "syscheck_new_entry", "syscheck_deleted"),
            *("syscheck_integrity_changed", "syscheck_integrity_changed_2nd", "syscheck_integrity_changed_3rd"),
        )
    ),
    "wazuh": frozenset(
        (
            *("rootcheck", "hostinfo_new", "hostinfo_modified", "syscheck_new_entry", "syscheck_deleted"),
            *("syscheck_integrity_changed", "syscollector", "ciscat", "sca", "windows_eventchannel"),
            *(f"syscheck_registry_key_{what}" for what in ("added", "modified", "deleted")),
            *(f"syscheck_registry_value_{what}" for what in ("added", "modified", "deleted")),
        )
    ),
    "hids": frozenset(),
}
"""Decoders that are code upstream: rules may name them, no file defines them."""
MAX_STEPS = 100
"""Levels of the tree, and siblings that let the search go on (questions to the lane, noalert), on any one way down.

A walk keeps each of them in mind, on Python's stack. Our own rules need under 20, OSSEC's under 40.
"""


class Tree:
    """Rules in load order, and who stands below whom."""

    def __init__(
        self,
        speaks: Dialect,
        decoder_names: frozenset[str],
        tables: Mapping[str, ListTable],
        problems: list[Problem],
        refused: list[Refused],
        *,
        compat: bool,
        log_fw: bool,
    ) -> None:
        self._dialect: Dialect = speaks
        self._decoder_names = decoder_names | BUILT_IN[speaks]
        self._tables = tables
        self._problems = problems
        self._refused = refused
        self._compat = compat
        self._log_fw = log_fw
        self.rules: list[Rule] = []
        self._definitions: list[Definition] = []
        self._by_id: dict[int, int] = {}
        self._seen: dict[int, Element] = {}
        self._top: list[int] = []
        self._children: dict[int, list[int]] = {}
        self._instances: list[int] = []
        """How often each rule stands in the tree: children are copied under each copy of a parent."""
        self._later: frozenset[int] = frozenset()
        self._later_groups: list[tuple[int, str]] = []
        self._sid_lists: dict[int, list[int]] = {}
        self._group_marks: dict[int, list[tuple[int, int]]] = {}

    def load(self, groups: Iterable[Element]) -> None:
        """All `<group>` elements, in order."""
        elements = list(groups)
        self._later = frozenset(
            int(child.get("id") or 0)
            for group in elements
            for child in group.children
            if child.name == "rule" and (child.get("id") or "").isdecimal()
        )
        for group in elements:
            name = group.get("name")
            if name is None:
                self._problems.append(group.problem('expected <group name="...">, got no name'))
            for child in group.children:
                if child.name == "rule":
                    self._rule(child, name or "")
                else:
                    self._problems.append(child.problem(f"expected <rule> in a <group>, got <{child.name}>"))
        for index, group_name in self._later_groups:
            self._below_group(index, group_name)

    def _rule(self, element: Element, group: str) -> None:
        definition = Definition(
            element,
            group,
            self._dialect,
            self._problems,
            self._tables,
            compat=self._compat,
            log_fw=self._log_fw,
        )
        if definition.decoded_as is not None and definition.decoded_as not in self._decoder_names:
            definition.drop(f"decoded_as names the decoder {definition.decoded_as!r}, which does not exist")
        if definition.overwrites and self._overwrite(definition):
            return
        known = self._seen.setdefault(definition.id, element)
        if known is not element:
            definition.drop(f"id is already used at {known.file}:{known.line}; choose another")
        parents = self._parents(definition)
        if not self._refuses(definition):
            self._add(definition, parents)
        elif known is element:
            del self._seen[definition.id]

    def _refuses(self, definition: Definition) -> bool:
        """Leave a rule out, as Wazuh does. Elsewhere what is wrong with it is a problem already."""
        if not definition.dropped or self._dialect != "wazuh":
            return False
        place = definition.place
        self._refused.append(Refused("rule", str(definition.id), place.file, place.line, definition.dropped))
        return True

    def _add(self, definition: Definition, parents: list[int] | None) -> None:
        index = len(self.rules)
        rule = definition.rule(index)
        self.rules.append(rule)
        self._definitions.append(definition)
        self._by_id.setdefault(rule.id, index)
        self._instances.append(1 if parents is None else sum(self._instances[parent] for parent in parents))
        if definition.source is not None:
            self._mark(index, definition.source)
            if rule.level == 0:
                return  # never fires, as no event below level 1 is remembered
        if parents is None:
            self._top.append(index)
        for parent in parents or ():
            self._children.setdefault(parent, []).append(index)

    def _overwrite(self, definition: Definition) -> bool:
        """Change a rule in place. False when there is none of its id, which is a new rule for Wazuh."""
        index = self._by_id.get(definition.id)
        if index is None:
            if self._dialect != "wazuh":
                definition.problem("overwrite names a rule that is not loaded before it")
            return False
        if self._refuses(definition):
            return True
        definition.over(self._definitions[index])
        self._definitions[index] = definition
        self.rules[index] = definition.rule(index)
        return True

    def _mark(self, composite: int, source: Source) -> None:
        """Note on the rules loaded so far that a composite counts them."""
        for index, rule in enumerate(self.rules[:composite]):
            if source.sid is not None and rule.id == source.sid:
                self._sid_lists.setdefault(index, []).append(composite)
            if source.group is not None and in_group(rule, source.group, self._dialect):
                self._group_marks.setdefault(index, []).append((composite, self._instances[index]))

    # ---- parents -----------------------------------------------------------------------------------------

    def _parents(self, definition: Definition) -> list[int] | None:
        """Indexes of the rules that this one hangs under; the first of its parent elements decides. None: the top."""
        if definition.has_sids:
            return self._by_ids(definition, "if_sid", definition.if_sid)
        if definition.if_level is not None:
            level = definition.if_level
            found = [rule.index for rule in self.rules if rule.rank >= 100 * level]
            return self._found(definition, found, f"if_level {level}")
        if definition.if_group is not None:
            found = self._in_group(definition.if_group)
            return self._found(definition, found, f"if_group {definition.if_group!r}")
        source = definition.source
        if source is not None and source.regex is None:
            return self._counted(definition, source)
        if self._dialect == "hids" or definition.id in TEMPLATES:
            return None
        return self._template(definition)

    def _counted(self, definition: Definition, source: Source) -> list[int]:
        """A composite hangs under what it counts."""
        if source.sequence is not None:
            return self._of_sequence(definition, source.sequence)
        if source.sid is not None:
            return self._by_ids(definition, "if_matched_sid", (source.sid,))
        name = source.group or ""
        if self._dialect == "hids":
            self._later_groups.append((len(self.rules), name))
            return []
        return self._found(definition, self._in_group(name), f"if_matched_group {name!r}")

    def _of_sequence(self, definition: Definition, sequence: RuleSequence) -> list[int]:
        """It hangs under all that it is about, for they may arrive in any order. What waits for time hangs nowhere."""
        first = self._by_ids(definition, "if_matched_sid", sequence.first)
        then = self._by_ids(definition, "unless" if sequence.unless else "followed_by", sequence.then)
        return [] if sequence.unless else [*first, *then]

    def _by_ids(self, definition: Definition, element: str, ids: Sequence[int]) -> list[int]:
        """Wazuh does without the ids that it does not find, as long as one is left."""
        missing = [rule_id for rule_id in dict.fromkeys(ids) if rule_id not in self._by_id]
        found = [self._by_id[rule_id] for rule_id in dict.fromkeys(ids) if rule_id in self._by_id]
        if missing and not (found and self._dialect == "wazuh"):
            for rule_id in missing:
                later = rule_id in self._later and rule_id != definition.id
                why = "is loaded later; move it before this rule" if later else "does not exist"
                definition.drop(f"{element} names rule {rule_id}, which {why}")
        return found

    def _found(self, definition: Definition, indexes: list[int], what: str) -> list[int]:
        if not indexes:
            definition.drop(f"{what} finds no rule loaded before this one")
        return indexes

    def _in_group(self, name: str) -> list[int]:
        return [rule.index for rule in self.rules if in_group(rule, name, self._dialect)]

    def _template(self, definition: Definition) -> list[int]:
        for rule in self.rules:
            if rule.id in TEMPLATES and rule.category == definition.category:
                return [rule.index]
        definition.problem(
            f"category {definition.category!r} has no rule of its own; load the file with rules 1 to 9 before this one"
        )
        return []

    def _below_group(self, composite: int, name: str) -> None:
        """Hang a composite of ours under every rule of a group, wherever loaded, but never below itself.

        Among composites of one group the later one hangs under the earlier, as an escalation does.
        """
        members = self._in_group(name)
        if not members:
            self._definitions[composite].problem(f"if_matched_group {name!r} finds no rule")
        for member in members:
            later = self.rules[member].window is not None and member >= composite
            if not later and not self._stands_below(composite, member):
                self._children.setdefault(member, []).append(composite)

    def _stands_below(self, top: int, rule: int) -> bool:
        return any(child == rule or self._stands_below(child, rule) for child in self._children.get(top, ()))

    def check_steps(self) -> None:
        """Refuse a tree that a walk could lose itself in."""
        top, children = self.siblings()
        most: dict[int, int] = {}
        waiting = [(rule, _steps(top)) for rule in top]
        while waiting:
            rule, steps = waiting.pop()
            if steps <= most.get(rule.index, 0):
                continue
            most[rule.index] = steps
            if steps > MAX_STEPS:
                text = f"more than {MAX_STEPS} rules nest or let the search go on above it"
                self._definitions[rule.index].problem(f"{text}; use fewer composites or noalert rules")
                return
            below = children[rule.index]
            waiting += [(child, steps + _steps(below)) for child in below]

    # ---- the finished tree -------------------------------------------------------------------------------

    def siblings(self) -> tuple[tuple[Rule, ...], tuple[tuple[Rule, ...], ...]]:
        """The top-level rules and the children of each rule, in the order in which they are tried."""
        return self._in_order(self._top), tuple(
            self._in_order(self._children.get(rule.index, ())) for rule in self.rules
        )

    def _in_order(self, indexes: Iterable[int]) -> tuple[Rule, ...]:
        return tuple(sorted((self.rules[index] for index in indexes), key=lambda rule: (-rule.rank, rule.index)))

    def sid_lists(self) -> tuple[tuple[int, ...], ...]:
        """For each rule, the composites that count it by its id."""
        return tuple(tuple(self._sid_lists.get(rule.index, ())) for rule in self.rules)

    def group_marks(self) -> tuple[tuple[tuple[int, int], ...], ...]:
        """For each rule, (composite that counts its group, times)."""
        return tuple(tuple(self._group_marks.get(rule.index, ())) for rule in self.rules)


def _steps(siblings: Sequence[Rule]) -> int:
    return 1 + sum(rule.noalert or bool(rule.asks) for rule in siblings)


def in_group(rule: Rule, name: str, speaks: Dialect) -> bool:
    """OSSEC looks for the text, or `^text`, in all group text at once; ours compares whole names."""
    if speaks == "hids":
        return name in rule.groups
    return _text_names(rule.group_text, name)


@lru_cache(maxsize=65_536)
def _text_names(group_text: bytes, name: str) -> bool:
    """Many rules share their groups, and each composite asks all rules before it."""
    return bool(_group_pattern(name).matches(group_text))


@lru_cache(maxsize=256)
def _group_pattern(name: str) -> Pattern:
    return Pattern("os_match", name.encode())


def feeds(rules: Sequence[Rule], speaks: Dialect) -> tuple[tuple[int, ...], ...]:
    """Composites whose windows each rule's events enter. Level 0 feeds nothing, no composite feeds itself."""
    composites = [rule for rule in rules if rule.window is not None and rule.level > 0]
    by_sid: dict[int, list[Rule]] = {}
    others: list[Rule] = []
    for composite in composites:
        sid = None if composite.window is None else _sid(composite.window)
        (others if sid is None else by_sid.setdefault(sid, [])).append(composite)
    found: list[tuple[int, ...]] = []
    for rule in rules:
        candidates = (*by_sid.get(rule.id, ()), *others) if rule.level else ()
        found.append(tuple(sorted(c.index for c in candidates if c is not rule and _counts(c, rule, speaks))))
    return tuple(found)


def _sid(window: Window) -> int | None:
    """The one rule that a composite counts; None where it may count several."""
    source = window.source
    return source.sid if source.regex is None and source.sequence is None else None


def _counts(composite: Rule, rule: Rule, speaks: Dialect) -> bool:
    if composite.window is None:
        return False
    source = composite.window.source
    if source.regex is not None:
        return True
    if source.sequence is not None:
        return rule.id in source.sequence.first or rule.id in source.sequence.then
    if speaks != "hids" and rule.index > composite.index:
        return False
    if source.sid is not None:
        return source.sid == rule.id
    return source.group is not None and in_group(rule, source.group, speaks)
