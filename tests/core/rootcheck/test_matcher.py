"""Patterns of databases: what they match, what is refused, and that no text takes long."""

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.pattern.match import PatternError
from hids.core.pattern.ossec import os_regex as rewritten
from hids.core.rootcheck.matcher import MAX_PATTERN, extended, os_regex

OS_PIECES = ["a", "B", "\\w", "\\d+", "\\s*", "\\.", "\\.+", "\\.*", "\\S+", "+", "-", ".", "\\$", "\\W", "\\p", "\\t"]
ERE_PIECES = ["a", "B", ".", "[a-c]", "[^a]", "a*", "b+", "c?", "[0-9]{2}", "\\.", "[]x]", "[[:digit:]]", "-", "a{1,2}"]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (rb"^\s*Permit\.+yes", b"  permitRootLogin yes", True),
        (rb"^\s*Permit\.+yes$", b"PermitRootLogin yes, sir", False),
        (rb"^a|b$", b"xxb", True),
        (rb"^a|b$", b"xax", False),
        (rb"a+", b"aaa", False),  # without a backslash before it, + is a plus
        (rb"a+", b"A+", True),
        (rb"(a|b)c$", b"xbc", True),
        (rb"x^y", b"x^y", False),
        (rb"a$b", b"a$b", False),
        (rb"a\$b", b"a$b", True),
        (rb"\d*", b"", True),
        (rb"\S\s\S", b"a b", True),
    ],
)
def test_os_regex(pattern: bytes, text: bytes, expected: bool):  # noqa: FBT001
    assert os_regex(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        (rb"/dev/[^clu]|^/bin/.*sh", b"/dev/log", False),
        (rb"/dev/[^clu]|^/bin/.*sh", b"/bin/bash", True),
        (rb"/dev/[b-s,uvxz]", b"/dev/tty", False),
        (rb"proc\.h", b"proc-h", False),
        (rb"a{2,3}$", b"xaa", True),
        (rb"^a{2,}$", b"aaaaa", True),
        (rb"^a{2}$", b"aaa", False),
        (rb"HIDE", b"hide", False),
        (rb"[[:upper:]_]+x", b"A_x", True),
        (rb"a{x", b"a{x", True),
    ],
)
def test_extended(pattern: bytes, text: bytes, expected: bool):  # noqa: FBT001
    assert extended(pattern).matches(text) is expected


@pytest.mark.parametrize(
    ("read", "pattern", "complaint"),
    [
        (os_regex, b"", "1 to"),
        (os_regex, b"a" * (MAX_PATTERN + 1), "1 to"),
        (os_regex, rb"\q", "no os_regex escape"),
        (os_regex, b"a\\", "no os_regex escape"),
        (os_regex, b"(a", r"a \( without \)"),
        (os_regex, b"a)", r"a \) without \("),
        (os_regex, b"(" * 20, "deep"),
        (os_regex, b"(a|b)" * 9, "alternatives"),
        (extended, b"[a", r"a \[ without \]"),
        (extended, b"*a", "nothing that could repeat"),
        (extended, b"(ab)*", "repeats"),
        (extended, b"a{100}", "n <= m"),
        (extended, b"a{3,2}", "n <= m"),
        (extended, b"[[:word:]]", "no class"),
        (extended, b"a\\", "at the end"),
        (extended, b"a{64}" * 33, "places"),
    ],
)
def test_what_is_refused(read: object, pattern: bytes, complaint: str):
    with pytest.raises(PatternError, match=complaint):
        read(pattern)  # type: ignore[operator]


@given(
    st.lists(st.sampled_from(OS_PIECES), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
    st.text("aB1 .-+x$\t!\n", max_size=12),
)
def test_os_regex_agrees_with_its_rewriting(pieces: list[str], begin: bool, end: bool, text: str):  # noqa: FBT001
    pattern = ("^" * begin + "".join(pieces) + "$" * end).encode()
    reference = re.compile(rewritten(pattern).pattern.replace(rb"\z", rb"\Z"), re.IGNORECASE)
    assert os_regex(pattern).matches(text.encode()) is (reference.search(text.encode()) is not None)


@given(
    st.lists(st.sampled_from(ERE_PIECES), min_size=1, max_size=6),
    st.booleans(),
    st.booleans(),
    st.text("aBbc1.-x]", max_size=12),
)
def test_extended_agrees_with_re(pieces: list[str], begin: bool, end: bool, text: str):  # noqa: FBT001
    pattern = "^" * begin + "".join(pieces) + "$" * end
    reference = re.compile(pattern.replace("[[:digit:]]", "[0-9]").replace("$", r"\Z"), re.DOTALL)
    assert extended(pattern.encode()).matches(text.encode()) is (reference.search(text) is not None)


@given(st.binary(max_size=40), st.binary(max_size=40))
def test_any_bytes_are_a_pattern_or_refused(pattern: bytes, text: bytes):
    for read in (os_regex, extended):
        with suppress(PatternError):
            read(pattern).matches(text)


def test_a_text_made_for_it_does_not_take_long():
    """A backtracking matcher would need some 10^19 steps: this ends, or the test's own time limit does."""
    assert not os_regex(rb"\.+a\.+b\.+c\.+d").matches(b"abc" * 21_000)
    assert not extended(rb"a.*b.*c.*d.*e").matches(b"abcd" * 16_000)
