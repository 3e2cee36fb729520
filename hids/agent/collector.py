"""What all that read have in common: a life that is one coroutine, and a bounded way into the spool.

    collector --Append--> spool --Stored--> collector

State    none that a restart loses: where to go on is in the spool, with the lines.
Full     at most IN_FLIGHT appends are under way; beyond, reading waits, and the files keep the lines.
"""

import asyncio
from abc import abstractmethod
from typing import Any

import msgspec

from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.messages.lines import Append, LogLine, Stored

IN_FLIGHT = 4
"""Appends of up to 512 lines that a source may have on the way to disk."""


class _Ended(OneLife):
    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class TaskActor(LoopActor):
    """Lives as long as its coroutine `run`: what that raises is this life's failure."""

    _task: "asyncio.Task[None] | None" = None

    def on_start(self) -> None:
        """Start the coroutine."""
        self._task = self.loop.create_task(self.run())
        self._task.add_done_callback(self._ended)

    @abstractmethod
    async def run(self) -> None:
        """Work until cancelled."""

    def on_receive(self, message: Any) -> None:
        """End with the coroutine; subclasses handle their own messages first and pass on the rest."""
        match message:
            case _Ended(error=None):
                self.stop()
            case _Ended(error=BaseException() as error):
                raise error
            case _:
                raise TypeError(f"{self.mailbox.name} cannot handle {type(message).__name__}")

    def on_shutdown(self) -> None:
        """Cancel the coroutine; this life ends when it has."""
        if self._task is not None:
            self._task.cancel()

    def closing(self) -> None:
        """End the coroutine with the life."""
        if self._task is not None:
            self._task.cancel()

    def _ended(self, task: "asyncio.Task[None]") -> None:
        if not self.actor_stopped.is_set():
            self.remind(_Ended(None if task.cancelled() else task.exception()))


class SourceState(msgspec.Struct):
    """What `hids-agent status` shows of one source. Written by its collector, read on the same loop."""

    name: str
    state: str = "starting"
    lines: int = 0
    """Read since the agent started."""
    skipped: int = 0
    """Events that the source's configuration leaves out."""
    idle: bool = False
    """All there is has been read and is stored."""
    overflows: int = 0
    """Times that a queue of the kernel was full, and notifications were lost."""
    files: dict[str, tuple[int, int]] = {}
    """Path -> (offset, bytes behind)."""


class Collector(TaskActor):
    """A TaskActor that fills the spool."""

    def __init__(self, mailbox: Mailbox, spool: Mailbox, state: SourceState) -> None:
        self._spool = spool
        self._state = state
        self._in_flight = 0
        self._room = asyncio.Event()
        super().__init__(mailbox)

    def on_receive(self, message: Any) -> None:
        """Count what is stored."""
        match message:
            case Stored():
                # The first ones of a life may belong to the life before.
                self._in_flight = max(0, self._in_flight - 1)
                self._room.set()
            case _:
                super().on_receive(message)

    async def put(self, lines: tuple[LogLine, ...], positions: dict[str, bytes | None]) -> None:
        """Hand lines and positions to the spool; waits while too much is under way."""
        while self._in_flight >= IN_FLIGHT:
            self._room.clear()
            await self._room.wait()
        self._in_flight += 1
        self._state.lines += len(lines)
        self._spool.tell(Append(source=self.mailbox.name, lines=lines, positions=positions))

    @property
    def is_all_stored(self) -> bool:
        """Tell whether everything that was put is on disk."""
        return self._in_flight == 0

    async def all_stored(self) -> None:
        """Wait until everything that was put is on disk."""
        while self._in_flight:
            self._room.clear()
            await self._room.wait()
