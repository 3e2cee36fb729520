r"""Wazuh's own two pattern languages, on bytes.

`osmatch` looks for literal texts, `osregex` is a small regular expression language whose matcher
(`hids.core.pattern.machine`) is not quite one. An alternative of the latter is *regular* when `re` is known to
find the same; measured over the stock rules two of three are.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from hids.core.pattern.machine import Alternative, Class, Literal, Paren, Token, search
from hids.core.pattern.match import Match

Search = Callable[[bytes], Match | None]

_DIGIT = frozenset(b"0123456789")
_WORD = _DIGIT | frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-@_")
_ALL = frozenset(range(256))
_CLASSES = {
    b"d": _DIGIT,
    b"D": _ALL - _DIGIT,
    b"w": _WORD,
    b"W": _ALL - _WORD,
    b"s": frozenset(b" "),
    b"S": _ALL - frozenset(b" "),
    b"p": frozenset(b"!\"#$%&'()*+,-.:;<=>?[]{|}"),
    b".": _ALL,
    b"t": frozenset(b"\t"),
}
_ESCAPED = b"$()\\|<"
_ASCII_END = 0x80


# ---- osmatch ---------------------------------------------------------------------------------------------


class OsMatch(NamedTuple):
    """An osmatch pattern, ready."""

    matches: Callable[[bytes], bool]
    pcre: bytes | None
    """The same as PCRE2 without case; None for a negated one."""


def os_match(pattern: bytes) -> OsMatch:
    """Read alternatives of `^text$`; a `!` in front negates all of them together. None is wrong."""
    negated = pattern.startswith(b"!")
    texts = pattern[negated:].split(b"|")
    tests = tuple(test for test in map(_text_test, texts) if test is not None)

    def matches(text: bytes) -> bool:
        lower = text.lower()
        return any(test(lower) for test in tests) is not negated

    if len(tests) == 1 and not negated:
        only = tests[0]
        return OsMatch(lambda text: only(text.lower()), _text_pcre(texts))
    return OsMatch(matches, None if negated else _text_pcre(texts))


def _split_anchors(text: bytes) -> tuple[bool, bytes, bool]:
    begin = text.startswith(b"^")
    end = text.endswith(b"$") and len(text) > begin
    return begin, text[begin : len(text) - end], end


def _text_test(text: bytes) -> Callable[[bytes], bool] | None:
    """The test of one alternative on a text in lower case; None: it never matches."""
    begin, literal, end = _split_anchors(text.lower())
    if begin and end:
        return literal.__eq__
    if begin:
        return lambda lower: lower.startswith(literal)
    if end:
        return lambda lower: lower.endswith(literal)
    # Upstream looks bytes beyond ASCII up in a table of signed ones, and misses them.
    return literal.__class__.__contains__ and (lambda lower: literal in lower) if literal.isascii() else None


def _text_pcre(texts: list[bytes]) -> bytes:
    pieces: list[bytes] = []
    for text in texts:
        begin, literal, end = _split_anchors(text)
        if begin or end or literal.isascii():
            pieces.append(b"\\A" * begin + b"".join(map(_literal, literal)) + b"\\z" * end)
    return b"|".join(pieces) if pieces else _NEVER


_NEVER = b"[^\\x00-\\xff]"


# ---- osregex ---------------------------------------------------------------------------------------------


class OsRegex(NamedTuple):
    """An osregex pattern, ready."""

    matches: Callable[[bytes], object]
    search: Search
    pcre: bytes
    """Matches whenever the pattern does, without case."""
    exact: bool
    """... and never else."""
    regular: bool
    """`re` does all of it."""
