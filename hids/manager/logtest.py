"""Logtest: one line through the same plan and the same correlation as in the manager, on a throwaway state."""

from collections.abc import Sequence
from typing import Any

import msgspec

from hids.actors.decoder import agent_prefix, local_ms
from hids.core.correlate.accumulate import Accumulator, own_fields, transaction
from hids.core.correlate.cells import Cells
from hids.core.correlate.correlator import Correlator, Decision
from hids.core.correlate.expectations import Sender
from hids.core.correlate.native import Progress
from hids.core.correlate.semantics import NO_RULE
from hids.core.correlate.windows import Windows
from hids.core.decode.event import Event, Origin
from hids.core.rules.compliance import split_groups
from hids.core.rules.plan import Plan
from hids.core.rules.walk import Verdict, base, naive
from hids.messages.evaluation import EventOut
from hids.messages.lines import LogLine
from hids.messages.terms import Agent, AgentId, SourceId

WINDOW_BYTES = 64 * 1024 * 1024


class Logtest:
    """Remembers what it was shown, so that composite rules can be tried."""

    def __init__(self, plans: Sequence[Plan], host: str, *, silences: bool = True) -> None:
        """Make one with nothing remembered.

        Args:
            plans: the rulesets.
            host: stands in where a line names no host.
            silences: False: `ignore` has no effect, as in OSSEC's and Wazuh's own logtest.
        """
        self._plans = tuple(plans)
        self._host = host
        self._silences = silences
        self.reset()

    def reset(self) -> None:
        """Forget all lines. The plans stay compiled."""
        cells = Cells()
        self._accumulator = Accumulator(cells)
        windows = Windows(lambda _key: None, WINDOW_BYTES)
        self._correlator = Correlator(windows, cells, silences=self._silences)

    def test(self, line: LogLine, agent: str = "000", host: str | None = None) -> list[dict[str, Any]]:
        """What each ruleset says of a line, in the order of the rulesets.

        Args:
            line: comes at its `at_ms`, whatever the clock says.
            agent: id of the sender, for rules that count per agent.
            host: its name, when it is another than usual.
        """
        name = (self._host if host is None else host).encode()
        return [self._test(plan, line, agent, name) for plan in self._plans]

    def pass_time(self, until_ms: int, agent: str = "000") -> list[list[dict[str, Any]]]:
        """Rules with `unless` whose time is up, for each ruleset: all that the agent logged until then has been shown."""
        return [self._missed(plan, until_ms, agent) for plan in self._plans]

    def _test(self, plan: Plan, line: LogLine, agent: str, host: bytes) -> dict[str, Any]:
        missed = self._missed(plan, line.at_ms, agent)
        sender = Agent(AgentId(agent), host.decode(), "any")
        event = self._recognise(plan, line, Origin(host, agent_prefix(sender), _wall))
        verdict = plan.judge(event)
        counting: list[Progress] = []
        if verdict is None:  # nothing that matters: name the silent rule all the same
            decision = Decision(base(naive(plan.ruleset, event)))
        else:
            shown = EventOut(0, line.at_ms, 0, 0, verdict.slots, b"", event.full_log, descriptions=verdict.descriptions)
            batch = Sender(SourceId(f"agent/{agent}"), sender, 1, 1)
            decision = self._correlator.decide(plan.table, verdict.residual, shown, agent, line.at_ms, batch)
            counting = self._correlator.progress(plan.table, verdict.residual, shown, agent)
        told = _told(plan, event, verdict, decision)
        fired = {each.rule for each in (decision, *decision.also)}
        told["counting"] = [_counting(plan, progress) for progress in counting if progress.rule not in fired]
        told["missed"] = missed
        return told

    def _missed(self, plan: Plan, until_ms: int, agent: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for rule, missed in self._correlator.due(plan.table, agent, until_ms, until_ms):
            decision, event = self._correlator.miss(plan.table, rule, missed)
            found.append(_rule(plan, decision, event.descriptions))
        return found

    def _recognise(self, plan: Plan, line: LogLine, origin: Origin) -> Event:
        """Decode; an event that is lent fields is decoded once more with them, as in the manager."""
        event = plan.recognise(line, origin)
        key = transaction(event)
        if key is None:
            return event
        fields = own_fields(event.fields, plan.ruleset.dialect)
        lent = self._accumulator.lend(plan.name, key, fields, line.at_ms)
        if lent:
            event = plan.recognise(line, origin)
            event.given = lent
        return event


def _wall(line: LogLine) -> int:
    return local_ms(line.at_ms)


def _told(plan: Plan, event: Event, verdict: Verdict | None, decision: Decision) -> dict[str, Any]:
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
        descriptions = () if verdict is None else verdict.descriptions
        told["rule"] = _rule(plan, decision, descriptions)
        told["rule"]["also"] = [_rule(plan, other, descriptions) for other in decision.also]
        if decision.previous_log:
            told["rule"]["previous_log"] = _text(decision.previous_log)
    return told


def _rule(plan: Plan, decision: Decision, descriptions: Sequence[tuple[int, bytes]]) -> dict[str, Any]:
    rule = plan.ruleset.rules[decision.rule]
    described = dict(descriptions).get(decision.rule)
    return {
        "id": rule.id,
        "level": rule.level,
        "description": rule.description if described is None else msgspec.json.decode(described),
        "groups": split_groups(rule.groups)[0],
        "alert": rule.level > 0 and not decision.silent,
        "silenced": decision.silent,
        "counted": len(decision.previous),
    }


def _counting(plan: Plan, progress: Progress) -> dict[str, Any]:
    return {
        "id": plan.ruleset.rules[progress.rule].id,
        "have": progress.have,
        "of": progress.frequency,
        "timeframe_s": progress.timeframe_ms // 1000,
    }


def _text(value: bytes) -> str:
    return value.decode(errors="replace")
