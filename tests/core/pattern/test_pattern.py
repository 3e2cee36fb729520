import sys
import time
import unittest.mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.pattern.pattern import LONG_BYTES, Language, Match, Pattern, PatternError

LANGUAGES: list[Language] = ["os_match", "os_regex", "pcre2", "pcre2-caseless"]


def test_ours_minds_case_and_keeps_the_place_of_unset_groups() -> None:
    pattern = Pattern("pcre2", rb"^(A)?(b)(c)?")
    assert pattern.search(b"bx") == Match((None, b"b", None), 1)
    assert pattern.search(b"Bx") is None


def test_ossecs_ignores_case_and_closes_gaps() -> None:
    assert Pattern("pcre2-caseless", rb"^(a)|^(\d+)").search(b"12") == Match((b"12",), 2)
    assert Pattern("os_regex", rb"^a=(\d+)|^b=(\w+)").search(b"B=x y") == Match((b"x",), 3)


def test_os_patterns_fold_letters_beyond_ascii() -> None:
    pattern = Pattern("os_match", "qÉ.".encode())
    assert pattern.matches("xqé.".encode())
    assert pattern.scan is None
    assert not Pattern("os_match", "^qÉ".encode()).matches("qé".encode())


def test_offsets_are_bytes_even_where_letters_are_not() -> None:
    assert Pattern("os_regex", rb"(\w+):").search("éé ab: x".encode()) == Match((b"ab",), 8)


def test_invalid_utf8_is_text_like_any_other() -> None:
    assert Pattern("os_regex", rb"a(\.)b").search(b"xa\xffb") == Match((b"\xff",), 4)


@pytest.mark.parametrize(("text", "position"), [(b"(", 1), (b"a{2,1}", 5), (b"[z-a]", 4), (b"*", 1)])
def test_what_pcre2_refuses_is_refused_with_its_words_and_the_place(text: bytes, position: int) -> None:
    with pytest.raises(PatternError, match=f"compilation failed at position {position};"):
        Pattern("pcre2", text)


def test_an_empty_pattern_is_refused() -> None:
    with pytest.raises(PatternError, match="must not be empty"):
        Pattern("pcre2", b"")


def test_exponential_patterns_give_up_instead_of_hanging() -> None:
    assert Pattern("pcre2", rb"^(\w+\s?)*$").search(b"aaaaaaaa " * 200 + b"!") is None


def test_without_the_library_re_does_what_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pcre2", None)
    assert Pattern("pcre2", rb"(a+)+b").search(b"aab") == Match((b"aa",), 3)
    with pytest.raises(PatternError, match="pip install pcre2"):
        Pattern("pcre2", rb"a\Kb")


def test_equal_patterns_are_one() -> None:
    assert len({Pattern("pcre2", b"a"), Pattern("pcre2", b"a"), Pattern("os_match", b"a")}) == 2
    assert repr(Pattern("pcre2", b"a")) == "Pattern(pcre2, b'a')"


def test_literals_make_a_pattern_telling() -> None:
    assert Pattern("pcre2", rb"union\s+select").telling
    assert not Pattern("pcre2", rb"^4\d\d$").telling


@given(st.sampled_from(LANGUAGES), st.binary(max_size=12), st.binary(max_size=20))
def test_any_pattern_works_or_is_refused(language: Language, text: bytes, log: bytes) -> None:
    try:
        pattern = Pattern(language, text)
    except PatternError:
        return
    found = pattern.search(log)
    assert bool(pattern.matches(log)) == (found is not None)
    assert found is None or 0 <= found.end <= len(log)


SLOW: list[tuple[Language, bytes]] = [
    ("os_regex", b"\\S*\\S*\\S*\\d+"),
    ("os_regex", b"(\\.+) (\\.+) x(\\.+)y"),
    ("os_regex", b"(\\S+)\xc3\xa4 (\\S+)!"),
    ("os_regex", b"\\S*R\xc3\xa4"),
    ("os_regex", b"\\S*R\x9c\x9f"),
    ("osregex", b"(\\.+) \\.+: (\\S+)x"),
    ("pcre2", b"(a|aa)+$|(\\w+\\s?)+!"),
    ("pcre2", b"(?=x)?(\\w*)(\\w*)\\w*!$"),
    ("pcre2-caseless", b"(\\S+) (\\S+) (\\S+)\xe2$"),
]


@pytest.mark.parametrize(("language", "text"), SLOW)
@pytest.mark.parametrize("piece", [b"a", b" ", b"a ", b"((", "ä ".encode(), b"x: ", b"a\xff"])
def test_no_long_text_takes_long(language: Language, text: bytes, piece: bytes) -> None:
    pattern = Pattern(language, text)
    subject = (piece * 65_536)[:65_536]
    started = time.process_time()
    pattern.search(subject)
    pattern.matches(subject + b"\n")
    assert time.process_time() - started < 3.0


@given(
    st.sampled_from(["os_regex", "pcre2-caseless", "pcre2"]),
    st.sampled_from(
        [
            b"^(\\S+) (\\d+)",
            b"(x|xy)(\\w*)$",
            b"a(\\w+)?b",
            b"(\\S+)@(\\w+)",
            b" (\\S*)$",
            b"k(\\S)s",
            b"\xc3\xa4(\\S*)",
            b"\xe4(\\S*)",
        ]
    ),
    st.lists(
        st.sampled_from([b"x", b"xy", b" ", b"12", b"a", b"b", b"@", b"K", b"s", b"\n", "ä".encode(), b"\xe4"])
    ).map(b"".join),
    st.sampled_from([b"", b"\n"]),
)
def test_long_texts_are_matched_as_short_ones(language: Language, text: bytes, subject: bytes, end: bytes) -> None:
    """What stands far behind, out of reach of the match, must not change it."""
    try:
        pattern = Pattern(language, text)
    except PatternError:
        return
    far = subject + b" " * (LONG_BYTES + 1) + end
    limited = Pattern(language, text)
    with unittest.mock.patch("hids.core.pattern.pattern.LONG_BYTES", 1 << 20):
        expected = limited.search(far)
    assert pattern.search(far) == expected
