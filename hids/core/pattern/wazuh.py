r"""Wazuh's own two pattern languages, on bytes.

`osmatch` looks for literal texts, `osregex` is a small regular expression language whose matcher
(`hids.core.pattern.machine`) is not quite one. An alternative of the latter is *regular* when `re` is known to
find the same; measured over the stock rules two of three are.
"""

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple

from hids.core.pattern.machine import Alternative, Class, Literal, Paren, Token, search
from hids.core.pattern.match import Match
from hids.core.pattern.pcre import byte_class

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
MAX_BYTES = 20_480
"""Of one pattern; Wazuh's limit."""
MAX_GROUPS = 256
"""Of one pattern; `analysisd.decoder_order_size`."""


# ---- osmatch ---------------------------------------------------------------------------------------------


class OsMatch(NamedTuple):
    """An osmatch pattern, ready."""

    matches: Callable[[bytes], bool]
    pcre: bytes | None
    """The same as PCRE2 without case; None where there is none."""


def os_match(pattern: bytes) -> OsMatch:
    """Read alternatives of `^text$`; a `!` in front negates all of them together. None is wrong."""
    negated = pattern.startswith(b"!")
    texts = [_Text.read(text) for text in pattern[negated:].split(b"|")]
    tests = tuple(text.test() for text in texts if text.can_match)

    def matches(text: bytes) -> bool:
        lower = text.lower()
        return any(test(lower) for test in tests) is not negated

    if negated or not tests:
        return OsMatch(matches, None)
    return OsMatch(matches, b"|".join(text.pcre() for text in texts if text.can_match))


class _Text(NamedTuple):
    """One alternative of an osmatch."""

    begin: bool
    literal: bytes
    end: bool

    @classmethod
    def read(cls, text: bytes) -> "_Text":
        begin = text.startswith(b"^")
        end = text.endswith(b"$")
        return cls(begin, text[begin : len(text) - end], end)

    @property
    def can_match(self) -> bool:
        """Upstream finds bytes beyond ASCII only where it need not search."""
        return self.begin or self.end or self.literal.isascii()

    def test(self) -> Callable[[bytes], bool]:
        """The test of a text in lower case."""
        literal = self.literal.lower()
        if self.begin and self.end:
            return literal.__eq__
        if self.begin:
            return lambda lower: lower.startswith(literal)
        if self.end:
            return lambda lower: lower.endswith(literal)
        return lambda lower: literal in lower

    def pcre(self) -> bytes:
        return b"\\A" * self.begin + b"".join(map(_escaped, self.literal)) + b"\\z" * self.end


# ---- osregex ---------------------------------------------------------------------------------------------


class OsRegex(NamedTuple):
    """An osregex pattern, ready."""

    matches: Callable[[bytes], object]
    search: Search
    pcre: bytes | None
    """PCRE2 that matches, without case, whenever the pattern does; None where there is none."""
    exact: bool
    """... and never else: all alternatives are regular."""


def os_regex(pattern: bytes) -> OsRegex:
    """Read an osregex. Raises ValueError with what is wrong."""
    alternatives = [a for a in parse(pattern) if _can_match(a)]
    searches = tuple(map(_search, alternatives))

    def first_listed(text: bytes) -> Match | None:
        for one in searches:
            found = one(text)
            if found is not None:
                return found
        return None

    whole = searches[0] if len(searches) == 1 else first_listed
    exact = bool(alternatives) and all(map(is_regular, alternatives))
    matches: Callable[[bytes], object] = whole
    if exact:
        matches = re.compile(b"|".join(map(_regular, alternatives)), re.IGNORECASE).search
    pieces = [_weakened(a) if not is_regular(a) else _regular(a, python=False) for a in alternatives]
    pcre = b"|".join(pieces) if pieces and all(pieces) else None
    return OsRegex(matches, whole, pcre, exact)


def parse(pattern: bytes) -> list[Alternative]:
    """The alternatives of an osregex. Raises ValueError with what is wrong."""
    reader = _Reader(pattern)
    reader.run()
    return reader.alternatives


class _Reader:
    def __init__(self, pattern: bytes) -> None:
        self._pattern = pattern
        self._at = 0
        self._begin = False
        self._tokens: list[Token] = []
        self._groups = 0
        self._open = False
        self.alternatives: list[Alternative] = []

    def run(self) -> None:
        if len(self._pattern) > MAX_BYTES:
            raise ValueError(f"an osregex may have {MAX_BYTES} bytes, this one has {len(self._pattern)}")
        self._start()
        while self._at < len(self._pattern):
            byte = self._pattern[self._at : self._at + 1]
            self._at += 1
            if byte == b"\\":
                self._escape()
            elif byte == b"|":
                self._finish(end=False)
                self._start()
            elif byte in b"()":
                self._paren(byte)
            elif byte == b"$" and self._pattern[self._at : self._at + 1] in (b"", b"|"):
                self._at += 1
                self._finish(end=True)
                if self._at > len(self._pattern):
                    return
                self._start()
            else:
                self._tokens.append(Literal(byte.lower()[0]))
        self._finish(end=False)

    def _start(self) -> None:
        self._begin = self._pattern.startswith(b"^", self._at)
        self._at += self._begin

    def _finish(self, *, end: bool) -> None:
        if self._open:
            raise ValueError("an osregex group must be closed before the next | and the end")
        self.alternatives.append(Alternative(tuple(self._tokens), self._begin, end))
        self._tokens = []

    def _paren(self, byte: bytes) -> None:
        opens = byte == b"("
        if opens is self._open:
            raise ValueError("osregex groups cannot nest; write one ( ) after the other, or \\( for the byte")
        self._open = opens
        self._groups += opens
        if self._groups > MAX_GROUPS:
            raise ValueError(f"an osregex may have {MAX_GROUPS} groups")
        self._tokens.append(Paren())

    def _escape(self) -> None:
        letter = self._pattern[self._at : self._at + 1]
        self._at += 1
        if letter and letter in _ESCAPED:
            self._tokens.append(Literal(letter[0]))
        elif letter in _CLASSES:
            times = self._pattern[self._at : self._at + 1]
            quantified = times in (b"+", b"*")
            self._at += quantified
            self._tokens.append(Class(_CLASSES[letter], times.decode() if quantified else ""))
        else:
            shown = (b"\\" + letter).decode("utf-8", "replace")
            known = "\\d \\D \\w \\W \\s \\S \\p \\t \\. \\$ \\( \\) \\\\ \\| \\<"
            raise ValueError(f"{shown} is no osregex escape; known: {known}")


def is_regular(alternative: Alternative) -> bool:
    """`re` finds what the machine finds: each run ends at a byte that it cannot contain."""
    tokens = alternative.tokens
    pairs = list(itertools.pairwise(tokens))
    return (
        bool(tokens)
        and not any(isinstance(a, Paren) and isinstance(b, Paren) for a, b in pairs)
        and all(_ends_surely(tokens, i) for i, t in enumerate(tokens) if isinstance(t, Class) and t.times)
    )


def _ends_surely(tokens: tuple[Token, ...], i: int) -> bool:
    run = tokens[i]
    following = [token for token in tokens[i + 1 : i + 3] if not isinstance(token, Paren)]
    if not isinstance(run, Class) or run.times == "*":
        return False
    if not following:
        return True
    ahead = following[0]
    if isinstance(ahead, Class):
        return not ahead.times and run.members.isdisjoint(ahead.members)
    return run.members.isdisjoint(_both_cases(ahead.byte))


def _both_cases(byte: int) -> bytes:
    shown = bytes([byte])
    return shown.lower() + shown.upper()


def _can_match(alternative: Alternative) -> bool:
    """Upstream never finds a literal byte beyond ASCII."""
    return all(not isinstance(token, Literal) or token.byte < _ASCII_END for token in alternative.tokens)


def _search(alternative: Alternative) -> Search:
    return _by_re(alternative) if is_regular(alternative) else _by_machine(alternative)


def _by_machine(alternative: Alternative) -> Search:
    literals = [literal.lower() for literal in _literals(alternative)]

    def find(text: bytes) -> Match | None:
        lower = text.lower()
        at = 0
        for literal in literals:
            at = lower.find(literal, at)
            if at < 0:
                return None
            at += len(literal)
        return search(alternative, text)

    return find


def _by_re(alternative: Alternative) -> Search:
    """What a run at the end leaves to a search for what follows is upstream's."""
    run = _last_run(alternative)
    if run is None:
        find = re.compile(_regular(alternative), re.IGNORECASE).search

        def behind(text: bytes) -> Match | None:
            found = find(text)
            return None if found is None else Match(found.groups(), found.end())

        return behind
    find = re.compile(_regular(alternative, marked=run), re.IGNORECASE).search
    parens = sum(isinstance(token, Paren) for token in alternative.tokens[:run])
    group = (parens + 1) // 2 + 1
    closes = isinstance(alternative.tokens[-1], Paren)

    def inside(text: bytes) -> Match | None:
        found = find(text)
        if found is None:
            return None
        groups = found.groups()
        end = found.end()
        resume = (found.start(group) if closes or end == len(text) else end) + 1
        return Match(groups[: group - 1] + groups[group:], min(resume, len(text)))

    return inside


def _last_run(alternative: Alternative) -> int | None:
    """Place of a run that ends the pattern."""
    for i in range(len(alternative.tokens) - 1, -1, -1):
        token = alternative.tokens[i]
        if not isinstance(token, Paren):
            return i if isinstance(token, Class) and token.times else None
    return None


def _regular(alternative: Alternative, *, marked: int = -1, python: bool = True) -> bytes:
    """A regular alternative for `re`, or as PCRE2.

    `marked`: the run that is to be a group of its own.
    """
    pieces = [b"\\A" * alternative.begin]
    last, opened = _last_run(alternative), False
    first = next(t for t in alternative.tokens if not isinstance(t, Paren))
    if python and not alternative.begin and isinstance(first, Class) and first.times:
        # Where a run's start leads nowhere its other bytes do not either; trying them is quadratic.
        pieces.append(b"(?<!" + byte_class(first.members) + b")")
    for i, token in enumerate(alternative.tokens):
        if isinstance(token, Paren):
            opened = not opened
            pieces.append(b"(" if opened else b")")
        elif isinstance(token, Class):
            times = b"" if not token.times else b"+" if i == last else b"+?"
            piece = byte_class(token.members) + times
            pieces.append(b"(" + piece + b")" if i == marked else piece)
        else:
            pieces.append(_escaped(token.byte))
    end = b"\\Z" if python else b"\\z"
    return b"".join(pieces) + end * alternative.end


def _weakened(alternative: Alternative) -> bytes:
    """The literal bytes that every match holds, in order. Empty: there are none."""
    return b"(?s:.*)".join(b"".join(map(_escaped, literal)) for literal in _literals(alternative))


def _literals(alternative: Alternative) -> list[bytes]:
    """The texts that every match of the machine holds, in order."""
    tokens = alternative.tokens
    if len(tokens) > 1 and isinstance(tokens[-2], Class) and not tokens[-2].times:
        tokens = tokens[:-1]  # the machine may stop short of a literal here
    found = [b""]
    for token in tokens:
        if isinstance(token, Literal):
            found[-1] += bytes([token.byte])
        elif found[-1]:
            found.append(b"")
    return [literal for literal in found if literal]


def _escaped(byte: int) -> bytes:
    shown = bytes([byte])
    return shown if shown.isalnum() or byte >= _ASCII_END else b"\\x%02x" % byte
