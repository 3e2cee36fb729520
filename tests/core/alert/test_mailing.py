"""When mails are made: never more within an hour than there may be, and none waits longer than it must."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.alert.mailing import HOUR_MS, parts, wait_ms

NOW = 1_700_000_000_000


def test_what_is_gathered_waits_its_time():
    assert wait_ms(NOW, NOW, 30, [], 12) == 30_000
    assert wait_ms(NOW, NOW - 10_000, 30, [], 12) == 20_000
    assert wait_ms(NOW, NOW - 40_000, 30, [], 12) == 0


def test_a_clock_that_was_set_back_keeps_nothing():
    assert wait_ms(NOW, NOW + 5_000_000, 30, [NOW + 4_000_000] * 20, 12) == 0


def test_the_limit_ends_when_the_oldest_mail_is_an_hour_old():
    made = [NOW - HOUR_MS + 7_000, NOW - 5_000, NOW - 1_000]
    assert wait_ms(NOW, NOW, 0, made, 3) == 7_000
    assert wait_ms(NOW, NOW, 0, made, 4) == 0
    assert wait_ms(NOW, NOW, 0, made, 2) == HOUR_MS - 5_000
    assert wait_ms(NOW, NOW, 0, made, 0) == 0


@given(st.lists(st.integers(0, 600_000), max_size=80), st.integers(1, 5), st.sampled_from([0.0, 30.0, 600.0]))
def test_no_hour_has_more_mails_than_it_may(gaps: list[int], most: int, gather_s: float):
    made: list[int] = []
    now = NOW
    for gap in gaps:
        now += gap
        wait = wait_ms(now, now, gather_s, made, most)
        now += wait
        made.append(now)
        assert sum(now - HOUR_MS < moment <= now for moment in made) <= most


def test_each_has_its_own_mail_as_long_as_there_are_enough():
    assert [parts(3, 3), parts(4, 3), parts(4, None), parts(1, 1)] == [3, 1, 4, 1]
