"""A pace is learned before anything is said, a silence is told once, and an outage is not the measure for ever."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.silence import HALF_LIFE_MS, LEARN_GAPS, LEARN_MS, LEAST_MS, MORE_THAN_CHANCE, Pace, absences

HOUR = 3_600_000


def learned(gap_ms: int = HOUR) -> tuple[Pace, int]:
    """A pace with one line each `gap_ms`, for two days."""
    pace, now = Pace(0, 0), 0
    while now < 2 * LEARN_MS:
        now += gap_ms
        assert not pace.heard(now)
    return pace, now


def test_nothing_is_said_before_a_day_and_some_pauses():
    pace = Pace(0, 0)
    for number in range(1, LEARN_GAPS * 2):
        pace.heard(number * 1000)
    assert pace.limit_ms() is None
    assert not pace.falls_silent(10 * LEARN_MS)
    few = Pace(0, 0)
    few.heard(2 * LEARN_MS)
    assert few.limit_ms() is None


def test_a_silence_is_told_once_and_its_end():
    pace, now = learned()
    assert pace.limit_ms() == 3 * HOUR
    assert not pace.falls_silent(now + 3 * HOUR)
    assert pace.falls_silent(now + 3 * HOUR + 1)
    assert pace.words(now + 3 * HOUR) == "nothing for 10800 s, usually at most 3600 s"
    assert not pace.falls_silent(now + 4 * HOUR)
    assert pace.heard(now + 5 * HOUR)
    assert not pace.heard(now + 6 * HOUR)


def test_who_speaks_all_the_time_may_still_pause():
    pace, now = learned(60_000)
    assert pace.limit_ms() == LEAST_MS
    assert not pace.falls_silent(now + LEAST_MS)


def test_an_outage_is_forgotten():
    pace, now = learned()
    pace.heard(now + 24 * HOUR)
    assert pace.limit_ms() == 72 * HOUR
    now += 24 * HOUR
    end = now + 2 * HALF_LIFE_MS
    while now < end:
        now += HOUR
        pace.heard(now)
    limit = pace.limit_ms()
    assert limit is not None
    assert abs(limit - 18 * HOUR) < HOUR / 10


@given(st.lists(st.integers(-LEARN_MS, LEARN_MS), max_size=30), st.integers(-LEARN_MS, LEARN_MS))
def test_clocks_that_jump_break_nothing(steps: list[int], jump: int):
    pace, now = Pace(0, 0), 0
    for step in steps:
        now += step
        pace.heard(now)
        pace.falls_silent(now + 1)
    assert pace.longest_ms >= 0
    before = pace.limit_ms()
    pace.shift(jump)
    assert pace.limit_ms() == before


def test_an_absence_is_known_after_three_and_never_beyond_its_end():
    terms = absences(60_000, 1_000_000)
    pace = Pace(0, 0)
    pace.goes_on(LEARN_MS)
    for number in range(MORE_THAN_CHANCE):
        assert pace.limit_ms(terms) is None, number
        pace.told = True
        assert pace.heard(pace.last_ms + 100_000)
        pace.goes_on(pace.last_ms + HOUR)
    limit = pace.limit_ms(terms)
    assert limit is not None
    assert 290_000 < limit < 300_000
    pace.heard(pace.last_ms + HOUR)
    assert pace.limit_ms(terms) == 1_000_000
    pace.goes_on(pace.last_ms + 30 * HALF_LIFE_MS)
    assert pace.limit_ms(terms) == 60_000
    assert absences(60_000, 10).most_ms == 60_000


@given(st.lists(st.integers(0, HALF_LIFE_MS), max_size=20))
def test_being_there_never_counts_as_a_pause(steps: list[int]):
    pace, now = Pace(0, 0), 0
    for step in steps:
        now += step
        pace.goes_on(now)
    assert (pace.gaps, pace.longest_ms, pace.last_ms) == (0, 0, now)
