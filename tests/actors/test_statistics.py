"""Committed lines are counted by hours, over restarts; what was learned can be asked for and forgotten."""

import asyncio
from collections.abc import Callable
from typing import Any

from waiting import SetClock, until

from hids.actors.dispatcher import Tell
from hids.actors.learned import Store
from hids.actors.registers import ProgressRegister
from hids.actors.stage import Mailbox
from hids.actors.statistics import HOUR_MS, Ask, Clear, Look, Statistics
from hids.errors import StoreError
from hids.messages.lane import Progress
from hids.messages.terms import Agent, AgentId


class Bench:
    """Statistics of a register that a test moves."""

    def __init__(self) -> None:
        self.clock = SetClock(490_000 * HOUR_MS)
        self.register = ProgressRegister()
        self.told: list[Tell] = []
        self.saved: bytes | None = None
        self.full = False
        self.seq = 0
        self.mailbox = Mailbox("statistics")
        self.start()

    def start(self) -> None:
        store = Store(lambda: self.saved, self.save)
        manager = Agent(AgentId("000"), "boss", "")
        Statistics.start(
            self.mailbox,
            self.register,
            store,
            manager,
            self.clock,
            self.told.append,
            lambda ms: (0, ms // HOUR_MS % 24),
        )

    def save(self, data: bytes) -> None:
        if self.full:
            raise StoreError("no room")
        self.saved = data

    async def hour(self, lines: int) -> None:
        await self.look()
        self.seq += lines
        self.register.update(
            {"agent/007": Progress(1, self.seq, b""), "derived/agent/007": Progress(1, 9 * self.seq, b"")}
        )
        await self.look()
        self.clock.advance(3600)

    async def look(self) -> None:
        self.mailbox.tell_life(self.mailbox.life, Look())
        await until(self.mailbox.empty, "it has looked")
        await asyncio.sleep(0)


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_far_more_lines_than_usual_are_told():
    async def test(bench: Bench) -> None:
        for _ in range(24 * 4):
            await bench.hour(100)
        assert bench.told == []
        await bench.hour(5000)
        assert [tell.text for tell in bench.told] == [
            "excessive events: 5000 lines in the hour from 16:00, usually 100"
        ]

    run(test)


def test_what_was_learned_outlives_a_restart_and_can_be_forgotten():
    async def test(bench: Bench) -> None:
        for _ in range(30):
            await bench.hour(100)
        bench.mailbox.shut_down()
        await until(lambda: bench.saved, "it is saved")
        bench.start()
        volume = await bench.mailbox.request(Ask())
        assert len(volume.by_hour) == 24
        await bench.mailbox.request(Clear())
        assert (await bench.mailbox.request(Ask())).by_hour == {}

    run(test)


def test_a_broken_file_and_a_full_disk_cost_only_what_was_learned():
    async def test(bench: Bench) -> None:
        bench.saved, bench.full = b"nonsense", True
        bench.start()
        await bench.hour(100)
        await bench.mailbox.request(Clear())
        assert (await bench.mailbox.request(Ask())).by_hour == {}

    run(test)
