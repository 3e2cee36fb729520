"""Headers and frames are those of the RFCs, and a message is never longer than it may be."""

import datetime
import json
import re
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sample_alerts import NASTY, alert

from hids.core.alert.forms.syslog import FORMS, Writer
from hids.core.outputs import SyslogOutput


def writer(**more: Any) -> Writer:
    return Writer(SyslogOutput(server="127.0.0.1:514", **more), "boss", datetime.UTC)


def test_the_header_of_rfc_3164():
    assert writer().write(alert()).startswith(b"<132>Nov 24 03:21:43 boss ossec: Alert Level: 5; ")
    early = writer(facility="auth", severity="crit").write(alert(timestamp="2026-01-02T03:04:05.000+0000"))
    assert early.startswith(b"<34>Jan  2 03:04:05 boss ")


def test_the_header_of_rfc_5424():
    message = writer(rfc="5424", format="cef").write(alert())
    head = b'<132>1 2026-11-24T03:21:43.123+00:00 boss hids - 201210 [meta sequenceId="17"] CEF:0|'
    assert message.startswith(head)
    assert b'sequenceId="1"]' in writer(rfc="5424").write(alert(2_147_483_648))


@pytest.mark.parametrize(("level", "severity"), [(15, 2), (8, 3), (4, 4), (1, 5)])
def test_the_severity_can_follow_the_level(level: int, severity: int):
    message = writer(severity="level").write(alert(rule={"level": level}))
    assert message.startswith(b"<%d>" % (16 * 8 + severity))


def test_frames():
    assert writer(protocol="tcp").frame(b"abc") == b"abc\n"
    assert writer(protocol="tcp", rfc="5424").frame(b"abc") == b"3 abc"
    assert writer(protocol="tls").frame(b"abc") == b"3 abc"
    assert writer(protocol="tls", framing="lines").frame(b"abc") == b"abc\n"


def test_every_form_is_there():
    assert set(get_args(SyslogOutput.__annotations__["format"])) == set(FORMS)


@given(NASTY.map(lambda text: text * 300), st.sampled_from(sorted(FORMS)), st.sampled_from([480, 1024, 8192]))
def test_a_message_is_one_line_of_utf8_within_its_bound(text: str, form: Any, room: int):
    line = alert(full_log=text, data={"url": text}, rule={"description": text})
    message = writer(format=form, max_bytes=room).write(line)
    assert len(message) <= room
    assert b"\n" not in message
    assert re.match(r"<132>Nov 24 03:21:43 boss ", message.decode())
    if form == "json" and room > 1024:
        assert json.loads(message.split(b" ", 4)[4])["id"] == "007-1-17"


@pytest.mark.parametrize("line", [b"", b"{}", b"[]", b'{"timestamp":"today"}', b"\xff", b"[" * 100_000])
def test_what_is_no_alert_is_named(line: bytes):
    with pytest.raises(ValueError, match="not an alert"):
        writer().write(line)
