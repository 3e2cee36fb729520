"""Whatever order outcomes come in, and however often: each is applied once, in order, per source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.correlate.sequence import Sequencer
from hids.core.wire.lines import GENESIS
from hids.errors import LocalProtocolError
from hids.messages.evaluation import Outcome
from hids.messages.lane import Hole, Progress
from hids.messages.terms import Agent, AgentId, SourceId

AGENT = Agent(AgentId("007"), "web1", "")


def outcome(source: str, epoch: int, first: int, count: int) -> Outcome:
    return Outcome(
        source=SourceId(source),
        agent=AGENT,
        epoch=epoch,
        first_seq=first,
        count=count,
        chain=b"%d/%d" % (epoch, first + count - 1),
        digest=b"",
        worker=1,
        body=b"",
    )


def hole(epoch: int, first: int, last: int, source: str = "agent/007") -> Hole:
    return Hole(SourceId(source), AGENT, epoch, first, last, b"after", "gone")


def cuts(source: str, epoch: int, lengths: list[int]) -> list[Outcome]:
    made: list[Outcome] = []
    first = 1
    for length in lengths:
        made.append(outcome(source, epoch, first, length))
        first += length
    return made


LENGTHS = st.lists(st.integers(1, 5), max_size=8)


@given(st.data(), LENGTHS, LENGTHS)
def test_any_order_and_any_repetition_gives_each_once_and_in_order(
    data: st.DataObject, one: list[int], other: list[int]
):
    streams = {"agent/001": cuts("agent/001", 1, one), "agent/002": cuts("agent/002", 1, other)}
    every = [item for stream in streams.values() for item in stream]
    again = data.draw(st.lists(st.sampled_from(every), max_size=8)) if every else []
    sequencer = Sequencer({})
    applied: list[Outcome] = []
    for item in data.draw(st.permutations(every + again)):
        applied += sequencer.offer(item)
    for source, stream in streams.items():
        assert [item for item in applied if item.source == source] == stream
    assert sequencer.parked == 0
    assert sequencer.repeated <= len(again)


@given(st.data(), LENGTHS.filter(bool))
def test_what_is_committed_at_the_start_is_never_applied(data: st.DataObject, lengths: list[int]):
    stream = cuts("agent/001", 3, lengths)
    done = data.draw(st.integers(0, len(stream)))
    last = sum(lengths[:done])
    sequencer = Sequencer({"agent/001": Progress(epoch=3, seq=last, chain=b"")})
    applied: list[Outcome] = []
    for item in data.draw(st.permutations(stream)):
        applied += sequencer.offer(item)
    assert applied == stream[done:]
    assert sequencer.repeated == done


def test_what_comes_too_early_waits_for_the_one_before():
    sequencer = Sequencer({})
    assert sequencer.offer(outcome("agent/007", 1, 3, 2)) == []
    assert sequencer.parked == 1
    ready = sequencer.offer(outcome("agent/007", 1, 1, 2))
    assert [item.first_seq for item in ready] == [1, 3]
    assert sequencer.progress("agent/007") == Progress(epoch=1, seq=4, chain=b"1/4")


def test_batches_that_were_cut_anew_are_a_bug():
    sequencer = Sequencer({})
    sequencer.offer(outcome("agent/007", 1, 1, 4))
    with pytest.raises(LocalProtocolError, match=r"agent/007: outcome 3\+4 overlaps progress 4"):
        sequencer.offer(outcome("agent/007", 1, 3, 4))


def test_a_newer_epoch_begins_at_its_first_line_and_ends_the_older_one():
    sequencer = Sequencer({})
    sequencer.offer(outcome("agent/007", 1, 1, 2))
    assert sequencer.offer(outcome("agent/007", 1, 5, 2)) == []
    assert sequencer.offer(outcome("agent/007", 9, 3, 1)) == []
    ready = sequencer.offer(outcome("agent/007", 9, 1, 2))
    assert [(item.epoch, item.first_seq) for item in ready] == [(9, 1), (9, 3)]
    assert sequencer.offer(outcome("agent/007", 1, 3, 2)) == []
    assert sequencer.parked == 0
    assert sequencer.repeated == 1


def test_a_hole_releases_what_waited_behind_it():
    sequencer = Sequencer({})
    sequencer.offer(outcome("agent/007", 1, 1, 2))
    sequencer.offer(outcome("agent/007", 1, 6, 1))
    assert sequencer.skip(hole(1, 3, 5)) == [hole(1, 3, 5), outcome("agent/007", 1, 6, 1)]
    assert sequencer.skip(hole(1, 3, 5)) == []


def test_a_hole_waits_for_the_lines_before_it():
    sequencer = Sequencer({})
    assert sequencer.skip(hole(1, 3, 5)) == []
    assert sequencer.offer(outcome("agent/007", 1, 6, 1)) == []
    assert sequencer.skip(hole(1, 3, 5)) == []
    first = outcome("agent/007", 1, 1, 2)
    assert sequencer.offer(first) == [first, hole(1, 3, 5), outcome("agent/007", 1, 6, 1)]
    assert sequencer.parked == 0


def test_a_hole_in_a_new_epoch_waits_for_the_epochs_beginning():
    sequencer = Sequencer({"agent/007": Progress(epoch=1, seq=50, chain=GENESIS)})
    assert sequencer.skip(hole(2, 3, 5)) == []
    first = outcome("agent/007", 2, 1, 2)
    assert sequencer.offer(first) == [first, hole(2, 3, 5)]


def test_what_waited_inside_a_hole_is_forgotten():
    sequencer = Sequencer({})
    sequencer.offer(outcome("agent/007", 1, 3, 2))
    assert sequencer.skip(hole(1, 1, 5)) == [hole(1, 1, 5)]
    assert sequencer.parked == 0
    assert sequencer.offer(outcome("agent/007", 1, 3, 2)) == []


def test_a_hole_at_the_start_of_a_new_epoch():
    sequencer = Sequencer({"agent/007": Progress(epoch=2, seq=50, chain=GENESIS)})
    assert sequencer.skip(hole(1, 1, 99)) == []
    assert sequencer.skip(hole(3, 1, 10)) == [hole(3, 1, 10)]
    assert sequencer.progress("agent/007") == Progress(epoch=3, seq=10, chain=b"after")
