"""Rows hold what their columns take; the same alert gives the same rows."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.alert.row import COLUMNS, rows_of

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=400)


def line(alert: dict[str, Any]) -> bytes:
    return json.dumps(alert).encode()


def test_an_alert_of_a_login(make_alert: Callable[..., dict[str, Any]]):
    rows = rows_of(line(make_alert(3)))
    assert rows.alert["id"] == "007-1-3"
    assert rows.alert["at_ms"] == 1795490503123
    assert rows.alert["srcip"] == "192.0.2.7"
    assert rows.alert["srcport"] is None
    assert json.loads(rows.alert["alert"])["id"] == "007-1-3"
    assert [tag["value"] for tag in rows.tags] == ["syslog", "authentication_failed"]
    assert rows.rule["rule_id"] == "200110"
    assert rows.location["location"] == "/var/log/auth.log"


def test_keys_follow_from_what_is_said(make_alert: Callable[..., dict[str, Any]]):
    one, two = rows_of(line(make_alert(1))), rows_of(line(make_alert(2)))
    elsewhere = rows_of(line(make_alert(3, location="/var/log/other")))
    assert one.rule == two.rule
    assert one.location == two.location
    assert elsewhere.location["location_key"] != one.location["location_key"]
    assert elsewhere.location["server_key"] == one.location["server_key"]


@given(log=TEXTS, user=TEXTS, group=TEXTS, port=TEXTS)
def test_texts_fit_their_columns(make_alert: Callable[..., dict[str, Any]], log: str, user: str, group: str, port: str):
    alert = make_alert(1, full_log=log * 300, data={"dstuser": user, "srcport": port, "url": log * 20})
    alert["rule"] = alert["rule"] | {"groups": [group, group]}
    rows = rows_of(line(alert))
    for field in COLUMNS:
        value = rows.alert[field.column]
        if isinstance(value, str):
            assert len(value) <= field.size
            assert "\0" not in value
    assert "\0" not in rows.alert["alert"]
    assert len(rows.tags) == 1


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"id":"1"}', b'{"id":"1","timestamp":"yesterday"}', b"\xff"])
def test_what_is_no_alert(text: bytes):
    with pytest.raises(ValueError, match="no alert"):
        rows_of(text)
