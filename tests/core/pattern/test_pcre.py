"""The rewriting is checked against the library that defines the language, pcre2 itself."""

import re
from typing import Any

import pcre2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.pattern.pattern import Pattern, PatternError
from hids.core.pattern.pcre import UNKNOWN, translate
from hids.core.rules.scan import _hyperscan, _plain, _re2

ATOMS = st.sampled_from(
    [
        *(b"a", b"b", b"c", b"A", b"Z", b" ", b"-", b"_", b"'", b"<", b">", b"{", b"]", b",", b":", b"#", b"&", b"~"),
        *(rb"\d", rb"\w", rb"\s", rb"\S", rb"\W", rb"\D", rb"\h", rb"\H", rb"\v", rb"\N", b".", b"(?:)"),
        *(rb"\.", rb"\/", rb"\x41", rb"\x0b", rb"\xe9", b"\xe9", rb"\n", rb"\r", rb"\t"),
        *(b"[ab]", b"[^ab]", rb"[a-c\d]", b"[[:alpha:]]", b"[^[:space:]]", b"[]x]", rb"[^\W]", rb"[\s-]"),
    ]
)
ANCHORS = st.sampled_from([b"^", b"$", rb"\A", rb"\z", rb"\Z", rb"\b", rb"\B"])
QUANTIFIERS = st.sampled_from(
    [b"", b"", b"", b"?", b"*", b"+", b"{2}", b"{1,2}", b"{1,}", b"+?", b"*?", b"??", b"++", b"?+"]
)
OPENINGS = st.sampled_from(
    [b"(", b"(", b"(?:", b"(?i:", b"(?s:", b"(?=", b"(?!", b"(?<=", b"(?<!", b"(?>", b"(?P<n>", b"(?<m>", b"(?'q'"]
)


def _wrapped(inner: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    pieces = st.tuples(inner, QUANTIFIERS).map(b"".join)
    return st.one_of(
        st.lists(st.one_of(pieces, pieces, pieces, ANCHORS), min_size=1, max_size=4).map(b"".join),
        st.lists(inner, min_size=2, max_size=3).map(b"|".join),
        st.tuples(OPENINGS, inner, st.just(b")"), QUANTIFIERS).map(b"".join),
    )


PATTERNS = st.tuples(
    st.sampled_from([b"", b"", b"(?i)", b"(?s)", b"(?is)"]), st.recursive(ATOMS, _wrapped, max_leaves=8)
).map(b"".join)
TEXTS = st.lists(
    st.sampled_from([bytes([b]) for b in b"aabbccABZ019-_ .\n\t\x0b\r/'<>{}]:\xe9\xc9\xa0\x85\x00"]), max_size=10
).map(b"".join)


def reference(pattern: bytes, text: bytes) -> tuple[tuple[bytes | None, ...], int] | None:
    found: Any = pcre2.compile(pattern).search(text)
    return None if found is None else (found.groups(), found.end())


def compiled(pattern: bytes) -> Pattern | None:
    """None for what PCRE2 itself refuses."""
    try:
        return Pattern("pcre2", pattern)
    except PatternError:
        with pytest.raises(pcre2.PatternError):
            pcre2.compile(pattern)
        return None


@given(PATTERNS, TEXTS)
def test_finds_what_pcre2_finds(pattern: bytes, text: bytes) -> None:
    ours = compiled(pattern)
    if ours is None:
        return
    found = ours.search(text)
    assert (None if found is None else (found.captures, found.end)) == reference(pattern, text)
    assert bool(ours.matches(text)) == (found is not None)


@pytest.mark.parametrize("make", [_re2, _hyperscan, _plain])
@given(pattern=PATTERNS, text=TEXTS)
def test_a_scan_never_misses_and_exact_ones_never_exceed(make: Any, pattern: bytes, text: bytes) -> None:
    ours = compiled(pattern)
    if ours is None or ours.scan is None or ours.loose is None:
        return
    scanner = make([ours.scan, ours.loose])
    if scanner is None:  # the engine takes neither of them
        return
    hits = scanner.scan(text)
    matches = bool(ours.matches(text))
    if 0 in scanner.ids:
        if matches:
            assert scanner.ids[0] in hits
        if ours.scan_is_exact:
            assert (scanner.ids[0] in hits) == matches
    if 1 in scanner.ids and any(ours.matches(text[i:j]) for i in range(len(text)) for j in range(i, len(text) + 1)):
        assert scanner.ids[1] in hits


@given(st.binary(min_size=1, max_size=30))
def test_any_bytes_give_a_pattern_or_an_error(pattern: bytes) -> None:
    forms = translate(pattern)
    assert forms is UNKNOWN or forms.python is not None
    compiled(pattern)


@given(st.text(alphabet="()[]{}?*+|^$\\.abdwzZ:=!<>P',1-#i", min_size=1, max_size=14))
def test_punctuation_gives_what_pcre2_gives(pattern: str) -> None:
    ours = compiled(pattern.encode())
    if ours is not None:
        for text in (b"", b"ab", b"aabbdd w1", b"(a)[b]{d}"):
            found = ours.search(text)
            assert (None if found is None else (found.captures, found.end)) == reference(pattern.encode(), text)


@pytest.mark.parametrize(
    "pattern", [rb"\Qa.b\E", rb"a\Kb", rb"\R", rb"(?|a|b)", rb"(?m)^a", rb"x{,3}", rb"(*UTF)a", rb"\p{Lu}", rb"(?1)(a)"]
)
def test_what_re_would_read_otherwise_is_left_to_pcre2(pattern: bytes) -> None:
    assert translate(pattern) is UNKNOWN


@pytest.mark.parametrize("pattern", [rb"(a+)+$", rb"(?:\w*x)*y", rb"(a|a)*b", rb"((a*)b)*c"])
def test_nested_repetition_is_risky(pattern: bytes) -> None:
    assert translate(pattern).risky


@pytest.mark.parametrize("pattern", [rb"\S+ \S+ \d+", rb"(?:abc)*", rb"(\d+\.){3}\d+", rb"(a+)++"])
def test_plain_repetition_is_not(pattern: bytes) -> None:
    assert not translate(pattern).risky


def test_dollar_is_the_end_or_before_the_last_newline_for_every_engine() -> None:
    forms = translate(b"a$")
    assert forms.exact
    assert forms.scan == rb"a\n?\z"
    assert forms.loose == b"a"


def test_dollar_with_something_behind_it_weakens_the_scan() -> None:
    forms = translate(rb"(a$|b)\n")
    assert not forms.exact
    assert forms.scan is not None
    assert re.search(rb"a$", b"a\n")
    assert b"\\z" not in forms.scan


def test_case_folding_beyond_ascii_is_not_scanned_for() -> None:
    assert translate(b"\xe9", caseless=True).scan is None
    assert translate(b"\xe9").scan is not None
