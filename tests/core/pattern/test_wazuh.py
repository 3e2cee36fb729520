import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.pattern import machine
from hids.core.pattern.match import Match
from hids.core.pattern.pattern import Pattern, PatternError
from hids.core.pattern.wazuh import is_regular, os_match, os_regex, parse

TOKENS = (
    *("a", "b", "1", " ", ":", "(", ")", "|", "^", "$", ".", "-", "+", "\\(", "\\|", "\\<"),
    *(r"\w", r"\d", r"\s", r"\S", r"\W", r"\p", r"\.", r"\t"),
    *(r"\w+", r"\d+", r"\s+", r"\S+", r"\D+", r"\.+", r"\W+", r"\S*", r"\d*", r"\.*"),
)
patterns = st.lists(st.sampled_from(TOKENS), max_size=7).map("".join).map(str.encode)
texts = st.lists(st.sampled_from([b"a", b"A", b"b", b"1", b" ", b":", b"(", b"-", b".", b"\n", b"\xe9"])).map(b"".join)


def by_machine(pattern: bytes, text: bytes) -> Match | None:
    found = (machine.search(alternative, text) for alternative in parse(pattern))
    return next((match for match in found if match is not None), None)


def readable(pattern: bytes) -> bool:
    try:
        parse(pattern)
    except ValueError:
        return False
    return True


osregexes = patterns.filter(readable)


@given(osregexes, texts)
def test_whatever_engine_runs_it_the_machine_agrees(pattern: bytes, text: bytes) -> None:
    ready = os_regex(pattern)
    expected = by_machine(pattern, text)
    assert ready.search(text) == expected
    assert bool(ready.matches(text)) is (expected is not None)


@given(osregexes, texts)
def test_the_scanners_form_matches_whenever_the_pattern_does(pattern: bytes, text: bytes) -> None:
    built = Pattern("osregex", pattern)
    if built.scan is None or built.loose is None:
        return
    found = built.search(text) is not None
    scanned = scan(built.scan, text)
    assert scanned or not found
    if built.scan_is_exact:
        assert scanned is found
    if found:
        assert scan(built.loose, b"zz" + text + b"zz")


def scan(expression: bytes, text: bytes) -> bool:
    return re.search(expression.replace(b"\\z", b"\\Z"), text) is not None


@given(patterns, texts)
def test_the_scanners_form_of_an_osmatch_is_exact(pattern: bytes, text: bytes) -> None:
    built = Pattern("osmatch", pattern)
    if built.scan is not None:
        assert scan(built.scan, text) is bool(built.matches(text))
        assert built.scan_is_exact
    negated = Pattern("osmatch", b"!" + pattern)
    if not pattern.startswith(b"!"):
        assert bool(negated.matches(text)) is not bool(built.matches(text))
        assert negated.scan is None


@pytest.mark.parametrize(
    ("pattern", "text", "matches"),
    [
        ("foo", "a FOO b", True),
        ("^foo", "foo b", True),
        ("^foo", "a foo", False),
        ("foo$", "a foo", True),
        ("^foo$", "foo ", False),
        ("a|^b|c$", "xc", True),
        ("q^b", "xq^bx", True),
        ("q|", "anything", True),
        ("$", "anything", True),
        ("^$", "anything", False),
        ("^$", "", True),
        ("a\\.b", "a\\.b", True),
        ("!foo", "a foo b", False),
        ("!foo|bar", "neither", True),
        ("É", "É", False),
        ("^É", "É", True),
        ("^É", "é", False),
        ("É|a", "xa", True),
    ],
)
def test_osmatch(pattern: str, text: str, matches: bool) -> None:  # noqa: FBT001
    assert bool(os_match(pattern.encode()).matches(text.encode())) is matches


@pytest.mark.parametrize(
    ("pattern", "text", "captures", "end"),
    [
        (r"num=(\d+) ", "x num=12 y", (b"12",), 9),
        (r"^\w+", "abc def", (), 4),  # the byte behind a run is swallowed
        (r"(\w+)", "abc def", (b"abc",), 1),  # and behind a group the search goes on inside
        (r"(\S+)$", "a bc", (b"bc",), 3),
        (r"a(b\w+)", "xabcd", (b"bcd",), 4),
        (r"bc|a", "xabc", (), 4),  # the first alternative, not the leftmost
        (r"^x \w+\d\s", "x a1:", (), 5),  # short end
    ],
)
def test_captures_and_where_a_search_goes_on(pattern: str, text: str, captures: tuple[bytes, ...], end: int) -> None:
    assert Pattern("osregex", pattern.encode()).search(text.encode()) == Match(captures, end)


@pytest.mark.parametrize(
    ("pattern", "says"),
    [
        (r"a\+b", r"\\\+ is no osregex escape"),
        ("a\\", r"\\ is no osregex escape"),
        ("((a))", "cannot nest"),
        ("a)", "cannot nest"),
        ("(a|b)", "must be closed before"),
        ("(a", "must be closed before"),
        ("(a)" * 257, "may have 256 groups"),
        ("a" * 20_481, "may have 20480 bytes"),
    ],
)
def test_what_cannot_be_read_says_so(pattern: str, says: str) -> None:
    with pytest.raises(PatternError, match=says):
        Pattern("osregex", pattern.encode())


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^foo (\d+) bar", True),
        (r"(\S+) from (\S+)$", True),
        (r"\w+\d", False),  # the run takes what the next token needs
        (r"\d*a", True),
        (r"(\d+)(\w+)", False),
        (r"\d+\w+", False),
    ],
)
def test_which_patterns_re_may_run(pattern: str, expected: bool) -> None:  # noqa: FBT001
    assert [is_regular(alternative) for alternative in parse(pattern.encode())] == [expected]
    assert Pattern("osregex", pattern.encode()).engine == ("re" if expected else "machine")


@pytest.mark.parametrize(
    "pattern", [rb"\w+:", rb"a\w+:", rb"a\w+\w:", rb"\.+ \.+ (\S+): x", rb"(\w+) (\.+) (\w+):x", rb"a\.*b\.*c\.*d$"]
)
@pytest.mark.parametrize("unit", [b"a", b"a ", b"ab ", b" ", b"a b "])
def test_no_text_keeps_the_machine_busy(pattern: bytes, unit: bytes) -> None:
    text = (unit * 65_536)[:65_536]
    for alternative in parse(pattern):
        machine.search(alternative, text)  # within its steps: the test's time limit tells
