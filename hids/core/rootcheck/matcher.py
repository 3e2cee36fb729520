r"""Whether a text has a pattern, in time that grows with the text and no faster.

Two languages: OSSEC's os_regex (audit databases), and the part of POSIX extended expressions that databases of trojaned
binaries are written in. Only yes or no is asked, so nothing has to be captured and nothing backtracks: a pattern becomes
alternatives, an alternative a row of byte sets, and all ways to match it are followed at once, one bit each. What does not
repeat is left to `re`, which cannot go astray on it.

The texts are of whoever can write a file that is looked at, so the bound matters more than the speed of the common case; a
literal that must occur is looked for first.
"""

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

from hids.core.pattern.match import PatternError

MAX_PATTERN = 4_096
"""Bytes. The longest of OSSEC's own has some 700."""
MAX_ALTERNATIVES = 256
"""After groups are multiplied out."""
MAX_TOKENS = 2_048
"""In one alternative."""
MAX_DEPTH = 16
"""Of groups within groups."""
MAX_COPIES = 64
"""Of `{n,m}`."""

_ANY = frozenset(range(256))
_OS_CLASSES = {
    b"d": frozenset(b"0123456789"),
    b"w": frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789@_-"),
    b"s": frozenset(b" "),
    b"p": frozenset(b"!\"#$%&'()*+,-.:;<=>?[]{|}"),
    b"t": frozenset(b"\t"),
}
_OS_LITERALS = b"$()\\|<{}[]"
_POSIX_CLASSES = {
    b"alpha": rb"[A-Za-z]",
    b"digit": rb"[0-9]",
    b"alnum": rb"[A-Za-z0-9]",
    b"upper": rb"[A-Z]",
    b"lower": rb"[a-z]",
    b"space": rb"[ \t\n\v\f\r]",
    b"blank": rb"[ \t]",
    b"punct": rb"[!-/:-@\[-`{-~]",
    b"xdigit": rb"[0-9A-Fa-f]",
    b"print": rb"[ -~]",
}


class Token(NamedTuple):
    """One place of an alternative."""

    members: frozenset[int]
    """The bytes that it takes."""
    optional: bool = False
    repeats: bool = False


class Alternative(NamedTuple):
    """One way to match."""

    tokens: tuple[Token, ...]
    begin: bool = False
    end: bool = False
    never: bool = False
    """It has an anchor where none can hold."""


class Matcher:
    """A pattern, ready."""

    def __init__(self, alternatives: Iterable[Alternative], *, caseless: bool) -> None:
        self._ways = [_way(each, caseless=caseless) for each in alternatives if not each.never]

    def matches(self, text: bytes) -> bool:
        """Whether the pattern occurs in the text; `^` and `$` are the text's ends."""
        return any(way(text) for way in self._ways)


def os_regex(pattern: bytes) -> Matcher:
    """Read an os_regex; letters of either case are equal.

    Raises:
        PatternError: it is none, or larger than the bounds.
    """
    return Matcher(_Reader(pattern, _os_atom).alternatives(), caseless=True)


def extended(pattern: bytes) -> Matcher:
    """Read a POSIX extended expression without groups that repeat; case counts.

    Raises:
        PatternError: it is none, has what is not supported, or is larger than the bounds.
    """
    return Matcher(_Reader(pattern, _posix_atom).alternatives(), caseless=False)


# ---- reading ----------------------------------------------------------------------------------------------------


class _Reader:
    """Takes a pattern apart: `|`, groups and anchors are alike in both languages."""

    def __init__(self, pattern: bytes, atom: Callable[[bytes, int], tuple[tuple[Token, ...], int]]) -> None:
        if not pattern or len(pattern) > MAX_PATTERN:
            raise PatternError(f"a pattern has 1 to {MAX_PATTERN} bytes, this one has {len(pattern)}")
        self._pattern = pattern
        self._atom = atom
        self._at = 0

    def alternatives(self) -> list[Alternative]:
        """All of it."""
        found = self._choice(0)
        if self._at < len(self._pattern):
            raise PatternError(f"a ) without ( at byte {self._at + 1}")
        return found

    def _choice(self, depth: int) -> list[Alternative]:
        if depth > MAX_DEPTH:
            raise PatternError(f"groups within groups, more than {MAX_DEPTH} deep")
        found = self._sequence(depth)
        while self._peek() == b"|":
            self._at += 1
            found += self._sequence(depth)
            _check(found)
        return found

    def _sequence(self, depth: int) -> list[Alternative]:
        ways = [Alternative(())]
        while (byte := self._peek()) and byte not in b"|)":
            if byte == b"(":
                self._at += 1
                inner = self._choice(depth + 1)
                if self._peek() != b")":
                    raise PatternError("a ( without )")
                self._at += 1
                if self._atom is _posix_atom and self._peek() and self._peek() in b"*+?{":
                    raise PatternError("a group that repeats is not supported; write it out")
                ways = [_joined(way, each) for way in ways for each in inner]
            elif byte in b"^$":
                self._at += 1
                ways = [_anchored(way, byte) for way in ways]
            else:
                tokens, self._at = self._atom(self._pattern, self._at)
                ways = [_joined(way, Alternative(tokens)) for way in ways]
            _check(ways)
        return ways

    def _peek(self) -> bytes:
        return self._pattern[self._at : self._at + 1]


def _check(ways: list[Alternative]) -> None:
    if len(ways) > MAX_ALTERNATIVES or any(len(way.tokens) > MAX_TOKENS for way in ways):
        raise PatternError(f"more than {MAX_ALTERNATIVES} alternatives, or {MAX_TOKENS} places in one of them")


def _joined(one: Alternative, other: Alternative) -> Alternative:
    never = one.never or other.never or (one.end and bool(other.tokens)) or (other.begin and bool(one.tokens))
    return Alternative(one.tokens + other.tokens, one.begin or other.begin, one.end or other.end, never)


def _anchored(way: Alternative, anchor: bytes) -> Alternative:
    if anchor == b"$":
        return way._replace(end=True)
    return way._replace(begin=True, never=way.never or bool(way.tokens))


def _os_atom(pattern: bytes, at: int) -> tuple[tuple[Token, ...], int]:
    byte = pattern[at : at + 1]
    if byte != b"\\":
        return (Token(frozenset(byte)),), at + 1
    letter = pattern[at + 1 : at + 2]
    if letter == b".":
        members = _ANY
    elif letter.lower() in _OS_CLASSES and letter not in b"PT":
        members = _OS_CLASSES[letter.lower()]
        members = members if letter.islower() else _ANY - members
    elif letter and letter in _OS_LITERALS:
        members = frozenset(letter)
    else:
        raise PatternError(
            f"\\{letter.decode('latin-1')} is no os_regex escape; known: \\d \\D \\w \\W \\s \\S \\p \\t \\. and "
            "\\ before one of $ ( ) \\ | < { } [ ]"
        )
    quantifier = pattern[at + 2 : at + 3]
    if quantifier and quantifier in b"+*":
        return (Token(members, optional=quantifier == b"*", repeats=True),), at + 3
    return (Token(members),), at + 2


def _posix_atom(pattern: bytes, at: int) -> tuple[tuple[Token, ...], int]:
    byte = pattern[at : at + 1]
    if byte == b"[":
        members, behind = _bracket(pattern, at)
    elif byte == b"\\":
        if at + 1 == len(pattern):
            raise PatternError("a \\ at the end")
        members, behind = frozenset(pattern[at + 1 : at + 2]), at + 2
    elif byte in b"*+?":
        raise PatternError(f"nothing that could repeat before {byte.decode()} at byte {at + 1}")
    else:
        members, behind = _ANY if byte == b"." else frozenset(byte), at + 1
    quantifier = pattern[behind : behind + 1]
    if quantifier and quantifier in b"*+?":
        return (Token(members, optional=quantifier in b"*?", repeats=quantifier in b"*+"),), behind + 1
    if counted := re.compile(rb"\{(\d{1,3})(,(\d{1,3})?)?\}").match(pattern, behind):
        return _copies(members, counted), counted.end()
    return (Token(members),), behind


def _copies(members: frozenset[int], counted: re.Match[bytes]) -> tuple[Token, ...]:
    least = int(counted[1])
    most = least if counted[2] is None else int(counted[3]) if counted[3] else None
    if max(least, most or 0) > MAX_COPIES or (most is not None and most < least):
        raise PatternError(f"{counted[0].decode()}: expected {{n,m}} with n <= m <= {MAX_COPIES}")
    row = (Token(members),) * least
    if most is None:
        return (*row, Token(members, optional=True, repeats=True))
    return (*row, *((Token(members, optional=True),) * (most - least)))


def _bracket(pattern: bytes, at: int) -> tuple[frozenset[int], int]:
    behind = at + 1 + (pattern[at + 1 : at + 2] == b"^")
    first, members = behind, set[int]()
    while True:
        byte = pattern[behind : behind + 1]
        if not byte:
            raise PatternError("a [ without ]")
        if byte == b"]" and behind > first:
            break
        if named := re.compile(rb"\[:([a-z]+):\]").match(pattern, behind):
            if named[1] not in _POSIX_CLASSES:
                raise PatternError(f"{named[0].decode()} is no class of characters")
            members |= {each for each in range(128) if re.fullmatch(_POSIX_CLASSES[named[1]], bytes((each,)))}
            behind = named.end()
            continue
        last = pattern[behind + 2 : behind + 3]
        if pattern[behind + 1 : behind + 2] == b"-" and last and last != b"]":
            members |= set(range(byte[0], last[0] + 1))
            behind += 3
        else:
            members.add(byte[0])
            behind += 1
    taken = frozenset(members)
    return (_ANY - taken if first == at + 2 else taken), behind + 1


# ---- running ----------------------------------------------------------------------------------------------------


def _way(alternative: Alternative, *, caseless: bool) -> Callable[[bytes], bool]:
    tokens = tuple(
        token._replace(members=_both_cases(token.members)) if caseless else token for token in alternative.tokens
    )
    alternative = alternative._replace(tokens=tokens)
    if any(token.optional or token.repeats for token in tokens):
        run = _Automaton(alternative).matches
        literal = _literal(tokens)
        return (lambda text: literal in text.lower() and run(text)) if literal else run
    body = b"".join(map(_class_of, tokens))
    compiled = re.compile((b"\\A" if alternative.begin else b"") + body + (b"\\Z" if alternative.end else b"")).search
    return lambda text: compiled(text) is not None


def _both_cases(members: frozenset[int]) -> frozenset[int]:
    return members | frozenset(bytes(members).lower()) | frozenset(bytes(members).upper())


def _class_of(token: Token) -> bytes:
    if not token.members:
        return b"(?!)"
    return b"[" + b"".join(b"\\x%02x" % byte for byte in sorted(token.members)) + b"]"


def _literal(tokens: tuple[Token, ...]) -> bytes:
    """The longest text, in lower case, that every match has in some case."""
    best, row = b"", b""
    for token in tokens:
        lower = bytes(sorted(set(bytes(token.members).lower())))
        row = row + lower if len(lower) == 1 and not token.optional and not token.repeats else b""
        best = max(best, row, key=len)
    return best


class _Automaton:
    """All ways through an alternative at once: bit i of the state says that i tokens have been passed."""

    def __init__(self, alternative: Alternative) -> None:
        tokens = alternative.tokens
        self._begin, self._end = alternative.begin, alternative.end
        self._optional = sum(1 << i for i, token in enumerate(tokens) if token.optional)
        self._done = 1 << len(tokens)
        self._start = self._closed(1)
        self._moves = [0] * 256
        self._stays = [0] * 256
        for i, token in enumerate(tokens):
            for byte in token.members:
                self._moves[byte] |= 1 << i
                if token.repeats:
                    self._stays[byte] |= 1 << (i + 1)

    def _closed(self, state: int) -> int:
        while (more := state | ((state & self._optional) << 1)) != state:
            state = more
        return state

    def matches(self, text: bytes) -> bool:
        """Whether one of the ways leads through."""
        start = 0 if self._begin else self._start
        state, done, anchored = self._start, self._done, self._end
        moves, stays, optional = self._moves, self._stays, self._optional
        for byte in text:
            if state & done and not anchored:
                return True
            state = ((state & moves[byte]) << 1) | (state & stays[byte])
            if state & optional:
                state = self._closed(state)
            state |= start
            if not state:
                return False
        return bool(state & done)
