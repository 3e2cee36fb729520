"""Every batch is kept until it is committed, given to a worker again when need be, and never to the lane twice over."""

import asyncio
from collections.abc import Callable
from typing import Any

from waiting import SetClock, settle, until

from hids.actors.dispatcher import JOBS_A_WORKER, LINES_A_WORKER, Dispatcher, Tell, WorkerLost, WorkerUp
from hids.actors.registers import ProgressRegister
from hids.actors.stage import Mailbox
from hids.messages.evaluation import Job, Outcome
from hids.messages.keeping import ArchiveReady, Kept
from hids.messages.lane import Committed, DerivedBatch, Hole, LaneReady, Notice, Place, Progress, ReadThrough
from hids.messages.lines import Batch
from hids.messages.outputs import Outboxed
from hids.messages.terms import Agent, AgentId, SourceId

AGENT = Agent(AgentId("007"), "web1", "")
SOURCE = SourceId("agent/007")


def job(first: int, count: int = 10, source: SourceId = SOURCE, epoch: int = 1) -> Job:
    return Job(source, AGENT, Batch(epoch, first, count, bytes(32), b"data %d" % first), 5)


def outcome(of: Job, worker: int = 1) -> Outcome:
    batch = of.batch
    return Outcome(
        of.source, of.agent, batch.epoch, batch.first_seq, batch.count, batch.chain, b"", worker, b"evaluated"
    )


def committed(
    seq: int = 0,
    *,
    derived: tuple[DerivedBatch, ...] = (),
    notices: int = 0,
    outbox_next: int = 1,
    source: SourceId = SOURCE,
) -> Committed:
    progress: dict[str, Progress] = {source: Progress(1, seq, bytes(32))} if seq else {}
    return Committed(progress, derived, notices, outbox_next)


class Bench:
    """A dispatcher with workers, a lane and outputs that only take notes."""

    def __init__(self) -> None:
        self.mailbox = Mailbox("dispatcher", 1000)
        self.lane = Mailbox("lane", 1000)
        self.output = Mailbox("outputs")
        self.register = ProgressRegister()
        self.given: dict[int, list[Job]] = {}
        self.start()

    def start(self) -> None:
        Dispatcher.start(self.mailbox, self.register, self.lane, (self.output,), SetClock(), "boot")

    def worker(self, number: int) -> list[Job]:
        self.given.setdefault(number, [])
        self.mailbox.tell(WorkerUp(number, self._giver(number)))
        return self.given[number]

    def _giver(self, number: int) -> Callable[[Job], None]:
        def give(given: Job) -> None:
            self.given[number].append(given)

        return give

    async def tell(self, *messages: Any) -> None:
        for message in messages:
            self.mailbox.tell(message)
        await until(self.mailbox.empty, "all is handled")
        await settle(3)

    def to_lane(self) -> list[Any]:
        """What the lane was told since the last look."""
        told: list[Any] = []
        while not self.lane.empty():
            told.append(self.lane.take(self.lane.life, wait=False).message)
        return told

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.mailbox.facts())


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_jobs_go_to_the_worker_that_has_fewest_and_the_rest_waits():
    async def test(bench: Bench) -> None:
        first, second = bench.worker(1), bench.worker(2)
        jobs = [job(1 + LINES_A_WORKER * number, LINES_A_WORKER) for number in range(6)]
        await bench.tell(*jobs)
        assert (len(first), len(second)) == (JOBS_A_WORKER, JOBS_A_WORKER)
        assert bench.facts == {"uncommitted": 6, "waiting": 2, "poison": 0}
        await bench.tell(outcome(second[0], 2))
        assert second[2] == jobs[4]
        assert bench.to_lane() == [outcome(second[0], 2)]

    run(test)


def test_small_jobs_go_together():
    async def test(bench: Bench) -> None:
        first, second = bench.worker(1), bench.worker(2)
        jobs = [job(number) for number in range(1, 10 * LINES_A_WORKER, 10)]
        await bench.tell(*jobs)
        assert sum(each.batch.count for each in first) == sum(each.batch.count for each in second)
        assert LINES_A_WORKER <= sum(each.batch.count for each in first) < LINES_A_WORKER + 10
        handed = len(first)
        await bench.tell(*(outcome(each, 1) for each in first[:5]))
        assert len(first) == handed + 5
        await bench.tell(WorkerLost(1, None))
        third = bench.worker(3)
        await bench.tell()
        assert third == first[5:]

    run(test)


def test_a_large_job_does_not_keep_a_worker_idle_behind_small_ones():
    async def test(bench: Bench) -> None:
        first = bench.worker(1)
        await bench.tell(job(1, LINES_A_WORKER - 1), job(1000, 3))
        second = bench.worker(2)
        await bench.tell(job(2000, 2 * LINES_A_WORKER), job(5000))
        assert (len(first), len(second)) == (2, 2)

    run(test)


def test_jobs_wait_until_there_is_a_worker():
    async def test(bench: Bench) -> None:
        await bench.tell(job(1))
        given = bench.worker(1)
        await until(lambda: given == [job(1)], "the new worker gets it")

    run(test)


def test_a_batch_that_comes_again_is_kept_once():
    async def test(bench: Bench) -> None:
        given = bench.worker(1)
        await bench.tell(job(1), job(1))
        assert given == [job(1)]
        await bench.tell(outcome(job(1)), job(1))
        assert given == [job(1)]
        await bench.tell(committed(10))
        assert bench.facts["uncommitted"] == 0

    run(test)


def test_a_lost_workers_jobs_go_first_and_in_order_to_the_next():
    async def test(bench: Bench) -> None:
        bench.worker(1)
        await bench.tell(*(job(first, LINES_A_WORKER) for first in (1, 11, 21)))
        bench.worker(2)
        await bench.tell(WorkerLost(1, None))
        assert [given.batch.first_seq for given in bench.given[2]] == [21, 1]
        await bench.tell(outcome(job(21), 2))
        assert [given.batch.first_seq for given in bench.given[2]] == [21, 1, 11]
        assert not any(given.careful for given in bench.given[2])

    run(test)


async def die(bench: Bench, first_seq: int, line: int) -> None:
    """Worker 1 dies on that job, at that line, and has a successor."""
    in_work = next(given for given in bench.given[1] if given.batch.first_seq == first_seq)
    bench.mailbox.tell(WorkerLost(1, (in_work, line)))
    bench.given[1] = []
    bench.worker(1)
    await bench.tell()


def test_a_line_that_ends_workers_is_set_aside_and_the_rest_goes_on():
    async def test(bench: Bench) -> None:
        bench.worker(1)
        await bench.tell(job(1), job(11))
        shown: list[tuple[bool, tuple[int, ...]]] = []
        for line in (0, 7, 7):
            await die(bench, 11, line)
            suspect = next(given for given in bench.given[1] if given.batch.first_seq == 11)
            shown.append((suspect.careful, suspect.skip))
        assert shown == [(True, ()), (True, ()), (True, (7,))]
        assert bench.facts["poison"] == 1
        other = next(given for given in bench.given[1] if given.batch.first_seq == 1)
        assert (other.careful, other.skip) == (False, ())

    run(test)


def test_an_answer_that_was_overtaken_by_its_workers_end_puts_no_other_job_under_suspicion():
    async def test(bench: Bench) -> None:
        given = bench.worker(1)
        await bench.tell(job(1), job(11))
        bench.mailbox.tell(outcome(given[0]))
        bench.mailbox.tell(WorkerLost(1, (given[1], 4)))
        await bench.tell()
        bench.given[1] = []
        bench.worker(1)
        await bench.tell()
        assert {again.batch.first_seq: again.careful for again in bench.given[1]} == {1: False, 11: True}

    run(test)


def test_two_different_lines_are_not_yet_proof():
    async def test(bench: Bench) -> None:
        bench.worker(1)
        await bench.tell(job(1))
        for line in (3, 3, 5, 6, 5):
            await die(bench, 1, line)
        assert bench.given[1][0].skip == ()
        await die(bench, 1, 5)
        assert bench.given[1][0].skip == (5,)

    run(test)


def test_a_late_answer_of_a_lost_worker_is_not_lost_and_stops_nothing():
    async def test(bench: Bench) -> None:
        bench.worker(1)
        await bench.tell(job(1))
        await bench.tell(WorkerLost(1, None), outcome(job(1)))
        assert bench.to_lane() == [outcome(job(1))]
        bench.given[1] = []
        bench.worker(1)
        await until(lambda: bench.given[1] == [job(1)], "it is evaluated again, the lane refuses it")
        await bench.tell(outcome(job(1)), committed(10))
        assert bench.facts["uncommitted"] == 0

    run(test)


def test_a_new_lane_gets_again_what_is_not_committed():
    async def test(bench: Bench) -> None:
        given = bench.worker(1)
        hole = Hole(SOURCE, AGENT, 1, 31, 40, bytes(32), "gone")
        await bench.tell(job(1), job(11), Tell(AGENT, "agent joined"), hole)
        await bench.tell(outcome(job(1)), outcome(job(11)))
        told = bench.to_lane()
        assert [type(message) for message in told] == [Notice, Hole, Outcome, Outcome]
        await bench.tell(LaneReady({SOURCE: Progress(1, 10, bytes(32))}, (), 8))
        assert [item.batch.first_seq for item in given] == [1, 11, 11]
        assert bench.to_lane() == [hole, told[0]]
        assert bench.register.get(SOURCE) == Progress(1, 10, bytes(32))
        assert bench.output.take(bench.output.life, wait=False).message == Outboxed(8)

    run(test)


def test_what_is_committed_is_forgotten_and_told():
    async def test(bench: Bench) -> None:
        woken: list[int] = []
        bench.register.watch(SOURCE, lambda: woken.append(1))
        await bench.tell(LaneReady({}, (), 1))
        hole = Hole(SOURCE, AGENT, 1, 21, 30, bytes(32), "gone")
        await bench.tell(job(1), job(11), hole, Tell(AGENT, "one"), Tell(AGENT, "two"))
        number = next(told for told in bench.to_lane() if isinstance(told, Notice)).number
        await bench.tell(committed(30, notices=number))
        assert bench.facts == {"uncommitted": 0, "waiting": 2, "poison": 0}
        assert len(woken) == 2
        given = bench.worker(1)
        await bench.tell(LaneReady({SOURCE: Progress(1, 30, bytes(32))}, (), 1))
        assert given == []
        assert [told.text for told in bench.to_lane()] == ["two"]

    run(test)


def test_derived_lines_take_the_same_way():
    async def test(bench: Bench) -> None:
        given = bench.worker(1)
        source = SourceId("derived/agent/007")
        derived = DerivedBatch(source, AGENT, Batch(1, 1, 2, bytes(32), b"lines"))
        await bench.tell(committed(10, derived=(derived,)))
        assert [(item.source, item.batch) for item in given] == [(source, derived.batch)]
        await bench.tell(LaneReady({}, (derived,), 1))
        assert len(given) == 1
        await bench.tell(outcome(given[0]), committed(2, source=source))
        assert bench.facts["uncommitted"] == 0

    run(test)


def test_the_notices_of_a_new_life_are_not_taken_for_those_of_the_one_before():
    async def test(bench: Bench) -> None:
        for _ in range(3):
            await bench.tell(Tell(AGENT, "before"))
        before = [told.number for told in bench.to_lane()]
        bench.start()
        await bench.tell(Tell(AGENT, "after"))
        after = [told.number for told in bench.to_lane()]
        assert min(after) > max(before)

    run(test)


def test_an_output_that_is_behind_is_woken_once():
    async def test(bench: Bench) -> None:
        for number in range(2, 50):
            await bench.tell(committed(outbox_next=number))
        assert bench.output.depth == 1

    run(test)


def test_reports_go_to_the_lane_but_never_fill_its_mailbox():
    async def test(bench: Bench) -> None:
        reports = [ReadThrough(SOURCE, AGENT, 1, 7, at_ms) for at_ms in range(600)]
        await bench.tell(*reports)
        assert bench.to_lane() == reports[:500]
        await bench.tell(reports[-1])
        assert bench.to_lane() == [reports[-1]]

    run(test)


def test_a_line_that_ended_the_lane_twice_is_left_out_by_a_worker():
    async def test(bench: Bench) -> None:
        given = bench.worker(1)
        await bench.tell(job(1), job(11), job(21))
        await bench.tell(outcome(given[0]))  # evaluated: the lane died on it
        bench.to_lane()
        ready = LaneReady({}, (), 1, (Place(SOURCE, 1, 3), Place(SOURCE, 1, 12), Place(SOURCE, 1, 35)))
        await bench.tell(ready)
        assert given[1].batch.first_seq == 11
        await bench.tell(outcome(given[1]))  # was given before the lane had said so: void
        assert bench.to_lane() == []
        await bench.tell(outcome(given[2]))
        await bench.tell(job(31))
        await bench.tell(*map(outcome, given[3:5]))
        await bench.tell(*map(outcome, given[5:6]))
        assert {given.batch.first_seq: given.skip for given in given[2:]} == {21: (), 1: (2,), 11: (1,), 31: (4,)}
        assert [told.first_seq for told in bench.to_lane()] == [21, 1, 11, 31]

    run(test)


def test_a_batch_that_was_committed_on_its_way_here_is_not_evaluated_again():
    async def test(bench: Bench) -> None:
        given = bench.worker(1)
        await bench.tell(committed(20), job(1), job(11), job(21))
        assert given == [job(21)]
        assert bench.register.under_way == {SOURCE: 1}

    run(test)


class Archived(Bench):
    """With an archive that only takes notes, too."""

    def start(self) -> None:
        self.archive = Mailbox("archive", 1000)
        arguments = (self.mailbox, self.register, self.lane, (self.output,), SetClock(), "boot", self.archive)
        Dispatcher.start(*arguments)

    def to_archive(self) -> list[int]:
        firsts: list[int] = []
        while self.archive.depth:
            firsts.append(self.archive.take(self.archive.life, wait=False).message.batch.first_seq)
        return firsts


def test_no_outcome_goes_to_the_lane_before_its_batch_is_archived():
    async def main() -> None:
        bench = Archived()
        bench.worker(1)
        first, second = job(1), job(11)
        await bench.tell(first, second)
        assert bench.to_archive() == [1, 11]
        await bench.tell(outcome(first))
        assert bench.to_lane() == []
        await bench.tell(Kept(((SOURCE, 1, 1), (SOURCE, 1, 11), (SOURCE, 1, 99))))
        assert bench.to_lane() == [outcome(first)]
        await bench.tell(outcome(second))
        assert bench.to_lane() == [outcome(second)]

    asyncio.run(main())


def test_a_new_archive_gets_what_the_old_one_has_not_said():
    async def main() -> None:
        bench = Archived()
        bench.worker(1)
        await bench.tell(job(1), job(11), Kept(((SOURCE, 1, 1),)))
        bench.to_archive()
        await bench.tell(outcome(job(11)), ArchiveReady())
        assert bench.to_archive() == [11]
        await bench.tell(LaneReady({}, (), 1), outcome(job(1)), outcome(job(11)), Kept(((SOURCE, 1, 11),)))
        assert bench.to_lane() == [outcome(job(1)), outcome(job(11))]

    asyncio.run(main())


def test_copies_of_lines_are_not_archived_again():
    async def main() -> None:
        bench = Archived()
        bench.worker(1)
        copy = job(1, source=SourceId("derived/replay/007"))
        await bench.tell(copy, outcome(copy))
        assert (bench.to_archive(), bench.to_lane()) == ([], [outcome(copy)])

    asyncio.run(main())
