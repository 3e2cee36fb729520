"""key=value is read back: a quoted value ends at the first quote that no backslash escapes."""

import re

from hypothesis import given
from sample_alerts import alert, hostile

from hids.core.alert.forms.splunk import splunk
from hids.core.alert.text import plain
from hids.core.alert.view import View, view


def parsed(text: str) -> dict[str, str]:
    assert re.fullmatch(r'ossec: crit=\d+ id=\d+( \w+="(?:[^"\\]|\\.)*")+', text)
    return {key: re.sub(r"\\(.)", r"\1", value) for key, value in re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', text)}


def test_an_alert_of_sshd():
    text = splunk(view(alert()))
    assert text.startswith("ossec: crit=5 id=201210 ")
    values = parsed(text)
    assert values["src_ip"] == "192.0.2.7"
    assert values["classification"] == "syslog,sshd"
    assert values["component"] == "(web1) 10.0.0.1->/var/log/auth.log"


@given(hostile())
def test_what_an_attacker_wrote_stays_in_its_value(made: tuple[dict[str, str], View]):
    texts, seen = made
    values = parsed(splunk(seen))
    for key, name in (("description", "description"), ("user", "dstuser"), ("url", "url"), ("message", "full_log")):
        assert values.get(key, "") == plain(texts[name])
