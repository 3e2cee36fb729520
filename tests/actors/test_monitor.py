"""Who is told to be gone, and when: agents that left, and those whose host vanished without a word."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from waiting import SetClock, settle

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.learned import Store
from hids.actors.monitor import LATE_S, SAVE_EVERY, SILENT_S, Known, Monitor, Records, Tick
from hids.actors.stage import Mailbox
from hids.errors import StoreError
from hids.messages.terms import Agent, AgentId

AGENT = Agent(AgentId("007"), "web1", "")
AFTER_S = 60.0
MOST_S = 1000.0
MANAGER = Agent(AgentId("000"), "manager", "")
DAY_MS = 86_400_000
HOUR_MS = 3_600_000


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
        self.known = [Known(AGENT, self.clock.ms)]
        self.saved: list[bytes] = []
        self.noted: list[dict[AgentId, int]] = []
        self.answers = True
        self.start()

    def start(self) -> None:
        """A life of main begins."""
        self.mailbox = Mailbox("monitor")
        store = Store(lambda: self.saved[-1] if self.saved else None, self.saved.append)
        Monitor.start(
            self.mailbox,
            *(self.fleet, MANAGER, self.clock, self.told.append, Records(self._roll, self._note), store),
            disconnected_after_s=AFTER_S,
            disconnected_at_most_s=MOST_S,
        )

    async def _roll(self) -> list[Known]:
        if not self.answers:
            raise StoreError("agents.db: locked")
        return self.known

    async def _note(self, seen: Mapping[AgentId, int]) -> None:
        if not self.answers:
            raise StoreError("agents.db: locked")
        self.noted.append(dict(seen))

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

    async def restart(self, days: float = 0) -> None:
        """The manager ends, and starts again later: its fleet knows nobody, and the agent is back at once."""
        await self.wait(SAVE_EVERY)
        self.mailbox.shut_down()
        await settle()
        self.clock.advance(days * 86_400)
        self.fleet = Fleet()
        self.start()
        self.come_back()
        await self.wait(1)

    async def go_for(self, seconds: int) -> int:
        """Leave, and come back; after how many seconds it was told (0: it was not)."""
        self.presence.seen_ms = self.clock.ms
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
        await bench.wait(int(max(SILENT_S, AFTER_S)) - 1)
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
        bench.clock.advance(LATE_S + 500)
        await bench.tick()
        await bench.wait(int(SILENT_S) - 1)
        assert (bench.hung_up, bench.told) == ([], [])
        await bench.wait(1)
        assert bench.hung_up == ["no heartbeat came"]

    run(test)


@pytest.mark.parametrize(("by_ms", "said"), [(DAY_MS, "forth by 86400 s"), (-HOUR_MS, "back by 3600 s")])
def test_a_clock_that_jumps_is_told_and_makes_nobody_silent(by_ms: int, said: str):
    async def test(bench: Bench) -> None:
        await bench.wait(5)
        bench.clock.ms += by_ms
        await bench.wait(40)
        assert [(told.agent, told.text) for told in bench.told] == [(MANAGER, f"clock jumped: {said}")]
        assert bench.hung_up == []

    run(test)


def test_an_agent_that_dies_while_the_clock_goes_back_is_found_in_time():
    async def test(bench: Bench) -> None:
        await bench.wait(5)
        bench.clock.ms -= HOUR_MS
        await bench.wait(int(max(SILENT_S, AFTER_S)))
        assert bench.hung_up == ["no heartbeat came"]

    run(test)


def test_an_agent_that_left_a_moment_before_the_clock_went_forth_has_its_time():
    async def test(bench: Bench) -> None:
        bench.leave()
        await bench.wait(1)
        bench.clock.ms += DAY_MS
        await bench.wait(50)
        assert [told.text for told in bench.told] == ["clock jumped: forth by 86400 s"]
        await bench.wait(10)
        assert [told.agent for told in bench.told] == [MANAGER, AGENT]

    run(test)


def test_an_agent_that_does_not_come_back_after_a_restart_of_main_is_told_once_over_all_restarts():
    async def test(bench: Bench) -> None:
        for life in range(3):
            bench.fleet = Fleet()
            bench.start()
            await bench.wait(int(AFTER_S) - 1)
            assert len(bench.told) == bool(life)
            await bench.wait(SAVE_EVERY + 2)
            assert [told.agent for told in bench.told] == [AGENT]

    run(test)


def test_an_agent_that_comes_back_after_a_restart_of_main_may_be_told_again_later():
    async def test(bench: Bench) -> None:
        bench.saved.append(b'{"told":["007"]}')
        bench.fleet = Fleet()
        bench.start()
        await bench.wait(3)
        presence = bench.fleet.get(AGENT.id)
        assert presence is not None
        assert presence.told_silent  # so the session says that it is back
        presence.connected, presence.told_silent, presence.seen_ms = True, False, bench.clock.ms
        await bench.wait(SAVE_EVERY)
        assert bench.saved[-1] == b'{"told":[],"paces":{}}'
        assert bench.told == []

    run(test)


def test_a_registry_that_does_not_answer_is_asked_again():
    async def test(bench: Bench) -> None:
        bench.answers = False
        bench.fleet = Fleet()
        bench.start()
        await bench.wait(5)
        assert bench.fleet.get(AGENT.id) is None
        bench.answers = True
        await bench.wait(2)
        assert bench.fleet.get(AGENT.id) is not None

    run(test)


def test_one_that_is_away_often_is_told_later_and_each_step_was_told():
    async def test(bench: Bench) -> None:
        assert await bench.go_for(100) == AFTER_S
        await bench.restart(days=1)
        assert [await bench.go_for(100) for _ in range(3)] == [AFTER_S, AFTER_S, 0]
        assert await bench.go_for(320) in range(296, 304)
        assert await bench.go_for(970) in range(950, 965)
        assert await bench.go_for(1010) == MOST_S  # three times that would be more than the most

    run(test)


def test_absences_that_nobody_was_told_of_teach_nothing():
    async def test(bench: Bench) -> None:
        assert await bench.go_for(61) == AFTER_S
        await bench.restart(days=1)
        for _ in range(10):
            assert await bench.go_for(59) == 0
        assert await bench.go_for(61) == AFTER_S

    run(test)


def test_what_is_learned_survives_and_is_forgotten_after_weeks():
    async def test(bench: Bench) -> None:
        await bench.go_for(100)
        await bench.restart(days=1)
        for _ in range(2):
            await bench.go_for(100)
        await bench.restart()
        assert await bench.go_for(100) == 0
        await bench.restart(days=20)
        assert await bench.go_for(100) == AFTER_S

    run(test)


def test_what_is_learned_of_one_that_was_removed_goes():
    async def test(bench: Bench) -> None:
        await bench.go_for(100)
        bench.known = []
        await bench.restart()
        await bench.go_for(100)
        await bench.wait(SAVE_EVERY)
        assert b'"gaps":1' in bench.saved[-1]

    run(test)


def test_when_an_agent_was_here_is_written_once_a_minute_while_it_changes():
    async def test(bench: Bench) -> None:
        await bench.wait(5)
        bench.answers = False
        bench.presence.seen_ms = at_ms = bench.clock.ms
        await bench.wait(SAVE_EVERY)
        assert bench.noted == []
        bench.answers = True
        await bench.wait(2 * SAVE_EVERY)
        assert bench.noted == [{AGENT.id: at_ms}]

    run(test)
