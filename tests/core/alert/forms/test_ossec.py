"""OSSEC's form is read back up to the log, which stands last and may hold what it likes."""

from hypothesis import given
from sample_alerts import alert, hostile

from hids.core.alert.forms.ossec import ossec
from hids.core.alert.text import plain
from hids.core.alert.view import View, view


def test_an_alert_of_sshd():
    assert ossec(view(alert())) == (
        "ossec: Alert Level: 5; Rule: 201210 - sshd: a login with an unknown user name failed.;"
        " Location: (web1) 10.0.0.1->/var/log/auth.log; classification: syslog,sshd,; srcip: 192.0.2.7; srcport: 4022;"
        " user: joe; Nov 24 03:21:42 web1 sshd[7]: Failed password for invalid user joe from 192.0.2.7 port 4022 ssh2"
    )


def test_what_the_manager_read_itself_has_no_agent():
    seen = view(alert(agent={"id": "000", "name": "boss"}))
    assert "; Location: web1->/var/log/auth.log; " in ossec(seen)


@given(hostile())
def test_no_value_can_begin_another_one(made: tuple[dict[str, str], View]):
    texts, seen = made
    text = ossec(seen)
    assert "\n" not in text
    assert "\x1b" not in text
    labels = ["Alert Level", "Rule", "Location", "classification", "srcip", "srcport", "user"]
    wanted = [name for name in labels if name not in ("srcip", "user") or texts[{"user": "dstuser"}.get(name, name)]]
    parts = text.removeprefix("ossec: ").split("; ", len(wanted))
    assert [part.split(": ", 1)[0] for part in parts[:-1]] == wanted
    assert parts[-1] == plain(texts["full_log"])
