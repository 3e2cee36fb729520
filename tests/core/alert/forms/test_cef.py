"""CEF is read back by a parser that knows nothing but the format: nothing breaks out, nothing is lost."""

import re

import pytest
from hypothesis import assume, given
from sample_alerts import alert, hostile

from hids.core.alert.forms.cef import cef
from hids.core.alert.text import plain
from hids.core.alert.view import View, view


def parsed(text: str) -> tuple[list[str], dict[str, str]]:
    """Header fields, and the extension by key."""
    parts = _masked(text).split("|", 7)
    head = [_unmasked(part) for part in parts[:7]]
    pairs = re.findall(r"(\w+)=((?:(?! \w+=).)*)", parts[7])
    return head, {key: _unmasked(value) for key, value in pairs}


def _masked(text: str) -> str:
    """Escapes as private characters, so that plain splitting is right."""
    return re.sub(r"\\([\\|=n])", lambda m: chr(0xE000 + ord(m[1])), text)


def _unmasked(text: str) -> str:
    return re.sub(
        "[\ue000-\ue0ff]", lambda m: "\n" if m[0] == chr(0xE000 + ord("n")) else chr(ord(m[0]) - 0xE000), text
    )


def shown(text: str) -> str:
    return "\n".join(map(plain, text.split("\n")))


def test_an_alert_of_sshd():
    head, values = parsed(cef(view(alert())))
    assert head[0] == "CEF:0"
    assert head[4:] == ["201210", "sshd: a login with an unknown user name failed.", "5"]
    assert values["src"] == "192.0.2.7"
    assert values["spt"] == "4022"
    assert values["duser"] == "joe"
    assert values["externalId"] == "007-1-17"
    assert values["rt"] == "1795490503123"
    assert values["cs1"] == "(web1) 10.0.0.1->/var/log/auth.log"
    assert values["msg"].endswith("port 4022 ssh2")


@pytest.mark.parametrize(("address", "key"), [("2001:db8::1", "c6a2"), ("evil host", "shost"), ("192.0.2.1", "src")])
def test_only_addresses_stand_where_addresses_belong(address: str, key: str):
    _, values = parsed(cef(view(alert(data={"srcip": address}))))
    assert {name for name in ("src", "c6a2", "shost") if name in values} == {key}


def test_levels_beyond_the_scale_are_its_top():
    assert parsed(cef(view(alert(rule={"level": 15}))))[0][6] == "10"


@given(hostile())
def test_what_an_attacker_wrote_stays_in_its_value(made: tuple[dict[str, str], View]):
    texts, seen = made
    text = cef(seen)
    assert "\n" not in text
    assert "\x1b" not in text
    assume(not any(re.search("[\ue000-\ue0ff]", value) for value in texts.values()))  # the parser's own
    head, values = parsed(text)
    assert head[5] == plain(texts["description"])
    assert values.get("duser", "").rstrip() == shown(texts["dstuser"]).rstrip()
    assert values.get("request", "").rstrip() == shown(texts["url"]).rstrip()
    assert values.get("msg", "").rstrip() == shown(texts["full_log"]).rstrip()
