"""The lines of one session: only the next batch, only of this history, and acknowledged only when it is what came."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.lines import GENESIS, link
from hids.core.wire.passage import Passage
from hids.core.wire.session import PROTOCOL_VERSION, Fork, GoOn, Missing
from hids.errors import RemoteProtocolError
from hids.messages.agent_link import Hello
from hids.messages.lane import Progress
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, Batch

EPOCH = 5


def hello(oldest: int = 1, following: int = 1, chain: bytes = GENESIS) -> Hello:
    return Hello(PROTOCOL_VERSION, "machine", EPOCH, oldest, following, chain, 0)


class Agent:
    """Cuts batches as an agent does, and knows the progress after each."""

    def __init__(self, first: int = 1, chain: bytes = GENESIS) -> None:
        self.next = first
        self.chain = chain

    def batch(self, count: int = 2, data: bytes = b"data") -> Batch:
        self.chain = link(self.chain, data)
        batch = Batch(EPOCH, self.next, count, self.chain, data)
        self.next += count
        return batch

    @property
    def progress(self) -> Progress:
        return Progress(EPOCH, self.next - 1, self.chain)


def opened(progress: Progress | None = None) -> Passage:
    passage = Passage(hello(following=100))
    assert isinstance(passage.open(progress), GoOn)
    return passage


def test_it_opens_when_agent_and_manager_agree_and_not_before():
    passage = Passage(hello(oldest=4, following=9, chain=b"c" * 32))
    assert isinstance(passage.open(Progress(EPOCH, 1, b"b" * 32)), Missing)
    assert not passage.is_open
    assert passage.open(Progress(EPOCH, 3, b"c" * 32)) == GoOn(4)
    assert (passage.is_open, passage.acked, passage.last) == (True, 3, 3)
    assert isinstance(Passage(hello(following=2)).open(Progress(EPOCH, 7, GENESIS)), Fork)


def test_a_new_epoch_begins_its_own_chain():
    agent = Agent()
    passage = opened(Progress(EPOCH - 1, 40, b"x" * 32))
    assert passage.take(agent.batch()) is None
    assert passage.last == 2


@pytest.mark.parametrize(
    "wrong",
    [
        Batch(EPOCH + 1, 1, 2, GENESIS, b"data"),
        Batch(EPOCH, 2, 2, GENESIS, b"data"),
        Batch(EPOCH, 1, 0, GENESIS, b"data"),
        Batch(EPOCH, 1, MAX_BATCH_LINES + 1, GENESIS, b"data"),
        Batch(EPOCH, 1, 2, GENESIS, b"d" * (MAX_BATCH_PACKED + 1)),
    ],
)
def test_what_is_not_the_next_batch_is_the_peers_fault(wrong: Batch):
    passage = opened()
    with pytest.raises(RemoteProtocolError, match=r"^expected a batch of epoch 5 from line 1 on, got epoch"):
        passage.take(wrong)
    assert passage.bytes_out == 0


def test_another_history_is_a_fork_when_it_comes_and_when_it_is_committed():
    passage = opened()
    fork = passage.take(Batch(EPOCH, 1, 2, b"z" * 32, b"data"))
    assert fork == Fork("the chain differs at line 1: another history", EPOCH)
    agent = Agent()
    passage.take(agent.batch())
    settled = passage.settle(Progress(EPOCH, 2, b"z" * 32))
    assert settled == Fork("what is committed at line 2 is not what came: another history", EPOCH)
    assert isinstance(opened().settle(Progress(EPOCH, 2, b"z" * 32)), Fork), "nothing came at all"


def test_progress_of_another_epoch_or_of_before_is_no_news():
    passage = opened()
    passage.take(Agent().batch())
    for progress in (None, Progress(EPOCH - 1, 50, GENESIS), Progress(EPOCH, 0, GENESIS)):
        assert passage.settle(progress) is False
    assert passage.bytes_out == 4


def test_one_batch_may_always_be_out():
    passage, agent = opened(), Agent()
    passage.take(agent.batch(data=b"d" * 1000))
    assert not passage.is_over(1)
    passage.take(agent.batch(data=b"d" * 1000))
    assert passage.is_over(999)
    assert not passage.is_over(1000)


@given(st.lists(st.tuples(st.integers(1, 5), st.binary(min_size=1, max_size=20)), max_size=20), st.data())
def test_whatever_is_committed_of_what_came_is_acknowledged_and_the_rest_is_out(cut, data):
    passage, agent = opened(), Agent()
    places: list[Progress] = [agent.progress]
    sizes: list[int] = [0]
    for count, text in cut:
        assert passage.take(agent.batch(count, text)) is None
        places.append(agent.progress)
        sizes.append(len(text))
    at = 0
    while at < len(cut):
        at = data.draw(st.integers(at + 1, len(cut)))
        assert passage.settle(places[at]) is True
        assert passage.settle(places[at]) is False
        assert passage.acked == places[at].seq
        assert passage.bytes_out == sum(sizes[at + 1 :])
