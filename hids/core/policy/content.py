r"""What a line must be like: `!r:^# && r:MaxAuthTries && n:MaxAuthTries\s+(\d+) compare <= 4`.

    TEXT                       the line is this text
    r:PATTERN                  the pattern is found in it
    n:PATTERN compare OP N     the pattern is found in it, and its first group is a number for which that holds
    !TERM                      the term does not hold

Facts from Wazuh's documentation of SCA policies. Its default language, `osregex`, ignores case; `pcre2` does not.
"""

import operator
import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final, Literal

import msgspec

from hids.core.pattern.pattern import Pattern, PatternError
from hids.core.policy.host import Unavailable
from hids.errors import ConfigError

PatternLanguage = Literal["osregex", "pcre2"]

MAX_TERMS: Final = 32

_OPERATORS: Final[dict[str, Callable[[int, int], bool]]] = {
    "<=": operator.le,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"(?s)(.+?)\s*\bcompare\s+(<=|>=|==|!=|<|>)\s*(-?[0-9]{1,18})\s*\Z")
_NUMBER = re.compile(rb"\s*([+-]?[0-9]{1,18})\s*\Z")


class Term(msgspec.Struct, frozen=True):
    """One of the conditions that `&&` joins."""

    negated: bool
    text: bytes = b""
    """The whole line, when there is no pattern."""
    pattern: Pattern | None = None
    operator: str = ""
    """How the pattern's first group compares with `number`; empty: it need only be found."""
    number: int = 0
    ignores_case: bool = False
    """Of a whole line: names in Windows' registry are the same in any case."""

    def holds(self, line: bytes) -> bool:
        """Ask one line.

        Raises:
            Unavailable: what should be a number is none.
        """
        return self._found(line) != self.negated

    def _found(self, line: bytes) -> bool:
        if self.pattern is None:
            return line == self.text or (self.ignores_case and _folded(line) == _folded(self.text))
        if not self.operator:
            return bool(self.pattern.matches(line))
        match = self.pattern.search(line)
        if match is None:
            return False
        captured = match.captures[0] if match.captures else None
        number = _NUMBER.match(captured or b"")
        if number is None:
            shown = (captured or b"")[:40].decode("utf-8", "backslashreplace")
            raise Unavailable(f"expected a number to compare with {self.number}, got {shown!r}")
        return _OPERATORS[self.operator](int(number[1]), self.number)


class Content(msgspec.Struct, frozen=True):
    """All terms hold of one line."""

    terms: tuple[Term, ...]

    def holds(self, line: bytes) -> bool:
        """Ask one line. Raises Unavailable as `Term.holds` does."""
        return all(term.holds(line) for term in self.terms)


def parse_content(text: str, language: PatternLanguage, *, ignores_case: bool = False) -> Content:
    """Read what stands behind an arrow; with `ignores_case` a whole line is the same in any case.

    Raises:
        ConfigError: a pattern or a comparison cannot be used.
    """
    parts = text.split(" && ")
    if len(parts) > MAX_TERMS:
        raise ConfigError(f"more than {MAX_TERMS} conditions joined by &&")
    return Content(tuple(_term(part.lstrip(), language, ignores_case=ignores_case) for part in parts))


def _folded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape").casefold()


def _term(written: str, language: PatternLanguage, *, ignores_case: bool) -> Term:
    text, negated = written, False
    while text.startswith("!"):
        text, negated = text[1:], not negated
    if text.startswith("r:"):
        return Term(negated, pattern=_pattern(text[2:], language))
    if text.startswith("n:"):
        found = _COMPARISON.match(text[2:])
        if found is None:
            raise ConfigError(
                rf"{written!r}: expected n:PATTERN compare <= NUMBER, such as n:^Port\s+(\d+) compare > 22"
            )
        return Term(negated, pattern=_pattern(found[1], language), operator=found[2], number=int(found[3]))
    return Term(negated, text=text.encode("utf-8", "surrogateescape"), ignores_case=ignores_case)


@lru_cache(maxsize=4096)
def _pattern(text: str, language: PatternLanguage) -> Pattern:
    try:
        return Pattern(language, text.encode("utf-8", "surrogateescape"))
    except PatternError as error:
        raise ConfigError(f"pattern {text!r}: {error}") from error
