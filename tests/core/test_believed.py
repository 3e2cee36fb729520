"""What is believed of a clock: back at once, forth after a day, and never further than the clock itself."""

from hypothesis import given
from hypothesis import strategies as st

from hids.core.believed import JUMP_MS, PROVEN_MS, Believed

NOW_MS = 1_700_000_000_000
HOUR_MS = 3_600_000
YEAR_MS = 365 * 24 * HOUR_MS


def lived(state: Believed, span_ms: int, ahead_ms: int, step_ms: int = 60_000) -> Believed:
    """So much time passes while the clock is ahead of the true time, which `state` has."""
    true_ms = state.at_ms
    for _ in range(span_ms // step_ms):
        true_ms += step_ms
        state = state.after(step_ms, true_ms + ahead_ms)
    return state


def test_a_clock_that_goes_as_it_should_is_believed():
    assert lived(Believed(NOW_MS), HOUR_MS, 0) == Believed(NOW_MS + HOUR_MS)


def test_a_year_at_once_is_not_believed_until_it_has_lasted_for_a_day():
    state = lived(Believed(NOW_MS), PROVEN_MS, YEAR_MS)
    assert state == Believed(NOW_MS + PROVEN_MS, YEAR_MS, PROVEN_MS - 60_000)
    assert state.after(60_000, state.at_ms + 60_000 + YEAR_MS) == Believed(NOW_MS + PROVEN_MS + 60_000 + YEAR_MS)


def test_a_clock_that_is_set_right_again_is_believed_at_once():
    state = lived(Believed(NOW_MS), HOUR_MS, YEAR_MS)
    assert state.after(1000, NOW_MS + HOUR_MS + 1000) == Believed(NOW_MS + HOUR_MS + 1000)


def test_a_clock_that_goes_back_is_believed_at_once():
    assert Believed(NOW_MS).after(1000, NOW_MS - YEAR_MS) == Believed(NOW_MS - YEAR_MS)


def test_a_larger_jump_has_its_own_day():
    """Two hours that were nearly proven make no way for a year."""
    state = lived(Believed(NOW_MS), PROVEN_MS - HOUR_MS, 2 * HOUR_MS)
    state = state.after(60_000, state.at_ms + 60_000 + YEAR_MS)
    assert (state.doubt_ms, state.lasted_ms) == (YEAR_MS, 0)


def test_a_machine_that_is_off_at_night_comes_to_be_believed():
    """Each night is a jump of sixteen hours, eight hours are lived in between."""
    state, clock_ms = Believed(NOW_MS), NOW_MS
    for _ in range(5):
        clock_ms += 16 * HOUR_MS
        state = state.after(0, clock_ms)
        for _ in range(8 * 60):
            clock_ms += 60_000
            state = state.after(60_000, clock_ms)
            if not state.doubt_ms:
                return
    raise AssertionError(state)


@given(st.lists(st.tuples(st.integers(0, 10 * HOUR_MS), st.integers(-YEAR_MS, YEAR_MS)), max_size=50))
def test_it_is_never_ahead_of_the_clock_by_more_than_what_was_lived_and_never_far_behind_without_doubt(
    steps: list[tuple[int, int]],
):
    state, clock_ms = Believed(NOW_MS), NOW_MS
    for lived_ms, jump_ms in steps:
        before, clock_ms = state, max(0, clock_ms + lived_ms + jump_ms)
        state = state.after(lived_ms, clock_ms)
        assert state.at_ms <= clock_ms
        assert state.doubt_ms == clock_ms - state.at_ms
        assert state.doubt_ms == 0 or state.doubt_ms > JUMP_MS
        if state.at_ms - before.at_ms > lived_ms + JUMP_MS:
            assert before.lasted_ms + lived_ms >= PROVEN_MS
