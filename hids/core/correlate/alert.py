"""The alert's final bytes: one JSON object on one line, in Wazuh 4's form plus a `hids` object."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from hids.core.correlate.expectations import Sender
from hids.core.correlate.window import Entry
from hids.messages.evaluation import EventOut
from hids.messages.outputs import Incident
from hids.messages.rule_table import RuleRow

_encode = msgspec.json.Encoder().encode


def alert_id(sender: Sender, event: EventOut, turn: int) -> str:
    """agent-epoch-seq, so that every replay gives the same id; `-turn` when one event gives several alerts."""
    name = f"{_place(sender.source, sender.agent.id, sender.epoch)[0]}{sender.first_seq + event.offset}"
    return f"{name}-{turn}" if turn else name


@lru_cache(maxsize=1024)
def _place(source: str, agent: str, epoch: int) -> tuple[str, bytes]:
    """What all alerts of a stream's epoch have in common: how their ids begin, and what stands around their numbers."""
    kind = source.split("/")
    stream = agent if kind[0] == "agent" else f"{agent}.{kind[1]}"
    return f"{stream}-{epoch}-", b',"source":%b,"epoch":%d,"seq":' % (_encode(source), epoch)


@lru_cache(maxsize=1024)
def _quoted(text: str) -> bytes:
    return _encode(text)


def compose(
    sender: Sender,
    event: EventOut,
    row: RuleRow,
    *,
    ruleset: str,
    name: str,
    number: int,
    fired: int,
    timestamp: str,
    previous: Sequence[Entry],
    previous_log: bytes = b"",
    description: bytes = b'""',
    incident: Incident | None = None,
) -> bytes:
    """Put an alert together from the worker's part and the lane's.

    Args:
        sender: says who and where in the stream.
        event: holds the members after the rule.
        row: holds the rule object but for `firedtimes`.
        ruleset: name of the ruleset, for people.
        name: the alert's id.
        number: the alert's place in the outbox.
        fired: how often the rule has fired, this time included.
        timestamp: the event time in Wazuh's form, local zone.
        previous: what a composite counted, newest first.
        previous_log: the log before, for a rule with `check_diff`.
        description: JSON string, for a rule whose description differs from event to event.
        incident: what the alert is part of.
    """
    before = b""
    if previous:
        logs = b"\n".join(entry.text for entry in previous).decode(errors="replace")
        before = b'"previous_output":' + _encode(logs) + b","
    if previous_log:
        before += b'"previous_log":' + _encode(previous_log.decode(errors="replace")) + b","
    rule = row.head + description + row.middle if row.middle else row.head
    rule += b'"firedtimes":%d' % fired + row.end if row.counted else row.end.removeprefix(b",")
    rest = b"" if row.responds else b',"no_ar":true'
    if incident is not None:
        rest += b',"incident":' + _encode(incident)
    return b'{"timestamp":"%b","rule":%b,"id":"%b",%b%b,"hids":{"number":%d%b%d,"ruleset":%b,"at_ms":%d%b}}\n' % (
        timestamp.encode(),
        rule,
        name.encode(),
        before,
        event.tail,
        number,
        _place(sender.source, sender.agent.id, sender.epoch)[1],
        sender.first_seq + event.offset,
        _quoted(ruleset),
        event.at_ms,
        rest,
    )
