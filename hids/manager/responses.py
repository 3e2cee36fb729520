"""The responder's branch of the tree: its process, and the desk that brings its orders to the agents."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec

from hids.actors.child_process import ChildProcess
from hids.actors.fleet import Fleet
from hids.actors.registrar import Ask
from hids.actors.response_desk import Fresh, Give, Heard, ResponseDesk
from hids.actors.stage import Mailbox
from hids.adapters.channel import Channel, open_channel
from hids.adapters.paths import ManagerPaths
from hids.adapters.process import Launched, ended, launch
from hids.adapters.registry import AgentRow, Registry
from hids.errors import HidsError
from hids.manager.config import Config
from hids.messages.legacy import LegacyOrder
from hids.messages.outputs import Cursors, Outboxed
from hids.messages.responder import FromResponder, ResponseAnswer, ResponseAsk
from hids.messages.response import Responded
from hids.messages.terms import Agent, AgentId
from hids.ports import Clock

BOUND = 100_000
"""Orders and words under way: bounded by the budget and by what agents have to say."""
PULSE_LIMIT_S = 15.0


class ResponseTree:
    """What main has of it."""

    def __init__(
        self,
        config: Config,
        paths: ManagerPaths,
        key: Path,
        manager: Agent,
        clock: Clock,
        fleet: Fleet,
        registrar: Mailbox,
        dispatcher: Mailbox,
        lane: Mailbox,
        newest: Callable[[], Outboxed | None],
        legacy: Callable[[LegacyOrder], Awaitable[str]] | None,
    ) -> None:
        self.process = Mailbox("responses", BOUND)
        self.desk = Mailbox("response_desk", BOUND)
        self._config = config
        self._paths = paths
        self._key = key
        self._manager = manager
        self._clock = clock
        self._fleet = fleet
        self._registrar = registrar
        self._dispatcher = dispatcher
        self._lane = lane
        self._newest = newest
        self._legacy = legacy

    def start_process(self, mailbox: Mailbox) -> object:
        """One life of the process."""
        return ChildProcess.start(
            mailbox,
            self._launch,
            _connect,
            self._receive,
            ended,
            self._clock,
            greet=self._greet,
            pulse_limit_s=PULSE_LIMIT_S,
        )

    def start_desk(self, mailbox: Mailbox) -> object:
        """One life of the desk."""
        return ResponseDesk.start(
            mailbox,
            self.process,
            self._agents,
            self._legacy,
            self._fleet,
            self._manager,
            self._clock,
            self._dispatcher.tell,
        )

    def heard(self, agent: AgentId, said: Responded) -> None:
        """A session brings an agent's word."""
        self.desk.tell(Heard(agent, said))

    async def ask(self, question: ResponseAsk) -> ResponseAnswer:
        """A person wants something.

        Raises:
            HidsError: refused; the text is for a person.
        """
        done: asyncio.Future[ResponseAnswer] = asyncio.get_running_loop().create_future()
        self.desk.tell(Give(question, done))
        answer = await done
        if answer.problem:
            raise HidsError(answer.problem)
        return answer

    async def _agents(self) -> tuple[AgentRow, ...]:
        def living(registry: Registry) -> tuple[AgentRow, ...]:
            return tuple(row for row in registry.list() if row.removed_ms is None)

        rows: tuple[AgentRow, ...] = await self._registrar.request(Ask(living))
        return rows

    def _receive(self, message: Any) -> None:
        (self._lane if isinstance(message, Cursors) else self.desk).tell(message)

    def _greet(self) -> Outboxed | None:
        self.desk.tell(Fresh())
        return self._newest()

    def _launch(self) -> Launched:
        config = self._config
        return launch(
            "hids.workers.responder",
            (
                *("--ledger", str(self._paths.ledger)),
                *("--database", str(self._paths.responses)),
                *("--key", str(self._key)),
                *("--policy", msgspec.json.encode(config.policy).decode()),
                *("--names", msgspec.json.encode(config.manager.names).decode()),
            ),
        )


def _connect(launched: Launched, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(launched.sock, FromResponder, got, closed)
