"""What the control socket answers about files: orders for the baseline, questions to agents, maintenances."""

import uuid
from collections.abc import Callable, Sequence
from typing import Any

import msgspec
import structlog

from hids.adapters.registry import AgentRow
from hids.errors import ConfigError
from hids.manager.legacy_answers import LegacyAnswers
from hids.manager.topology import Topology
from hids.messages.agent_link import AskDigests, Rescan
from hids.messages.baseline import BaselineOrder, Maintain, Maintenance
from hids.messages.terms import Agent, AgentId

log = structlog.get_logger()

MAX_MINUTES = 31 * 24 * 60
MAX_TEXT = 200


class SyscheckAnswers:
    """On main's loop. What is ordered is done by the lane; hidsctl looks into the ledger whether it was."""

    def __init__(self, topology: Topology, legacy: LegacyAnswers) -> None:
        self._site = topology.site
        self._legacy = legacy
        self.commands: dict[str, Callable[[dict[str, Any], str], Any]] = {
            "syscheck_order": self._order,
            "syscheck_verify": self._verify,
            "syscheck_rescan": self._rescan,
            "maintenance_start": self._start,
            "maintenance_end": self._end,
        }
        """Name -> what answers (arguments, who asks); raises HidsError with words for a person."""

    async def _order(self, arguments: dict[str, Any], who: str) -> Any:
        row = await self._row(arguments)
        order = _converted(
            {**arguments, "path": arguments.get("where"), "agent": _agent(row), "by": who[:MAX_TEXT]}, BaselineOrder
        )
        log.info("baseline", what=order.what, agent=row.id, path=order.path, by=who)
        self._site.dispatcher.tell(order)
        return {"id": row.id, "name": row.name}

    async def _verify(self, arguments: dict[str, Any], _who: str) -> Any:
        row = await self._row(arguments)
        self._send(row, _converted({"check": arguments.get("check"), "top": arguments.get("where")}, AskDigests))
        return {"id": row.id, "name": row.name}

    async def _rescan(self, arguments: dict[str, Any], who: str) -> Any:
        row = await self._row(arguments)
        paths, baseline = arguments.get("paths", ()), arguments.get("baseline", False)
        order = _converted({"paths": paths, "baseline": baseline}, Rescan)
        log.info("rescan", agent=row.id, paths=order.paths, by=who)
        presence = self._site.fleet.get(row.id)
        if presence is not None and presence.connected and presence.send is None:
            # An agent of OSSEC or Wazuh: it knows one order only, which is for all of its files.
            await self._legacy.answer("legacy.order", {"agent": row.id, "what": "scan"}, who)
        else:
            self._send(row, order)
        return {"id": row.id, "name": row.name}

    # -- maintenance

    async def _start(self, arguments: dict[str, Any], who: str) -> Any:
        minutes = arguments.get("minutes")
        if not isinstance(minutes, int) or not 1 <= minutes <= MAX_MINUTES:
            raise ConfigError(f"minutes: expected 1 to {MAX_MINUTES}, got {minutes!r}")
        reason = str(arguments.get("reason", "")).strip()
        if not reason:
            raise ConfigError("reason: say what is being done, so that whoever reads the alerts knows")
        agents, scope = await self._scope(arguments)
        now_ms = self._site.clock.now_ms()
        maintenance = Maintenance(
            id=uuid.uuid4().hex,
            agents=agents,
            scope=scope[:MAX_TEXT],
            owner=(str(arguments.get("owner", "")).strip() or who)[:MAX_TEXT],
            reason=reason[:MAX_TEXT],
            start_ms=now_ms,
            end_ms=now_ms + minutes * 60_000,
        )
        self._site.dispatcher.tell(Maintain(maintenance))
        return msgspec.to_builtins(maintenance)

    async def _end(self, arguments: dict[str, Any], who: str) -> Any:
        maintenance = _converted(arguments.get("maintenance"), Maintenance)
        ended = msgspec.structs.replace(maintenance, ended_ms=self._site.clock.now_ms(), ended_by=who[:MAX_TEXT])
        self._site.dispatcher.tell(Maintain(ended))
        return msgspec.to_builtins(ended)

    async def _scope(self, arguments: dict[str, Any]) -> tuple[tuple[AgentId, ...], str]:
        """The agents that are meant, and who that is in words."""
        keys, groups = _texts(arguments, "agents"), _texts(arguments, "groups")
        rows = [await self._get(key) for key in keys]
        if groups:
            everybody: Sequence[AgentRow] = await self._site.ask(lambda registry: list(registry.list()))
            members = [row for row in everybody if row.removed_ms is None and set(groups) & set(row.group_names)]
            if not members:
                raise ConfigError(f"no agent is in {' or '.join(groups)}; see `hidsctl agent list`")
            rows += members
        if not rows:
            raise ConfigError("say on whom: --agent or --group")
        words = [f"{row.name} ({row.id})" for row in rows[: len(keys)]] + [f"group {group}" for group in groups]
        return tuple(dict.fromkeys(row.id for row in rows)), ", ".join(words)

    # -- agents

    def _send(self, row: AgentRow, message: AskDigests | Rescan) -> None:
        presence = self._site.fleet.get(row.id)
        if presence is None or presence.send is None:
            raise ConfigError(f"agent {row.id} ({row.name}) is not connected; see `hidsctl agent why-offline {row.id}`")
        if "syscheck" not in presence.abilities:
            raise ConfigError(f"agent {row.id} ({row.name}) runs {presence.software}, which cannot be asked that")
        presence.send(message)

    async def _row(self, arguments: dict[str, Any]) -> AgentRow:
        return await self._get(str(arguments.get("agent", "")))

    async def _get(self, key: str) -> AgentRow:
        row: AgentRow = await self._site.ask(lambda registry: registry.get(key))
        return row


def _agent(row: AgentRow) -> Agent:
    return Agent(row.id, row.name, row.address)


def _converted(value: Any, kind: type[Any]) -> Any:
    try:
        return msgspec.convert(value, kind, from_attributes=True)
    except msgspec.ValidationError as error:
        raise ConfigError(f"not understood: {error}") from error


def _texts(arguments: dict[str, Any], name: str) -> tuple[str, ...]:
    try:
        return msgspec.convert(arguments.get(name, ()), tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error
