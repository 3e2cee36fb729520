"""What the control socket answers about OSSEC's and Wazuh's agents: keys, orders, counters."""

from typing import Any

import msgspec

from hids.actors.dispatcher import Tell
from hids.core.wire.ossec.keys import export, read_keys
from hids.errors import HidsError
from hids.manager.topology import Topology
from hids.messages.legacy import LegacyOrder
from hids.messages.terms import Agent, AgentId

PREFIX = "legacy."
"""Commands that begin so are answered here."""


class LegacyAnswers:
    """Serves `hidsctl agent import-keys` and `hidsctl legacy`. On main's loop."""

    def __init__(self, topology: Topology) -> None:
        self._topology = topology
        self._site = topology.site

    async def answer(self, command: str, arguments: dict[str, Any], who: str) -> Any:
        """One request.

        Raises:
            HidsError: unknown, or refused; the text is for a person.
        """
        key = str(arguments.get("agent", ""))
        match command.removeprefix(PREFIX):
            case "import":
                return await self._import(str(arguments.get("text", "")))
            case "order":
                return await self._order(key, arguments, who)
            case "reset":
                return await self._reset(key, who)
            case "key":
                return await self._key(key)
            case _:
                raise HidsError(f"this manager does not know the command {command!r}; is hidsctl newer than it?")

    async def _import(self, text: str) -> dict[str, Any]:
        found = read_keys(text)
        now_ms = self._site.clock.now_ms()
        done = await self._site.ask(lambda registry: registry.legacy.import_keys(found.keys, now_ms))
        self._renew()
        return {
            "agents": msgspec.to_builtins(done),
            "bad": msgspec.to_builtins(found.bad),
            "skipped": msgspec.to_builtins(found.skipped),
            "enabled": self._topology.legacy is not None,
        }

    async def _order(self, key: str, arguments: dict[str, Any], who: str) -> dict[str, Any]:
        legacy = self._topology.legacy
        if legacy is None:
            raise HidsError("old agents are not served; set enabled = true in [legacy] of manager.toml and start again")
        row = await self._site.ask(lambda registry: registry.get(key))
        order = LegacyOrder(
            agent=AgentId(row.id),
            command=str(arguments.get("what", "")),
            ip=str(arguments.get("ip", "")),
            user=str(arguments.get("user", "")),
            extra=tuple(map(str, arguments.get("extra", ()))),
        )
        problem = await legacy.order(order)
        if problem:
            raise HidsError(problem)
        self._site.dispatcher.tell(
            Tell(Agent(row.id, row.name, row.address), f"agent ordered: {order.command} by {who}")
        )
        return {"agent": row.id, "name": row.name, "what": order.command}

    async def _reset(self, key: str, who: str) -> dict[str, Any]:
        row = await self._site.ask(lambda registry: registry.get(key))
        await self._site.ask(lambda registry: registry.legacy.reset_counters(row.id))
        self._site.dispatcher.tell(Tell(Agent(row.id, row.name, row.address), f"agent counters begin anew: by {who}"))
        self._renew()
        return {"agent": row.id, "name": row.name}

    async def _key(self, key: str) -> dict[str, Any]:
        row = await self._site.ask(lambda registry: registry.get(key))
        line = await self._site.ask(lambda registry: registry.legacy.key_of(row.id))
        return {"agent": row.id, "name": row.name, "line": str(line), "exported": export(line)}

    def _renew(self) -> None:
        if self._topology.legacy is not None:
            self._topology.legacy.renew()
