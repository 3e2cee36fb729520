"""`Ruleset` -> `RuleTable`: what the lane needs to know of the rules."""

import hashlib
from typing import Any, cast

import msgspec

from hids.core.pattern.pattern import Pattern
from hids.core.rules.rule import Rule, Ruleset
from hids.core.rules.walk import slot_names
from hids.messages import RuleRow, RuleTable, WindowSpec

_COMPLIANCE = ("pci_dss", "cis", "gdpr", "gpg13", "hipaa", "nist_800_53", "tsc")
"""Groups with these prefixes are members of their own in Wazuh's alerts, in this order."""

_json = msgspec.json.Encoder()


def rule_table(ruleset: Ruleset) -> RuleTable:
    """One row a rule, in load order."""
    slots = slot_names(ruleset.rules)
    sources: list[list[int]] = [[] for _ in ruleset.rules]
    for rule in ruleset.rules:
        for composite in ruleset.feeds[rule.index]:
            sources[composite].append(rule.id)
    rows = tuple(_row(ruleset, rule, slots, sources[rule.index]) for rule in ruleset.rules)
    return RuleTable(ruleset.hash, ruleset.name, slots, rows)


def _row(ruleset: Ruleset, rule: Rule, slots: tuple[str, ...], sources: list[int]) -> RuleRow:
    head, end = rule_object(rule)
    return RuleRow(
        id=rule.id,
        level=rule.level,
        identity=_identity(ruleset.dialect, rule, sources),
        head=head,
        end=end,
        window=_spec(rule, slots),
        feeds=ruleset.feeds[rule.index],
        ignore_ms=rule.ignore_s * 1000,
        log=rule.log,
    )


def _spec(rule: Rule, slots: tuple[str, ...]) -> WindowSpec | None:
    if rule.window is None:
        return None
    key = tuple(slots.index(name) for name in rule.window.key)
    return WindowSpec(rule.window.needed, rule.window.timeframe_s * 1000, key)


def rule_object(rule: Rule) -> tuple[bytes, bytes]:
    """The alert's rule object in Wazuh 4's form, before and after `"firedtimes":n`."""
    head: dict[str, Any] = {"level": rule.level, "description": rule.description, "id": str(rule.id)}
    if rule.mitre:
        head["mitre"] = {"id": rule.mitre}
    if rule.window is not None and rule.window.frequency is not None:
        head["frequency"] = rule.window.frequency
    own: list[str] = []
    compliance: dict[str, list[str]] = {}
    for group in rule.groups:
        prefix = next((p for p in _COMPLIANCE if group.startswith(p + "_")), None)
        if prefix is None:
            own.append(group)
        else:
            compliance.setdefault(prefix, []).append(group.removeprefix(prefix + "_"))
    tail = {"mail": rule.mail, "groups": own} | {p: compliance[p] for p in _COMPLIANCE if p in compliance}
    return _json.encode(head)[:-1] + b",", b"," + _json.encode(tail)[1:]


def _identity(dialect: str, rule: Rule, sources: list[int]) -> str:
    """Names what the rule's windows hold: while it stays the same, state survives a reload."""
    window = rule.window
    counted = None if window is None else (window.key, window.needed, window.timeframe_s)
    content = (dialect, rule.id, sources, counted, [_plain(c) for c in rule.conditions])
    return hashlib.sha256(_json.encode(content)).hexdigest()[:16]


def _plain(value: object) -> object:
    """A condition in words that encode the same in every process."""
    if isinstance(value, Pattern):
        return [value.key[0], value.key[1].hex()]
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, msgspec.Struct):
        return [type(value).__name__, *map(_plain, msgspec.structs.astuple(value))]
    if isinstance(value, tuple):
        return list(map(_plain, cast("tuple[object, ...]", value)))
    return str(value)
