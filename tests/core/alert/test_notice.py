"""A short message lists a few alerts, the highest first, and nothing in it acts."""

from typing import Any

from hypothesis import given
from sample_alerts import alert, hostile

from hids.core.alert.notice import SHOWN, notice
from hids.core.alert.view import view


def test_the_highest_stand_first_and_the_rest_is_counted():
    made = notice([view(alert(n, rule={"level": n})) for n in range(1, 16)], "hids")
    lines = made.body.splitlines()
    assert made.title == "hids: 15 alerts, highest level 15"
    assert len(lines) == SHOWN + 1
    assert [line.split()[2] for line in lines[:2]] == ["15", "14"]
    assert lines[0].endswith("(007-1-15)")
    assert lines[-1] == "and 5 more"


def test_a_changed_file_is_named():
    assert " /etc/passwd " in notice([view(alert(syscheck={"path": "/etc/passwd"}))], "hids").body


@given(hostile())
def test_nothing_in_it_acts(made: Any):
    _, seen = made
    written = notice([seen], "hids")
    text = written.title + written.body
    assert not any(active in text for active in ("<", ">", "`", "://", "](", "\n", "\x1b"))
    assert text.count("@") == text.count("@\u200b")
