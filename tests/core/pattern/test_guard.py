"""A pattern that runs out of steps is suspended, and comes back."""

import pytest

from hids.core.pattern.guard import REST_TEXTS, STRIKES, Guard
from hids.core.pattern.pattern import Pattern

RUNAWAY = Pattern("pcre2", rb"(a+)+\1$").key
HARD = b"a" * 2_000 + b"!"


@pytest.fixture
def runaway() -> Pattern:
    return Pattern(*RUNAWAY)


def test_a_few_hard_texts_suspend_it_and_the_rest_ends(runaway: Pattern):
    assert runaway.matches(b"aa")
    for _ in range(STRIKES):
        assert not runaway.guard.resting
        assert not runaway.matches(HARD)
    assert runaway.guard.resting
    assert (runaway.guard.exceeded, runaway.guard.suspensions) == (STRIKES, 1)
    for _ in range(REST_TEXTS):
        assert not runaway.matches(b"aa")
    assert not runaway.guard.resting
    assert runaway.matches(b"aa")


def test_after_a_rest_one_hard_text_is_enough(runaway: Pattern):
    for _ in range(STRIKES):
        runaway.guard.strike()
    while runaway.guard.skips():
        pass
    runaway.guard.strike()
    assert runaway.guard.resting
    assert runaway.guard.suspensions == 2


def test_the_process_counts_all_suspensions():
    before = Guard.suspensions_of_all
    guard = Guard()
    for _ in range(STRIKES - 1):
        guard.strike()
    assert Guard.suspensions_of_all == before
    guard.strike()
    assert Guard.suspensions_of_all == before + 1


@pytest.mark.parametrize("text", [b"a" * 65_536 + b"!", b"a" * 900 + b"!"])
def test_a_linear_engine_needs_no_suspension(text: bytes):
    pattern = Pattern("pcre2", b"ba+$")
    for _ in range(STRIKES + 1):
        assert not pattern.matches(text)
    assert pattern.guard.exceeded == 0
