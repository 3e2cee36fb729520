"""`Ruleset` -> `RuleTable`: what the lane needs to know of the rules."""

import hashlib
from typing import Any, cast

import msgspec

from hids.core.pattern.pattern import Pattern
from hids.core.rules.compliance import split_groups
from hids.core.rules.composite import Window
from hids.core.rules.mitre import mitre_object
from hids.core.rules.rule import Rule, Ruleset
from hids.core.rules.slots import IGNORE_SLOTS, Slots
from hids.core.rules.walk import slots_of
from hids.messages.rule_table import RuleRow, RuleTable, WindowSpec

_json = msgspec.json.Encoder()


def rule_table(ruleset: Ruleset) -> RuleTable:
    """One row a rule, in load order."""
    slots = slots_of(ruleset)
    sources: list[list[int]] = [[] for _ in ruleset.rules]
    for rule in ruleset.rules:
        for composite in ruleset.feeds[rule.index]:
            sources[composite].append(rule.id)
    rows = tuple(_row(ruleset, rule, slots, sources[rule.index]) for rule in ruleset.rules)
    return RuleTable(ruleset.hash, ruleset.name, slots.names, rows, ruleset.dialect, ruleset.correlation)


def _row(ruleset: Ruleset, rule: Rule, slots: Slots, sources: list[int]) -> RuleRow:
    head, middle, end = rule_object(rule)
    return RuleRow(
        id=rule.id,
        level=rule.level,
        identity=_identity(ruleset.dialect, rule, sources),
        head=head,
        middle=middle,
        end=end,
        window=_spec(ruleset, rule, slots),
        feeds=ruleset.feeds[rule.index],
        ignore_ms=rule.ignore_s * 1000,
        log=rule.log,
        counted=rule.counted,
        ignore_fields=slots.places(IGNORE_SLOTS[word] for word in rule.ignore_fields),
        check_ignored=slots.places(IGNORE_SLOTS[word] for word in rule.check_ignored),
        sid_list=ruleset.sid_lists[rule.index],
        group_marks=ruleset.group_marks[rule.index],
        responds=rule.responds,
    )


def _spec(ruleset: Ruleset, rule: Rule, slots: Slots) -> WindowSpec | None:
    window = rule.window
    if window is None:
        return None
    sequence = window.source.sequence
    return WindowSpec(
        needed=window.needed,
        timeframe_ms=window.timeframe_s * 1000,
        key=slots.places(window.like.same),
        per_agent=window.per_agent,
        different=slots.places(window.like.different),
        different_present=slots.places(window.like.different_present),
        dynamic=slots.places(["dynamic"])[0] if window.like.dynamic else -1,
        regex=slots.regex(window),
        frequency=window.frequency or 0,
        distinct=slots.places(window.like.distinct),
        first=() if sequence is None else tuple(ruleset.by_id[rule_id] for rule_id in sequence.first),
        then=() if sequence is None else tuple(ruleset.by_id[rule_id] for rule_id in sequence.then),
        unless=sequence is not None and sequence.unless,
    )


def rule_object(rule: Rule) -> tuple[bytes, bytes, bytes]:
    """The alert's rule object in Wazuh 4's form: before `"firedtimes":n`, in two parts, and behind it.

    The second part is empty unless the description, which stands between them, differs from event to event.
    """
    head: dict[str, Any] = {"level": rule.level}
    rest: dict[str, Any] = {"id": str(rule.id)}
    if rule.mitre:
        rest["mitre"] = mitre_object(rule.mitre)
    if rule.cve:
        rest["cve"] = rule.cve
    if rule.info:
        rest["info"] = rule.info
    if rule.window is not None and rule.window.frequency is not None:
        rest["frequency"] = rule.window.frequency
    own, compliance = split_groups(rule.groups)
    tail = {"mail": rule.mail, "groups": own} | compliance
    end = b"," + _json.encode(tail)[1:]
    if rule.template is None:
        return _json.encode(head | {"description": rule.description} | rest)[:-1] + b",", b"", end
    return _json.encode(head)[:-1] + b',"description":', b"," + _json.encode(rest)[1:-1] + b",", end


def _identity(dialect: str, rule: Rule, sources: list[int]) -> str:
    """Names what the rule's windows hold: while it stays the same, state survives a reload."""
    window = rule.window
    if window is not None and window.source.regex is not None:
        sources = []  # whatever was logged; the pattern is part of what is counted
    counted = None if window is None else _counted(window)
    conditions = [_plain(c) for c in (*rule.conditions, *rule.late)]
    content = (dialect, rule.id, sources, counted, rule.asks, conditions)
    return hashlib.sha256(_json.encode(content)).hexdigest()[:16]


def _counted(window: Window) -> tuple[object, ...]:
    regex = None if window.source.regex is None else _plain(window.source.regex)
    return window.needed, window.timeframe_s, window.like, window.per_agent, regex, window.source.sequence


def _plain(value: object) -> object:
    """A condition in words that encode the same in every process."""
    if isinstance(value, Pattern):
        return [value.key[0], value.key[1].hex()]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return [type(value).__name__, *map(_plain, msgspec.structs.astuple(value))]
    if isinstance(value, frozenset):
        return sorted(map(_plain, cast("frozenset[object]", value)), key=str)
    if isinstance(value, tuple):
        return list(map(_plain, cast("tuple[object, ...]", value)))
    return str(value)
