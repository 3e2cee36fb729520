"""Lines that the lane writes itself, about agents and for the rules: they take the path of all lines."""

from collections.abc import Iterable, Iterator
from typing import Literal

import msgspec

from hids.messages.evaluation import Dropped, Lending, Lent, Outcome
from hids.messages.lane import Applied, Hole, Notice, Progress
from hids.messages.lines import LogLine
from hids.messages.terms import SourceId

_encode = msgspec.msgpack.Encoder().encode


def lost(hole: Hole, now_ms: int) -> Applied:
    """Lines that will never come: progress moves over them, and the rules hear of it."""
    text = f"lines lost: {hole.first} to {hole.last} of epoch {hole.epoch}: {hole.reason}"
    return Applied(
        source=hole.source,
        agent=hole.agent,
        progress=Progress(epoch=hole.epoch, seq=hole.last, chain=hole.chain),
        first=hole.first,
        hole=hole,
        lines=(("agent", agent_line(text, now_ms)),),
        counts={"lost": hole.last - hole.first + 1},
    )


def agent_line(text: str, at_ms: int) -> LogLine:
    """A word about an agent."""
    return LogLine(
        location="hids-manager", text=text.encode(errors="replace"), at_ms=at_ms, read_ms=at_ms, kind="agent"
    )


def words_about(
    outcome: Outcome, letters: Iterable[Dropped], now_ms: int
) -> Iterator[tuple[Literal["agent"], LogLine]]:
    """A line for the rules about each dead letter; none about those that are such a line themselves."""
    if outcome.source.startswith("derived/agent/"):
        return
    for letter in letters:
        seq = outcome.first_seq + letter.offset
        reason = "it ended a process of the manager twice" if letter.reason == "poison" else "its batch is malformed"
        yield "agent", agent_line(f"line set aside: {seq} of epoch {outcome.epoch}: {reason}", now_ms)


def lent_line(lending: Lending, lent: Lent) -> LogLine:
    """An event once more, for one ruleset, with what events before it lent it."""
    return LogLine(lending.location, lending.text, lending.at_ms, lending.at_ms, facts=_encode(lent))


def noticed(notice: Notice) -> Applied:
    """What main has to say about an agent."""
    return Applied(
        source=SourceId(f"derived/agent/{notice.agent.id}"),
        agent=notice.agent,
        lines=(("agent", agent_line(notice.text, notice.at_ms)),),
        notice=notice.number,
    )
