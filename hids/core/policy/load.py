"""A policy's YAML -> `Policy`. Members that are not known are left alone, as Wazuh does: its own files have some."""

from collections.abc import Callable, Mapping
from typing import Final, cast

from hids.core.policy.content import PatternLanguage
from hids.core.policy.document import Node, read_document
from hids.core.policy.policy import Check, Condition, Policy, Requirements
from hids.core.policy.rule import Rule, Unusable, parse_rule
from hids.errors import ConfigError

MAX_CHECKS: Final = 5_000
"""Wazuh's largest policy has 482."""
MAX_RULES: Final = 256
"""In one check."""
MAX_ID: Final = 2**31 - 1
MAX_NAME: Final = 256
"""Characters of a policy's id, file and name."""
MAX_TITLE: Final = 1_024
MAX_TEXT: Final = 4_096
"""Characters of a description and the like; longer ones are cut, so that a check's line stays a line."""
MAX_VARIABLES: Final = 64
MAX_REFERENCES: Final = 64
MAX_COMPLIANCE: Final = 64

_LANGUAGES: Final[Mapping[str, PatternLanguage]] = {"osregex": "osregex", "os_regex": "osregex", "pcre2": "pcre2"}
_CONDITIONS: Final[Mapping[str, Condition]] = {"all": "all", "any": "any", "none": "none"}


def load_policy(data: bytes, where: str) -> Policy:
    """Read one policy. Rules that cannot be evaluated are in it as `Unusable`; see `Policy.problems`.

    Args:
        data: the file's bytes.
        where: its path, for messages.

    Raises:
        ConfigError: it is no policy; says where, what was expected and what came.
    """
    root = _map(read_document(data, where), where, "the file")
    head = _map(root.get("policy", ""), where, "policy")
    language = _language(head, "osregex", f"{where}: policy")
    variables = _variables(root.get("variables", ""), where)

    def rules(node: Node, place: str, language: PatternLanguage) -> tuple[Rule | Unusable, ...]:
        written = _list(node, place, "rules")
        if not 0 < len(written) <= MAX_RULES:
            raise ConfigError(f"{place}: expected 1 to {MAX_RULES} rules, got {len(written)}")
        return tuple(_rule(_text(text, place, "a rule"), variables, language) for text in written)

    return Policy(
        id=_named(head, "id", f"{where}: policy", MAX_NAME),
        file=_named(head, "file", f"{where}: policy", MAX_NAME, default=where.rpartition("/")[2]),
        name=_named(head, "name", f"{where}: policy", MAX_NAME),
        description=_words(head, "description"),
        references=_references(head),
        requirements=_requirements(root.get("requirements", ""), where, language, rules),
        checks=_checks(root.get("checks", ""), where, language, rules),
    )


_Rules = Callable[[Node, str, PatternLanguage], tuple[Rule | Unusable, ...]]


def _rule(written: str, variables: Mapping[str, str], language: PatternLanguage) -> Rule | Unusable:
    try:
        return parse_rule(written, variables, language)
    except ConfigError as error:
        return Unusable(written, str(error))


def _requirements(node: Node, where: str, language: PatternLanguage, rules: _Rules) -> Requirements | None:
    if node == "":
        return None
    place = f"{where}: requirements"
    members = _map(node, where, "requirements")
    return Requirements(
        title=_named(members, "title", place, MAX_TITLE, default=""),
        condition=_condition(members, place),
        rules=rules(members.get("rules", ""), place, _language(members, language, place)),
    )


def _checks(node: Node, where: str, language: PatternLanguage, rules: _Rules) -> tuple[Check, ...]:
    found: dict[int, Check] = {}
    written = _list(node, where, "checks")
    if not 0 < len(written) <= MAX_CHECKS:
        raise ConfigError(f"{where}: expected 1 to {MAX_CHECKS} checks, got {len(written)}")
    for number, each in enumerate(written, 1):
        members = _map(each, where, f"check number {number}")
        id_ = _id(members, f"{where}: check number {number}")
        place = f"{where}: check {id_}"
        if id_ in found:
            raise ConfigError(f"{place} is there twice; give one of them another id")
        found[id_] = Check(
            id=id_,
            title=_named(members, "title", place, MAX_TITLE),
            condition=_condition(members, place),
            rules=rules(members.get("rules", ""), place, _language(members, language, place)),
            description=_words(members, "description"),
            rationale=_words(members, "rationale"),
            impact=_words(members, "impact"),
            remediation=_words(members, "remediation"),
            references=_references(members),
            compliance=_compliance(members.get("compliance", ""), place),
        )
    return tuple(found.values())


# ---- members -----------------------------------------------------------------------------------------------


def _map(node: Node, where: str, what: str) -> dict[str, Node]:
    if isinstance(node, dict):
        return node
    raise ConfigError(f"{where}: {what}: expected members with names, got {_shown(node)}")


def _list(node: Node, where: str, what: str) -> list[Node]:
    if isinstance(node, list):
        return node
    raise ConfigError(f"{where}: {what}: expected a list, got {_shown(node)}")


def _text(node: Node, where: str, what: str) -> str:
    if isinstance(node, str):
        return node
    raise ConfigError(f"{where}: {what}: expected a text, got {_shown(node)}; put it in quotes")


def _shown(node: Node) -> str:
    if isinstance(node, str):
        return repr(node[:40]) if node else "nothing"
    return "a list" if isinstance(node, list) else "a map"


def _named(members: dict[str, Node], name: str, where: str, limit: int, default: str | None = None) -> str:
    """A text that names something."""
    value = _text(members.get(name, ""), where, name).strip() or default
    if value is None:
        raise ConfigError(f"{where}: {name} is missing")
    if not value.isprintable():
        raise ConfigError(f"{where}: {name}: expected one line of printable characters, got {value[:40]!r}")
    if len(value) > limit:
        raise ConfigError(f"{where}: {name}: at most {limit} characters, got {len(value)}")
    return value


def _words(members: dict[str, Node], name: str) -> str:
    """A text for people; what is no text is left out."""
    value = members.get(name, "")
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _references(members: dict[str, Node]) -> tuple[str, ...]:
    """Some of Wazuh's files have a text or a map where a list of texts belongs."""
    node = members.get("references", "")
    flat: list[Node] = [node] if isinstance(node, str) else list(node.values()) if isinstance(node, dict) else node
    texts = (next(iter(each.values()), "") if isinstance(each, dict) else each for each in flat)
    return tuple(text[:MAX_TITLE] for text in texts if isinstance(text, str) and text)[:MAX_REFERENCES]


def _compliance(node: Node, where: str) -> dict[str, tuple[str, ...]]:
    """`- pci_dss: ["2.2.4", "10.1"]`."""
    found: dict[str, tuple[str, ...]] = {}
    if node == "":
        return found
    for each in _list(node, where, "compliance"):
        for framework, requirements in _map(each, where, "compliance").items():
            named = [requirements] if isinstance(requirements, str) else _list(requirements, where, framework)
            texts = tuple(_text(text, where, framework)[:MAX_NAME] for text in named)[:MAX_COMPLIANCE]
            found[framework[:MAX_NAME]] = (*found.get(framework[:MAX_NAME], ()), *texts)
    if len(found) > MAX_COMPLIANCE:
        raise ConfigError(f"{where}: compliance: at most {MAX_COMPLIANCE} frameworks, got {len(found)}")
    return found


def _id(members: dict[str, Node], where: str) -> int:
    written = _text(members.get("id", ""), where, "id")
    if not (written.isascii() and written.isdecimal() and len(written) <= len(str(MAX_ID)) and int(written) <= MAX_ID):
        raise ConfigError(f"{where}: id: expected a number from 0 to {MAX_ID}, got {_shown(written)}")
    return int(written)


def _condition(members: dict[str, Node], where: str) -> Condition:
    written = _text(members.get("condition", ""), where, "condition")
    condition = _CONDITIONS.get(written)
    if condition is None:
        raise ConfigError(f"{where}: condition: expected all, any or none, got {_shown(written)}")
    return condition


def _language(members: dict[str, Node], default: PatternLanguage, where: str) -> PatternLanguage:
    written = _text(members.get("regex_type", ""), where, "regex_type")
    if written and written not in _LANGUAGES:
        raise ConfigError(f"{where}: regex_type: expected osregex or pcre2, got {_shown(written)}")
    return _LANGUAGES[written] if written else default


def _variables(node: Node, where: str) -> dict[str, str]:
    if node == "":
        return {}
    variables = _map(node, where, "variables")
    if len(variables) > MAX_VARIABLES:
        raise ConfigError(f"{where}: variables: at most {MAX_VARIABLES}, got {len(variables)}")
    for name, value in variables.items():
        if not name.startswith("$") or len(name) == 1:
            raise ConfigError(f"{where}: variables: expected names such as $sshd_file, got {name[:40]!r}")
        _text(value, where, name)
    return cast("dict[str, str]", variables)
