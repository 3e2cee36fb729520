"""One compiled pattern, whatever language it was written in.

`re` on bytes does the work wherever it reads the pattern as PCRE2 does; the `pcre2` library, with a limit on
backtracking, does the rest. OSSEC's patterns fold case as UTF-8, so a text beyond ASCII is matched as `str`
there.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, NamedTuple, Protocol

from hids.core.pattern.ossec import Rewritten, os_match, os_regex
from hids.core.pattern.pcre import UNKNOWN, Forms, translate
from hids.errors import ConfigError

Language = Literal["os_match", "os_regex", "pcre2", "pcre2-caseless"]
"""`pcre2` is ours: case counts and groups keep their places. `pcre2-caseless` is OSSEC's."""

MATCH_LIMIT = 100_000
"""Steps that `pcre2` may take on one text; some 20 ms. PCRE2's own default is ten million."""


TELLING_BYTES = 5
"""Literal bytes that make a pattern rare enough. With 3, OSSEC's rules gave ten times the kinds of scan answers."""


class PatternError(ConfigError):
    """A pattern cannot be used; the text says why."""


class Match(NamedTuple):
    """Where a pattern matched."""

    captures: tuple[bytes | None, ...]
    """The groups; in OSSEC's languages only those that are set, in ours None for an unset one."""
    end: int
    """Offset after the match."""


class _Found(Protocol):
    def groups(self) -> tuple[bytes | None, ...]: ...
    def end(self) -> int: ...


_Search = Callable[[bytes], _Found | None]


class Pattern:
    """A pattern that is ready to run. Equal when language and text are."""

    __slots__ = (
        "_compact",
        "_search",
        "captures",
        "key",
        "loose",
        "matches",
        "scan",
        "scan_is_exact",
        "telling",
        "utf",
    )

    def __init__(self, language: Language, text: bytes) -> None:
        """Compile. Raises PatternError."""
        self.key: tuple[Language, bytes] = (language, text)
        pattern, utf, captures = _rewrite(language, text)
        caseless = language != "pcre2"
        forms = translate(pattern, caseless=caseless)
        self.utf = utf
        """Beyond ASCII a scanner's answer is worth nothing: it folds bytes, the pattern folds letters."""
        self.captures = captures
        """False where the language refuses it as a decoder's regex."""
        readable = pattern.isascii() or not self.utf
        self.scan: bytes | None = forms.scan if readable else None
        """For RE2 and Hyperscan: matches whenever this pattern does. None: they cannot tell."""
        self.loose: bytes | None = forms.loose if readable else None
        """The same for when this pattern is applied to a slice of what is scanned."""
        self.scan_is_exact: bool = forms.exact and readable
        self.telling: bool = readable and forms.literal >= TELLING_BYTES
        """Most texts do not match `loose`, so that it is worth scanning for."""
        self._compact = caseless
        in_bytes = _compile(pattern, forms, caseless=caseless)
        self._search: _Search = _utf_search(pattern, forms, in_bytes) if self.utf else in_bytes
        self.matches: Callable[[bytes], object] = self._search
        """Something true when the pattern occurs in the text."""

    def search(self, text: bytes) -> Match | None:
        """First match in `text`; `^` is its start. To go on behind an earlier match pass a slice."""
        found = self._search(text)
        if found is None:
            return None
        groups = found.groups()
        return Match(tuple(g for g in groups if g is not None) if self._compact else groups, found.end())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Pattern) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def __repr__(self) -> str:
        return f"Pattern({self.key[0]}, {self.key[1]!r})"


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


def _compile(pattern: bytes, forms: Forms, *, caseless: bool) -> _Search:
    """The engine for `pattern`, on bytes."""
    by_python = _compile_re(forms, caseless=caseless)
    if by_python is not None and not forms.risky:
        return by_python
    try:
        return _compile_pcre2(pattern, caseless=caseless)
    except ImportError:
        if by_python is not None:
            return by_python
        raise PatternError(f"pattern {_shown(pattern)} needs the package pcre2; pip install pcre2") from None


def _compile_re(forms: Forms, *, caseless: bool) -> _Search | None:
    if forms.python is None:
        return None
    try:
        return re.compile(forms.python, re.IGNORECASE if caseless else 0).search
    except (re.error, OverflowError, RecursionError):
        return None


def _compile_pcre2(pattern: bytes, *, caseless: bool) -> _Search:
    # Optional: most rulesets get along without it.
    import pcre2  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    library: Any = pcre2
    limited = b"(*LIMIT_MATCH=%d)" % MATCH_LIMIT + pattern
    try:
        search: _Search = library.compile(limited, library.IGNORECASE if caseless else 0).search
    except library.PatternError as error:
        raise PatternError(f"pattern {_shown(pattern)}: {error.msg}") from None

    def within_limit(text: bytes) -> _Found | None:
        try:
            return search(text)
        except library.LibraryError:
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


def _utf_search(pattern: bytes, forms: Forms, in_bytes: _Search) -> _Search:
    """Search that decodes what is not ASCII; invalid bytes are kept as surrogates."""
    if forms is UNKNOWN or forms.python is None:
        raise PatternError(f"pattern {_shown(pattern)} cannot be read")
    try:
        in_text = re.compile(_decoded(forms.python), re.IGNORECASE).search
    except (re.error, OverflowError, RecursionError) as error:
        raise PatternError(f"pattern {_shown(pattern)}: {error}") from None
    always_text = not pattern.isascii()

    def search(text: bytes) -> _Found | None:
        if text.isascii() and not always_text:
            return in_bytes(text)
        found = in_text(_decoded(text))
        return None if found is None else _TextFound(found)

    return search


def _decoded(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _shown(pattern: bytes) -> str:
    return pattern[:80].decode("utf-8", "backslashreplace")
