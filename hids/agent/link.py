"""Link: the session with the manager, for as long as the agent lives.

    spooler --Batch (asked)--> link ==TLS==> manager;   manager ==Ack==> link --trimmed--> spooler

    manager ==Configuration, Restart==> link --> the agent (`Upkeep`);   link ==Renew==> manager ==Renewed==> identity

State    none: what is not acknowledged is in the spool and is sent again.
Away     a manager that is not there, refuses or falls silent is said once; trying goes on, with growing pauses, first
         with the other managers that the configuration names.
"""

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import structlog

from hids.actors.stage import Mailbox, Wake
from hids.adapters.identity import Identity, client_context
from hids.agent.collector import SourceState, TaskActor
from hids.agent.config import address_of
from hids.agent.linkstate import LinkState, Probe
from hids.agent.outbound import Outbound
from hids.agent.renewal import Renewal
from hids.agent.session import Lost, Session, Standing, Timing
from hids.agent.spooler import Desk
from hids.agent.trouble import in_words
from hids.agent.upkeep import Responses, Upkeep
from hids.errors import RemoteProtocolError, StoreError
from hids.ports import Clock

log = structlog.get_logger()


class Link(TaskActor):
    """Bring what is in the spool to the manager."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        desk: Desk,
        state: LinkState,
        sources: dict[str, SourceState],
        folder: Path,
        machine_id: str,
        clock: Clock,
        address: str = "",
        timing: Timing | None = None,
        others: Sequence[str] = (),
        upkeep: Upkeep | None = None,
        canary_s: int = 0,
        responses: Responses | None = None,
    ) -> None:
        """A link.

        Args:
            mailbox: its own.
            spool: the spooler's.
            desk: the spooler's registers.
            state: for status.
            sources: tells when all is read.
            folder: has the identity.
            machine_id: of this host.
            clock: time.
            address: if given, is used instead of the identity's.
            timing: waits.
            others: managers for when the first does not answer.
            upkeep: what the manager may ask for; nothing where it is None.
            canary_s: seconds from one canary to the next; 0: none.
            responses: who carries out orders; None: nobody.
        """
        super().__init__(mailbox)
        self._folder = folder
        self._address = address
        self._others = tuple(others)
        self._state = state
        self._timing = timing or Timing()
        self._standing = Standing(
            clock=clock,
            timing=self._timing,
            state=state,
            outbound=Outbound(self.loop, spool, desk, mailbox.name),
            renewal=Renewal(folder, clock),
            sources=sources,
            machine_id=machine_id,
            canary_s=canary_s,
            upkeep=upkeep,
            responses=responses,
        )
        self._turn = 0
        self._was_welcomed = False
        self._pause_s = self._timing.first_pause_s
        self._said = ""

    def on_receive(self, message: Any) -> None:
        """There is something new in the spool."""
        match message:
            case Probe():
                self._standing.probing = True
                self._standing.stir.set()
            case Wake():
                self._standing.stir.set()
            case _:
                super().on_receive(message)

    def on_shutdown(self) -> None:
        """Deliver what is left, for a moment, and say goodbye."""
        self._standing.stopping = True
        self._standing.stir.set()
        self.loop.call_later(self._timing.farewell_s, super().on_shutdown)
        if not self._state.connected:
            super().on_shutdown()

    def closing(self) -> None:
        """End the session."""
        super().closing()
        self._standing.outbound.close()

    async def run(self) -> None:
        """Hold one session after the other."""
        while not self._standing.stopping:
            try:
                await self._session()
            except Lost as lost:
                self._away(str(lost))
                await self._rest(lost.pause_s)
            except (OSError, StoreError, RemoteProtocolError, TimeoutError, asyncio.IncompleteReadError) as error:
                self._away(in_words(error))
                await self._rest(None)
            finally:
                self._state.connected = False
                self._turn = 0 if self._was_welcomed else self._turn + 1
                self._was_welcomed = False

    async def _session(self) -> None:
        identity = Identity.read(self._folder)
        if identity is None:
            raise Lost(f"not joined: {Identity.file(self._folder)} is gone; run hids-agent join")
        self._standing.renewal.begin(identity)
        addresses = self._addresses(identity)
        host, port = addresses[self._turn % len(addresses)]
        self._state.manager = f"{host}:{port}"
        await self._standing.outbound.be(identity)
        context = client_context(identity.ca, Identity.file(self._folder))
        async with asyncio.timeout(self._timing.connect_s):
            reader, writer = await asyncio.open_connection(host, port, ssl=context)
        session = Session(self._standing, reader, writer)
        try:
            await session.run()
        finally:
            writer.transport.abort()
            if session.was_welcomed:
                self._was_welcomed = True
                self._pause_s = self._timing.first_pause_s
                self._said = ""

    def _addresses(self, identity: Identity) -> list[tuple[str, int]]:
        """The managers, the first one first."""
        first = address_of(self._address) if self._address else (identity.manager, identity.port)
        return [first, *map(address_of, self._others)]

    def _away(self, problem: str) -> None:
        self._state.connected = False  # before the pause, not behind it
        self._state.problem = problem
        self._standing.outbound.hurry(goes_on=False)
        if problem != self._said:
            self._said = problem
            log.warning("no session with the manager, trying on", manager=self._state.manager, reason=problem)

    async def _rest(self, pause_s: float | None) -> None:
        managers = len(self._others) + 1
        if not self._was_welcomed and (self._turn + 1) % managers:
            pause_s = self._timing.first_pause_s  # another one is next
        if pause_s is None:
            pause_s = self._pause_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads a fleet, hides nothing
            self._pause_s = min(self._pause_s * 2, self._timing.max_pause_s)
        if not self._standing.stopping:
            await asyncio.sleep(pause_s)
