"""What adds up is proved; whatever is missing, doubled or unaccounted for is found with its range."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from hids.core.proof import Gap, Interval, verify
from hids.messages.lane import Progress


def interval(
    *stretches: tuple[int, int], epoch: int = 1, hour: int = 0, source: str = "agent/007", **counts: int
) -> Interval:
    lines = sum(last - first + 1 for first, last in stretches)
    return Interval(source, epoch, hour, stretches, counts or {"evaluated": lines})


def at(seq: int, epoch: int = 1) -> dict[str, Progress]:
    return {"agent/007": Progress(epoch, seq, b"")}


def check(*intervals: Interval, progress: dict[str, Progress]) -> list[tuple[int, int, int, str]]:
    return [(gap.epoch, gap.first, gap.last, gap.text) for gap in verify(intervals, progress)]


def test_hours_and_epochs_that_follow_each_other():
    hours = (interval((1, 10)), interval((11, 30), hour=1), interval((1, 5), epoch=9, hour=1))
    assert check(*hours, progress=at(5, 9)) == []
    assert check(*hours[1:], progress=at(5, 9)) == []  # older hours are gone
    assert check(progress=at(5)) == []


def test_every_way_in_which_a_line_can_end_counts_once():
    whole = interval((1, 10), evaluated=4, known=3, lost=1, **{"dropped:poison": 2})
    assert check(whole, progress=at(10)) == []
    short = interval((1, 10), evaluated=9)
    assert check(short, progress=at(10)) == [(1, 1, 10, "10 lines were delivered, 9 are accounted for")]
    assert len(check(interval((1, 10), evaluated=11), progress=at(10))) == 1


def test_lines_between_hours_that_are_in_none_or_in_two():
    missing = (interval((1, 10)), interval((13, 20), hour=1))
    assert check(*missing, progress=at(20)) == [(1, 11, 12, "these lines are in no hour")]
    twice = (interval((1, 10)), interval((8, 20), hour=1))
    assert check(*twice, progress=at(20)) == [(1, 8, 10, "these lines are in two stretches")]
    late = (interval((1, 10)), interval((3, 4), epoch=2))
    assert check(*late, progress=at(4, 2)) == [(2, 1, 2, "these lines are in no hour")]


def test_a_clock_that_was_set_back_changes_no_order():
    assert check(interval((1, 10), (21, 30), hour=5), interval((11, 20), hour=4), progress=at(30)) == []


def test_the_end_must_be_what_is_committed():
    text = "the last line accounted for, but line 12 of epoch 1 is committed"
    assert check(interval((1, 10)), progress=at(12)) == [(1, 10, 10, text)]
    assert check(interval((1, 10)), progress={})[0][3].endswith("but nothing is committed")


def test_sources_do_not_mix():
    other = interval((1, 3), source="agent/008")
    progress = at(10) | {"agent/008": Progress(1, 3, b"")}
    assert list(verify([interval((1, 10)), other], progress)) == []
    assert [gap.source for gap in verify([interval((2, 10), evaluated=1), other], progress)] == ["agent/007"]


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Consecutive lines, cut into hours."""
    ends = sorted(draw(st.sets(st.integers(1, 200), min_size=1, max_size=8)))
    starts = [1, *(end + 1 for end in ends[:-1])]
    return list(zip(starts, ends, strict=True))


@given(histories(), st.data())
def test_one_line_less_anywhere_is_found(history: list[tuple[int, int]], data: st.DataObject):
    hours = [interval(stretch, hour=number) for number, stretch in enumerate(history)]
    end = history[-1][1]
    assert check(*hours, progress=at(end)) == []
    victim = data.draw(st.integers(0, len(history) - 1))
    first, last = history[victim]
    broken = data.draw(st.sampled_from(["count", "range", "progress"]))
    progress = at(end)
    if broken == "count":
        hours[victim] = interval((first, last), evaluated=last - first)
    elif broken == "range" and victim + 1 < len(history):
        hours[victim] = interval((first, last - 1), hour=victim) if last > first else interval((first + 1, last + 1))
    else:
        progress = at(end + 1)
    assert check(*hours, progress=progress)


def test_a_gap_says_where():
    (gap,) = verify([interval((1, 10), evaluated=9)], at(10))
    assert gap == Gap("agent/007", 1, 1, 10, "10 lines were delivered, 9 are accounted for")
