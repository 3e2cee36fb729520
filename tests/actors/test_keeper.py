"""Duties are done when they are due, one at a time; one that fails is told once, and hinders no other."""

import asyncio
import threading
from collections.abc import Callable
from typing import Any

from waiting import SetClock, until

from hids.actors.keeper import Duty, Keeper, Round
from hids.actors.stage import Exited, Mailbox
from hids.errors import StoreError
from hids.messages.keeping import Said


class Bench:
    """A keeper with two duties."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.said: list[str] = []
        self.exits: list[Exited] = []
        self.runs = {"often": 0, "seldom": 0}
        self.problem: Exception | None = None
        self.go = threading.Event()
        self.go.set()
        self.mailbox = Mailbox("keeper")
        self.mailbox.on_exit = self.exits.append
        duties = [Duty("often", 1.0, lambda: self.work("often")), Duty("seldom", 60.0, lambda: self.work("seldom"))]
        Keeper.start(self.mailbox, duties, self.clock, self.hear)

    def hear(self, said: Said) -> None:
        self.said.append(said.text)

    def work(self, name: str) -> list[str]:
        self.go.wait()
        self.runs[name] += 1
        if self.problem is not None and name == "often":
            raise self.problem
        return [f"{name} done"]

    async def round(self) -> None:
        before = dict(self.runs)
        self.mailbox.tell_life(self.mailbox.life, Round())
        await until(lambda: self.runs["often"] > before["often"], "a round is done")


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_each_is_done_in_its_own_time_and_said():
    async def test(bench: Bench) -> None:
        await bench.round()
        await until(lambda: bench.said == ["often done", "seldom done"], "both are said")
        bench.clock.advance(2)
        await bench.round()
        await until(lambda: len(bench.said) == 3, "one of them again")
        assert bench.runs == {"often": 2, "seldom": 1}

    run(test)


def test_a_failure_is_told_once_and_the_others_go_on():
    async def test(bench: Bench) -> None:
        bench.problem = StoreError("no room")
        for _ in range(3):
            await bench.round()
            bench.clock.advance(60)
        await until(lambda: bench.runs["seldom"] == 3, "the other one is done")
        await until(lambda: bench.mailbox.facts()["failing"] == "no room", "it shows")
        assert bench.said.count("often failed: no room") == 1
        bench.problem = None
        await bench.round()
        await until(lambda: not bench.mailbox.facts()["failing"], "it is over")

    run(test)


def test_a_bug_ends_this_life():
    async def test(bench: Bench) -> None:
        bench.problem = ZeroDivisionError("a bug")
        await bench.round()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure == "ZeroDivisionError: a bug"

    run(test)


def test_the_end_waits_for_the_duty_under_way():
    async def test(bench: Bench) -> None:
        bench.go.clear()
        bench.mailbox.tell_life(bench.mailbox.life, Round())
        await asyncio.sleep(0)
        bench.mailbox.shut_down()
        await asyncio.sleep(0)
        assert bench.exits == []
        bench.go.set()
        await until(lambda: bench.exits, "it ends")
        assert bench.exits[0].failure is None

    run(test)
