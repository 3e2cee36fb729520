"""Exposition: holds the port open where Prometheus asks for figures.

    Prometheus ==HTTP==> exposition --> the tree, the ledger --> text

State    the listening socket, and the last answer for some seconds, so that asking often costs nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

from hids.actors.stage import LoopActor, Mailbox
from hids.ports import Clock

FRESH_S = 2.0
"""An answer is good for so long."""


class Port(Protocol):
    """The port (hids.adapters.metrics_port)."""

    async def start(self) -> None:
        """Listen."""
        ...

    async def stop(self) -> None:
        """Close the port and all connections."""
        ...


class Exposition(LoopActor):
    """Answer with figures that are at most some seconds old."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_port: Callable[[Callable[[], Awaitable[str]]], Port],
        measure: Callable[[], Awaitable[str]],
        clock: Clock,
    ) -> None:
        super().__init__(mailbox)
        self._measure = measure
        self._clock = clock
        self._asked = 0
        self._text = ""
        self._until_s = 0.0
        self._lock = asyncio.Lock()
        self._port = open_port(self._answer)
        self._task: asyncio.Task[None] = self.loop.create_task(self._port.start())

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"asked": self._asked}

    def closing(self) -> None:
        """Close the port."""
        self._task = self.loop.create_task(self._port.stop())

    async def _answer(self) -> str:
        self._asked += 1
        async with self._lock:
            if self._clock.monotonic_s() >= self._until_s:
                self._text = await self._measure()
                self._until_s = self._clock.monotonic_s() + FRESH_S
            return self._text
