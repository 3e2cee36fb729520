"""One destination behind its own cursor: whatever fails is tried again, nothing is written twice."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from waiting import settle, until

from hids.actors.alert_writer import AlertWriter, Tick
from hids.actors.stage import Exited, Mailbox
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed


class Disk:
    """What a destination leaves behind, and whether it works."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.saved = 0
        self.full = False
        self.opened = 0
        self.closed = 0

    def check(self) -> None:
        if self.full:
            raise StoreError("alerts.json: no space left")


class Destination:
    """One life's open file."""

    def __init__(self, disk: Disk) -> None:
        disk.check()
        disk.opened += 1
        self._disk = disk

    @property
    def number(self) -> int:
        return len(self._disk.rows)

    @property
    def saved(self) -> int:
        return self._disk.saved

    def append(self, rows: Sequence[int]) -> None:
        self._disk.check()
        assert rows[0] == self.number + 1
        self._disk.rows += rows

    def save(self) -> None:
        self._disk.check()
        self._disk.saved = self.number

    def close(self) -> None:
        self.save()
        self._disk.closed += 1


class Bench:
    """A writer behind an outbox of numbers."""

    def __init__(self, piece: int = 3) -> None:
        self.disk = Disk()
        self.outbox: list[int] = []
        self.cursors: list[int] = []
        self.exits: list[Exited] = []
        self.piece = piece
        self.mailbox = Mailbox("alerts.json")
        self.mailbox.on_exit = self.exits.append
        self.start()

    def start(self) -> None:
        AlertWriter.start(self.mailbox, lambda _newest: Destination(self.disk), self._rows, self._moved)

    def _rows(self, after: int, _newest: int) -> Iterator[Sequence[int]]:
        while rows := self.outbox[after : after + self.piece]:
            yield rows
            after += len(rows)

    def _moved(self, cursors: Cursors) -> None:
        self.cursors.append(cursors.positions["alerts.json"])

    def commit(self, count: int) -> None:
        last = len(self.outbox)
        self.outbox += range(last + 1, last + count + 1)
        if self.mailbox.depth == 0:
            self.mailbox.tell(Outboxed(last + count + 1))

    async def tick(self) -> None:
        self.mailbox.tell_life(self.mailbox.life, Tick())
        await settle()


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_alerts_are_written_in_order_and_reported_when_they_are_safe():
    async def test(bench: Bench) -> None:
        bench.commit(10)
        await until(lambda: len(bench.disk.rows) == 10, "they are written")
        assert bench.cursors == []
        await bench.tick()
        assert bench.cursors == [10]
        await bench.tick()
        assert bench.cursors == [10]
        assert bench.mailbox.facts() == {"written": 10, "lag": 0, "failing": ""}

    run(test)


def test_one_wake_up_for_many_commits_is_enough():
    async def test(bench: Bench) -> None:
        for _ in range(50):
            bench.commit(7)
        await until(lambda: bench.disk.rows == bench.outbox, "all of them are written")

    run(test)


def test_a_full_disk_is_tried_again_and_nothing_is_lost_or_doubled():
    async def test(bench: Bench) -> None:
        bench.disk.full = True
        bench.commit(5)
        await settle()
        assert bench.mailbox.facts()["failing"] == "alerts.json: no space left"
        bench.disk.full = False
        await bench.tick()
        await until(lambda: bench.disk.rows == bench.outbox, "they are written at last")
        bench.disk.full = True
        bench.commit(5)
        await bench.tick()
        assert (bench.disk.rows, bench.exits) == (bench.outbox[:5], [])
        bench.disk.full = False
        await bench.tick()
        await until(lambda: bench.disk.rows == bench.outbox, "the others too")
        await bench.tick()
        assert bench.cursors[-1] == 10
        assert bench.mailbox.facts()["failing"] == ""

    run(test)


def test_the_end_saves_and_closes_and_the_next_life_goes_on_behind_it():
    async def test(bench: Bench) -> None:
        bench.commit(4)
        await until(lambda: len(bench.disk.rows) == 4, "they are written")
        bench.mailbox.shut_down()
        await until(lambda: bench.exits, "it ends")
        assert (bench.disk.saved, bench.disk.closed, bench.exits[0].failure) == (4, 1, None)
        bench.start()
        bench.commit(4)
        await until(lambda: bench.disk.rows == bench.outbox, "the next life goes on")
        assert bench.disk.opened == 2

    run(test)


def test_a_failure_at_the_end_hinders_nothing():
    async def test(bench: Bench) -> None:
        bench.commit(4)
        await until(lambda: len(bench.disk.rows) == 4, "they are written")
        bench.disk.full = True
        bench.mailbox.shut_down()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure is None

    run(test)
