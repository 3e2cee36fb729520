"""What an old agent's event becomes on this manager: lines as our own agents would have read them."""

from collections.abc import Iterable

import msgspec

from hids.core.wire.hostinfo import host_line
from hids.core.wire.ossec.events import EVENT_CHANNEL, HOSTINFO, LOGS, QUIET, ROOTCHECK, SCA, SYSCHECK, OldEvent
from hids.core.wire.ossec.syscheck import COMPLETED, REGISTRY, read_json, read_sum
from hids.errors import RemoteProtocolError
from hids.messages.lines import LogLine
from hids.messages.syscheck import FileFact
from hids.messages.terms import Kind

_pack = msgspec.msgpack.Encoder().encode


class Arrival(msgspec.Struct, frozen=True):
    """An event as lines."""

    lines: tuple[LogLine, ...] = ()
    completed: bool = False
    """The agent's syscheck has told its whole database."""
    dropped: str = ""
    """Why nothing came of it."""


def arrival(event: OldEvent, now_ms: int, *, complete: bool) -> Arrival:
    """Turn an event into lines. The times are ours: the protocol has none.

    Args:
        event: what came.
        now_ms: when.
        complete: the agent's syscheck has told its whole database before.
    """
    if event.queue in QUIET:
        return Arrival(dropped="inventory")
    if event.queue == SYSCHECK:
        return _syscheck(event, now_ms, complete=complete)
    kinds: dict[str, Kind] = {ROOTCHECK: "rootcheck", EVENT_CHANNEL: "eventchannel", SCA: "sca"}
    kind = kinds.get(event.queue, "log")
    line = LogLine(event.location, event.message, now_ms, now_ms, kind)
    if event.queue == HOSTINFO:
        line = host_line(line)
    return Arrival((line,), dropped="" if kind != "log" or event.queue in LOGS else "unknown queue, taken as a log")


def _syscheck(event: OldEvent, now_ms: int, *, complete: bool) -> Arrival:
    if event.message == COMPLETED:
        return Arrival(completed=True)
    try:
        facts = _facts(event, complete=complete)
    except RemoteProtocolError:
        return Arrival(dropped="malformed syscheck event")
    return Arrival(fact_lines(facts, now_ms))


def fact_lines(facts: Iterable[FileFact], now_ms: int) -> tuple[LogLine, ...]:
    """Facts as an agent of ours sends them."""
    return tuple(LogLine("syscheck", _pack(fact), now_ms, now_ms, "syscheck") for fact in facts)


def _facts(event: OldEvent, *, complete: bool) -> tuple[FileFact, ...]:
    if event.message.startswith(b"{"):
        return read_json(event.message)
    fact = read_sum(event.message, complete=complete, registry=event.location == REGISTRY)
    return () if fact is None else (fact,)
