"""CanaryWriter: now and then a signed line into a file of the agent's own, which it reads like any log.

    canary writer --file--> tail --> spool --> ... --> rules --> ledger --> the manager's `silence`

It takes the whole path of a line: notification, reading, spool, session, worker, commit. When it does not come back,
something on that path is broken, however alive the agent looks.

State    none; the file is cut when it has grown.
"""

import asyncio
from pathlib import Path

import structlog

from hids.actors.stage import Mailbox
from hids.adapters.identity import Identity, sign
from hids.agent.collector import TaskActor
from hids.core.wire.canary import signed, unsigned
from hids.errors import StoreError
from hids.ports import Clock

log = structlog.get_logger()

FILE = "canary.log"
MAX_BYTES = 64 * 1024
FIRST_S = 2.0
"""After the start, so that the tail is there."""


class CanaryWriter(TaskActor):
    """Write one line each `every_s`."""

    def __init__(self, mailbox: Mailbox, folder: Path, clock: Clock, *, every_s: float) -> None:
        self._folder = folder
        self._clock = clock
        self._every_s = every_s
        self._trouble = ""
        self._last_ms = 0
        super().__init__(mailbox)

    async def run(self) -> None:
        """Write until cancelled."""
        await asyncio.sleep(min(FIRST_S, self._every_s))
        while True:
            try:
                self._write()
                self._trouble = ""
            except (OSError, StoreError) as error:
                if self._trouble != str(error):  # the manager will miss the line, and say so
                    self._trouble = str(error)
                    log.warning("canary not written", reason=self._trouble)
            await asyncio.sleep(self._every_s)

    def _write(self) -> None:
        identity = Identity.read(self._folder)  # read each time: joining again changes it
        if identity is None:
            return
        self._last_ms = max(self._last_ms + 1, self._clock.now_ms())  # grows, also when the clock is set back
        text = unsigned(identity.agent_id, self._last_ms)
        path = self._folder / FILE
        with path.open("ab") as file:
            if file.tell() > MAX_BYTES:
                file.truncate(0)
            file.write(signed(text, sign(identity.key, text)) + b"\n")
