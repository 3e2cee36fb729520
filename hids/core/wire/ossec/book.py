"""The book of the old agents' sources: what of them is numbered, and which of their messages were seen.

A record of the journal is one group: lines as numbered batches, and the numbers that moved. A head has all numbers, so
that what is older may be forgotten. The ledger counts on a source's numbers to go on without a gap, and this is where
they come from.
"""

from collections.abc import Mapping, Sequence

import msgspec

from hids.core.wire.lines import GENESIS, batched, link
from hids.core.wire.ossec.counters import Seen
from hids.messages.lane import Progress
from hids.messages.lines import Batch, LogLine
from hids.messages.terms import Agent, AgentId, SourceId


class Mark(msgspec.Struct, frozen=True, array_like=True):
    """Where one agent stands."""

    epoch: int = 0
    seq: int = 0
    chain: bytes = GENESIS
    seen: Seen = Seen()
    complete: bool = False
    """Its syscheck has told the whole database once."""
    generation: int = 0
    """Of its key, see `LegacyAgent`."""


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """One batch of one agent."""

    agent: Agent
    batch: Batch
    received_ms: int
    before: bytes
    """Chain value before it."""

    @property
    def source(self) -> SourceId:
        """Its stream."""
        return source_of(self.agent.id)

    @property
    def last(self) -> int:
        """Its last sequence."""
        return self.batch.first_seq + self.batch.count - 1


class Group(msgspec.Struct, frozen=True, tag="group"):
    """What became durable together."""

    entries: tuple[Entry, ...]
    marks: dict[str, Mark]
    sent: int
    """Global counter of what was sent by then."""


class Head(msgspec.Struct, frozen=True, tag="head"):
    """Everything as it stands where a segment begins."""

    marks: dict[str, Mark]
    sent: int


_encode = msgspec.msgpack.Encoder().encode
_decoder: msgspec.msgpack.Decoder[Group | Head] = msgspec.msgpack.Decoder(Group | Head)


def source_of(agent: AgentId) -> SourceId:
    """The stream of an agent's lines."""
    return SourceId(f"agent/{agent}")


class Book:
    """All marks."""

    def __init__(self) -> None:
        self.sent = 0
        self._marks: dict[str, Mark] = {}

    def mark(self, agent: AgentId) -> Mark:
        """Where an agent stands."""
        return self._marks.get(agent, Mark())

    def read(self, record: bytes) -> None:
        """Take in a record, oldest first.

        Raises:
            msgspec.MsgspecError: it is none of ours.
        """
        said = _decoder.decode(record)
        self._marks.update(said.marks)
        self.sent = max(self.sent, said.sent)

    def head(self) -> bytes:
        """The record that a segment begins with."""
        return _encode(Head(self._marks, self.sent))

    def group(
        self,
        lines: Mapping[AgentId, tuple[Agent, Sequence[LogLine]]],
        marks: Mapping[AgentId, Mark],
        committed: Mapping[str, Progress],
        sent: int,
        now_ms: int,
    ) -> Group:
        """Number lines. The book itself moves with `enter`, once the group is durable.

        Args:
            lines: what came, by agent.
            marks: numbers and flags that moved; sequence and chain in them are not looked at.
            committed: what the ledger has of each source.
            sent: global counter of what is sent with this group.
            now_ms: the time.
        """
        moved: dict[str, Mark] = {
            agent: msgspec.structs.replace(
                self._standing(agent, committed, now_ms),
                seen=mark.seen,
                complete=mark.complete,
                generation=mark.generation,
            )
            for agent, mark in marks.items()
        }
        entries: list[Entry] = []
        for agent, (who, texts) in lines.items():
            mark = moved.get(agent) or self._standing(agent, committed, now_ms)
            for count, data in batched(texts):
                chain = link(mark.chain, data)
                batch = Batch(epoch=mark.epoch, first_seq=mark.seq + 1, count=count, chain=chain, data=data)
                entries.append(Entry(who, batch, now_ms, mark.chain))
                mark = msgspec.structs.replace(mark, seq=mark.seq + count, chain=chain)
            moved[agent] = mark
        return Group(tuple(entries), moved, sent)

    def enter(self, group: Group) -> None:
        """The group is durable."""
        self._marks.update(group.marks)
        self.sent = max(self.sent, group.sent)

    def _standing(self, agent: AgentId, committed: Mapping[str, Progress], now_ms: int) -> Mark:
        """An agent's mark; in a new epoch when the ledger knows more than we do: this journal began anew."""
        mark = self.mark(agent)
        there = committed.get(source_of(agent), Progress(epoch=0, seq=0, chain=GENESIS))
        if mark.epoch and (there.epoch, there.seq) <= (mark.epoch, mark.seq):
            return mark
        return msgspec.structs.replace(mark, epoch=max(now_ms // 1000, there.epoch + 1), seq=0, chain=GENESIS)


def entries_in(record: bytes) -> tuple[Entry, ...]:
    """The batches in a record.

    Raises:
        msgspec.MsgspecError: it is none of ours.
    """
    said = _decoder.decode(record)
    return said.entries if isinstance(said, Group) else ()


def encode_group(group: Group) -> bytes:
    """A group as a record."""
    return _encode(group)
