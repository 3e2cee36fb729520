import pytest

from hids.core.pattern.ossec import os_match, os_regex


@pytest.mark.parametrize(
    ("written", "pcre", "utf"),
    [
        (b"a.b|c", rb"a\.b|c", True),
        (b"^abc", b"^abc", False),
        (b"abc$", rb"abc\z", False),
        (b"^a|b$", b"^a|b$", True),
        (rb"a\d", rb"a\\d", True),
        (b"!x", b"!x", True),
        (b"$", b"$", True),
        (b"", b"", True),
    ],
)
def test_os_match(written: bytes, pcre: bytes, *, utf: bool) -> None:
    assert os_match(written)[:2] == (pcre, utf)


@pytest.mark.parametrize(
    ("written", "pcre"),
    [
        (rb"\d+ \S*", rb"[0-9]+? [^ ]*"),
        (rb"(\w+)|\s*$", rb"([A-Za-z0-9@_-]+)|[ ]*?\z"),
        (rb"a+b", rb"a\+b"),
        (rb"a.c[1]{2}?", rb"a\.c\[1\]\{2\}\?"),
        (rb"\(\)\$\<\|\\", rb"\(\)\$<\|\\"),
        (rb"\.\t\p", rb"(?s:.)\t[!-.:-?\[\]{|}]"),
        (rb"\\+", rb"\\+"),
    ],
)
def test_os_regex(written: bytes, pcre: bytes) -> None:
    assert os_regex(written).pattern == pcre


@pytest.mark.parametrize("written", [rb"a\+b", rb"\n", rb"\-", b"a\\"])
def test_unknown_escapes_are_refused(written: bytes) -> None:
    with pytest.raises(ValueError, match="no os_regex escape"):
        os_regex(written)


def test_an_empty_os_regex_is_refused() -> None:
    with pytest.raises(ValueError, match="must not be empty"):
        os_regex(b"")


@pytest.mark.parametrize(("written", "captures"), [(b"^abc", False), (b"abc$", False), (b"abc", True), (b"^(a)", True)])
def test_anchored_plain_text_captures_nothing(written: bytes, *, captures: bool) -> None:
    assert os_regex(written).captures is captures
