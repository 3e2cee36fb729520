"""Logtest: one line through the same plan and the same correlation as in the manager, on a throwaway state."""

from collections.abc import Sequence
from typing import Any

from hids.core.correlate.correlator import Correlator, Decision
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.windows import Windows
from hids.core.decode.event import Event
from hids.core.rules.plan import Plan
from hids.core.rules.walk import base, naive
from hids.messages import EventOut, LogLine

WINDOW_BYTES = 64 * 1024 * 1024


class Logtest:
    """Remembers what it was shown, so that composite rules can be tried."""

    def __init__(self, plans: Sequence[Plan], host: str) -> None:
        self._plans = tuple(plans)
        self._host = host.encode()
        self._correlator = Correlator(Windows(lambda _key: None, WINDOW_BYTES))

    def test(self, line: LogLine) -> list[dict[str, Any]]:
        """What each ruleset says of a line, in the order of the rulesets."""
        return [self._test(plan, line) for plan in self._plans]

    def _test(self, plan: Plan, line: LogLine) -> dict[str, Any]:
        recognised = plan.recognise(line, self._host)
        event = recognised.event
        verdict = plan.judge(recognised)
        if verdict is None:  # nothing that matters: name the silent rule all the same
            decision = Decision(base(naive(plan.ruleset, event)))
        else:
            shown = EventOut(0, line.at_ms, 0, 0, verdict.slots, b"", event.full_log, verdict.descriptions)
            decision = self._correlator.decide(plan.table, verdict.residual, shown, "000", line.at_ms)
        return _told(plan, event, decision)


def _told(plan: Plan, event: Event, decision: Decision) -> dict[str, Any]:
    told: dict[str, Any] = {
        "ruleset": plan.name,
        "header": {
            key: _text(value)
            for key, value in (
                ("timestamp", event.timestamp),
                ("hostname", event.hostname),
                ("program_name", event.program),
            )
            if value is not None
        },
        "log": _text(event.log),
        "decoder": event.decoder_name,
        "parent": event.decoder_parent,
        "fields": {name: _text(value) for name, value in event.fields.items()},
        "rule": None,
    }
    if decision.rule != NO_RULE:
        rule = plan.ruleset.rules[decision.rule]
        told["rule"] = {
            "id": rule.id,
            "level": rule.level,
            "description": rule.description,
            "groups": list(rule.groups),
            "alert": rule.level > 0 and not decision.silent,
            "silenced": decision.silent,
            "counted": len(decision.previous),
        }
    return told


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
