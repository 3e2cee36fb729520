"""What old agents deliver, in main: jobs for the dispatcher, presences for the fleet, progress and keys for the process."""

import asyncio
from collections.abc import Callable
from typing import Any

from waiting import SetClock, settle, until

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.legacy_sessions import Give, LegacySessions, Renew
from hids.actors.registers import ProgressRegister
from hids.actors.registrar import Ask
from hids.actors.stage import LoopActor, Mailbox
from hids.core.wire.lines import GENESIS
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, Progress
from hids.messages.legacy import (
    LegacyAgent,
    LegacyBatch,
    LegacyDone,
    LegacyKeys,
    LegacyNotice,
    LegacyOrder,
    LegacyProgress,
    LegacyReady,
    LegacySeen,
)
from hids.messages.lines import Batch
from hids.messages.terms import Agent, AgentId, SourceId

WEB1 = Agent(AgentId("001"), "web1", "192.0.2.7")
KNOWN = LegacyAgent(WEB1, "001", "any", "k" * 64)


class FakeRegistry:
    def __init__(self) -> None:
        self.seen_as: list[tuple[Any, ...]] = []
        self.known: tuple[LegacyAgent, ...] = (KNOWN,)
        self.legacy = self

    def agents(self) -> tuple[LegacyAgent, ...]:
        return self.known

    def seen(self, *what: Any) -> None:
        self.seen_as.append(what)


class FakeRegistrar(LoopActor):
    def __init__(self, mailbox: Mailbox, registry: FakeRegistry) -> None:
        super().__init__(mailbox)
        self._registry = registry

    def on_receive(self, message: Ask) -> Any:
        return message.question(self._registry)


class Stand:
    def __init__(self) -> None:
        self.process = Mailbox("legacy", 1000)
        self.registrar = Mailbox("registrar", 1000)
        self.mailbox = Mailbox("legacy_sessions", 1000)
        self.register = ProgressRegister()
        self.fleet = Fleet()
        self.out: list[Any] = []
        self.registry = FakeRegistry()
        FakeRegistrar.start(self.registrar, self.registry)
        LegacySessions.start(
            self.mailbox, self.process, self.registrar, self.register, self.fleet, SetClock(), self.out.append
        )

    def told(self) -> list[Any]:
        """What the process was told since the last look."""
        said = []
        while self.process.depth:
            said.append(self.process._data.popleft().message)
        return said


def run(test: Callable[[Stand], Any]) -> None:
    async def main() -> None:
        stand = Stand()
        await settle()
        await test(stand)
        stand.mailbox.shut_down()
        stand.registrar.shut_down()
        await settle()

    asyncio.run(main())


def batch(first: int, count: int = 2) -> LegacyBatch:
    return LegacyBatch(WEB1, Batch(5, first, count, GENESIS, b"x"), 9)


def test_the_process_learns_what_is_committed_before_who_there_is():
    async def test(stand: Stand) -> None:
        stand.mailbox.tell(LegacyReady())
        await settle()
        assert stand.told() == [LegacyKeys((KNOWN,))], "nobody knows yet what is committed"
        there = Progress(5, 2, GENESIS)
        stand.register.update({"agent/001": there, "agent/009": there})
        await settle()
        assert stand.told() == [LegacyProgress({"agent/001": there})]
        stand.mailbox.tell(LegacyReady())
        await settle()
        assert stand.told() == [LegacyProgress({"agent/001": there}), LegacyKeys((KNOWN,))]

    run(test)


def test_batches_become_jobs_and_their_commit_is_told():
    async def test(stand: Stand) -> None:
        stand.register.update({})
        stand.mailbox.tell(LegacyReady())
        await settle()
        stand.told()
        stand.mailbox.tell(batch(1))
        stand.mailbox.tell(batch(3))
        await settle()
        assert stand.out == [Job(SourceId("agent/001"), WEB1, batch(first).batch, 9) for first in (1, 3)]
        for seq in (2, 4):
            stand.register.update({"agent/001": Progress(5, seq, GENESIS)})
            await settle()
            assert stand.told() == [LegacyProgress({"agent/001": Progress(5, seq, GENESIS)})]
        stand.register.update({"agent/001": Progress(5, 5, GENESIS)})
        await settle()
        assert stand.told() == [], "it waits for nothing any more"

    run(test)


def test_what_a_killed_process_sends_again_is_not_evaluated_again():
    async def test(stand: Stand) -> None:
        there = Progress(5, 4, GENESIS)
        stand.register.update({"agent/001": there})
        stand.mailbox.tell(LegacyReady())
        await until(lambda: stand.process.depth == 2, "told")
        stand.told()
        stand.mailbox.tell(batch(3))
        await until(lambda: stand.process.depth == 1, "told")
        assert stand.told() == [LegacyProgress({"agent/001": there})]
        assert stand.out == []

    run(test)


def test_holes_and_notices_go_where_sessions_send_them():
    async def test(stand: Stand) -> None:
        hole = Hole(SourceId("agent/001"), WEB1, 5, 1, 2, GENESIS, "damaged")
        stand.mailbox.tell(hole)
        stand.mailbox.tell(LegacyNotice(WEB1, "agent refused: wrong key"))
        await settle()
        assert stand.out == [hole, Tell(WEB1, "agent refused: wrong key")]

    run(test)


def test_the_fleet_and_the_registry_know_who_is_there():
    async def test(stand: Stand) -> None:
        stand.mailbox.tell(LegacySeen(WEB1, True, 7, os="Debian", software="Wazuh v4.14.7"))
        stand.mailbox.tell(LegacySeen(WEB1, True, 8, changed=False))
        await until(lambda: stand.registry.seen_as, "the registry is told")
        presence = stand.fleet.get("001")
        assert presence is not None
        assert (presence.connected, presence.seen_ms) == (True, 8)
        assert stand.registry.seen_as == [("001", 7, "192.0.2.7", "Debian", "Wazuh v4.14.7")]
        stand.mailbox.tell(LegacySeen(WEB1, False, 9))
        await settle()
        assert not presence.connected
        assert presence.ended_ms > 0
        presence.told_silent = True
        stand.mailbox.tell(LegacySeen(WEB1, True, 10))
        await settle()
        assert stand.out == [Tell(WEB1, "agent connected again")]

    run(test)


def test_a_new_process_is_told_who_was_there():
    async def test(stand: Stand) -> None:
        stand.register.update({})
        stand.mailbox.tell(LegacySeen(WEB1, True, 7))
        stand.mailbox.tell(LegacyReady())
        await until(lambda: stand.process.depth == 2, "told")
        assert stand.told()[1] == LegacyKeys((KNOWN,), (AgentId("001"),))

    run(test)


def test_changed_keys_are_told():
    async def test(stand: Stand) -> None:
        stand.register.update({})
        stand.mailbox.tell(LegacyReady())
        await until(lambda: stand.process.depth == 2, "told")
        stand.told()
        stand.registry.known = ()
        stand.mailbox.tell(Renew())
        await until(lambda: stand.process.depth == 2, "told")
        assert stand.told()[-1] == LegacyKeys(())

    run(test)


def test_orders_are_numbered_and_answered():
    async def test(stand: Stand) -> None:
        loop = asyncio.get_running_loop()
        first, second = loop.create_future(), loop.create_future()
        stand.mailbox.tell(Give(LegacyOrder(AgentId("001"), "scan"), first))
        stand.mailbox.tell(Give(LegacyOrder(AgentId("001"), "restart"), second))
        await settle()
        assert [order.number for order in stand.told()] == [1, 2]
        stand.mailbox.tell(LegacyDone(2, "not connected"))
        stand.mailbox.tell(LegacyDone(1))
        assert (await first, await second) == ("", "not connected")

    run(test)
