"""The spool as the link uses it: what is to go, from where, and through where it has arrived.

link --AskNumbers, Fetch, OpenEpoch, Recall (asked)--> spooler;   registers: `Desk`
"""

import asyncio
import hashlib

from hids.actors.stage import Mailbox
from hids.adapters.identity import Identity
from hids.agent.spool import Numbers
from hids.agent.spooler import AskNumbers, Desk, Fetch, OpenEpoch, Recall
from hids.messages.lines import Append, Batch

IDENTITY_KEY = "link:identity"
"""Position that tells whose lines the spool holds."""
FETCH_BYTES = 1024 * 1024
"""Batches in memory that wait for credit."""
TRIM_S = 1.0
"""Trimming is a transaction of its own: not for each acknowledgement."""


class Outbound:
    """Numbers, batches and acknowledgements."""

    def __init__(self, loop: asyncio.AbstractEventLoop, spool: Mailbox, desk: Desk, source: str) -> None:
        """`source` names the link among those who append to the spool."""
        self._loop = loop
        self._spool = spool
        self._desk = desk
        self._source = source
        self._trim_timer: asyncio.TimerHandle | None = None

    @property
    def lines(self) -> int:
        """Lines that wait for the manager."""
        return self._desk.lines

    @property
    def stopped(self) -> str:
        """Why nothing is stored at the moment; empty when all is well."""
        return self._desk.stopped

    async def be(self, identity: Identity) -> None:
        """Begin a new epoch when the agent has joined anew: its new self has no history with the manager."""
        who = hashlib.sha256(identity.ca + identity.agent_id.encode()).digest()
        saved: dict[str, bytes] = await self._spool.request(Recall(IDENTITY_KEY))
        if saved.get(IDENTITY_KEY, who) != who:
            await self.open_epoch(0)
        if saved.get(IDENTITY_KEY) != who:
            self._spool.tell(Append(source=self._source, lines=(), positions={IDENTITY_KEY: who}))

    async def numbers(self) -> Numbers:
        """Numbers for a HELLO; asking lets the spooler store what it still has."""
        numbers: Numbers = await self._spool.request(AskNumbers())
        return numbers

    async def open_epoch(self, after: int) -> None:
        """Number the spool anew."""
        await self._spool.request(OpenEpoch(after))

    def has_more(self, next_seq: int) -> bool:
        """Tell whether the spool holds lines from `next_seq` on."""
        return self._desk.next > next_seq

    async def fetch(self, from_seq: int) -> tuple[Batch, ...]:
        """The next batches; none when there are none."""
        batches: tuple[Batch, ...] = await self._spool.request(Fetch(from_seq, FETCH_BYTES))
        return batches

    def hurry(self, *, goes_on: bool) -> None:
        """Tell the spooler whether what it stores can go at once."""
        self._desk.hurry = goes_on
        if goes_on and self._desk.waiting:
            self._spool.wake()

    def committed(self, epoch: int, seq: int) -> None:
        """The manager has all through `seq`."""
        self._desk.trimmed = (epoch, seq)
        if self._trim_timer is None:
            self._trim_timer = self._loop.call_later(TRIM_S, self._trim)

    def close(self) -> None:
        """The spooler shall trim now, as it may stop next."""
        if self._trim_timer is not None:
            self._trim_timer.cancel()
            self._trim()

    def _trim(self) -> None:
        self._trim_timer = None
        self._spool.wake()
