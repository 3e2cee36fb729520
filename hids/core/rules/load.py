"""Rule and decoder files -> `Ruleset`. Strict: what is not understood is a problem with file and line.

All problems of all files are collected and raised together. Files are read in the order given; a rule may
refer only to rules loaded before it, as in OSSEC, except that in our dialect a composite over a group hears
of all its rules.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache

from hids.core.decode.load import load_decoders
from hids.core.dialect import Dialect, dialect
from hids.core.markup import OSSEC_VARIABLE, VARIABLE, Element, expand, read
from hids.core.pattern.pattern import Pattern
from hids.core.rules.definition import Definition
from hids.core.rules.rule import Rule, Ruleset, SourceFile, Window
from hids.errors import Problem, RulesetError

FORMAT = 1
"""Part of a ruleset's hash: raise it when the meaning of a compiled plan or a table changes."""
MAX_STEPS = 100
"""Levels of the tree, and siblings that let the search go on (composites, noalert), on any one way down.

A walk keeps each of them in mind, on Python's stack. Our own rules need under 20, OSSEC's under 40.
"""
_TEMPLATES = range(1, 10)
"""Ids of OSSEC's top-level rules, one a category; they come with its rule files."""


def load(name: str, dialect_name: str, files: Sequence[SourceFile]) -> Ruleset:
    """Read a ruleset: decoders and rules, told apart by their root elements.

    Raises RulesetError with every problem found, ConfigError for a dialect that cannot be read.
    """
    speaks = dialect(dialect_name)
    problems: list[Problem] = []
    decoders: list[Element] = []
    groups: list[Element] = []
    for element in _elements(files, speaks, problems):
        if element.name == "decoder":
            decoders.append(element)
        elif element.name == "group":
            groups.append(element)
        else:
            problems.append(element.problem(f"expected <group>, <decoder> or <var>, got <{element.name}>"))
    tree = load_decoders(decoders, speaks, problems)
    rules = _Loader(speaks, tree.names, problems)
    rules.load(groups)
    rules.check_steps()
    if problems:
        raise RulesetError(problems)
    top, children = rules.tree()
    return Ruleset(
        name,
        speaks,
        _hash(name, speaks, files),
        tree,
        tuple(rules.rules),
        top,
        children,
        _feeds(rules.rules, speaks),
    )


def _elements(files: Sequence[SourceFile], speaks: Dialect, problems: list[Problem]) -> Iterable[Element]:
    variable = OSSEC_VARIABLE if speaks == "ossec" else VARIABLE
    for file in files:
        yield from expand(read(file.path, file.text, problems, strict=speaks == "hids"), variable, problems)


def _hash(name: str, speaks: Dialect, files: Sequence[SourceFile]) -> str:
    digest = hashlib.sha256()
    for part in (
        str(FORMAT).encode(),
        speaks.encode(),
        name.encode(),
        *(p for f in files for p in (f.path.encode(), f.text)),
    ):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()[:16]


class _Loader:
    """Puts each rule below its parents as it comes."""

    def __init__(self, speaks: Dialect, decoder_names: frozenset[str], problems: list[Problem]) -> None:
        self._dialect: Dialect = speaks
        self._decoder_names = decoder_names
        self._problems = problems
        self.rules: list[Rule] = []
        self._by_id: dict[int, Rule] = {}
        self._seen: dict[int, Element] = {}
        self._places: list[tuple[Rule, list[int] | None]] = []
        """Each rule with the indexes of its parents; None: it stands at the top."""
        self._children: dict[int, list[Rule]] = {}
        self._later_groups: list[tuple[Rule, str]] = []

    def load(self, groups: Iterable[Element]) -> None:
        """All `<group>` elements, in order."""
        elements = list(groups)
        self._later = {
            int(child.get("id") or 0)
            for group in elements
            for child in group.children
            if child.name == "rule" and (child.get("id") or "").isdecimal()
        }
        for group in elements:
            name = group.get("name")
            if name is None:
                self._problems.append(group.problem('expected <group name="...">, got no name'))
            for child in group.children:
                if child.name == "rule":
                    self._rule(child, name or "")
                else:
                    self._problems.append(child.problem(f"expected <rule> in a <group>, got <{child.name}>"))
        for rule, group_name in self._later_groups:
            self._below_group(rule, group_name)

    def _rule(self, element: Element, group: str) -> None:
        definition = Definition(element, group, self._dialect, self._problems)
        known = self._seen.setdefault(definition.id, element)
        if known is not element:
            definition.problem(f"id is already used at {known.file}:{known.line}; choose another")
        if definition.decoded_as is not None and definition.decoded_as not in self._decoder_names:
            definition.problem(f"decoded_as names the decoder {definition.decoded_as!r}, which does not exist")
        rule = definition.rule(len(self.rules))
        parents = self._parents(definition, rule)
        self.rules.append(rule)
        self._by_id.setdefault(rule.id, rule)
        self._attach(rule, parents)

    def _attach(self, rule: Rule, parents: list[int] | None) -> None:
        if rule.window is not None and rule.level == 0:
            return  # never fires, as no event below level 1 is remembered
        self._places.append((rule, parents))
        for parent in parents or ():
            self._children.setdefault(parent, []).append(rule)

    # ---- parents -----------------------------------------------------------------------------------------

    def _parents(self, definition: Definition, rule: Rule) -> list[int] | None:
        """Indexes of the rules that this one hangs under; the first of its parent elements decides."""
        if definition.if_sid:
            return self._by_ids(definition, "if_sid", definition.if_sid)
        if definition.if_level is not None:
            level = definition.if_level
            return self._found(definition, [r for r in self.rules if r.rank >= 100 * level], f"if_level {level}")
        if definition.if_group is not None:
            return self._found(definition, self._in_group(definition.if_group), f"if_group {definition.if_group!r}")
        if rule.window is not None:
            return self._window_parents(definition, rule, rule.window)
        if self._dialect == "hids" or definition.id in _TEMPLATES:
            return None
        return self._template(definition)

    def _window_parents(self, definition: Definition, rule: Rule, window: Window) -> list[int]:
        """A composite hangs under what it counts."""
        if window.sid is not None:
            return self._by_ids(definition, "if_matched_sid", (window.sid,))
        name = window.group or ""
        if self._dialect == "ossec":
            return self._found(definition, self._in_group(name), f"if_matched_group {name!r}")
        self._later_groups.append((rule, name))
        return []

    def _by_ids(self, definition: Definition, element: str, ids: Sequence[int]) -> list[int]:
        for rule_id in ids:
            if rule_id not in self._by_id:
                later = rule_id in self._later and rule_id != definition.id
                why = "is loaded later; move it before this rule" if later else "does not exist"
                definition.problem(f"{element} names rule {rule_id}, which {why}")
        return [self._by_id[rule_id].index for rule_id in dict.fromkeys(ids) if rule_id in self._by_id]

    def _found(self, definition: Definition, rules: list[Rule], what: str) -> list[int]:
        if not rules:
            definition.problem(f"{what} finds no rule loaded before this one")
        return [rule.index for rule in rules]

    def _in_group(self, name: str) -> list[Rule]:
        return [rule for rule in self.rules if in_group(rule, name, self._dialect)]

    def _template(self, definition: Definition) -> list[int]:
        for rule in self.rules:
            if rule.id in _TEMPLATES and rule.category == definition.category:
                return [rule.index]
        definition.problem(
            f"category {definition.category!r} has no rule of its own; load rules_config.xml before this file"
        )
        return []

    def _below_group(self, composite: Rule, name: str) -> None:
        """Hang a composite of ours under every rule of a group, wherever loaded, but never below itself.

        Among composites of one group the later one hangs under the earlier, as an escalation does.
        """
        members = self._in_group(name)
        if not members:
            self._problems.append(
                self._seen[composite.id].problem(f"rule {composite.id}: if_matched_group {name!r} finds no rule")
            )
        for member in members:
            later = member.window is not None and member.index >= composite.index
            if not later and not self._stands_below(composite, member):
                self._children.setdefault(member.index, []).append(composite)

    def _stands_below(self, top: Rule, rule: Rule) -> bool:
        below = self._children.get(top.index, [])
        return any(child is rule or self._stands_below(child, rule) for child in below)

    def check_steps(self) -> None:
        """Refuse a tree that a walk could lose itself in."""
        top, children = self.tree()
        most: dict[int, int] = {}
        waiting = [(rule, _steps(top)) for rule in top]
        while waiting:
            rule, steps = waiting.pop()
            if steps <= most.get(rule.index, 0):
                continue
            most[rule.index] = steps
            if steps > MAX_STEPS:
                text = f"rule {rule.id}: more than {MAX_STEPS} rules nest or let the search go on above it"
                self._problems.append(self._seen[rule.id].problem(f"{text}; use fewer composites or noalert rules"))
                return
            below = children[rule.index]
            waiting += [(child, steps + _steps(below)) for child in below]

    # ---- the finished tree -------------------------------------------------------------------------------

    def tree(self) -> tuple[tuple[Rule, ...], tuple[tuple[Rule, ...], ...]]:
        """The top-level rules and the children of each rule, in the order in which they are tried."""
        top = _in_order(rule for rule, parents in self._places if parents is None)
        return top, tuple(_in_order(self._children.get(rule.index, ())) for rule in self.rules)


def _steps(siblings: Sequence[Rule]) -> int:
    return 1 + sum(rule.noalert or rule.window is not None for rule in siblings)


def _in_order(rules: Iterable[Rule]) -> tuple[Rule, ...]:
    return tuple(sorted(rules, key=lambda rule: (-rule.rank, rule.index)))


def in_group(rule: Rule, name: str, speaks: Dialect) -> bool:
    """OSSEC looks for the text, or `^text`, in all group text at once; ours compares whole names."""
    if speaks == "hids":
        return name in rule.groups
    return bool(_group_pattern(name).matches(rule.group_text))


@lru_cache(maxsize=256)
def _group_pattern(name: str) -> Pattern:
    return Pattern("os_match", name.encode())


def _feeds(rules: Sequence[Rule], speaks: Dialect) -> tuple[tuple[int, ...], ...]:
    """Composites whose windows each rule's events enter. Level 0 feeds nothing, no composite feeds itself."""
    composites = [rule for rule in rules if rule.window is not None and rule.level > 0]
    return tuple(
        tuple(c.index for c in composites if c is not rule and _counts(c, rule, speaks)) if rule.level else ()
        for rule in rules
    )


def _counts(composite: Rule, rule: Rule, speaks: Dialect) -> bool:
    window = composite.window
    if window is None or (speaks == "ossec" and rule.index > composite.index):
        return False
    if window.sid is not None:
        return window.sid == rule.id
    return window.group is not None and in_group(rule, window.group, speaks)
