"""Up to when the whole fleet is known."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.cells import Cells
from hids.core.correlate.reach import FORGOTTEN_H, HOUR_MS, Reach

NOW_MS = 1_000_000 * HOUR_MS


def test_it_is_the_least_of_what_all_say():
    reach = Reach(Cells(), ())
    assert reach.through(NOW_MS) == 0
    reach.report("agent/001", 5_000, NOW_MS)
    assert reach.through(NOW_MS) == 5_000
    reach.report("agent/002", 3_000, NOW_MS)
    assert reach.through(NOW_MS) == 3_000
    reach.report("agent/002", 9_000, NOW_MS)
    assert reach.through(NOW_MS) == 5_000


def test_a_clock_that_is_set_back_takes_nothing_back():
    reach = Reach(Cells(), ())
    reach.report("agent/001", 5_000, NOW_MS)
    reach.report("agent/001", 2_000, NOW_MS)
    assert reach.through(NOW_MS) == 5_000


def test_after_a_start_all_who_spoke_within_a_day_are_waited_for():
    stored: dict[tuple[str, bytes], bytes] = {}
    before = Cells()
    reach = Reach(before, ())
    for source in ("agent/001", "agent/002"):
        reach.report(source, 5_000, NOW_MS)
    stored.update({where: data for where, (data, _) in before.take_touched().items()})

    anew = Reach(Cells(stored.get), ("agent/001", "agent/002", "agent/never"))
    anew.report("agent/001", 6_000, NOW_MS + HOUR_MS)
    assert anew.through(NOW_MS + HOUR_MS) == 0
    anew.report("agent/002", 7_000, NOW_MS + HOUR_MS)
    assert anew.through(NOW_MS + HOUR_MS) == 6_000


def test_who_is_silent_for_a_day_is_waited_for_no_more():
    reach = Reach(Cells(), ())
    reach.report("agent/001", 5_000, NOW_MS)
    reach.report("agent/002", 5_000, NOW_MS)
    later_ms = NOW_MS + FORGOTTEN_H * HOUR_MS
    reach.report("agent/001", 8_000, later_ms - 1)
    assert reach.through(later_ms - 1) == 5_000
    assert reach.through(later_ms) == 8_000
    reach.report("agent/002", 6_000, later_ms)
    assert reach.through(later_ms) == 6_000


def test_one_row_an_hour_is_written_for_a_source():
    cells = Cells()
    reach = Reach(cells, ())
    written = []
    for minute in range(180):
        reach.report("agent/001", minute, NOW_MS + minute * 60_000)
        written.append(len(cells.take_touched()))
    assert sum(written) == 3


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50), st.integers(0, 3 * HOUR_MS * 10)), max_size=40))
def test_as_the_slow_way(reports: list[tuple[str, int, int]]):
    reach, said, heard = Reach(Cells(), ()), Counter[str](), dict[str, int]()
    now_ms = NOW_MS
    for source, further_ms, pause_ms in reports:
        now_ms += pause_ms
        said[source] += further_ms
        reach.report(source, said[source], now_ms)
        heard[source] = now_ms // HOUR_MS
        awake = [each for each, hour in heard.items() if now_ms // HOUR_MS - hour < FORGOTTEN_H]
        assert reach.through(now_ms) == min(said[each] for each in awake)
