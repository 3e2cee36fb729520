"""Who is told to be gone, and when: agents that left, and those whose host vanished without a word."""

import asyncio
from collections.abc import Callable
from typing import Any

from waiting import SetClock, settle

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.monitor import LATE_MS, SILENT_MS, Monitor, Tick
from hids.actors.stage import Mailbox
from hids.messages.terms import Agent, AgentId

AGENT = Agent(AgentId("007"), "web1", "")
AFTER_S = 60.0


class Bench:
    """A monitor over one agent that is connected."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.fleet = Fleet()
        self.presence = self.fleet.of(AGENT)
        self.presence.connected = True
        self.presence.seen_ms = self.clock.ms
        self.presence.hangup = self._hang_up
        self.told: list[Tell] = []
        self.hung_up: list[str] = []
        self.mailbox = Mailbox("monitor")
        Monitor.start(self.mailbox, self.fleet, self.clock, self.told.append, disconnected_after_s=AFTER_S)

    def _hang_up(self, reason: str, retry_s: int) -> None:
        assert retry_s == 1
        self.hung_up.append(reason)
        self.leave()

    def leave(self) -> None:
        self.presence.connected = False
        self.presence.hangup = None
        self.presence.ended_ms = self.clock.ms

    async def tick(self) -> None:
        self.mailbox.tell_life(self.mailbox.life, Tick())
        await settle()

    async def wait(self, seconds: int) -> None:
        for _ in range(seconds):
            self.clock.advance(1)
            await self.tick()


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        await test(Bench())

    asyncio.run(main())


def test_an_agent_that_left_is_told_once_when_its_time_is_over():
    async def test(bench: Bench) -> None:
        bench.leave()
        await bench.wait(59)
        assert bench.told == []
        await bench.wait(1)
        assert [told.text for told in bench.told] == ["agent disconnected: last seen 2023-11-14T22:13:20Z"]
        await bench.wait(100)
        assert len(bench.told) == 1

    run(test)


def test_an_agent_that_comes_back_in_time_is_not_told():
    async def test(bench: Bench) -> None:
        bench.leave()
        await bench.wait(50)
        bench.presence.connected = True
        bench.presence.seen_ms = bench.clock.ms
        await bench.wait(20)
        assert bench.told == []

    run(test)


def test_a_session_without_heartbeats_is_hung_up_and_told():
    """A host that lost power never closes its connection."""

    async def test(bench: Bench) -> None:
        await bench.wait(int(max(SILENT_MS / 1000, AFTER_S)) - 1)
        assert (bench.hung_up, bench.told) == ([], [])
        await bench.wait(1)
        assert bench.hung_up == ["no heartbeat came"]
        assert len(bench.told) == 1
        await bench.wait(200)
        assert len(bench.told) == 1

    run(test)


def test_heartbeats_keep_a_session():
    async def test(bench: Bench) -> None:
        for _ in range(30):
            await bench.wait(10)
            bench.presence.seen_ms = bench.clock.ms
        assert (bench.hung_up, bench.told) == ([], [])

    run(test)


def test_an_agent_that_we_do_not_read_is_not_silent():
    async def test(bench: Bench) -> None:
        bench.presence.held_back = True
        await bench.wait(300)
        assert (bench.hung_up, bench.told) == ([], [])

    run(test)


def test_after_our_own_sleep_agents_get_their_time_anew():
    async def test(bench: Bench) -> None:
        await bench.wait(5)
        bench.clock.advance(LATE_MS / 1000 + 500)
        await bench.tick()
        await bench.wait(SILENT_MS // 1000 - 1)
        assert (bench.hung_up, bench.told) == ([], [])
        await bench.wait(1)
        assert bench.hung_up == ["no heartbeat came"]

    run(test)
