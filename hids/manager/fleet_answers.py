"""What the control socket answers about agents and their configuration, beyond looking: approve, rename, group, restart, why, config."""

import asyncio
import datetime
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from hids.actors.configurator import Abandon, AskRollout, Try
from hids.actors.fleet import Presence, Refusal
from hids.adapters.approvals import PendingRow
from hids.adapters.registry import AgentRow
from hids.core.collect.shared import Member, Rollout, SharedFile, edition_for, parse_files
from hids.core.policy.texts import check_policies
from hids.errors import ConfigError
from hids.manager.topology import Topology
from hids.messages.agent_link import Restart

CANARY_SHARE = 20
"""Without a group to try first, one connected agent in so many does, and one at least."""


class FleetAnswers:
    """On main's loop."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._site = topology.site
        self.commands: dict[str, Callable[[dict[str, Any], str], Any]] = {
            "pending": self._pending,
            "decide": self._decide,
            "rename": self._rename,
            "group": self._group,
            "restart": self._restart,
            "why": self._why,
            "config_plan": self._plan,
            "config_apply": self._apply,
            "config_rollback": self._rollback,
            "config_list": self._list,
        }
        """Name -> what answers (arguments, who asks); raises HidsError with words for a person."""

    # -- approval

    async def _pending(self, _arguments: dict[str, Any], _who: str) -> list[dict[str, Any]]:
        rows: Sequence[PendingRow] = await self._site.ask(lambda registry: registry.pending())
        return [msgspec.to_builtins(row) for row in rows]

    async def _decide(self, arguments: dict[str, Any], who: str) -> Any:
        which, approved = _text(arguments, "which"), arguments.get("approved") is True
        return msgspec.to_builtins(
            await self._site.ask(lambda registry: registry.decide(which, who, approved=approved))
        )

    # -- one agent

    async def _rename(self, arguments: dict[str, Any], _who: str) -> Any:
        key, name = _text(arguments, "agent"), _text(arguments, "name")
        row: AgentRow = await self._site.ask(lambda registry: registry.rename(key, name))
        presence = self._site.fleet.get(row.id)
        if presence is not None and presence.hangup is not None:
            presence.hangup(f"it is called {row.name} now", 1)  # its next session has the new name
        return {"id": row.id, "name": row.name}

    async def _group(self, arguments: dict[str, Any], _who: str) -> Any:
        key, groups = _text(arguments, "agent"), _texts(arguments, "groups")
        row: AgentRow = await self._site.ask(lambda registry: registry.set_groups(key, groups))
        presence = self._site.fleet.get(row.id)
        if presence is not None:
            presence.groups = row.group_names
        return {"id": row.id, "name": row.name, "groups": list(row.group_names)}

    async def _restart(self, arguments: dict[str, Any], who: str) -> Any:
        key = _text(arguments, "agent")
        row: AgentRow = await self._site.ask(lambda registry: registry.get(key))
        presence = self._site.fleet.get(row.id)
        if presence is None or presence.send is None:
            raise ConfigError(f"agent {row.id} ({row.name}) is not connected; see `hidsctl agent why-offline {row.id}`")
        if "restart" not in presence.abilities:
            raise ConfigError(f"agent {row.id} ({row.name}) runs {presence.software}, which takes no restart")
        presence.send(Restart(who))
        return {"id": row.id, "name": row.name}

    async def _why(self, arguments: dict[str, Any], _who: str) -> Any:
        key = _text(arguments, "agent")
        row: AgentRow = await self._site.ask(lambda registry: registry.get(key))
        fleet = self._site.fleet
        reasons = reasons_of(row, fleet.get(row.id), fleet.refusals.get(row.id), self._topology.agents_port.number)
        presence = fleet.get(row.id)
        connected = presence is not None and presence.connected
        return {"id": row.id, "name": row.name, "connected": connected, "reasons": reasons}

    # -- configuration

    async def _plan(self, arguments: dict[str, Any], _who: str) -> Any:
        files = await _read(_files(arguments))
        rollout: Rollout = await self._topology.watches.configurator.request(AskRollout())
        before = self._topology.watches.shared_configs.get(rollout.current)
        return {
            "current": rollout.current,
            "before": before.files,
            "agents": [
                {"id": row.id, "name": row.name, "before": old, "after": new, "connected": self._is_connected(row)}
                for row, old, new in await self._changes(files, rollout)
            ],
        }

    async def _apply(self, arguments: dict[str, Any], who: str) -> Any:
        texts = _files(arguments)
        files = await _read(texts)
        rollout: Rollout = await self._topology.watches.configurator.request(AskRollout())
        if rollout.trial is not None:
            raise ConfigError(f"version {rollout.trial.number} is on trial; see `hidsctl config status`")
        changes = await self._changes(files, rollout)
        canaries: tuple[str, ...] = ()
        if not arguments.get("all_at_once"):
            canaries = await self._canaries([row for row, _, _ in changes], str(arguments.get("canary", "")))
        version = self._topology.watches.shared_configs.add(texts, who, self._site.clock.now_ms())
        watch_s = float(arguments.get("watch_s", 60.0))
        rollout = await self._topology.watches.configurator.request(Try(version.number, canaries, watch_s))
        return {"version": version.number, **_shown(rollout)}

    async def _rollback(self, arguments: dict[str, Any], who: str) -> Any:
        rollout: Rollout = await self._topology.watches.configurator.request(AskRollout())
        if rollout.trial is not None:
            return _shown(await self._topology.watches.configurator.request(Abandon(f"{who} rolled it back")))
        number = int(arguments.get("version", -1))
        if number < 0:
            if not rollout.current:
                raise ConfigError("no configuration is set; there is nothing to go back to")
            number = rollout.current - 1
        return _shown(await self._topology.watches.configurator.request(Try(number, (), 0.0)))

    async def _list(self, _arguments: dict[str, Any], _who: str) -> Any:
        rollout: Rollout = await self._topology.watches.configurator.request(AskRollout())
        versions = [
            {"number": version.number, "by": version.by, "at_ms": version.at_ms, "files": sorted(version.files)}
            for version in self._topology.watches.shared_configs.list()
        ]
        return {**_shown(rollout), "versions": versions}

    async def _changes(self, files: Mapping[str, SharedFile], rollout: Rollout) -> list[tuple[AgentRow, str, str]]:
        """Agents that get something else than now, with what they have and what they get.

        Raises:
            ConfigError: what some agent would get does not go together.
        """
        rows: Sequence[AgentRow] = await self._site.ask(lambda registry: list(registry.list()))
        now = self._topology.watches.shared_configs.files(rollout.current)
        changes: list[tuple[AgentRow, str, str]] = []
        for row in rows:
            if row.removed_ms is None:
                member = Member(row.name, row.group_names, row.os)
                old, new = edition_for(now, member).version, edition_for(files, member).version
                if old != new:
                    changes.append((row, old, new))
        return changes

    async def _canaries(self, rows: Sequence[AgentRow], group: str) -> tuple[str, ...]:
        """Who tries it: those of a group, or some; only agents that are connected can."""
        if not rows:
            return ()
        able = [row for row in rows if self._is_connected(row)]
        if group:
            able = [row for row in able if group in row.group_names]
        if not able:
            where = f"of the group {group} " if group else ""
            raise ConfigError(
                f"no agent {where}that gets this is connected, so nobody can try it; --all-at-once needs none"
            )
        return tuple(row.id for row in (able if group else able[: max(1, len(able) // CANARY_SHARE)]))

    def _is_connected(self, row: AgentRow) -> bool:
        presence = self._site.fleet.get(row.id)
        return presence is not None and presence.connected


def reasons_of(row: AgentRow, presence: Presence | None, refusal: Refusal | None, port: int) -> list[str]:
    """Why an agent is not connected, and what to do, in the order in which to look."""
    if row.removed_ms is not None:
        return [f"it was removed at {_when(row.removed_ms)} by {row.removed_by}; it has to join again with a new token"]
    if presence is not None and presence.connected:
        return [f"it is connected, from {presence.agent.ip} since {_when(presence.since_ms)}"]
    reasons: list[str] = []
    seen_ms = presence.ended_ms if presence is not None else row.last_seen_ms
    if refusal is not None and refusal.at_ms >= (seen_ms or 0):
        reasons.append(f"it was refused at {_when(refusal.at_ms)} from {refusal.address}: {refusal.reason}")
    if seen_ms is None:
        reasons.append(
            f"it joined at {_when(row.joined_ms)} from {row.address} and was never here since: does hids-agent run there "
            f"(`hids-agent status`), and can it reach port {port} of this manager?"
        )
        return reasons
    ended = presence.ended_reason if presence is not None else ""
    reasons.append(f"it was here last at {_when(seen_ms)} from {row.address}{_said(ended)}")
    if not ended:
        reasons.append("this manager was started since; an agent that runs comes back within a minute")
    return reasons


def _said(ended: str) -> str:
    advice = {
        "stopped": "it said goodbye: the agent was stopped, or its host shut down",
        "no heartbeat came": "it fell silent: its host is off or asleep, or the network is cut",
        "the agent closed": "the connection was closed: the agent ended without a word, or something in between closed it",
    }
    return f"; {advice.get(ended, ended)}" if ended else ""


def _when(at_ms: int) -> str:
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000, tz=datetime.UTC):%Y-%m-%d %H:%M:%S} UTC"


def _shown(rollout: Rollout) -> dict[str, Any]:
    return {
        "current": rollout.current,
        "trial": msgspec.to_builtins(rollout.trial),
        "last": rollout.last,
        "outcome": rollout.outcome,
    }


def _text(arguments: dict[str, Any], name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise ConfigError(f"{name} is missing")
    return value


def _texts(arguments: dict[str, Any], name: str) -> tuple[str, ...]:
    try:
        return msgspec.convert(arguments.get(name, ()), tuple[str, ...])
    except msgspec.ValidationError as error:
        raise ConfigError(f"{name}: {error}") from error


async def _read(texts: Mapping[str, str]) -> dict[str, SharedFile]:
    """The files; policies among them are read in a thread, for they may be large."""
    files = parse_files(texts)
    await asyncio.to_thread(check_policies, texts)
    return files


def _files(arguments: dict[str, Any]) -> dict[str, str]:
    try:
        return msgspec.convert(arguments.get("files", {}), dict[str, str])
    except msgspec.ValidationError as error:
        raise ConfigError(f"files: {error}") from error
