"""Proof: does the ledger account for every line? What was read in which hour, and what became of it, must add up.

    lines moved over = evaluated + known + lost + dropped for each reason

The left side comes from sequence numbers, the right side from whoever handled the lines; see `Applied` for both.
"""

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, pairwise

import msgspec

from hids.messages.lane import Progress

_OUTCOMES = ("evaluated", "known", "lost")


def counts_lines(what: str) -> bool:
    """Whether a count is one of those that add up to the lines: each line is in exactly one of them."""
    return what in _OUTCOMES or what.startswith("dropped:")


class Interval(msgspec.Struct, frozen=True):
    """What the ledger says about one source, epoch and hour."""

    source: str
    epoch: int
    hour: int
    """Hours since 1970, UTC, by the time of the commit."""
    stretches: tuple[tuple[int, int], ...]
    """First and last sequences of consecutive lines."""
    counts: Mapping[str, int]
    """By what became of the lines: "evaluated", "known", "lost", "dropped:<reason>"."""

    @property
    def lines(self) -> int:
        """Delivered: so many sequences were moved over."""
        return sum(last - first + 1 for first, last in self.stretches)

    @property
    def accounted(self) -> int:
        """Of so many lines it is known what became of them."""
        return sum(self.counts.values())


class Gap(msgspec.Struct, frozen=True):
    """Something that does not add up."""

    source: str
    epoch: int
    first: int
    last: int
    text: str


def verify(intervals: Iterable[Interval], progress: Mapping[str, Progress]) -> Iterator[Gap]:
    """Find what does not add up.

    Args:
        intervals: all of them, or those from some hour on.
        progress: what is committed of each source.
    """
    for source, of_source in groupby(
        sorted(intervals, key=lambda one: (one.source, one.epoch)), lambda one: one.source
    ):
        mine = list(of_source)
        yield from filter(None, map(_imbalance, mine))
        yield from _breaks(source, mine, progress.get(source))


def _imbalance(one: Interval) -> Gap | None:
    if one.lines == one.accounted:
        return None
    first, last = min(first for first, _ in one.stretches), max(last for _, last in one.stretches)
    text = f"{one.lines} lines were delivered, {one.accounted} are accounted for"
    return Gap(one.source, one.epoch, first, last, text)


def _breaks(source: str, intervals: list[Interval], progress: Progress | None) -> Iterator[Gap]:
    """Lines between two stretches of an epoch that are in neither, or in both, and an end that is not the progress."""
    stretches = sorted((one.epoch, *stretch) for one in intervals for stretch in one.stretches)
    for (epoch, _, last), (after, first, _) in pairwise(stretches):
        expected = last + 1 if after == epoch else 1
        if first > expected:
            yield Gap(source, after, expected, first - 1, "these lines are in no hour")
        elif first < expected:
            yield Gap(source, after, first, expected - 1, "these lines are in two stretches")
    epoch, _, last = stretches[-1]
    if progress is None or (progress.epoch, progress.seq) != (epoch, last):
        where = "nothing" if progress is None else f"line {progress.seq} of epoch {progress.epoch}"
        yield Gap(source, epoch, last, last, f"the last line accounted for, but {where} is committed")
