"""Keeper: does what has to be done from time to time with what is written: compress, remove, anchor, report.

    timer --Round--> keeper --Said--> main --> rules

State    none: what is done shows on the disk, and each duty can be done again.
Full     one duty at a time, in a thread; who takes long delays the others, and nobody else.
Failure  of a duty is told once, and tried again at its next round.
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.errors import StoreError
from hids.messages.keeping import Said
from hids.ports import Clock, Emit

log = structlog.get_logger()

ROUND_S = 1.0
FIRST_S = 2.0
"""From the start to the first round."""


class Duty(NamedTuple):
    """Something to be done each so many seconds."""

    name: str
    every_s: float
    run: Callable[[], Sequence[str]]
    """Returns what the rules shall see; StoreError when it cannot be done now. Runs in a thread."""


class Round(OneLife):
    """timer -> keeper."""


class Done(OneLife):
    """The duty under way is over."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class Keeper(LoopActor):
    """Do what is due."""

    def __init__(self, mailbox: Mailbox, duties: Sequence[Duty], clock: Clock, emit: Emit[Said]) -> None:
        super().__init__(mailbox)
        self._duties = duties
        self._clock = clock
        self._emit = emit
        self._due = {duty.name: clock.monotonic_s() for duty in duties}
        self._failing: dict[str, str] = {}
        self._done = 0
        self._task: asyncio.Task[None] | None = None
        self._ending = False
        self._timer = self.later(FIRST_S, Round())

    def on_receive(self, message: Round | Done) -> None:
        """Begin a round, or take note that it is over."""
        match message:
            case Round():
                self._task = self.loop.create_task(self._round())
                self._task.add_done_callback(self._over)
            case Done():
                self._task = None
                if message.error is not None:
                    raise message.error
                if self._ending:
                    self.stop()
                else:
                    self._timer = self.later(ROUND_S, Round())

    def on_shutdown(self) -> None:
        """Let the duty under way finish: a thread cannot be cut off."""
        self._ending = True
        if self._task is None:
            self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, str | int]:
        """Figures for `hidsctl status`."""
        return {"done": self._done, "failing": "; ".join(self._failing.values())}

    async def _round(self) -> None:
        for duty in self._duties:
            if self._ending or self._clock.monotonic_s() < self._due[duty.name]:
                continue
            self._due[duty.name] = self._clock.monotonic_s() + duty.every_s
            try:
                for text in await asyncio.to_thread(duty.run):
                    self._emit(Said(text))
            except StoreError as error:
                self._fails(duty.name, str(error))
            else:
                self._failing.pop(duty.name, None)
                self._done += 1

    def _fails(self, name: str, reason: str) -> None:
        if name not in self._failing:
            log.error("a duty fails, trying again", duty=name, reason=reason)
            self._emit(Said(f"{name} failed: {reason}"))
        self._failing[name] = reason

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not self.actor_stopped.is_set():
            self.remind(Done(None if task.cancelled() else task.exception()))
