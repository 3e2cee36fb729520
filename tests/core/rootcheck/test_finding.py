"""Findings are one line of bounded length, whatever a file is called."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.rootcheck.finding import MAX_TEXT, finding


@given(st.text(max_size=6_000))
def test_a_text_is_one_line_of_bounded_length(text: str):
    made = finding("sys", text)
    assert len(made.text) <= MAX_TEXT
    assert not any(ord(char) < 0x20 or 0x7F <= ord(char) < 0xA0 for char in made.text)
    assert len(made.text.splitlines()) <= 1


def test_the_key_is_of_the_text_alone():
    assert finding("a", "x").key == finding("b", "x").key != finding("a", "y").key
    assert finding("a", "\x1b[2J").text == "\\u001b[2J"
