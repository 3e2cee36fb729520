"""What the control socket answers: the tree, the agents, tokens, reload."""

import asyncio
import os
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec
import psutil
import structlog

import hids
from hids.actors import statistics
from hids.actors.dispatcher import Tell
from hids.actors.nursery import Reload
from hids.actors.supervisor import Node
from hids.adapters.registry import AgentRow
from hids.adapters.tokens import Terms
from hids.errors import ConfigError, HidsError
from hids.manager.config import Config
from hids.manager.fleet_answers import FleetAnswers
from hids.manager.legacy_answers import PREFIX, LegacyAnswers
from hids.manager.response_answers import ResponseAnswers
from hids.manager.syscheck_answers import SyscheckAnswers
from hids.manager.topology import Topology
from hids.messages.lane import Settle
from hids.messages.supervision import NodeFacts
from hids.messages.terms import Agent

log = structlog.get_logger()


class Answers:
    """Serves `hidsctl`. On main's loop."""

    def __init__(self, topology: Topology, read_config: Callable[[], Config]) -> None:
        self._topology = topology
        self._site = topology.site
        self._read_config = read_config
        self._legacy = LegacyAnswers(topology)
        self._commands = {
            **FleetAnswers(topology).commands,
            **SyscheckAnswers(topology, self._legacy).commands,
            **ResponseAnswers(topology).commands,
        }
        self._processes: dict[int, psutil.Process] = {}
        self._handled: dict[str, tuple[float, int]] = {}
        self._started_s = topology.site.clock.monotonic_s()

    async def answer(self, command: str, arguments: dict[str, Any], who: str) -> Any:  # noqa: PLR0911 - a table
        """One request.

        Raises:
            HidsError: unknown, or refused; the text is for a person.
        """
        match command:
            case "status":
                return self.status()
            case "agents":
                return await self._agents()
            case "agent":
                return await self._agent(str(arguments.get("agent", "")))
            case "token":
                return await self._token(arguments)
            case "remove":
                return await self._remove(str(arguments.get("agent", "")), who)
            case "settle":
                return self._settle(arguments, who)
            case "reload":
                return await self.reload()
            case "stats" | "clear_stats":
                question = statistics.Clear() if command == "clear_stats" else statistics.Ask()
                return msgspec.to_builtins(await self._topology.watches.statistics.request(question), str_keys=True)
            case _ if command.startswith(PREFIX):
                return await self._legacy.answer(command, arguments, who)
            case _ if command in self._commands:
                return await self._commands[command](arguments, who)
            case _:
                raise HidsError(f"this manager does not know the command {command!r}; is hidsctl newer than it?")

    # -- status

    def status(self) -> dict[str, Any]:
        """The whole tree with its figures."""
        topology = self._topology
        now = topology.site.clock.monotonic_s()
        rulesets = topology.engine.rulesets
        return {
            "version": hids.__version__,
            "name": topology.site.name,
            "uptime_s": round(now - self._started_s, 1),
            "listen": topology.ports(),
            "agents_connected": topology.site.fleet.connected,
            "rulesets": [
                {"name": name, "hash": hash_, "decoders": decoders, "rules": rules}
                for name, hash_, decoders, rules in (rulesets.rulesets if rulesets else ())
            ],
            "tree": self._node(topology.root, "", now),
        }

    def _node(self, node: Node, above: str, now: float) -> dict[str, Any]:
        path = f"{above}/{node.name}"
        mailbox = node.mailbox
        facts: dict[str, Any] = dict(mailbox.facts())
        if node is self._topology.root:
            facts["pid"] = os.getpid()
        if facts.get("pid"):
            facts |= self._process(int(facts["pid"]))
        return {
            "name": node.name,
            "kind": node.kind,
            "state": node.state,
            "mailbox": {"depth": mailbox.depth, "bound": mailbox.bound},
            "handled": mailbox.handled,
            "per_s": self._rate(path, mailbox.handled, now),
            "restarts": node.restarts,
            "last_failure": node.last_failure,
            "last_failure_ms": node.last_failure_ms,
            "facts": facts,
            "children": [
                *(self._node(child, path, now) for child in tuple(node.children)),
                *(self._inside(child, path, now) for child in mailbox.inside),
            ],
        }

    def _inside(self, node: NodeFacts, above: str, now: float) -> dict[str, Any]:
        """An actor inside another process, from its pulse."""
        path = f"{above}/{node.name}"
        return {
            "name": node.name,
            "kind": node.kind,
            "state": node.state,
            "mailbox": {"depth": node.depth, "bound": node.bound},
            "handled": node.handled,
            "per_s": self._rate(path, node.handled, now),
            "restarts": node.restarts,
            "last_failure": node.last_failure or None,
            "last_failure_ms": node.last_failure_ms or None,
            "facts": dict(node.facts),
            "children": [self._inside(child, path, now) for child in node.children],
        }

    def _rate(self, path: str, handled: int, now: float) -> float:
        """Messages a second since the last status, or since the start."""
        before, count = self._handled.get(path, (self._started_s, 0))
        self._handled[path] = (now, handled)
        return round(max(0, handled - count) / max(0.001, now - before), 1)

    def _process(self, pid: int) -> dict[str, Any]:
        try:
            process = self._processes.get(pid)
            if process is None or not process.is_running():
                process = self._processes[pid] = psutil.Process(pid)
            with process.oneshot():
                cpu = process.cpu_times()
                return {
                    "cpu_percent": process.cpu_percent(),
                    "cpu_s": round(cpu.user + cpu.system, 2),
                    "rss_mib": round(process.memory_info().rss / 1048576, 1),
                }
        except psutil.Error:
            self._processes.pop(pid, None)
            return {}

    # -- agents

    async def _agents(self) -> list[dict[str, Any]]:
        rows: list[AgentRow] = await self._site.ask(lambda registry: list(registry.list()))
        return [self._row(row) for row in rows]

    async def _agent(self, key: str) -> dict[str, Any]:
        return self._row(await self._site.ask(lambda registry: registry.get(key)))

    def _row(self, row: AgentRow) -> dict[str, Any]:
        presence = self._site.fleet.get(row.id)
        progress = self._site.progress.get(f"agent/{row.id}")
        live = presence is not None and presence.connected
        state = "removed" if row.removed_ms is not None else "connected" if live else "disconnected"
        if state == "disconnected" and row.last_seen_ms is None:
            state = "never connected"
        result: dict[str, Any] = {
            "id": row.id,
            "name": row.name,
            "state": state,
            "address": row.address,
            "os": row.os,
            "software": row.software,
            "groups": list(row.group_names),
            "joined_ms": row.joined_ms,
            "last_seen_ms": row.last_seen_ms,
            "removed_ms": row.removed_ms,
            "removed_by": row.removed_by,
            "committed": progress.seq if progress is not None else 0,
            "epoch": progress.epoch if progress is not None else 0,
        }
        if presence is not None:
            result |= {
                "last_seen_ms": max(row.last_seen_ms or 0, presence.seen_ms),
                "clock_offset_ms": presence.clock_offset_ms,
                "spooled": presence.spooled,
                "stopped": presence.stopped,
                "labels": dict(presence.agent.labels),
                "config": presence.config,
                "config_problem": presence.config_problem,
            }
        return result

    async def _token(self, arguments: dict[str, Any]) -> dict[str, Any]:
        try:
            valid_s, uses = int(arguments.get("valid_s", 3600)), int(arguments.get("uses", 1))
        except (TypeError, ValueError) as error:
            raise ConfigError(f"valid_s and uses are whole numbers: {error}") from error
        note = str(arguments.get("note", ""))[:200]
        try:
            terms = msgspec.convert(
                {name: arguments[name] for name in Terms.__struct_fields__ if name in arguments}, Terms
            )
        except msgspec.ValidationError as error:
            raise ConfigError(f"a token cannot be made: {error}") from error
        now_ms = self._site.clock.now_ms()
        token: str = await self._site.ask(lambda registry: registry.create_token(now_ms, valid_s, uses, note, terms))
        return {
            "token": token,
            "pin": self._site.authority.pin,
            "join_port": self._topology.join_port.number,
            "expires_ms": now_ms + valid_s * 1000,
            "uses": uses,
            "name": terms.name,
        }

    async def _remove(self, key: str, who: str) -> dict[str, Any]:
        topology = self._topology
        now_ms = self._site.clock.now_ms()
        row: AgentRow = await self._site.ask(lambda registry: registry.remove(key, who, now_ms))
        presence = topology.site.fleet.get(row.id)
        address = presence.agent.ip if presence is not None else row.address
        if presence is not None:
            presence.told_silent = True
            if presence.hangup is not None:
                presence.hangup(f"agent {row.id} was removed by {who}; join again with a new token", 0)
        if topology.legacy is not None:
            topology.legacy.renew()
            if presence is not None and presence.hangup is None:
                presence.connected = False
        self._site.dispatcher.tell(Tell(Agent(row.id, row.name, address), f"agent removed: by {who}"))
        return self._row(row)

    # -- quarantine

    def _settle(self, arguments: dict[str, Any], who: str) -> dict[str, Any]:
        """Order what shall become of dead letters; hidsctl looks into the ledger whether it was done."""
        try:
            order = msgspec.convert(arguments, Settle)
        except msgspec.ValidationError as error:
            raise ConfigError(f"not an order for the quarantine: {error}") from error
        log.info("quarantine", verdict=order.verdict, letters=order.letters, by=who)
        self._site.dispatcher.tell(order)
        return {"ordered": len(order.letters)}

    # -- reload

    async def reload(self) -> dict[str, Any]:
        """Read manager.toml and the rulesets anew; a bad one changes nothing.

        Raises:
            ConfigError: what is wrong with them.
        """
        site, engine = self._site, self._topology.engine
        before, site.config = site.config, self._read_config()
        done: asyncio.Future[tuple[str, ...]] = asyncio.get_running_loop().create_future()
        engine.nursery.tell(Reload(partial(engine.launch_nursery, reloads=True), done.set_result))
        problems = await done
        if problems:
            site.config = before
            raise ConfigError("the rulesets are refused, the old ones stay in use:\n" + "\n".join(problems))
        return {"rulesets": self.status()["rulesets"]}
