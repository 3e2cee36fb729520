"""Event times of backlog lines."""

import datetime as dt

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.core.wire.eventtime import EventTimes

UTC = dt.UTC
NOW = dt.datetime(2026, 11, 24, 8, 0, 0, tzinfo=UTC)


def ms(moment: dt.datetime) -> int:
    return int(moment.timestamp() * 1000)


def at(text: bytes, now: dt.datetime = NOW, zone: dt.tzinfo = UTC) -> dt.datetime:
    return dt.datetime.fromtimestamp(EventTimes(zone).of(text, ms(now)) / 1000, UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"Nov 24 03:21:42 web1 sshd[1]: x", dt.datetime(2026, 11, 24, 3, 21, 42, tzinfo=UTC)),
        (b"Nov  4 03:21:42 web1 sshd[1]: x", dt.datetime(2026, 11, 4, 3, 21, 42, tzinfo=UTC)),
        (b"<38>Nov 24 03:21:42 web1 sshd[1]: x", dt.datetime(2026, 11, 24, 3, 21, 42, tzinfo=UTC)),
        (b"Dec 31 23:59:59 web1 x: y", dt.datetime(2025, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"2026-11-24T03:21:42.123456+01:00 web1 x: y", dt.datetime(2026, 11, 24, 2, 21, 42, 123000, tzinfo=UTC)),
        (b"<34>1 2026-11-24T03:21:42Z web1 x - - y", dt.datetime(2026, 11, 24, 3, 21, 42, tzinfo=UTC)),
        (b"2026-11-24 03:21:42,5 INFO", dt.datetime(2026, 11, 24, 3, 21, 42, 500000, tzinfo=UTC)),
        (b"2026/11/24 03:21:42 [error] 1#1: x", dt.datetime(2026, 11, 24, 3, 21, 42, tzinfo=UTC)),
        (
            b'10.0.0.1 - - [24/Nov/2026:03:21:42 -0130] "GET / HTTP/1.1" 200 1',
            dt.datetime(2026, 11, 24, 4, 51, 42, tzinfo=UTC),
        ),
        (b"1795490502.25 x", dt.datetime.fromtimestamp(1795490502.25, UTC)),
    ],
)
def test_headers(text: bytes, expected: dt.datetime):
    assert at(text) == expected


def test_a_header_without_a_zone_is_in_the_machines_zone():
    zone = dt.timezone(dt.timedelta(hours=2))
    assert at(b"Nov 24 03:21:42 h x: y", zone=zone) == dt.datetime(2026, 11, 24, 1, 21, 42, tzinfo=UTC)


def test_on_new_years_day_december_was_last_year():
    now = dt.datetime(2027, 1, 1, 0, 0, 30, tzinfo=UTC)
    assert at(b"Dec 31 23:59:50 h x: y", now) == dt.datetime(2026, 12, 31, 23, 59, 50, tzinfo=UTC)


def test_just_before_midnight_a_clock_ahead_does_not_make_it_a_year_old():
    now = dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert at(b"Jan  1 00:00:01 h x: y", now) == now  # in the future, so the read time


@pytest.mark.parametrize(
    "text",
    [
        b"Feb 30 03:21:42 h x: y",
        b"Foo 24 03:21:42 h x: y",
        b"Nov 24 25:61:61 h x: y",
        b"2026-11-24T09:00:00Z in the future",
        b"    at java.lang.Thread.run(Thread.java:748)",
        b"0000-00-00 00:00:00",
        b"",
    ],
)
def test_what_is_not_believable_gives_the_read_time(text: bytes):
    assert at(text) == NOW


def test_a_29_february_is_looked_for_in_the_years_that_may_be_meant():
    now = dt.datetime(2030, 3, 10, tzinfo=UTC)
    assert at(b"Feb 29 01:02:03 h x: y", now) == now
    now = dt.datetime(2029, 1, 10, tzinfo=UTC)
    assert at(b"Feb 29 01:02:03 h x: y", now) == dt.datetime(2028, 2, 29, 1, 2, 3, tzinfo=UTC)


def test_time_goes_back_by_an_hour_at_most():
    times = EventTimes(UTC)
    now = ms(NOW)
    first = times.of(b"Nov 24 05:00:00 h x: y", now)
    assert times.of(b"Nov 24 04:00:01 h x: y", now) == first - 3_599_000
    assert times.of(b"Nov 24 02:59:59 h x: y", now) == now
    assert times.of(b"no header at all", now) == now
    assert times.of(b"Nov 24 05:00:01 h x: y", now) == first + 1000


@settings(deadline=None)
@given(text=st.binary(max_size=200) | st.from_regex(rb"\A[0-9TZ:+./ -]{10,40}"), now=st.integers(0, 4_000_000_000_000))
def test_no_bytes_break_it_and_none_leads_to_the_future(text: bytes, now: int):
    assert 0 <= EventTimes(UTC).of(text, now) <= now
