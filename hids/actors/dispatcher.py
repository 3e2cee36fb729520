"""Dispatcher: keeps every batch until it is committed, and gives it to a worker, and again when need be.

    session --Job|Hole|ReadThrough--> dispatcher --Job--> worker link --Outcome--> dispatcher --Outcome--> lane
    control --Settle|BaselineOrder|Maintain--> dispatcher --> lane
    dispatcher --Job--> archive --Kept--> dispatcher, where every line is archived: before its outcome goes to the lane
    monitor --Tell--> dispatcher --Notice--> lane;  lane --LaneReady|Committed--> dispatcher --> registers, outputs

State    the jobs, holes and notices that are not committed. It is a significant child: its failure restarts workers,
         lane and sessions with it, and agents send again what is not committed.
Full     sessions respect the credit, so the bytes here are bounded by the credit pool.
Order    first come, first served (credit shares the room); any worker may take any batch; the lane restores the order.
Poison   a worker that dies on a job gets it again with every line marked; when it dies twice on the same line, that
         line is set aside and the rest goes on. The lane names the lines that ended it twice; a worker is told to leave
         them out.
"""

from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import NamedTuple

import msgspec
import structlog

from hids.actors.registers import ProgressRegister
from hids.actors.stage import Control, LoopActor, Mailbox
from hids.core.eventlog import is_kept
from hids.messages.baseline import BaselineOrder, Maintain
from hids.messages.evaluation import Job, Outcome
from hids.messages.keeping import ArchiveReady, Kept
from hids.messages.lane import Committed, DerivedBatch, Hole, LaneReady, Notice, Place, Progress, ReadThrough, Settle
from hids.messages.outputs import Outboxed
from hids.messages.terms import Agent
from hids.ports import Clock

log = structlog.get_logger()

JOBS_A_WORKER = 2
"""One running, one waiting."""
LINES_A_WORKER = 256
"""Of small jobs a worker has as many as have so many lines: they go to it and come back together."""


class WorkerUp(Control):
    """worker link -> dispatcher: a worker takes jobs."""

    def __init__(self, worker: int, send: Callable[[Job], None]) -> None:
        self.worker = worker
        self.send = send


class WorkerLost(Control):
    """worker link -> dispatcher: the worker is gone."""

    def __init__(self, worker: int, in_work: tuple[Job, int] | None) -> None:
        self.worker = worker
        self.in_work = in_work
        """(the job, offset of the line); None when that is not known."""


class Tell(NamedTuple):
    """anyone in main -> dispatcher: something about an agent that the rules shall see."""

    agent: Agent
    text: str


class _State(Enum):
    WAITING = "waiting"
    RUNNING = "running"
    EVALUATED = "evaluated"


class _Task:
    def __init__(self, job: Job) -> None:
        self.job = job
        self.state = _State.WAITING
        self.suspect: int | None = None
        """The marked line on which a worker died while all lines were marked."""
        self.outdated = False
        """The job has changed while a worker has it: what comes of that is void."""
        self.kept = True
        """Nothing has to be archived before it may be committed."""
        self.outcome: Outcome | None = None
        """Waits for that."""

    @property
    def place(self) -> tuple[int, int]:
        return self.job.batch.epoch, self.job.batch.first_seq


class _Worker:
    def __init__(self, send: Callable[[Job], None]) -> None:
        self.send = send
        self.tasks: list[_Task] = []
        """Given and not answered, in the order in which it works on them."""
        self.lines = 0
        """Of these."""

    @property
    def has_room(self) -> bool:
        return len(self.tasks) < JOBS_A_WORKER or self.lines < LINES_A_WORKER

    def give(self, task: _Task) -> None:
        task.state = _State.RUNNING
        self.tasks.append(task)
        self.lines += task.job.batch.count
        self.send(task.job)

    def take_back(self, source: str, place: tuple[int, int]) -> _Task | None:
        """The task that it has answered; None when it is not one of its own."""
        for index, task in enumerate(self.tasks):
            if task.job.source == source and task.place == place:
                self.lines -= task.job.batch.count
                return self.tasks.pop(index)
        return None


class Dispatcher(LoopActor):
    """Between the sessions, the workers and the lane."""

    def __init__(
        self,
        mailbox: Mailbox,
        register: ProgressRegister,
        lane: Mailbox,
        outputs: tuple[Mailbox, ...],
        clock: Clock,
        boot: str,
        archive: Mailbox | None = None,
    ) -> None:
        """`archive`: where all batches are kept; None: nowhere."""
        super().__init__(mailbox)
        self._archive = archive
        self._register = register
        register.under_way.clear()
        self._lane = lane
        self._outputs = outputs
        self._clock = clock
        self._boot = boot
        self._tasks: dict[str, dict[tuple[int, int], _Task]] = {}
        self._ready: deque[_Task] = deque()
        self._workers: dict[int, _Worker] = {}
        self._holes: list[Hole] = []
        self._notices: deque[Notice] = deque()
        self._noticed = mailbox.life << 32
        """Number of the last notice. Each life counts from a higher one, so that the lane takes none for repeated."""
        self._poison = 0
        self._lane_poison: tuple[Place, ...] = ()
        """Lines, not yet committed, that ended the lane twice."""

    def on_receive(  # noqa: PLR0912 - one branch a message
        self,
        message: Job
        | Hole
        | Tell
        | ReadThrough
        | Outcome
        | LaneReady
        | Committed
        | Settle
        | BaselineOrder
        | Maintain
        | ArchiveReady
        | Kept
        | WorkerUp
        | WorkerLost,
    ) -> None:
        """Keep, assign, forward or forget."""
        match message:
            case Job():
                self._keep(message)
            case Outcome():
                self._evaluated(message)
            case Committed():
                self._committed(message)
            case LaneReady():
                self._resume(message)
            case Kept():
                self._archived(message)
            case ArchiveReady():
                self._archive_again()
            case WorkerUp():
                self._workers.setdefault(message.worker, _Worker(message.send)).send = message.send
            case WorkerLost():
                self._lost(message)
            case ReadThrough():
                if self._lane.depth < self._lane.bound // 2:  # while the lane is away the next report will do
                    self._lane.tell(message)
            case Hole():
                self._holes.append(message)
                self._lane.tell(message)
            case Tell():
                self._noticed += 1
                notice = Notice(self._boot, self._noticed, message.agent, message.text, self._clock.now_ms())
                self._notices.append(notice)
                self._lane.tell(notice)
            case Settle() | BaselineOrder() | Maintain():
                self._lane.tell(message)  # lost with the lane: whoever ordered it looks whether it was done
        self._assign()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {
            "uncommitted": sum(map(len, self._tasks.values())),
            "waiting": len(self._ready),
            "poison": self._poison + len(self._lane_poison),
        }

    # -- jobs

    def _keep(self, job: Job) -> None:
        task = _Task(self._without_poison(job))
        there = self._register.get(job.source)
        if there is not None and task.place <= (there.epoch, there.seq):
            return  # committed since it was sent; the lane would never say so again
        tasks = self._tasks.setdefault(job.source, {})
        if task.place not in tasks:
            tasks[task.place] = task
            self._ready.append(task)
            self._register.under_way[job.source] = len(tasks)
            if self._archive is not None and is_kept(job.source):
                task.kept = False
                self._archive.tell(job)

    def _archived(self, message: Kept) -> None:
        for source, epoch, first in message.batches:
            task = self._tasks.get(source, {}).get((epoch, first))
            if task is not None:
                task.kept = True
                outcome, task.outcome = task.outcome, None
                if outcome is not None:
                    self._lane.tell(outcome)

    def _archive_again(self) -> None:
        """A new archive: it knows what it has, all else goes to it again."""
        if self._archive is not None:
            for tasks in self._tasks.values():
                for task in tasks.values():
                    if not task.kept:
                        self._archive.tell(task.job)

    def _assign(self) -> None:
        """Give jobs to the workers that have least to do."""
        while self._ready:
            free = [worker for worker in self._workers.values() if worker.has_room]
            if not free:
                return
            worker = min(free, key=lambda each: each.lines)
            task = self._ready.popleft()
            if task.state is _State.WAITING:
                worker.give(task)

    def _evaluated(self, outcome: Outcome) -> None:
        place = (outcome.epoch, outcome.first_seq)
        worker = self._workers.get(outcome.worker)
        task = worker.take_back(outcome.source, place) if worker is not None else None
        if task is not None and task.outdated:
            task.outdated = False
            task.state = _State.WAITING
            self._ready.appendleft(task)
            return
        if task is not None:
            task.state = _State.EVALUATED
        kept = self._tasks.get(outcome.source, {}).get(place)
        if kept is not None and not kept.kept:
            kept.outcome = outcome
        else:
            self._lane.tell(outcome)

    def _lost(self, lost: WorkerLost) -> None:
        """Send the worker's jobs to others, the one in work with more care."""
        worker = self._workers.pop(lost.worker, None)
        for task in reversed(worker.tasks if worker is not None else ()):
            if lost.in_work is not None and lost.in_work[0] is task.job:
                self._suspect(task, lost.in_work[1])
            task.outdated = False
            task.state = _State.WAITING
            self._ready.appendleft(task)

    def _suspect(self, task: _Task, line: int) -> None:
        job = task.job
        if not job.careful:
            task.job = msgspec.structs.replace(job, careful=True)
        elif task.suspect != line:
            task.suspect = line
        else:
            self._poison += 1
            log.error("line set aside: it ends workers", source=job.source, seq=job.batch.first_seq + line)
            task.suspect = None
            task.job = msgspec.structs.replace(job, skip=(*job.skip, line))

    def _without_poison(self, job: Job) -> Job:
        """The job, leaving out what ended the lane."""
        batch = job.batch
        skip = {
            place.seq - batch.first_seq
            for place in self._lane_poison
            if (place.source, place.epoch) == (job.source, batch.epoch)
            and 0 <= place.seq - batch.first_seq < batch.count
        } - set(job.skip)
        return msgspec.structs.replace(job, skip=(*job.skip, *sorted(skip))) if skip else job

    # -- the lane

    def _committed(self, message: Committed) -> None:
        self._forget(message.progress)
        self._derive(message.derived)
        while self._notices and self._notices[0].number <= message.notices:
            self._notices.popleft()
        self._register.canaries.update(message.canaries)
        self._register.update(message.progress)
        self._wake_outputs(message.outbox_next)

    def _resume(self, ready: LaneReady) -> None:
        """A new lane: it knows what is committed, all else goes to it again."""
        self._forget(ready.progress)
        self._lane_poison = ready.poison
        for tasks in self._tasks.values():
            for task in tasks.values():
                job, task.job = task.job, self._without_poison(task.job)
                task.outdated = task.outdated or (task.job is not job and task.state is _State.RUNNING)
                if task.state is _State.EVALUATED:
                    task.state = _State.WAITING
                    task.outcome = None
                    self._ready.append(task)
        self._derive(ready.derived)
        for message in (*self._holes, *self._notices):
            self._lane.tell(message)
        self._register.update(ready.progress)
        self._wake_outputs(ready.outbox_next)

    def _wake_outputs(self, outbox_next: int) -> None:
        self._register.outbox_next = outbox_next
        for output in self._outputs:
            if output.depth == 0:  # one that waits there will make it read all there is
                output.tell(Outboxed(outbox_next))

    def _derive(self, batches: tuple[DerivedBatch, ...]) -> None:
        now_ms = self._clock.now_ms()
        for derived in batches:
            self._keep(Job(derived.source, derived.agent, derived.batch, now_ms))

    def _forget(self, progress: dict[str, Progress]) -> None:
        """Drop what is committed."""
        for source, now in progress.items():
            tasks = self._tasks.get(source, {})
            done = [place for place in tasks if place <= (now.epoch, now.seq)]
            for place in done:
                tasks.pop(place).state = _State.EVALUATED
            if tasks:
                self._register.under_way[source] = len(tasks)
            else:
                self._tasks.pop(source, None)
                self._register.under_way.pop(source, None)
        self._holes = [hole for hole in self._holes if not _is_past(progress.get(hole.source), hole)]


def _is_past(now: Progress | None, hole: Hole) -> bool:
    return now is not None and (now.epoch, now.seq) >= (hole.epoch, hole.last)
