"""EventArchiver: every batch goes to disk here before the lane may commit it.

    dispatcher --Job--> event archiver --Kept--> dispatcher --Outcome--> lane

State    none: what is stored says so itself, and a batch that comes again adds nothing.
Full     batches gather for some milliseconds, and are one transaction.
Failure  of the disk costs the archive these lines, and is told; what is watched goes on.
"""

import asyncio
from collections.abc import Sequence
from typing import Protocol

import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.errors import StoreError
from hids.messages.evaluation import Job
from hids.messages.keeping import Kept, Said
from hids.ports import Clock, Emit

log = structlog.get_logger()

GATHER_S = 0.005
TELL_S = 60.0
"""Between two words about lines that are missing."""


class Archive(Protocol):
    """Where batches go (hids.adapters.event_archive)."""

    def add(self, jobs: Sequence[Job]) -> int:
        """Store them; returns how many lines are new; StoreError: none is stored."""
        ...

    def sign(self) -> None:
        """Sign how far it goes."""
        ...


class Due(OneLife):
    """timer -> event archiver: store what has gathered."""


class Sign(OneLife):
    """timer -> event archiver."""


class EventArchiver(LoopActor):
    """Store, then say so."""

    def __init__(
        self, mailbox: Mailbox, archive: Archive, clock: Clock, emit: Emit[Kept | Said], *, sign_every_s: float
    ) -> None:
        super().__init__(mailbox)
        self._archive = archive
        self._clock = clock
        self._emit = emit
        self._every_s = sign_every_s
        self._gathered: list[Job] = []
        self._timer: asyncio.TimerHandle | None = None
        self._lines = 0
        self._missing = 0
        """Lines that could not be kept and are not yet told."""
        self._told_s = clock.monotonic_s() - TELL_S
        self._signing = self.later(self._every_s, Sign())

    def on_receive(self, message: Job | Due | Sign) -> None:
        """Gather, or store."""
        match message:
            case Job():
                self._gathered.append(message)
                if self._timer is None:
                    self._timer = self.later(GATHER_S, Due())
            case Due():
                self._timer = None
                self._store()
            case Sign():
                self._sign()
                self._signing = self.later(self._every_s, Sign())

    def on_shutdown(self) -> None:
        """Store what has gathered, then stop."""
        self._store()
        self._sign()
        self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._signing.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"archived_lines": self._lines, "missing_lines": self._missing}

    def _store(self) -> None:
        jobs, self._gathered = self._gathered, []
        if not jobs:
            return
        try:
            self._lines += self._archive.add(jobs)
        except StoreError as error:
            self._missing += sum(job.batch.count for job in jobs)
            log.error("lines are not archived", lines=self._missing, reason=str(error))  # noqa: TRY400
            self._tell(str(error))
        self._emit(Kept(tuple((job.source, job.batch.epoch, job.batch.first_seq) for job in jobs)))

    def _tell(self, reason: str) -> None:
        if self._clock.monotonic_s() - self._told_s >= TELL_S:
            self._told_s = self._clock.monotonic_s()
            self._emit(Said(f"archive incomplete: {self._missing} lines are not in it: {reason}"))
            self._missing = 0

    def _sign(self) -> None:
        try:
            self._archive.sign()
        except StoreError as error:
            log.error("the archive cannot be signed", reason=str(error))  # noqa: TRY400
