"""WorkerLink: one place for a worker process.

    dispatcher --Job--> worker link ==channel==> the worker --Outcome--> dispatcher

State    none: which jobs are out is the dispatcher's to know.
Watch    jobs are out and the mark in shared memory has not moved for `stuck_s` of our own running time: SIGKILL.
Renew    a new worker takes the new jobs; the old one goes when it has answered what it has.
A death  of the worker is this actor's failure; the dispatcher is told first, with the line that was in work.
"""

import asyncio
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from hids.actors.child_process import CHECK_S, Channel, Check, Deadline, Gone, ProcessDied
from hids.actors.dispatcher import WorkerLost, WorkerUp
from hids.actors.nursery import Forked, ForkRequest, Renew, WorkerEnded
from hids.actors.stage import LoopActor, Mailbox
from hids.messages.evaluation import Job, Outcome
from hids.messages.supervision import Pulse
from hids.ports import Clock

STATUS_PATIENCE_S = 0.3
"""How long to wait for the nursery to say how a worker ended."""


class Page(Protocol):
    """The shared page with the worker's mark."""

    def fileno(self) -> int:
        """Its descriptor."""
        ...

    def close(self) -> None:
        """Give it back."""
        ...

    def read(self) -> tuple[int, int, int]:
        """(marks made, number of the job in work, offset of the line in work)."""
        ...


class _Worker:
    """A living worker: its channel, its page, the jobs it has."""

    def __init__(self, channel: Channel, page: Page, deadline: Deadline) -> None:
        self.channel = channel
        self.page = page
        self.deadline = deadline
        self.pid: int | None = None
        self.jobs: deque[Job] = deque()
        """Given and not answered, in the order in which it works on them."""
        self.answered = 0
        self.marks = 0


class WorkerLink(LoopActor):
    """Get a worker, carry jobs to it, watch it."""

    def __init__(
        self,
        mailbox: Mailbox,
        number: int,
        nursery: Mailbox,
        dispatcher: Mailbox,
        connect: Callable[[socket.socket, Callable[[Any], None], Callable[[], None]], Channel],
        new_page: Callable[[], Page],
        kill: Callable[[int], None],
        in_words: Callable[[int], str],
        clock: Clock,
        *,
        stuck_s: float,
    ) -> None:
        super().__init__(mailbox)
        mailbox.inside = ()
        self._number = number
        self._nursery = nursery
        self._dispatcher = dispatcher
        self._connect = connect
        self._new_page = new_page
        self._kill = kill
        self._in_words = in_words
        self._clock = clock
        self._stuck_s = stuck_s
        self._retiring: list[_Worker] = []
        self._status: int | None = None
        self._lost = False
        self._stopping = False
        self._worker = self._hire()
        self._timer: asyncio.TimerHandle = self.later(CHECK_S, Check())

    def on_receive(self, message: Forked | WorkerEnded | Renew | Gone | Check) -> None:
        """React to the worker's birth and end."""
        match message:
            case Forked():
                self._worker.pid = message.pid
                self._worker.deadline.renew()
            case WorkerEnded():
                if message.pid == self._worker.pid:
                    self._status = message.status
                    self._gone()
            case Renew():
                self._retiring.append(self._worker)
                self._worker = self._hire()
                self._let_idle_go()
            case Gone():
                self._gone()
            case Check():
                self._check()

    def on_shutdown(self) -> None:
        """Close the channel; the worker sees EOF and exits."""
        self._stopping = True
        self.stop()

    def closing(self) -> None:
        """Nothing of this life is left behind."""
        self._timer.cancel()
        if not self._lost:
            self._dispatcher.tell(WorkerLost(self._number, None))
        for worker in (self._worker, *self._retiring):
            worker.channel.close()
            worker.page.close()
            if worker.pid is not None and not self._stopping:
                self._kill(worker.pid)

    def facts(self) -> dict[str, int]:
        """The process id and the jobs out."""
        return {"pid": self._worker.pid or 0, "jobs": len(self._worker.jobs)}

    def _hire(self) -> _Worker:
        ours, theirs = socket.socketpair()
        page = self._new_page()

        def got(message: Any) -> None:
            self._got(worker, message)

        worker = _Worker(
            self._connect(ours, got, lambda: self._closed(worker)), page, Deadline(self._clock, self._stuck_s)
        )
        self._nursery.tell(ForkRequest(self._number, theirs, page, self.mailbox, self.life))
        self._dispatcher.tell(WorkerUp(self._number, self._send))
        return worker

    def _send(self, job: Job) -> None:
        if not self._worker.jobs:
            self._worker.deadline.renew()
        self._worker.jobs.append(job)
        self._worker.channel.send(job)

    def _got(self, worker: _Worker, message: Outcome | Pulse) -> None:
        if isinstance(message, Pulse):
            self.mailbox.inside = message.nodes
            return
        self.mailbox.handled += 1
        worker.deadline.renew()
        worker.jobs.popleft()
        worker.answered += 1
        self._dispatcher.tell(message)
        self._let_idle_go()

    def _closed(self, worker: _Worker) -> None:
        if worker is self._worker or worker.jobs:
            self.remind(Gone())
        elif worker in self._retiring:
            self._retiring.remove(worker)
            worker.page.close()

    def _let_idle_go(self) -> None:
        """Close the channels of replaced workers that have answered everything: they see EOF and exit."""
        for worker in self._retiring:
            if not worker.jobs:
                worker.channel.close()

    def _gone(self) -> None:
        """The worker is gone: the dispatcher hears of it at once, the supervisor when the reason is known."""
        if not self._lost:
            self._lost = True
            self._dispatcher.tell(WorkerLost(self._number, self._in_work()))
            self.later(STATUS_PATIENCE_S, Gone())
            if self._status is None:
                return
        reason = self._in_words(self._status) if self._status is not None else "its process is gone"
        raise ProcessDied(reason)

    def _in_work(self) -> tuple[Job, int] | None:
        """Which of the jobs that are out was in work, and at which line."""
        worker = self._worker
        if not worker.jobs or self._retiring:
            return None
        marks, job, line = worker.page.read()
        index = job - worker.answered - 1
        return (worker.jobs[index], line) if marks and 0 <= index < len(worker.jobs) else None

    def _check(self) -> None:
        for worker in (self._worker, *self._retiring):
            marks, _, _ = worker.page.read()
            if marks != worker.marks or not worker.jobs:
                worker.marks = marks
                worker.deadline.renew()
            if worker.deadline.missed() and worker.pid is not None:
                self._kill(worker.pid)
        self._timer = self.later(CHECK_S, Check())
