"""The responder's branch of the tree: its process, and the desk that brings its orders to the agents."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from hids.actors.responder import OUTPUT as RESPONDER_OUTPUT
from hids.actors.response_desk import Fresh, Give, Heard, ResponseDesk
from hids.actors.stage import Mailbox
from hids.adapters.process import Launched, launch
from hids.adapters.registry import AgentRow, Registry
from hids.errors import HidsError
from hids.manager.processes import start_process
from hids.manager.site import Site
from hids.messages.legacy import LegacyOrder
from hids.messages.outputs import Cursors, Outboxed
from hids.messages.responder import FromResponder, ResponseAnswer, ResponseAsk
from hids.messages.response import Responded
from hids.messages.terms import AgentId

OUTPUT = RESPONDER_OUTPUT
"""Name of its cursor in the outbox."""
BOUND = 100_000
"""Orders and words under way: bounded by the budget and by what agents have to say."""


class ResponseTree:
    """What main has of it."""

    def __init__(self, site: Site, legacy: Callable[[LegacyOrder], Awaitable[str]] | None) -> None:
        """`legacy` gives orders to old agents, where they are served."""
        self.process = Mailbox("responses", BOUND)
        self.desk = Mailbox("response_desk", BOUND)
        self._site = site
        self._config = site.config
        self._key = site.authority.responses_file()
        self._legacy = legacy

    def start_process(self, mailbox: Mailbox) -> object:
        """One life of the process."""
        return start_process(mailbox, self._launch, FromResponder, self._receive, self._site.clock, self._greet)

    def start_desk(self, mailbox: Mailbox) -> object:
        """One life of the desk."""
        site = self._site
        return ResponseDesk.start(
            mailbox,
            self.process,
            self._agents,
            self._legacy,
            site.fleet,
            site.manager,
            site.clock,
            site.dispatcher.tell,
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

        rows: tuple[AgentRow, ...] = await self._site.ask(living)
        return rows

    def _receive(self, message: Any) -> None:
        (self._site.lane if isinstance(message, Cursors) else self.desk).tell(message)

    def _greet(self) -> Outboxed | None:
        self.desk.tell(Fresh())
        return self._site.newest()

    def _launch(self) -> Launched:
        config = self._config
        return launch(
            "hids.workers.responder",
            (
                *("--ledger", str(self._site.paths.ledger)),
                *("--database", str(self._site.paths.responses)),
                *("--key", str(self._key)),
                *("--policy", msgspec.json.encode(config.policy).decode()),
                *("--names", msgspec.json.encode(config.manager.names).decode()),
            ),
        )
