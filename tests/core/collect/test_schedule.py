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


@given(
    st.datetimes(datetime.datetime(2000, 1, 1), datetime.datetime(2100, 1, 1), timezones=st.just(ZONE)),
    st.sampled_from(("", *DAYS)),
    st.times(),
)
def test_it_is_always_soon_and_never_now(now: datetime.datetime, day: str, time: datetime.time):
    then = next_at(now, day, f"{time:%H:%M}")
    assert datetime.timedelta(0) < then - now <= datetime.timedelta(days=7 if day else 1)
    assert (then.hour, then.minute) == (time.hour, time.minute)
    assert not day or DAYS[then.weekday()] == day
