"""The decision: an alert in, orders out, each with a verdict and a reason in words.

Deterministic but for the time: the same alert gives the same order ids, so a repeat is known.
"""

from collections.abc import Sequence
from typing import Any, Literal

import msgspec

from hids.core.response.blocks import Blocks, Key
from hids.core.response.guard import Guard
from hids.core.response.policy import Command, Policy, Response, Trigger, triggers
from hids.core.response.target import address_of, user_of
from hids.messages.responder import Enlisted
from hids.messages.response import ResponseOrder
from hids.messages.terms import AgentId

ACTIVE_RESPONSE = "active_response"
"""Group of rules about responses: no response is ever a reason for another one."""
MAX_ALERT_JSON = 16 * 1024
RENEW_SHARE = 0.9
"""A block that has more than this share of its time left is not renewed for each further alert."""
PAUSE_MS = 60_000
"""What happens once, a restart say, is not done again within this; what an agent refuses is not ordered again."""

State = Literal["open", "shadow", "refused", "stale"]


class _Rule(msgspec.Struct, frozen=True):
    id: str
    level: int
    description: str = ""
    groups: tuple[str, ...] = ()


class _Agent(msgspec.Struct, frozen=True):
    id: str = "000"
    name: str = ""
    ip: str = ""


class _Facts(msgspec.Struct, frozen=True):
    number: int
    at_ms: int = 0
    no_ar: bool = False


class Alert(msgspec.Struct, frozen=True):
    """What counts of an alert."""

    id: str
    rule: _Rule
    hids: _Facts
    agent: _Agent = _Agent()
    data: dict[str, Any] = {}
    syscheck: dict[str, Any] = {}

    def text(self, field: str) -> str:
        """A field's text; empty when there is none."""
        value = self.data.get(field)
        return value if isinstance(value, str) else ""


alert_decoder = msgspec.json.Decoder(Alert)


class Verdict(msgspec.Struct, frozen=True):
    """What becomes of one order."""

    order: ResponseOrder
    agent: Enlisted
    state: State
    reason: str = ""
    over_budget: bool = False
    renews: bool = False
    """It was in force already, and is for longer."""


class _Target(msgspec.Struct, frozen=True):
    address: str = ""
    user: str = ""
    file: str = ""

    @property
    def name(self) -> str:
        return self.address or self.user


class Decider:
    """One policy, applied to alert after alert."""

    def __init__(self, policy: Policy, blocks: Blocks) -> None:
        self._policy = policy
        self.blocks = blocks
        self.agents: Sequence[Enlisted] = ()

    def decide(self, alert: Alert, line: bytes, guard: Guard, now_ms: int) -> list[Verdict]:
        """All verdicts about one alert; none for most.

        Args:
            alert: what counts of it.
            line: the alert's JSON, for scripts that want it whole.
            guard: whom not to touch.
            now_ms: the clock's time.
        """
        limits = self._policy.limits
        groups = alert.rule.groups
        if limits.mode == "off" or alert.hids.no_ar or ACTIVE_RESPONSE in groups:
            return []
        digits = alert.rule.id
        reason = Trigger(rule=int(digits) if digits.isdecimal() else -1, level=alert.rule.level, groups=groups)
        return [
            verdict
            for response in self._policy.responses
            if triggers(response, reason)
            for verdict in self._answer(response, alert, line, guard, now_ms)
        ]

    def by_hand(
        self,
        command: Command,
        target: str,
        agents: Sequence[Enlisted],
        by: str,
        timeout_s: int,
        guard: Guard,
        now_ms: int,
    ) -> list[Verdict]:
        """What a person orders: guarded, but not budgeted."""
        needs = command.needs
        aim = _Target(
            address=str(address_of(target) or "") if "srcip" in needs else "",
            user=user_of(target) if "user" in needs else "",
        )
        until_ms = now_ms + timeout_s * 1000 if timeout_s and command.ends else 0
        verdicts: list[Verdict] = []
        for agent in agents:
            order = ResponseOrder(
                id=f"hand-{now_ms}:{command.name}:{agent.id}:{aim.name}",
                agent=agent.id,
                response="by hand",
                command=command.name,
                action=command.action,
                address=aim.address,
                user=aim.user,
                issued_ms=now_ms,
                until_ms=until_ms,
                why=f"ordered by {by}"[:1024],
                extra=command.extra_args,
                form=command.form,
                once=command.once,
            )
            refusal = (
                f"{command.name} needs an address or a user, got {target[:60]!r}" if needs and not aim.name else ""
            )
            refusal = refusal or _refusal(aim, guard)
            if not refusal:
                self.blocks.begin(
                    (command.name, agent.id, aim.name), until_ms or (now_ms + PAUSE_MS if command.once else 0)
                )
            verdicts.append(Verdict(order, agent, "refused" if refusal else "open", refusal))
        return verdicts

    def _answer(self, response: Response, alert: Alert, line: bytes, guard: Guard, now_ms: int) -> list[Verdict]:
        command = self._policy.command(response.command)
        aim = None if command is None else _aim(command, alert)
        if command is None or aim is None:
            return []
        agents = self._where(response, alert)
        if not agents:
            named = response.agent if response.location == "defined-agent" else self._policy.limits.server_agent
            nobody = Enlisted(AgentId(alert.agent.id), alert.agent.name)
            order = self._order(response, command, aim, alert, line, nobody, now_ms, 0)
            return [Verdict(order, nobody, "refused", f"there is no agent {named or alert.agent.id!r} to do it")]
        target, blocks = aim.name, self.blocks
        running = [
            agent for agent in agents if blocks.active_until((command.name, agent.id, target), now_ms) is not None
        ]
        before = blocks.times(command.name, target, now_ms) - bool(running)
        timeout_s = _timeout_s(response, command, max(0, before))
        until_ms = now_ms + timeout_s * 1000 if timeout_s else 0
        due = [agent for agent in agents if self._is_due((command.name, agent.id, target), timeout_s, now_ms)]
        if not due:
            return []
        state, reason, over = self._judge(aim, alert, guard, now_ms, renews=bool(running))
        if state in ("open", "shadow"):
            if not running:
                blocks.count(command.name, target, now_ms)
            for agent in due:
                blocks.begin(
                    (command.name, agent.id, target),
                    until_ms or (now_ms + PAUSE_MS if command.once or not target else 0),
                )
        return [
            Verdict(
                self._order(response, command, aim, alert, line, agent, now_ms, until_ms),
                agent,
                state,
                reason,
                over,
                renews=bool(running),
            )
            for agent in due
        ]

    def _judge(self, aim: _Target, alert: Alert, guard: Guard, now_ms: int, *, renews: bool) -> tuple[State, str, bool]:
        limits = self._policy.limits
        refusal = _refusal(aim, guard)
        if not refusal and aim.address and aim.address == alert.agent.ip:
            refusal = f"it is the agent {alert.agent.name}"
        if refusal:
            return "refused", refusal, False
        age_s = (now_ms - alert.hids.at_ms) / 1000
        if age_s > limits.max_age_s:
            return (
                "stale",
                f"it is about {age_s:.0f} s ago, more than [responses] max_age_s = {limits.max_age_s}",
                False,
            )
        if not renews:
            if self.blocks.in_last_minute(now_ms) >= limits.per_minute:
                return "refused", f"the budget of {limits.per_minute} new targets a minute is used up", True
            if self.blocks.targets(now_ms) >= limits.active:
                return "refused", f"the budget of {limits.active} targets at once is used up", True
        return ("shadow", "shadow mode: nothing is done", False) if limits.mode == "shadow" else ("open", "", False)

    def _is_due(self, key: Key, timeout_s: int, now_ms: int) -> bool:
        """Whether there is something to do: it is not in force, or could be in force for much longer."""
        until_ms = self.blocks.active_until(key, now_ms)
        if self.blocks.is_paused(key, now_ms):
            return False
        if until_ms is None:
            return True
        return until_ms != 0 and timeout_s > 0 and until_ms - now_ms < RENEW_SHARE * timeout_s * 1000

    def _where(self, response: Response, alert: Alert) -> Sequence[Enlisted]:
        match response.location:
            case "all":
                return self.agents
            case "local":
                # What the manager itself reports, syslog say, happens where the manager is.
                key = alert.agent.id if alert.agent.id != "000" else self._policy.limits.server_agent
                if alert.agent.id != "000" and not self.named(key):  # joined a moment ago
                    return (Enlisted(AgentId(key), alert.agent.name, (alert.agent.ip,)),)
            case "server":
                key = self._policy.limits.server_agent
            case "defined-agent":
                key = response.agent
        return self.named(key)

    def named(self, key: str) -> Sequence[Enlisted]:
        """The agent of this id or name; none when there is none."""
        by_id = tuple(agent for agent in self.agents if agent.id == key)
        return by_id or tuple(agent for agent in self.agents if agent.name == key)[:1]

    def _order(
        self,
        response: Response,
        command: Command,
        aim: _Target,
        alert: Alert,
        line: bytes,
        agent: Enlisted,
        now_ms: int,
        until_ms: int,
    ) -> ResponseOrder:
        whole = command.form == "wazuh" or agent.legacy
        return ResponseOrder(
            id=f"{alert.id}:{response.label}:{agent.id}",
            agent=agent.id,
            response=response.label,
            command=command.name,
            action=command.action,
            address=aim.address,
            user=aim.user,
            file=aim.file,
            issued_ms=now_ms,
            until_ms=until_ms,
            alert=alert.id,
            reference=f"{alert.hids.at_ms // 1000}.{alert.hids.number}",
            rule=alert.rule.id,
            why=alert.rule.description[:1024],
            extra=command.extra_args,
            form=command.form,
            once=command.once,
            alert_json=line if whole and len(line) <= MAX_ALERT_JSON else b"",
        )


def _aim(command: Command, alert: Alert) -> _Target | None:
    """Against whom; None when the alert lacks what the command needs."""
    address = address_of(alert.text("srcip"))
    user = user_of(alert.text("dstuser"))
    path = alert.syscheck.get("path")
    file = path if isinstance(path, str) else alert.text("file")
    have = {"srcip": str(address or ""), "user": user, "filename": file}
    needs = command.needs
    if not all(have[need] for need in needs):
        return None
    wanted = {need: have[need] if need in needs else "" for need in have}
    return _Target(wanted["srcip"], wanted["user"], wanted["filename"][:4096])


def _refusal(aim: _Target, guard: Guard) -> str:
    refusal = guard.refusal_of_address(aim.address) if aim.address else ""
    return refusal or (guard.refusal_of_user(aim.user) if aim.user else "")


def _timeout_s(response: Response, command: Command, before: int) -> int:
    if not command.ends or not response.timeout_s:
        return 0
    if before and response.repeated_offenders:
        return response.repeated_offenders[min(before, len(response.repeated_offenders)) - 1] * 60
    return response.timeout_s
