"""Far more lines than usual are told, once an hour, and only where it is known what is usual."""

from hids.core.volume import LEARN_HOURS, LEAST_EXCESS, Volume

START = 490_000


def live(volume: Volume, hour: int, lines: int) -> str | None:
    """One hour, which is hour `hour % 24` of day `hour // 24`."""
    told = None
    if 0 <= volume.hour < START + hour:
        volume.learn(place(volume.hour - START))
    for part in (lines // 2, lines - lines // 2):
        told = volume.add(START + hour, place(hour), part) or told
    return told


def place(hour: int) -> tuple[int, int]:
    return hour // 24 % 7, hour % 24


def test_an_hour_is_compared_with_the_same_hour_of_other_days():
    volume = Volume()
    for hour in range(24 * 5):
        assert live(volume, hour, 10_000 if hour % 24 == 9 else 500) is None
    assert live(volume, 24 * 5 + 8, 500) is None
    assert live(volume, 24 * 5 + 9, 10_400) is None
    assert live(volume, 24 * 5 + 10, 10_400) == "5200 lines in the hour from 10:00, usually 500"


def test_nothing_is_told_before_enough_is_known():
    volume = Volume()
    for day in range(LEARN_HOURS):
        assert live(volume, 24 * day, 1_000_000 * day) is None


def test_it_is_told_once_an_hour_and_few_lines_never():
    volume = Volume()
    for hour in range(24 * 5):
        live(volume, hour, 10)
    assert live(volume, 120, LEAST_EXCESS) is None
    assert volume.add(START + 120, place(120), 1000) is not None
    assert volume.add(START + 120, place(120), 100_000) is None
    assert live(volume, 121, 100_000) is not None


def test_an_hour_that_was_not_seen_whole_teaches_nothing():
    volume = Volume()
    live(volume, 5, 1000)
    live(volume, 7, 1000)
    live(volume, 8, 1000)
    assert volume.by_hour == {}
    live(volume, 9, 1000)
    assert set(volume.by_hour) == {8}


def test_the_day_of_the_week_counts_once_it_is_known():
    volume = Volume()
    for hour in range(24 * 7 * 4):
        live(volume, hour, 20_000 if place(hour)[0] >= 5 else 100)
    assert volume.average((6, 3)) == 20_000
    assert volume.average((2, 3)) == 100
