import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.control import EXECD, KeepAlive
from hids.core.wire.ossec.response import decode, encode
from hids.errors import ConfigError, RemoteProtocolError
from hids.messages.legacy import LegacyOrder
from hids.messages.terms import AgentId

OSSEC = KeepAlive("Linux", "OSSEC HIDS v4.2.0", "x")
OLD_WAZUH = KeepAlive("Linux", "Wazuh v4.1.5", "x")
ESCAPING = KeepAlive("Linux", "Wazuh v4.2.2", "x")
WAZUH = KeepAlive("Linux", "Wazuh v4.14.7", "x")


def order(**fields: object) -> LegacyOrder:
    return LegacyOrder(AgentId("001"), **({"command": "firewall-drop600", "ip": "203.0.113.78"} | fields))


def text(given: LegacyOrder, agent: KeepAlive | None = OSSEC) -> str:
    payload = encode(given, agent, manager="boss")
    assert payload.startswith(EXECD)
    return payload[len(EXECD) :].decode()


def test_ossec_by_hand():
    assert text(order()) == "firewall-drop600 - 203.0.113.78 (from_the_server) (no_rule_id)"
    assert text(order(command="restart", ip="")) == "restart-ossec0 - null (from_the_server) (no_rule_id)"


def test_ossec_because_of_an_alert():
    said = text(
        order(user="joe", alert="1795488829.1", rule="5716", location="(ag12) any->/var/log/auth.log", file="/a b;c")
    )
    assert said == ("firewall-drop600 joe 203.0.113.78 1795488829.1 5716 (ag12) any->/var/log/auth.log /a\\ b\\;c")
    assert text(order(alert="1.1", rule="1"), None).endswith("1.1 1 - -")


def test_wazuh_before_4_2_gets_one_word_more():
    assert text(order(), OLD_WAZUH).endswith("(no_rule_id) -")
    assert text(order(extra=("a", "b")), OLD_WAZUH).endswith("(no_rule_id) a b")


def test_wazuh_gets_json():
    said = json.loads(text(order(extra=("a",)), WAZUH))
    assert said == {
        "version": 1,
        "origin": {"name": "boss", "module": "hids-manager"},
        "command": "firewall-drop600",
        "parameters": {"extra_args": ["a"], "alert": {"data": {"srcip": "203.0.113.78"}}},
    }
    assert json.loads(text(order(command="restart", ip=""), WAZUH))["command"] == "restart-wazuh0"
    whole = json.loads(text(order(alert_json=b'{"id":"1"}'), WAZUH))
    assert whole["parameters"]["alert"] == {"id": "1"}


def test_wazuh_4_2_0_to_4_2_4_want_some_characters_escaped():
    said = text(order(alert_json=b'{"log":"!$\'`"}'), ESCAPING)
    assert r'"log":"\\x21\\x24\\x27\\x60"' in said


@pytest.mark.parametrize(
    "fields",
    [
        {"command": "../x"},
        {"command": "!x"},
        {"command": "a b"},
        {"command": ""},
        {"ip": "203.0.113.78 -"},
        {"ip": "x"},
        {"user": "joe root"},
        {"user": "joe\nx"},
        {"extra": ("a b",)},
        {"alert": "1.1", "location": "x" * 2000},
    ],
)
def test_what_would_be_read_as_something_else_is_refused(fields: dict[str, object]):
    with pytest.raises(ConfigError):
        encode(order(**fields), OLD_WAZUH if "extra" in fields else OSSEC, manager="boss")


def test_an_agent_reads_what_a_manager_writes():
    seen = decode(b"testar60 - 203.0.113.78 1795488829.1 5716 (ag12) any->/var/log/auth.log (null)\0")
    assert (seen.command, seen.user, seen.ip, seen.alert, seen.rule) == (
        *("testar60", "", "203.0.113.78", "1795488829.1", "5716"),
    )
    assert (seen.location, seen.file) == ("(ag12) any->/var/log/auth.log", "")
    by_hand = decode(b"restart-ossec0 - null (from_the_server) (no_rule_id)")
    assert (by_hand.command, by_hand.ip, by_hand.alert) == ("restart-ossec0", "", "")


@given(st.binary(max_size=100))
def test_any_order_is_read_or_refused(rest: bytes):
    with contextlib.suppress(RemoteProtocolError):
        decode(rest)
