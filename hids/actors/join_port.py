"""JoinPort: where machines become agents.

    agent ==TLS==> join port --Ask--> registrar --> answer;  join port --Tell--> dispatcher ("agent joined")

State    the listening socket.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from hids.actors.dispatcher import Tell
from hids.actors.stage import LoopActor, Mailbox
from hids.messages.joining import FromJoin, JoinAnswer, ToJoin
from hids.messages.terms import Agent, AgentId
from hids.ports import Emit


class Port(Protocol):
    """A joining port (hids.adapters.joining)."""

    async def stop(self) -> None:
        """Close the port and all connections."""
        ...


class JoinPort(LoopActor):
    """Hold the port open, pass questions on, and tell who has joined."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_port: Callable[[Callable[[ToJoin, str], Awaitable[FromJoin]]], Port],
        answer: Callable[[ToJoin, str], Awaitable[FromJoin]],
        emit: Emit[Tell],
    ) -> None:
        super().__init__(mailbox)
        self._answer = answer
        self._emit = emit
        self._joined = 0
        self._closing: asyncio.Task[None] | None = None
        self._port = open_port(self._serve)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"joined": self._joined}

    def closing(self) -> None:
        """Close the port."""
        self._closing = self.loop.create_task(self._port.stop())

    async def _serve(self, question: ToJoin, address: str) -> FromJoin:
        answer = await self._answer(question, address)
        if isinstance(answer, JoinAnswer):
            self._joined += 1
            agent = Agent(AgentId(answer.agent_id), answer.name, address)
            self._emit(Tell(agent, f"agent joined: name {answer.name} address {address}"))
        return answer
