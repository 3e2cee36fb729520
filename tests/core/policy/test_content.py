r"""Conditions on a line: text, patterns, numbers, negated and joined."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.policy.content import PatternLanguage, parse_content
from hids.core.policy.host import Unavailable
from hids.errors import ConfigError

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


def holds(text: str, line: str, language: PatternLanguage = "osregex") -> bool:
    return parse_content(text, language).holds(line.encode())


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("1", "1", True),
        ("1", "10", False),
        ("enabled", "ENABLED", False),
        ("r:^Protocol", "protocol 2", True),  # osregex ignores case
        ("r:^Protocol", "# Protocol 2", False),
        ("!r:^#", "Port 22", True),
        ("!r:^#", "# Port 22", False),
        ("!!r:^#", "# Port 22", True),
        ("!1", "2", True),
        ("!r:^# && r:Port && r:22", "Port 22", True),
        ("!r:^# && r:Port && r:22", "# Port 22", False),
        ("r:a|b", "xbx", True),
        (r"n:^MaxAuthTries\s+(\d+) compare <= 4", "MaxAuthTries 4", True),
        (r"n:^MaxAuthTries\s+(\d+) compare <= 4", "MaxAuthTries 5", False),
        (r"n:^MaxAuthTries\s+(\d+) compare <= 4", "Port 3", False),
        (r"!n:^MaxAuthTries\s+(\d+) compare <= 4", "Port 3", True),
        (r"n:(\d+) compare < 3", "2", True),
        (r"n:(\d+) compare > 3", "4", True),
        (r"n:(\d+) compare >= 3", "3", True),
        (r"n:(\d+) compare == 3", "3", True),
        (r"n:(\d+) compare != 3", "3", False),
        (r"n:(\d+)compare > 3", "4", True),
        (r"n:x=(\S+) compare < 0", "x=-1", True),
        (r"r:^a && n:(\d+) compare > 1 && !r:z", "a 2", True),
        ("r:a &&r:b", "xa &&r:by", True),  # the blanks around && are part of it
    ],
)
def test_a_line_is_so(text: str, line: str, *, expected: bool):
    assert holds(text, line) is expected


def test_pcre2_counts_case_and_knows_classes():
    assert holds(r"r:^(?:PermitRootLogin)\s+[yY]es$", "PermitRootLogin Yes", "pcre2")
    assert not holds("r:^permit", "PermitRootLogin", "pcre2")
    assert holds(r"n:^[^:]*:[^:]*:(\d{1,5}): compare > 0", "joe:x:1000:", "pcre2")


@given(LINE, st.sampled_from(["r:^#", "1", r"n:(\d+) compare > 5", "r:a && r:b"]))
def test_negation_is_the_opposite(line: str, text: str):
    try:
        said = holds(text, line)
    except Unavailable:
        return
    if "&&" not in text:
        assert holds("!" + text, line) is not said


@given(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6), st.sampled_from(["<", "<=", "==", "!=", ">=", ">"]))
def test_numbers_compare_as_numbers(found: int, limit: int, sign: str):
    expected = {
        "<": found < limit,
        "<=": found <= limit,
        "==": found == limit,
        "!=": found != limit,
        ">=": found >= limit,
        ">": found > limit,
    }
    assert holds(rf"n:^v=(\S+)$ compare {sign} {limit}", f"v={found}") is expected[sign]


@pytest.mark.parametrize("line", ["v=x", "v=1.5", "v=99999999999999999999999999"])
def test_what_is_no_number_cannot_be_compared(line: str):
    with pytest.raises(Unavailable, match="expected a number to compare with 5"):
        holds(r"n:^v=(\S+)$ compare < 5", line)


def test_without_a_group_there_is_no_number():
    with pytest.raises(Unavailable, match="got ''"):
        holds(r"n:^v=\d+$ compare < 5", "v=3")


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (r"n:(\d+) compare => 5", "expected n:PATTERN compare"),
        (r"n:(\d+) > 5", "expected n:PATTERN compare"),
        (r"n:(\d+) compare > x", "expected n:PATTERN compare"),
        (r"n:(\d+) compare > 9999999999999999999999", "expected n:PATTERN compare"),
        ("r:(a", "pattern '(a'"),
        (" && ".join(["a"] * 40), "more than 32 conditions"),
    ],
)
def test_what_cannot_be_used_is_named(text: str, complaint: str):
    with pytest.raises(ConfigError) as caught:
        parse_content(text, "osregex")
    assert complaint in str(caught.value)


@given(st.text(max_size=60), st.sampled_from(["osregex", "pcre2"]), st.binary(max_size=60))
def test_any_text_is_read_or_refused(text: str, language: PatternLanguage, line: bytes):
    try:
        content = parse_content(text, language)
    except ConfigError:
        return
    try:
        content.holds(line)
    except Unavailable:
        return
