import pytest

from hids.core.pattern.emptiness import can_match
from hids.core.pattern.pattern import Language, Pattern


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("os_match", b"a^b"),
        ("os_match", b"a^b|x^y"),
        ("os_regex", b"a$b"),
        ("os_regex", b"\\d+^x"),
        ("os_regex", b"(x|y)^z"),
        ("pcre2", b"a\\Ab"),
        ("pcre2", b"a\\zb"),
        ("pcre2", b"(?:a\\z|b\\z)c"),
    ],
)
def test_an_anchor_in_the_wrong_place(language: Language, text: bytes):
    assert not can_match(Pattern(language, text))


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("os_match", b"^a|b$"),
        ("os_match", b"a^b|c"),
        ("os_match", b"a$b"),  # it cannot, but scanners read the end too loosely to be certain
        ("os_match", b""),
        ("os_match", b"\\z"),
        ("os_regex", b"^a\\d*$"),
        ("os_regex", b"\\s*^x"),
        ("pcre2", b"(?:a\\z|b)c"),
        ("pcre2", b"(?:x|)\\Ab"),
        ("pcre2", b"a$\\n"),
        ("pcre2", b"^(?=a)(?!b)\\w{2,3}\\b(?:c)*+$"),
        ("pcre2", b"(a)\\1"),
    ],
)
def test_a_pattern_that_can_match(language: Language, text: bytes):
    assert can_match(Pattern(language, text))
