"""LEEF is read back: a tab parts attributes, the first = a key from its value, and nothing else means anything."""

from hypothesis import given
from sample_alerts import alert, hostile

from hids.core.alert.forms.leef import leef
from hids.core.alert.text import plain
from hids.core.alert.view import View, view


def parsed(text: str) -> tuple[list[str], dict[str, str]]:
    *head, rest = text.split("|", 6)
    pairs = [part.split("=", 1) for part in rest.split("\t")]
    assert len({key for key, _ in pairs}) == len(pairs)
    return head, dict(pairs)


def test_an_alert_of_sshd():
    head, values = parsed(leef(view(alert(rule={"level": 0}))))
    assert head[0] == "LEEF:2.0"
    assert head[4:] == ["201210", "x09"]
    assert values["src"] == "192.0.2.7"
    assert values["srcPort"] == "4022"
    assert values["usrName"] == "joe"
    assert values["alertId"] == "007-1-17"
    assert (values["sev"], values["level"]) == ("1", "0")


@given(hostile())
def test_what_an_attacker_wrote_stays_in_its_value(made: tuple[dict[str, str], View]):
    texts, seen = made
    text = leef(seen)
    assert "\n" not in text
    assert "\x1b" not in text
    _, values = parsed(text)
    for key, name in (("name", "description"), ("usrName", "dstuser"), ("url", "url"), ("msg", "full_log")):
        assert values.get(key, "") == plain(texts[name]).replace("\t", "\\x09")
    assert values["devTime"] == "1795490503123"
