"""One rule of a check: where to look, and what must be found there.

    f:PATHS                      one of these files is there
    f:PATHS -> CONTENT           a line of one of them is so (hids.core.policy.content)
    d:PATHS                      one of these directories is there
    d:PATHS -> NAME              there is such a file in it, or below it
    d:PATHS -> NAME -> CONTENT   a line of such a file is so
    p:NAME                       a process of this name or program runs; p:r:PATTERN for one that matches
    c:COMMAND -> CONTENT         a line of what it prints is so
    r:KEY -> NAME -> CONTENT     Windows' registry: the key, a value of it, the value's data

`not` before it turns it round. Paths stand with commas between; a `$variable` stands for its text.
"""

import re
from collections.abc import Mapping
from typing import Final, Literal

import msgspec

from hids.core.policy.content import Content, PatternLanguage, parse_content
from hids.errors import ConfigError

RuleKind = Literal["file", "directory", "process", "command", "registry"]

MAX_RULE: Final = 16_384
"""Characters, with variables replaced."""

_KINDS: Final[dict[str, RuleKind]] = {
    "f": "file",
    "d": "directory",
    "p": "process",
    "c": "command",
    "r": "registry",
}
_HEAD = re.compile(r"(?s)\s*((?:(?:not|NOT)\s+|!\s*)*)([fdpcr])\s*:\s*(.*)\Z")
_ARROW = re.compile(r"\s*->(?:\s+|\Z)")
"""Upstream's own policies leave the space before it out here and there."""
_ARROWS: Final[dict[RuleKind, int]] = {"file": 1, "directory": 2, "process": 1, "command": 1, "registry": 2}


class Rule(msgspec.Struct, frozen=True):
    """A rule that can be evaluated."""

    written: str
    kind: RuleKind
    negated: bool
    targets: tuple[str, ...]
    """Paths, or one command, process or registry key."""
    name: Content | None = None
    """Of a file in the directory, of a value of the registry key, or of a process that is told by a pattern."""
    content: Content | None = None


class Unusable(msgspec.Struct, frozen=True):
    """A rule that cannot be evaluated: nothing is said of its check."""

    written: str
    problem: str


def parse_rule(written: str, variables: Mapping[str, str], language: PatternLanguage) -> Rule:
    """Read one rule.

    Raises:
        ConfigError: what was expected and what came.
    """
    head = _HEAD.match(written)
    if head is None:
        raise ConfigError(f"{written[:80]!r}: expected f:, d:, p:, c: or r: with what to look at behind it")
    kind, rest = _KINDS[head[2]], head[3].rstrip("\r\n")
    target, *behind = _ARROW.split(rest, maxsplit=_ARROWS[kind])
    target = _replaced(target.strip(), variables)
    if not target:
        raise ConfigError(f"{written[:80]!r}: there is nothing behind {head[2]}:")
    if kind == "process" and behind:
        raise ConfigError(f"{written[:80]!r}: a process has no content; only p:NAME is possible")
    content, name = (parse_content(behind[-1], language) if behind else None), None
    if kind == "process" and target.startswith(("r:", "!")):
        name = parse_content(target, language)
    if kind in ("directory", "registry"):
        name = parse_content(behind[0], language, ignores_case=kind == "registry") if behind else None
        content = content if len(behind) > 1 else None
    return Rule(
        written=written,
        kind=kind,
        negated=(head[1].lower().count("not") + head[1].count("!")) % 2 == 1,
        targets=_paths(target) if kind in ("file", "directory") else (target,),
        name=name,
        content=content,
    )


def _paths(target: str) -> tuple[str, ...]:
    return tuple(path for path in map(str.strip, target.split(",")) if path)


def _replaced(text: str, variables: Mapping[str, str]) -> str:
    """Put variables' texts in. The longest name that fits counts; a `$` that begins no name is itself."""
    if variables and "$" in text:
        names = "|".join(map(re.escape, sorted(variables, key=len, reverse=True)))
        text = re.sub(names, lambda found: variables[found[0]], text)
    if len(text) > MAX_RULE:
        raise ConfigError(f"{text[:40]!r}...: more than {MAX_RULE} characters")
    return text
