"""One compiled pattern, whatever language it was written in.

`re` on bytes does the work wherever it reads the pattern as PCRE2 does; the `pcre2` library, with a limit on
backtracking, does the rest. OSSEC's patterns fold case as UTF-8, so a text beyond ASCII is matched as `str`
there.
"""

import codecs
import re
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol

import msgspec

from hids.core.pattern import wazuh
from hids.core.pattern.guard import Guard
from hids.core.pattern.match import Match, PatternError
from hids.core.pattern.ossec import Rewritten, os_match, os_regex
from hids.core.pattern.pcre import UNKNOWN, Forms, translate

__all__ = ["Language", "Match", "Pattern", "PatternError"]

Language = Literal["os_match", "os_regex", "osmatch", "osregex", "pcre2", "pcre2-caseless"]
"""`os_*` are OSSEC's, `osmatch` and `osregex` Wazuh's, by the names that its `type=` gives them.

`pcre2` is ours and Wazuh's: case counts and groups keep their places. `pcre2-caseless` is OSSEC's.
"""

MATCH_LIMIT = 100_000
"""Steps that `pcre2` may take on one text; some 20 ms. PCRE2's own default is ten million."""


LONG_BYTES = 1_024
"""Longer texts are searched by RE2, whose time grows with the text and no faster, wherever it reads the pattern alike.

On shorter ones `re` is faster, and no pattern that it is given takes long.
"""

LONG_MATCH_LIMIT = 5_000
"""Steps that `pcre2` may take from each byte of a long text: a second at the worst."""

TELLING_BYTES = 5
"""Literal bytes that make a pattern rare enough. With 3, OSSEC's rules gave ten times the kinds of scan answers."""


class _Found(Protocol):
    def groups(self) -> tuple[bytes | None, ...]: ...
    def end(self) -> int: ...


_Find = Callable[[bytes], _Found | None]


class Pattern:
    """A pattern that is ready to run. Equal when language and text are."""

    __slots__ = ("_forms", "captures", "engine", "guard", "key", "matches", "search", "utf")

    def __init__(self, language: Language, text: bytes) -> None:
        """Compile. Raises PatternError."""
        self.key: tuple[Language, bytes] = (language, text)
        self.guard = Guard()
        """Counts where its steps did not suffice, and suspends it."""
        ready = _read(language, text, self.guard)
        self.utf: bool = ready.utf
        """It takes letters, not bytes: a scanner has to be given `one_byte_each` of a text."""
        self.captures: bool = ready.captures
        """False where the language refuses it as a decoder's regex."""
        self.engine: str = ready.engine
        """What runs it: `re`, `pcre2`, `text` (plain comparing) or `machine` (Wazuh's own matcher)."""
        self._forms: Forms | Callable[[], Forms] = ready.forms
        self.matches: Callable[[bytes], object] = ready.matches
        """Something true when the pattern occurs in the text."""
        self.search: Callable[[bytes], Match | None] = ready.search
        """First match in a text; `^` is its start. To go on behind an earlier match pass a slice."""

    @property
    def forms(self) -> Forms:
        """How scanners are told of it; worked out when it is first scanned for."""
        if not isinstance(self._forms, Forms):
            self._forms = self._forms()
        return self._forms

    @property
    def scan(self) -> bytes | None:
        """For RE2 and Hyperscan: matches whenever this pattern does. None: they cannot tell."""
        return self.forms.scan

    @property
    def loose(self) -> bytes | None:
        """The same for when this pattern is applied to a slice of what is scanned."""
        return self.forms.loose

    @property
    def scan_is_exact(self) -> bool:
        """`scan` matches exactly the texts that the pattern matches."""
        return self.forms.exact

    @property
    def telling(self) -> bool:
        """Most texts do not match `loose`, so that it is worth scanning for."""
        return self.forms.literal >= TELLING_BYTES

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Pattern({self.key[0]}, {self.key[1]!r})"


class _Ready(NamedTuple):
    """What a language makes of a pattern."""

    matches: Callable[[bytes], object]
    search: Callable[[bytes], Match | None]
    forms: Forms | Callable[[], Forms]
    engine: str
    utf: bool = False
    captures: bool = True


def _read(language: Language, text: bytes, guard: Guard) -> _Ready:
    if language == "osmatch":
        return _osmatch(text)
    if language == "osregex":
        return _osregex(text)
    pattern, utf, captures = _rewrite(language, text)
    caseless = language != "pcre2"
    forms = translate(pattern, caseless=caseless)
    find, engine = _compile(pattern, forms, guard, caseless=caseless)
    if utf:
        find = _utf_search(pattern, forms, find)
    readable = pattern.isascii() or not utf
    return _Ready(
        find, _compact(find) if caseless else _in_place(find), forms if readable else UNKNOWN, engine, utf, captures
    )


def _compact(find: _Find) -> Callable[[bytes], Match | None]:
    """OSSEC leaves groups that are not set out."""

    def search(text: bytes) -> Match | None:
        found = find(text)
        if found is None:
            return None
        groups = found.groups()
        if None in groups:
            groups = tuple([group for group in groups if group is not None])
        return Match(groups, found.end())

    return search


def _in_place(find: _Find) -> Callable[[bytes], Match | None]:
    def search(text: bytes) -> Match | None:
        found = find(text)
        return None if found is None else Match(found.groups(), found.end())

    return search


def _osmatch(text: bytes) -> _Ready:
    ready = wazuh.os_match(text)

    def search(text: bytes) -> Match | None:
        """It takes nothing out; a search goes on behind all of the text."""
        return Match((), len(text)) if ready.matches(text) else None

    return _Ready(ready.matches, search, partial(_scan_forms, ready.pcre, exact=True), "text")


def _osregex(text: bytes) -> _Ready:
    try:
        ready = wazuh.os_regex(text)
    except ValueError as error:
        raise PatternError(str(error)) from None
    engine = "re" if ready.exact else "machine"
    return _Ready(ready.matches, ready.search, partial(_scan_forms, ready.pcre, exact=ready.exact), engine)


def _scan_forms(pcre: bytes | None, *, exact: bool) -> Forms:
    if pcre is None:
        return UNKNOWN
    forms = translate(pcre, caseless=True)
    return forms if exact else msgspec.structs.replace(forms, exact=False)


def _rewrite(language: Language, text: bytes) -> Rewritten:
    if language == "os_match":
        return os_match(text)
    if language == "os_regex":
        try:
            return os_regex(text)
        except ValueError as error:
            raise PatternError(str(error)) from None
    if not text:
        raise PatternError("a pattern must not be empty; leave the element out")
    return Rewritten(text, utf=False)


def _compile(pattern: bytes, forms: Forms, guard: Guard, *, caseless: bool) -> tuple[_Find, str]:
    """The engine for `pattern`, on bytes, and its name."""
    by_python = _compile_re(forms, caseless=caseless)
    if by_python is not None and not forms.risky:
        return _bounded_when_long(by_python, pattern, forms, guard, caseless=caseless), "re"
    try:
        limited = _compile_pcre2(pattern, guard, caseless=caseless)
        return _bounded_when_long(limited, pattern, forms, guard, caseless=caseless), "pcre2"
    except ImportError:
        if by_python is not None:
            return by_python, "re"
        raise PatternError(f"pattern {_shown(pattern)} needs the package pcre2; pip install pcre2") from None


def _compile_re(forms: Forms, *, caseless: bool) -> _Find | None:
    if forms.python is None:
        return None
    try:
        return re.compile(forms.python, re.IGNORECASE if caseless else 0).search
    except (re.error, OverflowError, RecursionError):
        return None


def _bounded_when_long(find: _Find, pattern: bytes, forms: Forms, guard: Guard, *, caseless: bool) -> _Find:
    """`find` for usual texts; for long ones RE2, or `pcre2` with a narrow limit where RE2 reads the pattern otherwise."""
    if not forms.repeats and forms is not UNKNOWN:
        return find

    def bounded() -> _Find:
        linear = None if forms.scan is None else _compile_re2(forms.python, caseless=caseless)
        with suppress(ImportError):
            return linear or _compile_pcre2(pattern, guard, caseless=caseless, limit=LONG_MATCH_LIMIT)
        return linear or find

    def limited() -> _Find:
        with suppress(ImportError):
            return _compile_pcre2(pattern, guard, caseless=caseless, limit=LONG_MATCH_LIMIT)
        return find

    return _other_when_long(find, bounded, limited if _asks_for_the_end(forms) else bounded)


def _other_when_long(find: _Find, other: Callable[[], _Find], before_newline: Callable[[], _Find]) -> _Find:
    """`other` and, for texts that end with a newline, `before_newline` are made when the first long text comes."""
    made: dict[bool, _Find] = {}

    def search(text: bytes) -> _Found | None:
        if len(text) <= LONG_BYTES:
            return find(text)
        newline = text.endswith(b"\n")
        if newline not in made:
            made[newline] = (before_newline if newline else other)()
        return made[newline](text)

    return search


def _asks_for_the_end(forms: Forms) -> bool:
    """Before a last newline `$` holds, but RE2's end does not."""
    return forms.python is not None and any(found[0] in _ENDS for found in _ESCAPED_OR_END.finditer(forms.python))


_ESCAPED_OR_END = re.compile(rb"(?s)\\(.)|\$")
_ENDS = (b"$", b"\\Z")


def _compile_re2(python: bytes | None, *, caseless: bool, utf: bool = False) -> _Find | None:
    """The same search by RE2; None where RE2 cannot."""
    if python is None:
        return None
    try:
        import re2  # noqa: PLC0415 - an agent has no engine  # pyright: ignore[reportMissingTypeStubs]
    except ImportError:
        return None
    library: Any = re2
    options = library.Options()
    options.encoding = library.Options.Encoding.UTF8 if utf else library.Options.Encoding.LATIN1
    options.case_sensitive = not caseless
    options.log_errors = False
    readable = _ESCAPED_OR_END.sub(lambda found: b"\\z" if found[0] in _ENDS else found[0], python)
    try:
        search: _Find = library.compile(readable, options).search
    except library.error:
        return None
    return search


def _compile_pcre2(pattern: bytes, guard: Guard, *, caseless: bool, limit: int = MATCH_LIMIT) -> _Find:
    # Optional: most rulesets get along without it.
    import pcre2  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    library: Any = pcre2
    flags = library.IGNORECASE if caseless else 0
    try:
        library.compile(pattern, flags)  # without our limit before it, so that the position in the message is theirs
        search: _Find = library.compile(b"(*LIMIT_MATCH=%d)" % limit + pattern, flags).search
    except library.PatternError as error:
        raise PatternError(f"pattern {_shown(pattern)}: {error.msg}") from None

    def within_limit(text: bytes) -> _Found | None:
        if guard.skips():
            return None
        try:
            return search(text)
        except library.LibraryError:
            guard.strike()
            return None  # as in the C engines: a text on which the limit is hit does not match

    return within_limit


class _TextFound:
    """A match in decoded text, told in bytes."""

    def __init__(self, match: re.Match[str]) -> None:
        self._match = match

    def groups(self) -> tuple[bytes | None, ...]:
        return tuple(None if g is None else _encoded(g) for g in self._match.groups())

    def end(self) -> int:
        return len(_encoded(self._match.string[: self._match.end()]))


class _BytesFound:
    """A match in `one_byte_each` of a text, told in bytes of the text."""

    def __init__(self, match: Any, text: str) -> None:
        self._match = match
        self._text = text

    def groups(self) -> tuple[bytes | None, ...]:
        spans = [self._match.span(group + 1) for group in range(len(self._match.groups()))]
        return tuple(None if begin < 0 else _encoded(self._text[begin:end]) for begin, end in spans)

    def end(self) -> int:
        return len(_encoded(self._text[: self._match.end()]))


def _by_bytes(linear: _Find) -> _Find:
    """RE2 knows no letters that are no UTF-8; so it gets a byte for each letter."""

    def search(text: bytes) -> _Found | None:
        found = linear(one_byte_each(text))
        return None if found is None else _BytesFound(found, _decoded(text))

    return search


class _LettersFound:
    """A match in `_valid` of a text, told in bytes of the text."""

    def __init__(self, match: Any, valid: bytes, letters: str) -> None:
        self._match = match
        self._valid = valid
        self._letters = letters

    def groups(self) -> tuple[bytes | None, ...]:
        spans = [self._match.span(group + 1) for group in range(len(self._match.groups()))]
        return tuple(None if begin < 0 else self._between(begin, end) for begin, end in spans)

    def end(self) -> int:
        return len(self._between(0, self._match.end()))

    def _between(self, begin: int, end: int) -> bytes:
        first = len(self._valid[:begin].decode())
        return _encoded(self._letters[first : first + len(self._valid[begin:end].decode())])


def _by_letters(linear: _Find) -> _Find:
    """For patterns with letters beyond ASCII. RE2 wants UTF-8, so what is none in a text gets letters that stand for it."""

    def search(text: bytes) -> _Found | None:
        try:
            text.decode()
        except UnicodeDecodeError:
            valid = _valid(text)
            found = linear(valid)
            return None if found is None else _LettersFound(found, valid, _decoded(text))
        return linear(text)

    return search


def _utf_search(pattern: bytes, forms: Forms, in_bytes: _Find) -> _Find:
    """Search that decodes what is not ASCII; invalid bytes are kept as surrogates."""
    if forms is UNKNOWN or forms.python is None:
        raise PatternError(f"pattern {_shown(pattern)} cannot be read")
    try:
        in_text = re.compile(_decoded(forms.python), re.IGNORECASE).search
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"pattern {_shown(pattern)}: {error}") from None
    always_text = not pattern.isascii()

    def by_characters(text: bytes) -> _Found | None:
        found = in_text(_decoded(text))
        return None if found is None else _TextFound(found)

    def bounded() -> _Find:
        readable = None if forms.python is None else _valid(forms.python)
        linear = _compile_re2(readable, caseless=True, utf=always_text)
        if linear is None:
            return by_characters
        return _by_letters(linear) if always_text else _by_bytes(linear)

    long_too = _other_when_long(
        by_characters, bounded, (lambda: by_characters) if _asks_for_the_end(forms) else bounded
    )

    def search(text: bytes) -> _Found | None:
        return in_bytes(text) if text.isascii() and not always_text else long_too(text)

    return search


def one_byte_each(text: bytes) -> bytes:
    """A text for scanners, which know bytes only, of patterns that take letters.

    Each letter beyond ASCII is some byte beyond ASCII: patterns that tell such letters apart are not scanned for. Two of
    them are what an ASCII letter is when case is ignored (the Kelvin sign, and the long s), and become that.
    """
    return _decoded(text).replace("\u212a", "k").replace("\u017f", "s").encode("latin-1", _ONE_BYTE)


def _one_byte(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return b"\xff" * (error.end - error.start), error.end


_ONE_BYTE = "hids-one-byte"
codecs.register_error(_ONE_BYTE, _one_byte)


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


_STAND_INS = {0xDC00 + byte: 0x10FF00 + byte for byte in range(0x80, 0x100)}
"""A letter of a private plane for each byte that is no UTF-8."""


def _valid(text: bytes) -> bytes:
    """UTF-8 with as many letters as `_decoded` has."""
    return _decoded(text).translate(_STAND_INS).encode()


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(pattern: bytes) -> str:
    return pattern[:80].decode("utf-8", "backslashreplace")
