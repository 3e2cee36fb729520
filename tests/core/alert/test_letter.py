"""A mail says what happened, and nothing that an attacker wrote is markup, a line of its own or a control character."""

import re
from typing import Any

import pytest
from hypothesis import given, settings
from sample_alerts import alert, hostile, incident

from hids.core.alert.letter import MORE_ROWS, SUBJECT_CHARACTERS, More, letter
from hids.core.alert.view import view


def test_full_shows_what_came_before_and_default_does_not():
    seen = view(alert(previous_output="the first\nthe second", previous_log="what it was"))
    assert "    the second\n" in letter([seen], (), "full", "hids").text
    assert "the second" not in letter([seen], (), "default", "hids").text


def test_what_is_counted_is_told_by_rule_the_highest_first():
    more = [More(str(rule), rule % 10, "text", 3) for rule in range(MORE_ROWS + 10)]
    text = letter([view(alert())], more, "default", "hids").text
    assert text.startswith(f"{1 + 3 * (MORE_ROWS + 10)} alerts in all")
    assert text.splitlines()[1] == "       3 level  9 rule 9: text"
    assert "      30 of other rules" in text


@pytest.mark.parametrize(("news", "words"), [("first", "it begins"), ("agent", "another agent"), ("", "goes on")])
def test_an_incident_says_what_is_new(news: Any, words: str):
    written = letter([view(incident(17, news))], (), "default", "hids")
    assert f"incident: 007-1-17: {words}" in written.text
    assert written.subject.startswith("[hids] incident: level 5 on web1: ")


@given(hostile())
@settings(max_examples=40)
def test_what_an_attacker_wrote_stays_in_its_place(made: Any):
    _, seen = made
    for written in (letter([seen], (), "full", "hids"), letter([seen] * 2, (), "sms", "hids")):
        assert "\n" not in written.subject
        assert len(written.subject) <= SUBJECT_CHARACTERS
        assert all(line.isprintable() or "\t" in line or not line.isascii() for line in written.text.split("\n"))
        assert not {"\r", "\x1b", "\x9b", "\u202e", "\u2028"} & set(written.text + written.html)
        tags = {match.split()[0].strip("</>") for match in re.findall(r"<[^>]*>", written.html)}
        assert tags <= {"!DOCTYPE", "html", "body", "h3", "table", "tr", "th", "td", "pre"}
