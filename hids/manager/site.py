"""What all parts of one manager share: where it is, who is connected, what is committed, and whom everybody tells."""

import uuid
from collections.abc import Callable
from typing import Any

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.registers import ProgressRegister
from hids.actors.registrar import Ask
from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.paths import ManagerPaths, host_name
from hids.adapters.pki import Authority
from hids.adapters.registry import Registry
from hids.manager.config import Config
from hids.messages.outputs import Outboxed
from hids.messages.terms import MANAGER, Agent

LANE_BOUND = 100_000
"""Messages to the lane: never reached, since credit bounds the bytes under way."""
DISPATCHER_BOUND = 200_000
REGISTRAR_BOUND = 10_000


class Site:
    """One a run. Lives on main's loop."""

    def __init__(self, config: Config, paths: ManagerPaths) -> None:
        """Open the CA and the key of the seals, or make them.

        Raises:
            ConfigError: the CA cannot be read.
        """
        self.config = config
        """As it was read last; a reload puts another one here, which later lives go by."""
        self.paths = paths
        self.boot = uuid.uuid4().hex
        self.name = config.manager.name or host_name()
        self.manager = Agent(MANAGER, self.name, "")
        """Whose lines those are that the manager says about itself."""
        self.clock = SystemClock()
        self.fleet = Fleet()
        self.progress = ProgressRegister()
        self.authority = Authority.open_or_create(paths.authority, self.clock)
        EvidenceKey.open_or_create(paths.evidence)  # before processes look for it at once
        self.lane = Mailbox("lane", LANE_BOUND)
        self.dispatcher = Mailbox("dispatcher", DISPATCHER_BOUND)
        self.registrar = Mailbox("registrar", REGISTRAR_BOUND)

    def tell(self, text: str) -> None:
        """Have the rules see a line of the manager about itself."""
        self.dispatcher.tell(Tell(self.manager, text))

    async def ask(self, question: Callable[[Registry], Any]) -> Any:
        """Have the registrar's thread look into agents.db.

        Raises:
            HidsError: what `question` raised.
        """
        return await self.registrar.request(Ask(question))

    def newest(self) -> Outboxed | None:
        """What an output that starts is told, so that it need not wait for the next commit."""
        return Outboxed(self.progress.outbox_next) if self.progress.known else None
