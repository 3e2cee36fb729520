r"""A PCRE2 pattern, read once and written for the engines that shall run it.

PCRE2 defines what a pattern means. Python's `re` extracts, RE2 and Hyperscan scan for many patterns at once;
each reads some constructs otherwise (`$`, `\s`, `\Z`, `[[:alpha:]]`). So the pattern is taken apart and
every piece is written in words that all of them read alike. What cannot be written so is left to the
`pcre2` library.

For the sets a pattern may be *weakened*: an expression that matches whenever the pattern does, and sometimes
more. A set's "no" then still is a no. `loose` is weakened further, by all anchors and word boundaries, so
that its "no" also holds for any slice of the text.
"""

import re
from collections.abc import Iterable
from functools import lru_cache

import msgspec


class Forms(msgspec.Struct, frozen=True):
    """One pattern as different engines are given it."""

    python: bytes | None
    """For `re`; None: only `pcre2` runs it."""
    risky: bool
    """May backtrack exponentially: better run by `pcre2`, which has a limit."""
    scan: bytes | None
    """For RE2 and Hyperscan; None: not even weakened."""
    loose: bytes | None
    exact: bool
    """`scan` matches exactly the texts that the pattern matches."""
    repeats: bool = False
    """Something in it repeats without bound, so that `re` may need time that grows faster than the text."""
    literal: int = 0
    """Length of the longest literal text in it: with a few bytes, most lines do not match even `loose`."""


UNKNOWN = Forms(python=None, risky=False, scan=None, loose=None, exact=False)
"""A pattern of which nothing can be said."""


def _bytes(*parts: bytes | range) -> frozenset[int]:
    return frozenset(b for part in parts for b in part)


_ASCII_END = 0x80
_DIGIT = _bytes(b"0123456789")
_UPPER = _bytes(range(0x41, 0x5B))
_LOWER = _bytes(range(0x61, 0x7B))
_ALL = _bytes(range(256))
_WORD = _DIGIT | _UPPER | _LOWER | {0x5F}
_SPACE = _bytes(b"\t\n\x0b\x0c\r ")
_HORIZONTAL = _bytes(b"\t \xa0")
_VERTICAL = _bytes(b"\n\x0b\x0c\r\x85")
_CLASSES: dict[bytes, frozenset[int]] = {
    b"d": _DIGIT,
    b"D": _ALL - _DIGIT,
    b"w": _WORD,
    b"W": _ALL - _WORD,
    b"s": _SPACE,
    b"S": _ALL - _SPACE,
    b"h": _HORIZONTAL,
    b"H": _ALL - _HORIZONTAL,
    b"v": _VERTICAL,
    b"V": _ALL - _VERTICAL,
    b"N": _ALL - {0x0A},
}
"""PCRE2's classes in the "C" locale, pcre2pattern(3) "Generic character types"."""
_POSIX: dict[bytes, frozenset[int]] = {
    b"alpha": _UPPER | _LOWER,
    b"digit": _DIGIT,
    b"alnum": _UPPER | _LOWER | _DIGIT,
    b"upper": _UPPER,
    b"lower": _LOWER,
    b"space": _SPACE,
    b"blank": _bytes(b"\t "),
    b"punct": _bytes(range(0x21, 0x7F)) - _WORD | {0x5F},
    b"xdigit": _DIGIT | _bytes(b"abcdefABCDEF"),
    b"word": _WORD,
    b"print": _bytes(range(0x20, 0x7F)),
    b"graph": _bytes(range(0x21, 0x7F)),
    b"cntrl": _bytes(range(0x20), range(0x7F, 0x80)),
    b"ascii": _bytes(range(0x80)),
}
_CONTROLS: dict[bytes, int] = {b"n": 10, b"r": 13, b"t": 9, b"f": 12, b"a": 7, b"e": 27}

_FLAGS = re.compile(rb"\(\?([is]+)\)")
_GROUP = re.compile(
    rb"\((?:\?(?:"
    rb"(?P<look>=|!|<=|<!)|(?P<atomic>>)|(?P<flags>[is]*):"
    rb"|P?<(?P<name>[A-Za-z_]\w*)>|'(?P<quoted>[A-Za-z_]\w*)'"
    rb")|(?![?*]))"
)
_QUANTIFIER = re.compile(rb"([*+?]|\{\d+(?:,\d*)?\})([+?]?)")
_UNBOUNDED = re.compile(rb"[*+]|\{\d+,\}")
_BACK = re.compile(rb"\\([1-9])(?!\d)")
_HEX = re.compile(rb"\\x([0-9A-Fa-f]{2})")
_POSIX_CLASS = re.compile(rb"\[:(\w+):\]")


class _Unknown(Exception):  # noqa: N818 - not an error: pcre2 takes the pattern
    pass


class _Group:
    """What is known of a group while its end has not come."""

    def __init__(self, *, dotall: bool, hidden: bool = False) -> None:
        self.dotall = dotall
        self.hidden = hidden
        """It only looks ahead or behind."""
        self.repeats = False
        """It holds something that can match one text in several ways."""
        self.ends = False
        """It holds a `$`."""


def translate(pattern: bytes, *, caseless: bool = False) -> Forms:
    """Write `pattern` for each engine. Never raises: what is not understood gives `UNKNOWN`."""
    try:
        return _Translator(pattern, caseless=caseless).run()
    except _Unknown:
        return UNKNOWN


class _Translator:
    def __init__(self, pattern: bytes, *, caseless: bool) -> None:
        self._pattern = pattern
        self._at = 0
        self._caseless = caseless
        self._folds = caseless
        """Some part of it ignores case ..."""
        self._high = False
        """... and some part is about single bytes beyond ASCII."""
        self._exact = True
        self._risky = False
        self._unbounded = False
        self._hidden = 0
        """Depth of groups that only look."""
        self._end_moves = False
        """Something stands behind a `$`."""
        self._closed: _Group | None = None
        """The group that ended just now."""
        self._asserted = False
        """The last piece was an assertion."""
        self._run = self._longest = 0
        """Literal bytes in a row: now, and the most."""
        self._groups = [_Group(dotall=False)]
        self._python: list[bytes] = []
        self._scan: list[tuple[bytes, bytes]] = []
        """Pairs (scan, loose)."""

    def run(self) -> Forms:
        if leading := _FLAGS.match(self._pattern):
            self._caseless = self._caseless or b"i" in leading.group(1)
            self._groups[0].dotall = b"s" in leading.group(1)
            self._at = leading.end()
        self._folds = self._folds or self._caseless
        while self._at < len(self._pattern):
            self._step()
        if len(self._groups) != 1:
            raise _Unknown
        fold = b"(?i)" if self._caseless else b""
        # Beyond ASCII the scanners fold case as Latin-1, PCRE2 and re do not.
        scans = not (self._folds and self._high)
        scan = b"".join(_END_FORM[self._end_moves] if s == _END else s for s, _ in self._scan)
        loose = b"".join(loose for _, loose in self._scan)
        return Forms(
            python=fold + b"".join(self._python),
            risky=self._risky,
            repeats=self._unbounded,
            scan=fold + scan if scans else None,
            loose=fold + loose if scans else None,
            exact=self._exact and not self._end_moves and scans,
            literal=self._longest,
        )

    # ---- output ------------------------------------------------------------------------------------------

    def _emit(self, python: bytes, scan: bytes | None = None, loose: bytes | None = None) -> None:
        self._python.append(python)
        self._closed = None
        self._asserted = loose == b""
        self._run = 0
        if not self._hidden:
            scan = python if scan is None else scan
            self._scan.append((scan, scan if loose is None else loose))

    def _emit_class(self, members: Iterable[int], *, negated: bool = False) -> None:
        self._emit(byte_class(members, negated=negated))

    # ---- reading -----------------------------------------------------------------------------------------

    def _step(self) -> None:
        byte = self._pattern[self._at : self._at + 1]
        if byte == b"\\":
            self._escape()
        elif byte == b"[":
            self._class()
        elif byte == b"(":
            self._open()
        elif byte == b")":
            self._close()
        elif byte in b"*+?{" and self._quantifier():
            return
        else:
            self._at += 1
            self._plain(byte)

    def _plain(self, byte: bytes) -> None:
        if byte == b"|":
            # Alternatives may overlap, which is as bad below a repetition as a repetition.
            self._groups[-1].repeats = True
            self._emit(b"|")
        elif byte == b".":
            self._emit(b"(?s:.)" if self._groups[-1].dotall else b"[^\\n]")
        elif byte == b"^":
            self._emit(b"\\A", loose=b"")
        elif byte == b"$":
            self._end(b"$")
        else:
            self._literal(byte[0])

    def _literal(self, value: int) -> None:
        high = value >= _ASCII_END
        self._high = self._high or high
        shown = bytes([value])
        plain = shown.isalnum() or shown in b" /:,;'\"=<>@%!~_"
        hexed = b"\\x%02x" % value
        run = self._run + 1
        self._emit(
            shown if plain or high else b"\\" + shown if value > ord(" ") else hexed,
            shown if plain else hexed,
        )
        if not self._hidden:
            self._run = run
            self._longest = max(self._longest, run)

    def _end(self, python: bytes) -> None:
        r"""`$` or `\Z`: the end, or before a newline that ends the text."""
        self._groups[-1].ends = True
        self._emit(python, _END, b"")
        self._check_end()

    def _check_end(self) -> None:
        """Unless a group, an alternative or the pattern ends behind it, `$` is weakened away."""
        following = self._pattern[self._at : self._at + 1]
        if following not in {b"", b"|", b")"}:
            self._end_moves = True

    def _escape(self) -> None:
        if match := _HEX.match(self._pattern, self._at):
            self._at = match.end()
            self._literal(int(match.group(1), 16))
            return
        if match := _BACK.match(self._pattern, self._at):
            self._at = match.end()
            self._exact = False
            self._emit(match.group(0), b"(?s:.*)")
            return
        letter = self._pattern[self._at + 1 : self._at + 2]
        self._at += 2
        if letter in _CLASSES and letter:
            self._emit_class(_CLASSES[letter])
        elif letter in _CONTROLS and letter:
            self._literal(_CONTROLS[letter])
        elif letter == b"A":
            self._emit(b"\\A", loose=b"")
        elif letter == b"z":
            self._emit(b"\\Z", b"\\z", b"")
        elif letter == b"Z":
            self._end(b"(?=\\n?\\Z)")
        elif letter == b"b":
            self._emit(b"\\b", loose=b"")
        elif letter == b"B":
            self._emit(b"(?!\\b)", b"\\B", b"")  # re's own \B is never in an empty text
        elif letter and not letter.isalnum():
            self._literal(letter[0])
        else:
            raise _Unknown

    def _quantifier(self) -> bool:
        match = _QUANTIFIER.match(self._pattern, self._at)
        if match is None:
            if self._pattern[self._at : self._at + 2] == b"{,":
                raise _Unknown  # PCRE2 10.43 reads `{,3}` as a quantifier, older ones as text
            return False
        if self._asserted:
            raise _Unknown  # PCRE2 repeats some assertions and refuses others
        self._at = match.end()
        count, kind = match.groups()
        closed = self._closed
        unbounded = _UNBOUNDED.fullmatch(count) is not None
        if closed is not None and closed.ends:
            self._end_moves = True
        if unbounded:
            self._unbounded = True
            self._risky = self._risky or (closed is not None and closed.repeats and kind != b"+")
            self._groups[-1].repeats = True
        self._exact = self._exact and kind != b"+"
        self._emit(match.group(0), count if kind == b"+" else match.group(0))
        return True

    # ---- groups ------------------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._pattern.startswith(b"(?#", self._at):
            self._at = self._pattern.find(b")", self._at) + 1
            if self._at == 0:
                raise _Unknown
            return
        match = _GROUP.match(self._pattern, self._at)
        if match is None:
            raise _Unknown
        self._at = match.end()
        parts = match.groupdict()
        flags = parts["flags"] or b""
        self._folds = self._folds or b"i" in flags
        group = _Group(dotall=self._groups[-1].dotall or b"s" in flags, hidden=parts["look"] is not None)
        self._groups.append(group)
        if parts["look"] is not None:
            # A weakened pattern forgets what it looks at.
            self._emit(match.group(0), b"(?:")
            self._exact = False
            self._hidden += 1
        elif parts["atomic"]:
            self._exact = False
            self._emit(b"(?>", b"(?:")
        elif parts["flags"] is not None:
            self._emit(b"(?i:" if b"i" in flags else b"(?:")
        else:
            name = parts["name"] or parts["quoted"]
            self._emit(b"(?P<" + name + b">" if name else b"(", b"(?:")

    def _close(self) -> None:
        if len(self._groups) == 1:
            raise _Unknown
        self._at += 1
        group = self._groups.pop()
        self._hidden -= group.hidden
        self._emit(b")")
        self._closed = group
        self._asserted = group.hidden
        outer = self._groups[-1]
        outer.repeats = outer.repeats or group.repeats
        if group.ends and not group.hidden:
            outer.ends = True
            self._check_end()

    # ---- classes -----------------------------------------------------------------------------------------

    def _class(self) -> None:
        self._at += 1
        negated = self._pattern.startswith(b"^", self._at)
        self._at += negated
        members: set[int] = set()
        first = True
        while first or not self._pattern.startswith(b"]", self._at):
            first = False
            self._item(members)
        self._at += 1
        if not members:
            raise _Unknown
        self._high = self._high or (any(b >= _ASCII_END for b in members) and not members >= _HIGH)
        self._emit_class(members, negated=negated)

    def _item(self, members: set[int]) -> None:
        if posix := _POSIX_CLASS.match(self._pattern, self._at):
            self._at = posix.end()
            if posix.group(1) not in _POSIX:
                raise _Unknown
            members |= _POSIX[posix.group(1)]
            return
        low = self._member()
        if isinstance(low, frozenset):
            members |= low
            return
        following = self._pattern[self._at : self._at + 2]
        if len(following) == 2 and following[:1] == b"-" and following[1:] != b"]":  # noqa: PLR2004
            self._at += 1
            high = self._member()
            if isinstance(high, frozenset) or high < low:
                raise _Unknown
            members.update(range(low, high + 1))
        else:
            members.add(low)

    def _member(self) -> int | frozenset[int]:
        byte = self._pattern[self._at : self._at + 1]
        if not byte or self._pattern.startswith((b"[:", b"[=", b"[."), self._at):
            raise _Unknown
        if byte != b"\\":
            self._at += 1
            return byte[0]
        if match := _HEX.match(self._pattern, self._at):
            self._at = match.end()
            return int(match.group(1), 16)
        letter = self._pattern[self._at + 1 : self._at + 2]
        self._at += 2
        if not letter or letter == b"N":
            raise _Unknown
        if letter in _CLASSES:
            return _CLASSES[letter]
        if letter in _CONTROLS:
            return _CONTROLS[letter]
        if letter == b"b":
            return 8
        if letter.isalnum():
            raise _Unknown
        return letter[0]


_END = b"<end>"
"""Stands for `$` until it is known whether it may be kept; no other piece is written like this."""
_END_FORM = {False: b"\\n?\\z", True: b""}
_HIGH = _bytes(range(0x80, 0x100))


def byte_class(members: Iterable[int], *, negated: bool = False) -> bytes:
    """Byte values, at least one, as a class that every engine reads alike."""
    return _written(frozenset(members), negated)


@lru_cache(maxsize=4096)
def _written(members: frozenset[int], negated: bool) -> bytes:  # noqa: FBT001 - a key of the cache
    parts: list[bytes] = []
    first, *others = sorted(members)
    start = previous = first
    for value in [*others, 1000]:
        if value == previous + 1:
            previous = value
            continue
        parts.append(_hex(start) if start == previous else _hex(start) + b"-" + _hex(previous))
        start = previous = value
    return (b"[^" if negated else b"[") + b"".join(parts) + b"]"


def _hex(value: int) -> bytes:
    shown = bytes([value])
    return shown if shown.isalnum() else b"\\x%02x" % value
