"""Agents that are connected and not heard: told once, and when they are heard again."""

import asyncio
from collections.abc import Callable
from typing import Any

from waiting import SetClock, settle

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.learned import Store
from hids.actors.registers import ProgressRegister
from hids.actors.silence import LOOK_S, Look, Silence
from hids.actors.stage import Mailbox
from hids.core.wire.canary import signed, unsigned
from hids.errors import StoreError
from hids.messages.lane import Progress
from hids.messages.terms import Agent, AgentId

AGENT = Agent(AgentId("007"), "web1", "")
CANARY_S = 60
MISSING_S = 3 * CANARY_S + 2 * LOOK_S


class Bench:
    """One connected agent that promised a canary each minute; a signature is the text itself, turned round."""

    def __init__(self, saved: bytes | None = None) -> None:
        self.clock = SetClock()
        self.fleet = Fleet()
        self.register = ProgressRegister()
        self.presence = self.fleet.of(AGENT)
        self.presence.connected = True
        self.presence.canary_s = CANARY_S
        self.presence.since_ms = self.clock.ms
        self.told: list[str] = []
        self.saved = saved
        self.broken = False
        self.seq = 0
        self.mailbox = Mailbox("silence")
        self.start()

    def start(self) -> None:
        store = Store(lambda: self.saved, self._save)
        Silence.start(self.mailbox, self.fleet, self.register, store, self._genuine, self.clock, self._tell)

    def _genuine(self, certificate: bytes, text: bytes, signature: bytes) -> bool:
        return signature == text[::-1]

    def _save(self, data: bytes) -> None:
        if self.broken:
            raise StoreError("no room")
        self.saved = data

    def _tell(self, told: Tell) -> None:
        assert told.agent == AGENT
        self.told.append(told.text)

    def canary(self, at_ms: int = 0, agent_id: str = "007", signature: bytes = b"") -> None:
        text = unsigned(agent_id, at_ms or self.clock.ms)
        self.register.canaries["agent/007"] = signed(text, signature or text[::-1])
        self.lines(1)

    def lines(self, count: int) -> None:
        self.seq += count
        self.register.update({"agent/007": Progress(1, self.seq, b"")})

    async def wait(self, seconds: float, step_s: float = LOOK_S) -> None:
        for _ in range(round(seconds / step_s)):
            self.clock.advance(step_s)
            self.mailbox.tell_life(self.mailbox.life, Look())
            await settle(3)

    @property
    def facts(self) -> dict[str, Any]:
        return dict(self.mailbox.facts())


def run(test: Callable[[Bench], Any], saved: bytes | None = None) -> None:
    async def main() -> None:
        await test(Bench(saved))

    asyncio.run(main())


def test_a_canary_that_comes_says_nothing_and_one_that_does_not_is_told_once():
    async def test(bench: Bench) -> None:
        for _ in range(5):
            bench.canary()
            await bench.wait(CANARY_S)
        assert bench.told == []
        await bench.wait(MISSING_S)
        assert bench.told == ["canary missing: none for 195 s, one each 60 s was promised"]
        await bench.wait(MISSING_S)
        assert len(bench.told) == 1
        assert bench.facts["without_canary"] == 1
        bench.canary()
        await bench.wait(LOOK_S)
        assert bench.told[1:] == ["canary came back"]

    run(test)


def test_heartbeats_and_other_lines_do_not_stand_for_a_canary():
    async def test(bench: Bench) -> None:
        for _ in range(20):
            bench.presence.seen_ms = bench.clock.ms
            bench.lines(10)
            await bench.wait(10)
        assert [told.split(":")[0] for told in bench.told] == ["canary missing"]

    run(test)


def test_forged_old_and_foreign_canaries_do_not_count():
    async def test(bench: Bench) -> None:
        bench.canary(5)
        await bench.wait(LOOK_S)
        for number in range(20):
            match number % 3:
                case 0:
                    bench.canary(signature=bytes(32))
                case 1:
                    bench.canary(5)
                case _:
                    bench.canary(agent_id="008")
            await bench.wait(10)
        assert [told.split(":")[0] for told in bench.told] == ["canary missing"]
        assert bench.facts["forged_canaries"] == 13

    run(test)


def test_an_agent_whose_clock_was_set_back_is_heard_in_its_next_session():
    async def test(bench: Bench) -> None:
        bench.canary(bench.clock.ms + 86_400_000)
        await bench.wait(LOOK_S)
        bench.presence.since_ms = bench.clock.ms
        for _ in range(10):
            bench.canary()
            await bench.wait(CANARY_S)
        assert bench.told == []

    run(test)


def test_an_agent_that_works_off_a_backlog_has_time():
    async def test(bench: Bench) -> None:
        bench.presence.spooled = 1_000_000
        for _ in range(60):
            bench.lines(1000)
            await bench.wait(10)
        assert bench.told == []
        await bench.wait(MISSING_S)  # but not when nothing moves any more
        assert [told.split(":")[0] for told in bench.told] == ["canary missing"]

    run(test)


def test_who_promised_none_or_is_not_there_or_just_came_is_not_missed():
    async def test(bench: Bench) -> None:
        bench.presence.canary_s = 0
        await bench.wait(2 * MISSING_S)
        bench.presence.canary_s = CANARY_S
        bench.presence.connected = False
        await bench.wait(2 * MISSING_S)
        bench.presence.connected = True
        bench.presence.since_ms = bench.clock.ms
        await bench.wait(MISSING_S - LOOK_S)
        assert bench.told == []
        await bench.wait(3 * LOOK_S)
        assert len(bench.told) == 1

    run(test)


def test_a_machine_that_slept_missed_nothing():
    async def test(bench: Bench) -> None:
        bench.canary()
        await bench.wait(LOOK_S)
        await bench.wait(36_000, step_s=36_000)
        await bench.wait(-36_000, step_s=-36_000)
        assert bench.told == []

    run(test)


def test_an_agent_falls_silent_by_its_own_measure_over_a_restart():
    async def test(bench: Bench) -> None:
        for _ in range(26 * 6):
            bench.canary()
            bench.lines(5)
            await bench.wait(600, step_s=25)
            bench.canary()
        bench.told.clear()
        bench.mailbox.shut_down()
        await settle(5)
        assert bench.saved
        bench.start()
        for _ in range(50):  # canaries alone are no voice
            bench.canary()
            await bench.wait(50, step_s=25)
        assert [told.split(":")[0] for told in bench.told] == ["agent silent"]
        bench.lines(1)
        await bench.wait(LOOK_S)
        assert bench.told[1:] == ["agent speaks again"]

    run(test)


def test_what_was_learned_may_be_lost_but_nothing_else():
    async def test(bench: Bench) -> None:
        bench.broken = True
        bench.canary()
        await bench.wait(700 * LOOK_S)
        assert bench.facts["silent"] == 0

    run(test, b"not JSON")
