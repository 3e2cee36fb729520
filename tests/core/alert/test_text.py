import re
from collections.abc import Callable
from datetime import UTC, timedelta, timezone, tzinfo
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.alert import text as module
from hids.core.alert.text import flat, plain


def text(alert: dict[str, Any], tz: tzinfo) -> str:
    return module.text(msgspec.json.encode(alert), tz)


def test_whole_block_of_a_composite(make_alert: Callable[..., dict[str, Any]]):
    alert = make_alert(
        3,
        rule={
            "level": 10,
            "description": "Many failed logins",
            "id": "200112",
            "mail": True,
            "groups": ["syslog", "auth_failures"],
        },
        full_log="Nov 24 03:21:42 web1 sshd[7]: Failed password for joe",
        previous_output="Nov 24 03:21:40 web1 sshd[6]: second\nNov 24 03:21:39 web1 sshd[5]: first",
    )
    assert text(alert, UTC) == (
        "** Alert 1795490503.3: mail  - syslog,auth_failures,\n"
        "2026 Nov 24 03:21:43 (web1) 10.0.0.1->/var/log/auth.log\n"
        "Rule: 200112 (level 10) -> 'Many failed logins'\n"
        "Src IP: 192.0.2.7\n"
        "User: joe\n"
        "Nov 24 03:21:42 web1 sshd[7]: Failed password for joe\n"
        "Nov 24 03:21:40 web1 sshd[6]: second\n"
        "Nov 24 03:21:39 web1 sshd[5]: first\n"
        "\n"
    )


def test_without_mail_and_groups(make_alert: Callable[..., dict[str, Any]]):
    rule = {"level": 3, "description": "d", "id": "200101", "mail": False, "groups": []}
    assert text(make_alert(9, rule=rule), UTC).startswith("** Alert 1795490503.9: - \n")


def test_fields_in_the_order_of_ossec(make_alert: Callable[..., dict[str, Any]]):
    names = ["dstuser", "dstport", "dstgeoip", "dstip", "srcport", "srcgeoip", "srcip"]
    lines = text(make_alert(1, data={name: f"<{name}>" for name in names} | {"url": "/"}), UTC).split("\n")
    assert lines[3:10] == [
        "Src IP: <srcip>",
        "Src Location: <srcgeoip>",
        "Src Port: <srcport>",
        "Dst IP: <dstip>",
        "Dst Location: <dstgeoip>",
        "Dst Port: <dstport>",
        "User: <dstuser>",
    ]


@pytest.mark.parametrize(
    ("members", "origin"),
    [
        ({"agent": {"id": "007", "name": "web1"}}, "(web1) any->/var/log/auth.log"),
        ({"agent": {"id": "000", "name": "boss"}}, "web1->/var/log/auth.log"),
        ({"agent": {"id": "000", "name": "boss"}, "predecoder": {}}, "boss->/var/log/auth.log"),
    ],
)
def test_origin(make_alert: Callable[..., dict[str, Any]], members: dict[str, Any], origin: str):
    assert text(make_alert(1, **members), UTC).split("\n")[1] == f"2026 Nov 24 03:21:43 {origin}"


def test_date_is_in_the_zone_asked_for_and_the_epoch_in_none(make_alert: Callable[..., dict[str, Any]]):
    block = text(make_alert(1), timezone(timedelta(hours=-4)))
    assert block.startswith("** Alert 1795490503.1:")
    assert block.split("\n")[1].startswith("2026 Nov 23 23:21:43 ")


def test_text_of_several_lines_stays_so(make_alert: Callable[..., dict[str, Any]]):
    block = text(make_alert(1, full_log="Integrity changed for: '/etc/x'\nSize: 1 to 2\n"), UTC)
    assert "\nIntegrity changed for: '/etc/x'\nSize: 1 to 2\n\n" in block


def test_a_log_cannot_fake_the_frame(make_alert: Callable[..., dict[str, Any]]):
    forged = "x\n\n** Alert 1.9: - root,\nRule: 1 (level 15) -> 'x'\nSrc IP: 192.0.2.99\nUser: root"
    block = text(make_alert(1, data={}, full_log=forged, previous_output="** Alert 2.8: - y,"), UTC)
    assert block.endswith(
        "x\n \n ** Alert 1.9: - root,\n Rule: 1 (level 15) -> 'x'\n Src IP: 192.0.2.99\n User: root\n"
        " ** Alert 2.8: - y,\n\n"
    )


@pytest.mark.parametrize("member", ["location", "rule", "agent", "data"])
def test_other_members_stay_on_their_line(make_alert: Callable[..., dict[str, Any]], member: str):
    evil = "a\n** Alert 1.1: - x,\r\x1b[2J\u202e"
    shown = "a\\x0a** Alert 1.1: - x,\\x0d\\x1b[2J\\u202e"
    members = {
        "location": evil,
        "rule": {"level": 1, "description": evil, "id": "200101", "groups": [evil]},
        "agent": {"id": "001", "name": evil, "ip": evil},
        "data": {"srcip": evil},
    }
    block = text(make_alert(1, **{member: members[member]}), UTC)
    assert shown in block
    assert len(re.findall(r"^\*\* Alert", block, re.MULTILINE)) == 1


hostile = st.text(st.sampled_from("\n\r\x00\x1b\x85\u2028 *Aa")) | st.text(max_size=20)
lines = st.lists(hostile | st.sampled_from(["** Alert 1.2: - g,", "Rule: 1", "User: x", ""])).map("\n".join)


@given(log=lines, previous=lines, field=hostile, name=hostile)
def test_one_header_and_one_empty_line_whatever_is_inside(
    make_alert: Callable[..., dict[str, Any]], log: str, previous: str, field: str, name: str
):
    alert = make_alert(
        5,
        full_log=log,
        previous_output=previous,
        data={"srcip": field},
        agent={"id": "001", "name": name},
    )
    block = text(alert, UTC)
    assert block.endswith("\n\n")
    assert block.index("\n\n") == len(block) - 2
    assert len(re.findall(r"^\*\* Alert ", block, re.MULTILINE)) == 1
    assert len(re.findall(r"^Rule: ", block, re.MULTILINE)) == 1
    assert len(block.splitlines()) == block.count("\n")
    assert not re.search(r"[^\n\t\x20-\x7e\u00a0-\U0010ffff]", block)


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"rule": None, "timestamp": "2026-11-24T03:21:43+0000"},
        {"rule": {"id": 1}, "timestamp": "yesterday"},
        {"rule": {"id": 1}, "timestamp": "0001-01-01T00:00:00+0000", "hids": []},
    ],
)
def test_what_is_no_alert_is_a_value_error(broken: dict[str, Any]):
    with pytest.raises(ValueError):  # noqa: PT011 - the one documented error; its text is for logs
        text(broken, UTC)


def test_plain_keeps_what_is_harmless():
    assert plain("a\tb 'c' \\ é 漢 🙂") == "a\tb 'c' \\ é 漢 🙂"


def test_plain_escapes_what_acts_on_a_terminal():
    assert plain("\x1b]0;x\x07\x9b31m\u2066\ud800") == "\\x1b]0;x\\x07\\x9b31m\\u2066\\ud800"


def test_flat_names_nested_fields_in_full():
    assert list(flat({"a": {"b": {"c": "1"}, "d": ["x"]}, "e": "2"})) == [
        ("a.b.c", "1"),
        ("a.d", ["x"]),
        ("e", "2"),
    ]
