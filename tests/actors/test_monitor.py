"""Who is told to be gone, and when: agents that left, and those whose host vanished without a word."""

import asyncio
from collections.abc import Callable
from typing import Any

from waiting import SetClock, settle

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.monitor import LATE_MS, SILENT_MS, Forget, Monitor, Tick
from hids.actors.silence import Store
from hids.actors.stage import Mailbox
from hids.messages.terms import Agent, AgentId

AGENT = Agent(AgentId("007"), "web1", "")
AFTER_S = 60.0
MOST_S = 1000.0


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
        self.kept: bytes | None = None
        self.mailbox = Mailbox("monitor")
        self.begin()

    def begin(self) -> None:
        """The monitor's life begins."""
        store = Store(lambda: self.kept, self._keep)
        Monitor.start(
            self.mailbox,
            self.fleet,
            store,
            self.clock,
            self.told.append,
            disconnected_after_s=AFTER_S,
            disconnected_at_most_s=MOST_S,
        )

    async def restart(self) -> None:
        """The manager ends and starts again: the fleet knows nobody."""
        self.mailbox.shut_down()
        await settle()
        self.fleet = Fleet()
        self.mailbox = Mailbox("monitor")
        self.begin()

    def _keep(self, data: bytes) -> None:
        self.kept = data

    def _hang_up(self, reason: str, retry_s: int) -> None:
        assert retry_s == 1
        self.hung_up.append(reason)
        self.leave()

    def leave(self) -> None:
        self.presence.connected = False
        self.presence.hangup = None
        self.presence.ended_ms = self.clock.ms

    def come_back(self) -> None:
        """As its session does it."""
        self.presence = self.fleet.of(AGENT)
        self.presence.connected = True
        self.presence.seen_ms = self.clock.ms
        self.presence.told_silent = False

    async def be_here(self, days: float) -> None:
        """Be connected for days, during which the manager is started anew once."""
        await self.wait(1)
        self.clock.advance(days * 86_400)
        await self.restart()
        self.come_back()
        await self.wait(1)

    async def go_for(self, seconds: int) -> int:
        """Leave, and come back; after how many seconds it was told (0: it was not)."""
        self.leave()
        before, told_s = len(self.told), 0
        for second in range(1, seconds + 1):
            await self.wait(1)
            if len(self.told) > before and not told_s:
                told_s = second
        self.come_back()
        await self.wait(1)
        return told_s

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


def test_one_that_is_away_often_is_told_later_and_each_step_was_told():
    async def test(bench: Bench) -> None:
        await bench.be_here(1)
        assert [await bench.go_for(100) for _ in range(4)] == [60, 60, 60, 0]
        assert bench.mailbox.facts() == {"gone": 0, "often_away": 1}
        assert await bench.go_for(320) in (300, 301, 302, 303)
        assert await bench.go_for(970) in range(955, 968)
        assert await bench.go_for(1010) == MOST_S  # three times that would be more than the most

    run(test)


def test_absences_that_nobody_was_told_of_teach_nothing():
    async def test(bench: Bench) -> None:
        await bench.be_here(1)
        for _ in range(10):
            assert await bench.go_for(59) == 0
        assert await bench.go_for(61) == 60

    run(test)


def test_what_is_learned_survives_and_is_forgotten_after_weeks():
    async def test(bench: Bench) -> None:
        await bench.be_here(1)
        for _ in range(3):
            await bench.go_for(100)
        await bench.be_here(0)
        assert await bench.go_for(100) == 0
        await bench.be_here(16)
        assert await bench.go_for(100) in range(60, 75)

    run(test)


def test_one_that_left_while_the_manager_was_down_is_told_once_and_its_return():
    async def test(bench: Bench) -> None:
        await bench.wait(1)
        await bench.restart()
        await bench.wait(59)
        assert bench.told == []
        await bench.wait(1)
        assert [told.text for told in bench.told] == ["agent disconnected: last seen 2023-11-14T22:13:21Z"]
        await bench.restart()
        await bench.wait(100)
        assert len(bench.told) == 1
        presence = bench.fleet.get(AGENT.id)
        assert presence is not None
        assert presence.told_silent  # so its session tells that it is back
        bench.come_back()
        await bench.wait(1)
        assert bench.mailbox.facts()["gone"] == 0

    run(test)


def test_one_that_was_removed_is_never_told():
    async def test(bench: Bench) -> None:
        await bench.wait(1)
        bench.presence.told_silent = True
        bench.mailbox.tell(Forget(AGENT.id))
        await bench.wait(1)
        bench.leave()
        await bench.wait(1)
        await bench.restart()
        await bench.wait(100)
        assert bench.told == []

    run(test)


def test_what_is_kept_and_damaged_costs_only_itself():
    async def test(bench: Bench) -> None:
        await bench.wait(1)
        bench.mailbox.shut_down()
        await settle()
        bench.kept = b"\xff{"
        bench.mailbox = Mailbox("monitor")
        bench.begin()
        bench.leave()
        await bench.wait(60)
        assert len(bench.told) == 1

    run(test)
