from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.ossec.counters import LAST_LOCAL, WINDOW, Seen, first_sent, following
from hids.core.wire.ossec.message import Counters

NONE, NOTHING = Counters(0, 0), Seen()


def numbers(count: int, start: Counters = NONE) -> list[Counters]:
    result = []
    for _ in range(count):
        start = following(start)
        result.append(start)
    return result


def accepted(sequence: list[Counters], seen: Seen = NOTHING) -> tuple[list[Counters], Seen]:
    taken = []
    for number in sequence:
        after = seen.accept(number)
        if after is not None:
            taken.append(number)
            seen = after
    return taken, seen


def test_the_first_and_what_follows():
    assert following(Counters(0, 0)) == Counters(0, 1)
    assert following(Counters(0, 1)) == Counters(0, 2)
    assert following(Counters(3, LAST_LOCAL - 1)) == Counters(3, LAST_LOCAL)
    assert following(Counters(3, LAST_LOCAL)) == Counters(4, 1)


def test_a_process_begins_above_all_before_it():
    assert following(first_sent(0, 1_700_000_000)) == Counters(1_700_000_000, 1)
    assert following(first_sent(1_700_000_005, 1_700_000_000)) == Counters(1_700_000_006, 1)


def test_in_order_over_the_edge_of_the_local_counter():
    sequence = numbers(300, Counters(2, LAST_LOCAL - 100))
    assert accepted(sequence)[0] == sequence


def test_nothing_twice():
    sequence = numbers(200)
    _, seen = accepted(sequence)
    assert accepted(sequence, seen)[0] == []


def test_overtaken_ones_come_once_and_within_the_window():
    sequence = numbers(100)
    late = sequence[99 - WINDOW + 1]
    too_late = sequence[99 - WINDOW]
    _, seen = accepted([number for number in sequence if number not in (late, too_late)])
    assert seen.accept(too_late) is None
    again = seen.accept(late)
    assert again is not None
    assert again.accept(late) is None
    assert again.newest == sequence[-1]


@given(st.permutations(range(60)), st.integers(0, LAST_LOCAL))
def test_any_order_within_the_window_loses_none(order: list[int], start: int):
    sequence = numbers(60, Counters(5, start))
    taken, _ = accepted([sequence[place] for place in order])
    assert sorted(taken) == sequence


@given(st.lists(st.builds(Counters, st.integers(0, 3), st.integers(0, 12_000)), max_size=60))
def test_never_twice_whatever_comes(sequence: list[Counters]):
    taken, _ = accepted(sequence)
    assert len(taken) == len(set(taken))


def test_what_is_no_number_is_refused():
    assert Seen().accept(Counters(0, 0)) is None
    assert Seen().accept(Counters(0, LAST_LOCAL + 1)) is None
    assert Seen().accept(Counters(0, 1)) is not None, "an agent that was never heard may begin at the beginning"


def test_gaps_are_counted():
    _, seen = accepted(numbers(5))
    assert seen.missed(Counters(0, 6)) == 0
    assert seen.missed(Counters(0, 9)) == 3
    assert Seen().missed(Counters(0, 9)) == 0
    assert Seen(Counters(0, LAST_LOCAL), 1).missed(Counters(1, 1)) == 0
    assert seen.missed(Counters(1_700_000_000, 1)) == 0, "it began anew"
