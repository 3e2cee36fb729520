"""Wazuh's matcher for os_regex, step by step.

It is no backtracking matcher: a walk over the text that takes what it can, looks one token ahead, and comes back
to at most four places. So it misses what a regular expression would find, and finds a little that one would not;
rules have been written against that. `hids.core.pattern.wazuh` uses `re` wherever both are known to agree.
"""

from typing import NamedTuple

from hids.core.pattern.match import Match

MAX_STEPS = 200_000
"""Beside four a byte. The walk can be quadratic; a text on which it takes longer (some 0.2 s) does not match."""
_PLACES = 4
"""Places that it can come back to."""
_ASCII_END = 0x80


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
    walk = _Walk(alternative, text)
    last = walk.run()
    if last is None:
        return None
    return Match(walk.captures(), min(last + 1, len(text)))


class _Walk:
    def __init__(self, alternative: Alternative, text: bytes) -> None:
        self._tokens = alternative.tokens
        self._begin = alternative.begin
        self._end = alternative.end
        self._text = text
        self._lower = text.lower()
        self._marks: dict[int, int] = {}
        """Place in the text of each parenthesis, by its place in the tokens."""
        self._p = 0
        """Place in the text."""
        self._i = 0
        """Place in the tokens."""
        self._last: int | None = 0
        """The last byte consumed, or the byte that stopped the pattern; None after an attempt that failed."""
        self._seen = False
        """The run of a class has a byte already."""
        self._first: int | None = None
        """Where the last attempt consumed its first byte outside of a run."""
        self._places: list[tuple[int, int]] = []

    def captures(self) -> tuple[bytes, ...]:
        """What stands between each two marks, up to the first that is not set."""
        parens = [i for i, token in enumerate(self._tokens) if isinstance(token, Paren)]
        found: list[bytes] = []
        for opening, closing in zip(parens[::2], parens[1::2], strict=True):
            if opening not in self._marks or closing not in self._marks:
                break
            found.append(self._text[self._marks[opening] : self._marks[closing]])
        return tuple(found)

    def run(self) -> int | None:
        """`_last` of a match, None for none."""
        for _ in range(MAX_STEPS + 4 * len(self._text)):
            if self._p >= len(self._text):
                return self._last if self._ends() else None
            if isinstance(self._token(self._i), Paren):
                self._marks[self._i] = self._p
                self._i += 1
            token = self._token(self._i)
            if token is None and not self._end:
                return self._last
            if self._takes(token):
                continue
            if isinstance(token, Class):
                if self._is_short(token):
                    self._last = self._p
                    if not self._end:
                        return self._last
                elif self._leaves(token):
                    continue
                self._seen = False
            if not self._recovers():
                return None
        return None

    def _token(self, i: int) -> Token | None:
        return self._tokens[i] if i < len(self._tokens) else None

    def _takes(self, token: Token | None) -> bool:
        """Consume a byte with this token, if it can."""
        if token is None:
            return False
        if isinstance(token, Class):
            if self._text[self._p] not in token.members:
                return False
            if token.times:
                self._takes_in_run(token)
                return True
        elif not self._is(token):
            return False
        self._i += 1
        self._first = self._p if self._first is None else self._first
        self._consume()
        return True

    def _consume(self) -> None:
        self._last = self._p
        self._p += 1

    def _is(self, token: Paren | Literal) -> bool:
        """Bytes beyond ASCII never match: upstream compares signed with unsigned ones."""
        return self._lower[self._p] == token.byte < _ASCII_END

    def _takes_in_run(self, token: Class) -> None:
        """A byte of a class that may repeat: it belongs to the run, or is where the next token takes over."""
        paren = isinstance(self._token(self._i + 1), Paren)
        if token.times == "*":
            self._seen = True
        if not self._seen:
            if paren:
                self._marks[self._i + 1] = self._p + (self._p == len(self._text) - 1)
            self._seen = True
            self._consume()
            return
        ahead = self._i + 1 + paren
        token_ahead = self._token(ahead)
        if token_ahead is None:
            if paren:
                self._marks[self._i + 1] = self._p + 1
            self._p += 1  # and `_last` stays, which is why a search goes on inside of the run
            return
        if self._starts(token_ahead):
            if paren:
                self._marks[self._i + 1] = self._p
            if len(self._places) < _PLACES:
                self._places.append((self._i, self._p))
            if isinstance(token_ahead, Class):
                self._i = ahead + (not token_ahead.times)
            else:
                self._i = ahead + 1
                self._seen = False
        self._consume()

    def _starts(self, token: Token) -> bool:
        """The byte at hand can be this token's first."""
        return self._text[self._p] in token.members if isinstance(token, Class) else self._is(token)

    def _is_short(self, token: Class) -> bool:
        """Only this class, which ends here, is left to match: or one more literal, which upstream then forgets."""
        left = len(self._tokens) - self._i
        ends = left == 1 or (not token.times and left == 2 and not isinstance(self._tokens[-1], Class))  # noqa: PLR2004
        return ends and self._seen and self._last is not None

    def _leaves(self, token: Class) -> bool:
        """Go on behind a class that does not take the byte at hand, if it may end here."""
        if token.times == "*":
            self._last = self._p - 1
        elif not (token.times and self._seen):
            return False
        self._i += 1
        self._seen = False
        return True

    def _recovers(self) -> bool:
        """Go back to where it could have gone another way."""
        if self._places:
            self._i, self._p = self._places.pop()
        elif self._begin:
            return False
        else:
            if self._first is not None:
                self._p, self._first = self._first, None
            self._i = 0
            self._last = None
        self._p += 1
        return True

    def _ends(self) -> bool:
        """At the end of the text: whether the tokens that are left may match nothing."""
        i = self._i
        while self._is_optional(i):
            i += 1
        if isinstance(self._token(i), Paren):
            self._marks[i] = self._p
        i = self._behind_paren(self._i)
        token = self._token(i)
        if token is None:
            return True
        if isinstance(token, Class) and self._seen:
            i += 1
            if token.times:
                i = self._behind_paren(i)
                token = self._token(i)
                if token is None:
                    return True
                if isinstance(token, Class):
                    if token.times == "+":
                        return False
                    i = self._behind_paren(i + 1) if token.times else i + 1
                    if token.times and self._token(i) is None:
                        return True
        # One more that is optional may be left, no second one.
        return self._is_optional(i) and self._token(self._behind_paren(i + 1)) is None

    def _is_optional(self, i: int) -> bool:
        token = self._token(i)
        return isinstance(token, Class) and token.times == "*"

    def _behind_paren(self, i: int) -> int:
        return i + 1 if isinstance(self._token(i), Paren) else i
