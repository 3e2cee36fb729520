"""Wazuh's matcher for os_regex, step by step.

It is no backtracking matcher: a walk over the text that takes what it can, looks one token ahead, and comes back
to at most four places. So it misses what a regular expression would find, and finds a little that one would not;
rules have been written against that. `hids.core.pattern.wazuh` uses `re` wherever both are known to agree.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

from hids.core.pattern.match import Match
from hids.core.pattern.pcre import byte_class

MAX_STEPS = 200_000
"""Beside four a byte. The walk can be quadratic; a text on which it takes longer (some 0.2 s) does not match."""
_PLACES = 4
"""Places that it can come back to."""


class Paren(NamedTuple):
    """`(` or `)`. Where it cannot stand for a group, because another one follows, it is the byte `(`."""

    byte: int = ord("(")


class Literal(NamedTuple):
    """One byte, whatever its case."""

    byte: int
    """In lower case."""


class Class(NamedTuple):
    """A set of bytes."""

    members: frozenset[int]
    times: str = ""
    """`+`, `*` or nothing."""


Token = Paren | Literal | Class


class Alternative(NamedTuple):
    """One of the texts between `|`."""

    tokens: tuple[Token, ...]
    begin: bool
    """It starts with `^`."""
    end: bool
    """It ends with `$`."""


def search(alternative: Alternative, text: bytes) -> Match | None:
    """Look for an alternative in a text."""
    return Machine(alternative).search(text)


_PAREN, _LITERAL, _CLASS, _END = range(4)
_NONE: frozenset[int] = frozenset()


class Machine:
    """An alternative, ready to be looked for.

    Bytes that change nothing but the place (inside of a run, or where no attempt can begin) are passed in one step.
    """

    def __init__(self, alternative: Alternative) -> None:
        tokens = alternative.tokens
        self._begin = alternative.begin
        self._end = alternative.end
        self._count = len(tokens)
        self._kinds = [*map(_kind, tokens), _END, _END, _END]
        self._takes = [*map(_bytes, tokens), _NONE, _NONE, _NONE]
        """The bytes that each token takes."""
        self._times = [token.times if isinstance(token, Class) else "" for token in tokens]
        self._paren = [i + 1 if self._kinds[i + 1] == _PAREN else 0 for i in range(self._count)]
        """Place of the parenthesis right behind each token; 0 for none."""
        self._ahead = [i + 1 + bool(self._paren[i]) for i in range(self._count)]
        self._pass = [self._passing(i) if times else None for i, times in enumerate(self._times)]
        start = int(self._kinds[0] == _PAREN)
        self._start = None
        if start < self._count and self._times[start] != "*":
            self._start = re.compile(_class_of(self._takes[start])).search
        parens = [i for i, kind in enumerate(self._kinds) if kind == _PAREN]
        self._groups = list(zip(parens[::2], parens[1::2], strict=True))

    def _passing(self, i: int) -> Callable[[bytes, int], re.Match[bytes] | None]:
        """Matches the bytes of a run at which nothing else can begin."""
        return re.compile(_class_of(self._takes[i] - self._takes[self._ahead[i]]) + b"*").match

    def search(self, text: bytes) -> Match | None:
        """First match."""
        marks: dict[int, int] = {}
        last = self._run(text, marks)
        if last is None:
            return None
        captures: list[bytes] = []
        for opening, closing in self._groups:
            if opening not in marks or closing not in marks:
                break
            captures.append(text[marks[opening] : marks[closing]])
        return Match(tuple(captures), min(last + 1, len(text)))

    def _run(self, text: bytes, marks: dict[int, int]) -> int | None:  # noqa: PLR0912, PLR0915 - upstream's loop
        """The last byte consumed, or the byte that stopped the pattern; None for no match.

        `marks`: place in the text of each parenthesis, by its place in the tokens.
        """
        kinds, takes, all_times, count = self._kinds, self._takes, self._times, self._count
        size, places = len(text), list[tuple[int, int]]()
        p = i = 0  # place in the text, place in the tokens
        last: int | None = 0
        first: int | None = None  # where the last attempt consumed its first byte outside of a run
        seen = False  # the run of a class has a byte already
        for _ in range(MAX_STEPS + 4 * size):
            if p >= size:
                return last if self._ends(i, marks, p, seen=seen) else None
            kind = kinds[i]
            if kind == _PAREN:
                marks[i] = p
                i += 1
                kind = kinds[i]
            if kind == _END and not self._end:
                return last
            byte = text[p]
            if byte in takes[i]:
                times = all_times[i]
                if not times:
                    i += 1
                    first = p if first is None else first
                elif times == "+" and not seen:
                    if paren := self._paren[i]:
                        marks[paren] = p + (p == size - 1)
                    seen = True
                else:
                    seen = True
                    ahead, paren = self._ahead[i], self._paren[i]
                    passed = self._pass[i](text, p).end()  # type: ignore[misc, union-attr]
                    if kinds[ahead] == _END:
                        if paren:
                            marks[paren] = passed
                        p = passed  # and `last` stays, which is why a search goes on inside of the run
                        continue
                    if passed > p:
                        last, p = passed - 1, passed
                        continue
                    if paren:
                        marks[paren] = p
                    if len(places) < _PLACES:
                        places.append((i, p))
                    if kinds[ahead] == _CLASS:
                        i = ahead + (not all_times[ahead])
                    else:
                        i = ahead + 1
                        seen = False
                last = p
                p += 1
                continue
            if kind == _CLASS:
                times, left = all_times[i], count - i
                ends = left == 1 or (not times and left == 2 and kinds[count - 1] != _CLASS)  # noqa: PLR2004
                if ends and seen and last is not None:  # upstream forgets a literal that is left
                    last = p
                    if not self._end:
                        return last
                elif times == "*":
                    last = p - 1
                    i += 1
                    seen = False
                    continue
                elif times and seen:
                    i += 1
                    seen = False
                    continue
                seen = False
            # Go back to where it could have gone another way.
            if places:
                i, p = places.pop()
                p += 1
                continue
            if self._begin:
                return None
            if first is not None:
                p, first = first, None
            i, last = 0, None
            p += 1
            if self._start is not None and not seen:
                found = self._start(text, p)
                p = size if found is None else found.start()
        return None

    def _ends(self, i: int, marks: dict[int, int], p: int, *, seen: bool) -> bool:
        """At the end of the text: whether the tokens that are left may match nothing."""
        behind = i
        while self._is_optional(behind):
            behind += 1
        if self._kinds[behind] == _PAREN:
            marks[behind] = p
        i = self._behind_paren(i)
        if self._kinds[i] == _END:
            return True
        if self._kinds[i] == _CLASS and seen:
            times = self._times[i]
            i += 1
            if times:
                i = self._behind_paren(i)
                if self._kinds[i] == _END:
                    return True
                if self._kinds[i] == _CLASS:
                    times = self._times[i]
                    if times == "+":
                        return False
                    i = self._behind_paren(i + 1) if times else i + 1
                    if times and self._kinds[i] == _END:
                        return True
        # One more that is optional may be left, no second one.
        return self._is_optional(i) and self._kinds[self._behind_paren(i + 1)] == _END

    def _is_optional(self, i: int) -> bool:
        return self._kinds[i] == _CLASS and self._times[i] == "*"

    def _behind_paren(self, i: int) -> int:
        return i + 1 if self._kinds[i] == _PAREN else i


def _kind(token: Token) -> int:
    return _PAREN if isinstance(token, Paren) else _CLASS if isinstance(token, Class) else _LITERAL


def _bytes(token: Token) -> frozenset[int]:
    """What a token takes. Literals beyond ASCII take nothing: upstream compares signed with unsigned bytes."""
    if isinstance(token, Class):
        return token.members
    shown = bytes([token.byte])
    return frozenset(shown.lower() + shown.upper()) if shown.isascii() else _NONE


def _class_of(members: frozenset[int]) -> bytes:
    return byte_class(members) if members else b"(?!)"
