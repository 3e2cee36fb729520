import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.events import OldEvent, encode_event, read_event
from hids.errors import RemoteProtocolError


@pytest.mark.parametrize(
    ("payload", "queue", "location", "message"),
    [
        (b"1:/var/log/auth.log:a: b", "1", "/var/log/auth.log", b"a: b"),
        (b"1:C:\\logs\\x.log:text", "1", "C:\\logs\\x.log", b"text"),
        (b"1:a|:b||c:text", "1", "a:b|c", b"text"),
        (b"1:odd|:text", "1", "odd|", b"text"),
        (b"1:df -P:ossec: output: 'df -P':\nline\nline", "1", "df -P", b"ossec: output: 'df -P':\nline\nline"),
        (b"9:rootcheck:Starting syscheck scan.", "9", "rootcheck", b"Starting syscheck scan."),
        (b"f:EventChannel:{}", "f", "EventChannel", b"{}"),
        (b"1:x:\xff\x00", "1", "x", b"\xff\x00"),
        (b"1:\xff:x", "1", "\\xff", b"x"),
        (b"1::x", "1", "", b"x"),
    ],
)
def test_events(payload: bytes, queue: str, location: str, message: bytes):
    assert read_event(payload) == OldEvent(queue, location, message)


@pytest.mark.parametrize("payload", [b"", b"1", b"1:", b"1:x", b"12:x:y", b"::x:y", b"1:" + b"x" * 5000 + b":y"])
def test_what_is_none(payload: bytes):
    with pytest.raises(RemoteProtocolError):
        read_event(payload)


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(payload: bytes):
    with contextlib.suppress(RemoteProtocolError):
        read_event(payload)


@pytest.mark.parametrize("text", [b"|" * 4000, b"|:" * 2000, b"a|" * 2000])
def test_no_location_takes_long(text: bytes):
    with contextlib.suppress(RemoteProtocolError):
        read_event(b"1:" + text)


def test_heartbeats_are_known():
    assert read_event(b"1:ossec-keepalive:--MARK--: x").is_heartbeat
    assert read_event(b"1:keepalive x:y").is_heartbeat
    assert not read_event(b"1:ossec:ossec: Agent started").is_heartbeat


def test_a_location_for_ossec_has_no_colon():
    assert encode_event("1", "C:\\x", b"t: u") == b"1:C_\\x:t: u"
