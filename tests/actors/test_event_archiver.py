"""Batches are stored before it is said that they are; a disk that refuses stops nobody, and is told."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from waiting import SetClock, until

from hids.actors.event_archiver import TELL_S, EventArchiver
from hids.actors.stage import Exited, Mailbox
from hids.errors import StoreError
from hids.messages.evaluation import Job
from hids.messages.keeping import Kept, Said
from hids.messages.lines import Batch
from hids.messages.terms import Agent, AgentId, SourceId


class Bench:
    """An archiver whose archive is a list."""

    def __init__(self) -> None:
        self.stored: list[Job] = []
        self.said: list[Kept | Said] = []
        self.exits: list[Exited] = []
        self.full = False
        self.signed = 0
        self.clock = SetClock()
        self.mailbox = Mailbox("event_archiver", 100)
        self.mailbox.on_exit = self.exits.append
        EventArchiver.start(self.mailbox, self, self.clock, self.said.append, sign_every_s=0.01)

    def add(self, jobs: Sequence[Job]) -> int:
        if self.full:
            raise StoreError("no room")
        self.stored += jobs
        return sum(job.batch.count for job in jobs)

    def sign(self) -> None:
        self.signed += 1

    def kept(self) -> list[int]:
        return [first for said in self.said if isinstance(said, Kept) for _, _, first in said.batches]

    def told(self) -> list[str]:
        return [said.text for said in self.said if isinstance(said, Said)]


def job(first: int) -> Job:
    agent = Agent(AgentId("007"), "web1", "")
    return Job(SourceId("agent/007"), agent, Batch(1, first, 10, bytes(32), b"data"), 5)


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_batches_that_come_together_are_stored_together_and_then_said():
    async def test(bench: Bench) -> None:
        for first in (1, 11, 21):
            bench.mailbox.tell(job(first))
        await until(lambda: bench.kept() == [1, 11, 21], "they are said")
        assert len(bench.said) == 1
        assert bench.mailbox.facts() == {"archived_lines": 30, "missing_lines": 0}
        await until(lambda: bench.signed, "the head is signed")

    run(test)


def test_a_full_disk_stops_nobody_and_is_told_once_a_minute():
    async def test(bench: Bench) -> None:
        bench.full = True
        for first in (1, 11):
            bench.mailbox.tell(job(first))
            await until(lambda first=first: bench.kept()[-1:] == [first], "it goes on all the same")
        assert bench.told() == ["archive incomplete: 10 lines are not in it: no room"]
        bench.clock.advance(TELL_S)
        bench.mailbox.tell(job(21))
        await until(lambda: len(bench.told()) > 1, "the rest is told")
        assert bench.told()[1] == "archive incomplete: 20 lines are not in it: no room"

    run(test)


def test_the_end_stores_what_has_gathered():
    async def test(bench: Bench) -> None:
        bench.mailbox.tell(job(1))
        await asyncio.sleep(0)
        bench.mailbox.shut_down()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure is None

    run(test)
