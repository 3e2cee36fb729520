"""What the manager answers to a HELLO, case by case, and that no HELLO at all leads to a loss nobody hears of."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.wire.lines import GENESIS
from hids.core.wire.session import PROTOCOL_VERSION, Fork, GoOn, Missing, judge
from hids.messages.agent_link import Hello, ToManager
from hids.messages.lane import Progress

A, B = b"a" * 32, b"b" * 32


def hello(epoch: int = 5, oldest: int = 1, following: int = 1, chain: bytes = GENESIS, previous: int = 0) -> Hello:
    return Hello(
        version=PROTOCOL_VERSION,
        machine_id="m",
        epoch=epoch,
        oldest=oldest,
        next=following,
        chain=chain,
        clock_ms=0,
        previous_epoch=previous,
    )


def at(seq: int, chain: bytes = A, epoch: int = 5) -> Progress:
    return Progress(epoch=epoch, seq=seq, chain=chain)


def test_a_new_agent_begins_at_its_first_line():
    assert judge(hello(following=8), None) == GoOn(1)


def test_an_agent_that_lost_an_acknowledgement_goes_on_behind_what_is_committed():
    assert judge(hello(oldest=3, following=20, chain=B), at(7)) == GoOn(8)


def test_an_agent_that_trimmed_all_goes_on_when_its_chain_is_ours():
    assert judge(hello(oldest=8, following=8, chain=A), at(7)) == GoOn(8)


def test_another_history_behind_the_same_line_is_refused():
    answer = judge(hello(oldest=8, following=12, chain=B), at(7))
    assert isinstance(answer, Fork)
    assert (answer.after, "the chain differs at line 7" in answer.reason) == (5, True)


def test_lines_that_nobody_has_are_a_hole():
    assert judge(hello(oldest=10, following=20, chain=B), at(7)) == Missing(first=8, last=9, chain=B)
    assert judge(hello(oldest=4, following=20, chain=B), None) == Missing(first=1, last=3, chain=B)


def test_an_agent_behind_its_own_past_is_refused():
    answer = judge(hello(oldest=1, following=5), at(7))
    assert answer == Fork("line 7 is committed, the agent is only at 4", 5)


def test_an_older_epoch_is_refused():
    assert judge(hello(epoch=4), at(7)) == Fork("epoch 4 is older than the committed 5", 5)


def test_a_newer_epoch_names_the_one_before_or_starts_at_its_first_line():
    assert judge(hello(epoch=9, following=3, previous=5), at(7)) == GoOn(1)
    assert judge(hello(epoch=9, following=3), at(7)) == GoOn(1)
    assert judge(hello(epoch=9, oldest=3, following=4, chain=B, previous=5), at(7)) == Missing(1, 2, B)
    stranger = judge(hello(epoch=9, oldest=3, following=4, previous=8), at(7))
    assert stranger == Fork("epoch 9 does not name its predecessor 5", 5)


NUMBER = st.integers(0, 12)


@given(NUMBER, st.integers(1, 12), st.integers(0, 12), st.sampled_from((A, B, GENESIS)), NUMBER, NUMBER, NUMBER)
def test_after_any_hello_every_line_is_committed_kept_by_the_agent_or_in_a_hole(
    epoch: int, oldest: int, more: int, chain: bytes, previous: int, committed: int, committed_epoch: int
):
    said = hello(epoch, oldest, oldest + more, chain, previous)
    progress = at(committed, epoch=committed_epoch) if committed_epoch else None
    done = committed if progress is not None and committed_epoch == epoch else 0
    match judge(said, progress):
        case GoOn(from_seq):
            assert oldest <= from_seq <= oldest + more
            assert from_seq == done + 1
        case Missing(first, last, after):
            assert (first, last, after) == (done + 1, oldest - 1, chain)
            assert first <= last
            assert judge(said, Progress(epoch=epoch, seq=last, chain=after)) == GoOn(oldest)
        case Fork(reason, after):
            assert after >= committed_epoch
            assert reason
            assert progress is not None or (oldest == 1 and chain != GENESIS)


@pytest.mark.parametrize("field", ["epoch", "oldest", "next", "clock_ms", "previous_epoch", "version"])
@pytest.mark.parametrize("value", [-1, 2**53 + 1, 2**64 - 1])
def test_numbers_that_no_store_can_hold_are_refused_at_the_door(field: str, value: int):
    told = {"type": "hello", **msgspec.to_builtins(hello(), builtin_types=(bytes,)), field: value}
    decoder = msgspec.msgpack.Decoder(ToManager)
    assert decoder.decode(msgspec.msgpack.encode({**told, field: 1}))
    with pytest.raises(msgspec.ValidationError):
        decoder.decode(msgspec.msgpack.encode(told))
