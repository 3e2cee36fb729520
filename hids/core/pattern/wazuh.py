r"""Wazuh's own two pattern languages, on bytes.

`osmatch` looks for literal texts, `osregex` is a small regular expression language whose matcher
(`hids.core.pattern.machine`) is not quite one. An alternative of the latter is *regular* when `re` is known to
find the same; measured over the stock rules two of three are.
"""

import itertools
import re
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from hids.core.pattern.machine import Alternative, Class, Literal, Machine, Paren, Token
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
LONG_BYTES = 1_024
"""On longer texts the machine, whose steps are counted, stands in for patterns that could keep `re` busy."""
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
    exact = bool(alternatives) and all(map(is_regular, alternatives))
    whole = _when_asked(lambda: _first_listed(alternatives))
    matches: Callable[[bytes], object] = whole
    if exact and not any(map(_tries_again, alternatives)):
        matches = _when_asked(lambda: re.compile(b"|".join(map(_regular, alternatives)), re.IGNORECASE).search)
    pieces = [_regular(a, python=False) if _is_written_as_re(a) else _weakened(a) for a in alternatives]
    pcre = b"|".join(pieces) if pieces and all(pieces) else None
    return OsRegex(matches, whole, pcre, exact)


Answer = TypeVar("Answer")


def _when_asked(make: Callable[[], Callable[[bytes], Answer]]) -> Callable[[bytes], Answer]:
    """What `make` makes, made when the first text comes: of a large ruleset a day's lines ask for a tenth."""
    made: list[Callable[[bytes], Answer]] = []

    def ask(text: bytes) -> Answer:
        if not made:
            made.append(make())
        return made[0](text)

    return ask


def _first_listed(alternatives: list[Alternative]) -> Search:
    searches = tuple(map(_search, alternatives))
    if len(searches) == 1:
        return searches[0]

    def first_listed(text: bytes) -> Match | None:
        for one in searches:
            found = one(text)
            if found is not None:
                return found
        return None

    return first_listed


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
    """`re` finds what the machine finds.

    The machine gives up at the end of the text. Where runs take bytes unseen, another start, or another end of a run
    before, could still have led to a match.
    """
    if not _is_written_as_re(alternative):
        return False
    tokens = alternative.tokens
    again = [token.times for i, token in _runs(tokens) if _ends_at_literal(tokens, i)]
    return "+" not in (again[1:] if alternative.begin else again)


def _tries_again(alternative: Alternative) -> bool:
    """Runs that come back: with several of them `re` may need time that grows faster than the text."""
    return any(_ends_at_literal(alternative.tokens, i) for i, _ in _runs(alternative.tokens))


def _runs(tokens: tuple[Token, ...]) -> list[tuple[int, Class]]:
    return [(i, token) for i, token in enumerate(tokens) if isinstance(token, Class) and token.times]


def _is_written_as_re(alternative: Alternative) -> bool:
    """`re` finds all that the machine finds: of each run it is known where the machine ends it, and where it tries again."""
    tokens = alternative.tokens
    if not tokens or any(isinstance(a, Paren) and isinstance(b, Paren) for a, b in itertools.pairwise(tokens)):
        return False
    runs = [i for i, _ in _runs(tokens)]
    if not all(_ends_outside(tokens, i) or _ends_at_literal(tokens, i) for i in runs):
        return False
    # Where an attempt that began with a run starts anew is known only if the run ends at a byte that it cannot hold.
    return alternative.begin or not runs or runs[0] > isinstance(tokens[0], Paren) or _ends_outside(tokens, runs[0])


def _ends_outside(tokens: tuple[Token, ...], i: int) -> bool:
    """The run ends at a byte that is not of its class, and nothing else is tried."""
    run, ahead = tokens[i], _ahead(tokens, i)
    if not isinstance(run, Class):
        return False
    if isinstance(ahead, Class):
        return run.times == "+" and not ahead.times and run.members.isdisjoint(ahead.members)
    return run.times == "+" if ahead is None else run.members.isdisjoint(_both_cases(ahead.byte))


def _ends_at_literal(tokens: tuple[Token, ...], i: int) -> bool:
    """The run can hold the byte that follows it.

    The machine goes on behind the first such byte, comes back when that leads nowhere, takes one byte unseen, unless it
    is a run of `*`, and looks for the next.
    """
    run, ahead = tokens[i], _ahead(tokens, i)
    return isinstance(run, Class) and isinstance(ahead, Literal) and run.members > frozenset(_both_cases(ahead.byte))


def _ahead(tokens: tuple[Token, ...], i: int) -> Token | None:
    """What follows a token, but for a parenthesis."""
    return next((token for token in tokens[i + 1 : i + 3] if not isinstance(token, Paren)), None)


def _both_cases(byte: int) -> bytes:
    shown = bytes([byte])
    return shown.lower() + shown.upper()


def _can_match(alternative: Alternative) -> bool:
    """Upstream never finds a literal byte beyond ASCII."""
    return all(not isinstance(token, Literal) or token.byte < _ASCII_END for token in alternative.tokens)


def _search(alternative: Alternative) -> Search:
    return _by_re(alternative) if _is_written_as_re(alternative) else _by_machine(alternative)


def _by_machine(alternative: Alternative) -> Search:
    literals = [literal.lower() for literal in _literals(alternative)]
    search = Machine(alternative).search

    def find(text: bytes) -> Match | None:
        lower = text.lower()
        at = 0
        for literal in literals:
            at = lower.find(literal, at)
            if at < 0:
                return None
            at += len(literal)
        return search(text)

    return find


def _by_re(alternative: Alternative) -> Search:
    """By `re`; where that could differ, or take long, by the machine."""
    find, taken = _finder(alternative)
    if not _tries_again(alternative):
        return lambda text: None if (found := find(text)) is None else taken(text, found)
    search = Machine(alternative).search
    if is_regular(alternative):
        return lambda text: (
            search(text) if len(text) > LONG_BYTES else None if (found := find(text)) is None else taken(text, found)
        )
    straight, taken_straight = _finder(alternative, straight=True)
    begins = None if alternative.begin else re.compile(_beginning(alternative), re.IGNORECASE).search

    def confirmed(text: bytes) -> Match | None:
        """What matches without coming back, at the first start there is, is what the machine finds."""
        found = straight(text)
        if found is not None:
            first = None if begins is None else begins(text)
            if first is None or first.start() == found.start():
                return taken_straight(text, found)
        if len(text) <= LONG_BYTES and find(text) is None:
            return None
        return search(text)

    return confirmed


Find = Callable[[bytes], "re.Match[bytes] | None"]
Take = Callable[[bytes, "re.Match[bytes]"], Match]


def _finder(alternative: Alternative, *, straight: bool = False) -> tuple[Find, Take]:
    """The search, and what to make of its match. Where a run ends the pattern, a next search goes on inside of it."""
    run = _last_run(alternative)
    if run is None:
        find = re.compile(_regular(alternative, straight=straight), re.IGNORECASE).search
        return find, lambda _text, found: Match(found.groups(), found.end())
    find = re.compile(_regular(alternative, marked=run, straight=straight), re.IGNORECASE).search
    parens = sum(isinstance(token, Paren) for token in alternative.tokens[:run])
    group = (parens + 1) // 2 + 1
    closes = isinstance(alternative.tokens[-1], Paren)

    def taken(text: bytes, found: re.Match[bytes]) -> Match:
        groups, end = found.groups(), found.end()
        resume = (found.start(group) if closes or end == len(text) else end) + 1
        return Match(groups[: group - 1] + groups[group:], min(resume, len(text)))

    return find, taken


def _beginning(alternative: Alternative) -> bytes:
    """The tokens before the first run."""
    tokens = [token for token in alternative.tokens if not isinstance(token, Paren)]
    runs = _runs(tuple(tokens))
    return b"".join(
        byte_class(token.members) if isinstance(token, Class) else _escaped(token.byte)
        for token in tokens[: runs[0][0]]
    )


def _last_run(alternative: Alternative) -> int | None:
    """Place of a run that ends the pattern."""
    for i in range(len(alternative.tokens) - 1, -1, -1):
        token = alternative.tokens[i]
        if not isinstance(token, Paren):
            return i if isinstance(token, Class) and token.times else None
    return None


def _regular(alternative: Alternative, *, marked: int = -1, python: bool = True, straight: bool = False) -> bytes:
    """A regular alternative for `re`, or as PCRE2.

    `marked`: the run that is to be a group of its own. `straight`: no run comes back.
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
            piece = (
                _run(alternative.tokens, i, python=python, straight=straight)
                if token.times and i != last
                else byte_class(token.members)
            )
            piece += b"+" if i == last else b""
            pieces.append(b"(" + piece + b")" if i == marked else piece)
        else:
            pieces.append(_escaped(token.byte))
    end = b"\\Z" if python else b"\\z"
    return b"".join(pieces) + end * alternative.end


def _run(tokens: tuple[Token, ...], i: int, *, python: bool, straight: bool) -> bytes:
    """A run that something follows."""
    run, stop = tokens[i], _ahead(tokens, i)
    if not isinstance(run, Class):
        raise AssertionError("only classes repeat")  # noqa: TRY004 - a bug of ours
    at_once = b"+" if python else b""  # never to be given back, which scanners cannot write and need not
    if stop is None or _ends_outside(tokens, i):
        return byte_class(run.members) + run.times.encode() + at_once
    if isinstance(stop, Class):
        raise AssertionError("not regular")  # noqa: TRY004 - a bug of ours
    unseen = byte_class(run.members) if run.times == "+" else b""
    part = unseen + byte_class(run.members - frozenset(_both_cases(stop.byte))) + b"*" + at_once
    if straight:
        return part
    return part + b"(?:" + _escaped(stop.byte) + part + b")*" + (b"?" if python else b"")


def _weakened(alternative: Alternative) -> bytes:
    """What every match holds, in order: literal bytes, and what must stand right before them. Empty: there is nothing."""
    return b"(?s:.*)".join(_before(literal) + b"".join(map(_escaped, literal.text)) for literal in _held(alternative))


class _Held(NamedTuple):
    """A text that every match of the machine holds."""

    text: bytes
    after: Token | None
    """What stands before it."""


def _before(literal: _Held) -> bytes:
    """The class that takes the byte before it. From a run that can hold the text's first byte the machine may skip one."""
    after = literal.after
    if not isinstance(after, Class) or after.times == "*":
        return b""
    return byte_class(after.members) if after.members.isdisjoint(_both_cases(literal.text[0])) else b""


def _literals(alternative: Alternative) -> list[bytes]:
    """The texts that every match of the machine holds, in order."""
    return [literal.text for literal in _held(alternative)]


def _held(alternative: Alternative) -> list[_Held]:
    tokens = tuple(token for token in alternative.tokens if not isinstance(token, Paren))
    if len(tokens) > 1 and isinstance(tokens[-2], Class) and not tokens[-2].times:
        tokens = tokens[:-1]  # the machine may stop short of a literal here
    found: list[_Held] = []
    before: Token | None = None
    for token in tokens:
        if isinstance(token, Literal):
            byte = bytes([token.byte])
            if isinstance(before, Literal):
                found[-1] = found[-1]._replace(text=found[-1].text + byte)
            else:
                found.append(_Held(byte, before))
        before = token
    return found


def _escaped(byte: int) -> bytes:
    shown = bytes([byte])
    return shown if shown.isalnum() or byte >= _ASCII_END else b"\\x%02x" % byte
