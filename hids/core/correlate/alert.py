"""The alert's final bytes: one JSON object on one line, in Wazuh 4's form plus a `hids` object."""

from collections.abc import Sequence
from functools import lru_cache

import msgspec

from hids.core.correlate.window import Entry
from hids.messages import EventOut, Outcome, RuleRow

_encode = msgspec.json.Encoder().encode


def alert_id(source: str, epoch: int, seq: int, agent: str, turn: int) -> str:
    """agent-epoch-seq, so that every replay gives the same id; `-turn` when one event gives several alerts."""
    kind = source.split("/")
    name = agent if kind[0] == "agent" else f"{agent}.{kind[1]}"
    return f"{name}-{epoch}-{seq}" + (f"-{turn}" if turn else "")


class Composer:
    """Puts the alerts of one outcome together from the worker's part and the lane's."""

    def __init__(self, outcome: Outcome) -> None:
        self._outcome = outcome
        self._first_seq = outcome.first_seq
        self._place = b',"source":%s,"epoch":%d,"seq":' % (_encode(outcome.source), outcome.epoch)
        self._id = alert_id(outcome.source, outcome.epoch, 0, outcome.agent.id, 0).encode()[:-1]

    def compose(
        self,
        event: EventOut,
        row: RuleRow,
        *,
        ruleset: str,
        turn: int,
        number: int,
        fired: int,
        timestamp: str,
        previous: Sequence[Entry] = (),
        previous_log: bytes = b"",
        description: bytes = b'""',
    ) -> bytes:
        """One alert.

        Args:
            event: holds the members after the rule.
            row: holds the rule object but for `firedtimes`.
            ruleset: name of the ruleset, for people.
            turn: 0 for the first alert of this event.
            number: the alert's place in the outbox.
            fired: how often the rule has fired, this time included.
            timestamp: the event time in Wazuh's form, local zone.
            previous: what a composite counted, newest first.
            previous_log: the log before, for a rule with `check_diff`.
            description: JSON string, for a rule whose description differs from event to event.
        """
        seq = self._first_seq + event.offset
        before = b""
        if previous:
            logs = b"\n".join(entry.text for entry in previous).decode(errors="replace")
            before = b'"previous_output":' + _encode(logs) + b","
        if previous_log:
            before += b'"previous_log":' + _encode(previous_log.decode(errors="replace")) + b","
        return b"".join(
            (
                b'{"timestamp":"%s","rule":' % timestamp.encode(),
                row.head,
                description + row.middle if row.middle else b"",
                b'"firedtimes":%d' % fired if row.counted else b"",
                row.end if row.counted else row.end.removeprefix(b","),
                b',"id":"%s%d%s",' % (self._id, seq, b"-%d" % turn if turn else b""),
                before,
                event.tail,
                b',"hids":{"number":%d%s%d,"ruleset":%s,"at_ms":%d}}\n'
                % (number, self._place, seq, _quoted(ruleset), event.at_ms),
            )
        )


@lru_cache(maxsize=64)
def _quoted(text: str) -> bytes:
    return _encode(text)
