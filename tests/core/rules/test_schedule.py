import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.dialect import Dialect
from hids.core.rules.schedule import days, hours

MINUTE = 60_000
DAY = 24 * 60 * MINUTE


def at(clock: str, day: int = 0) -> int:
    """Local milliseconds of a time on a day after 1970-01-01, a Thursday."""
    hour, minute = map(int, clock.split(":"))
    return day * DAY + (hour * 60 + minute) * MINUTE


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("9:00 - 17:30", ["9:00", "12:00", "17:30"], ["8:59", "17:31", "0:00"]),
        ("9 - 17", ["9:00", "17:00"], ["17:01"]),
        ("9 am - 5:30 pm", ["9:00", "17:30"], ["8:59", "17:31"]),
        ("12 am - 1 AM", ["0:00", "1:00"], ["12:00"]),
        ("12 pm-1 pm", ["12:00", "13:00"], ["0:00"]),
        ("!9:00 - 17:30", ["8:59", "17:31"], ["9:00", "12:00", "17:30"]),
        ("6 pm - 8:30 am", ["18:01", "0:00", "8:29"], ["8:31", "12:00", "17:59"]),
    ],
)
@pytest.mark.parametrize("dialect", ["ossec", "wazuh", "hids"])
def test_hours(text: str, inside: list[str], outside: list[str], dialect: Dialect) -> None:
    read = hours(text, dialect)
    assert all(read.hold(at(clock, day)) for clock in inside for day in (0, 3))
    assert not any(read.hold(at(clock)) for clock in outside)


def test_ends_of_a_range_over_midnight() -> None:
    assert [hours("22:00 - 6:00", "ossec").hold(at(clock)) for clock in ("22:00", "6:00")] == [False, False]
    assert [hours("22:00 - 6:00", "hids").hold(at(clock)) for clock in ("22:00", "6:00")] == [True, True]


@pytest.mark.parametrize(
    "text", ["", "noon", "9", "25:00 - 3", "9:60 - 10", "13 pm - 2 pm", "0 am - 1 am", "24:30 - 1"]
)
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="time|hour"):
        hours(text, "hids")


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_says_why(text: str) -> None:
    try:
        read = hours(text, "ossec")
    except ValueError as error:
        assert str(error)
    else:
        assert isinstance(read.hold(0), bool)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("monday", [0]),
        ("Mon, tuesday sun", [0, 1, 6]),
        ("weekdays", [0, 1, 2, 3, 4]),
        ("weekends", [5, 6]),
        ("weekends,wed", [2, 5, 6]),
    ],
)
def test_days(text: str, found: list[int]) -> None:
    read = days(text)
    # The 5th of January 1970 was a Monday.
    assert [day for day in range(7) if read.hold(at("12:00", 4 + day))] == found


@pytest.mark.parametrize("text", ["", "someday", "!monday", "m"])
def test_what_is_no_day(text: str) -> None:
    with pytest.raises(ValueError, match="day"):
        days(text)
