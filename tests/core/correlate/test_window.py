"""Windows against a naive model: search all combinations, whatever the order of arrival."""

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.window import ENTRIES_PER_NEEDED, Entry, Window

NEEDED = st.integers(0, 4)
TIMEFRAME = st.integers(0, 12)
TIMES = st.lists(st.integers(0, 40), max_size=40)


class Naive:
    """What the rule language promises, written the slow way."""

    def __init__(self, needed: int, timeframe: int, cap: int | None) -> None:
        self.needed, self.timeframe, self.cap = needed, timeframe, cap
        self.past: list[int] = []

    def ask(self, at: int) -> bool:
        """Whether any `needed` past events lie within one timeframe together with the event."""
        return any(
            max(*chosen, at) - min(*chosen, at) <= self.timeframe for chosen in combinations(self.past, self.needed)
        )

    def insert(self, at: int) -> None:
        self.past = sorted([*self.past, at])
        if self.cap is not None:
            self.past = self.past[-self.cap :]


def entry(at: int) -> Entry:
    return Entry(at, b"line at %d" % at)


def fires(window: Window, at: int, needed: int, timeframe: int) -> bool:
    """As the correlator does: ask, then either use the events up or remember this one."""
    found = window.ask(at, needed, timeframe)
    if found is None:
        window.insert(entry(at), needed)
        return False
    window.consume()
    return True


def agree(times: list[int], needed: int, timeframe: int, cap: int | None) -> None:
    window, model = Window(), Naive(needed, timeframe, cap)
    for at in times:
        expected = model.ask(at) if needed else True
        assert fires(window, at, needed, timeframe) is expected
        if expected:
            model.past.clear()
        else:
            model.insert(at)
        assert len(window) == len(model.past)


@given(TIMES, NEEDED, TIMEFRAME)
def test_fires_as_the_model_in_any_order_of_arrival(times: list[int], needed: int, timeframe: int):
    agree(times, needed, timeframe, cap=max(1, ENTRIES_PER_NEEDED * needed))


@given(TIMES, st.integers(1, 4), TIMEFRAME)
def test_the_bound_on_entries_never_costs_an_alert_when_events_come_in_order(
    times: list[int], needed: int, timeframe: int
):
    window, past = Window(), list[int]()
    for at in sorted(times):
        expected = len(past) >= needed and at - past[-needed] <= timeframe
        assert fires(window, at, needed, timeframe) is expected
        past = [] if expected else [*past, at]


@given(TIMES, st.integers(1, 4), TIMEFRAME, st.integers(0, 40))
def test_what_is_told_are_the_events_that_count(times: list[int], needed: int, timeframe: int, at: int):
    window = Window()
    for past in times:
        window.insert(entry(past), needed)
    found = window.ask(at, needed, timeframe)
    if found is None:
        return
    told = [item.at_ms for item in found]
    assert len(told) == needed
    assert told == sorted(told, reverse=True)
    assert max(*told, at) - min(*told, at) <= timeframe


@given(TIMES, st.integers(1, 4), st.none() | st.integers(0, 99))
def test_a_stored_window_is_the_same_window(times: list[int], needed: int, fired: int | None):
    window = Window()
    for at in times:
        window.insert(entry(at), needed)
    window.fired_ms = fired
    loaded = Window.load(window.dump())
    assert loaded.dump() == window.dump()
    assert (len(loaded), loaded.size, loaded.newest_ms, loaded.fired_ms) == (
        len(window),
        window.size,
        window.newest_ms,
        fired,
    )
    assert all(loaded.ask(at, needed, 5) == window.ask(at, needed, 5) for at in range(41))


@given(TIMES, st.integers(1, 4))
def test_size_is_that_of_the_texts_held(times: list[int], needed: int):
    window = Window()
    for at in times:
        window.insert(entry(at), needed)
    assert window.size == sum(len(entry(at).text) for at in sorted(times)[-len(window) :]) * bool(len(window))
    assert len(window) <= ENTRIES_PER_NEEDED * needed
    window.consume()
    assert (len(window), window.size) == (0, 0)


def test_one_event_just_outside_does_not_count():
    window = Window()
    window.insert(entry(100), 2)
    window.insert(entry(150), 2)
    assert window.ask(160, 2, 59) is None
    assert window.ask(160, 2, 60) == (entry(150), entry(100))


def test_a_late_event_finds_those_on_both_sides():
    window = Window()
    for at in (100, 110, 300):
        window.insert(entry(at), 2)
    assert window.ask(105, 2, 10) == (entry(110), entry(100))
    assert window.ask(200, 2, 99) is None


def test_newest_is_the_latest_event_or_firing():
    window = Window()
    assert window.newest_ms == 0
    window.insert(entry(7), 1)
    assert window.newest_ms == 7
    window.fired_ms = 9
    assert window.newest_ms == 9
    window.consume()
    assert window.newest_ms == 9
