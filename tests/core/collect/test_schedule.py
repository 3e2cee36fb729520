"""When a scan at a time of day is due."""

import datetime

from hypothesis import given
from hypothesis import strategies as st

from hids.core.collect.schedule import DAYS, next_at

ZONE = datetime.timezone(datetime.timedelta(hours=2))
NOW = datetime.datetime(2026, 11, 24, 15, 30, tzinfo=ZONE)
"""A Tuesday."""


def test_today_or_tomorrow():
    assert next_at(NOW, "", "16:00") == NOW.replace(hour=16, minute=0)
    assert next_at(NOW, "", "15:30") == NOW + datetime.timedelta(days=1)
    assert next_at(NOW, "", "03:00") == NOW.replace(day=25, hour=3, minute=0)


def test_a_day_of_the_week():
    assert next_at(NOW, "tuesday", "16:00").day == 24
    assert next_at(NOW, "tuesday", "15:00") == NOW.replace(month=12, day=1, hour=15, minute=0)
    assert next_at(NOW, "sunday", "") == NOW.replace(day=29, hour=0, minute=0)


def test_a_day_of_the_month():
    assert next_at(NOW, "", "16:00", 24) == NOW.replace(hour=16, minute=0)
    assert next_at(NOW, "", "15:00", 24) == NOW.replace(month=12, hour=15, minute=0)
    assert next_at(NOW, "", "", 31) == NOW.replace(month=12, day=31, hour=0, minute=0)  # November has none
    assert next_at(NOW.replace(month=12, day=31), "", "", 30) == NOW.replace(
        year=2027, month=1, day=30, hour=0, minute=0
    )


@given(
    st.datetimes(timezones=st.just(ZONE), max_value=NOW.replace(tzinfo=None, year=9000)),
    st.sampled_from(("", *DAYS)),
    st.times(),
)
def test_it_is_always_soon_and_never_now(now: datetime.datetime, day: str, time: datetime.time):
    then = next_at(now, day, f"{time:%H:%M}")
    assert datetime.timedelta(0) < then - now <= datetime.timedelta(days=7 if day else 1)
    assert (then.hour, then.minute) == (time.hour, time.minute)
    assert not day or DAYS[then.weekday()] == day
