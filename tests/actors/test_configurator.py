"""Who is sent what, and how trials end."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from waiting import SetClock, settle

from hids.actors.configurator import CONNECT_S, Abandon, AskRollout, Configurator, Tick, Try
from hids.actors.fleet import Fleet, Presence
from hids.actors.stage import Mailbox
from hids.core.collect.shared import Rollout, SharedFile, parse_files
from hids.errors import ConfigError
from hids.messages.agent_link import Configuration
from hids.messages.terms import MANAGER, Agent, AgentId

TEXTS = {1: '[[source]]\npath = "/a"\n', 2: '[[source]]\npath = "/b"\n'}


class Store:
    """Keeps the rollout in memory."""

    def __init__(self) -> None:
        self.rollout = Rollout()

    def load(self) -> Rollout:
        return self.rollout

    def save(self, rollout: Rollout) -> None:
        self.rollout = rollout

    def files(self, number: int) -> Mapping[str, SharedFile]:
        return parse_files({"all.toml": TEXTS[number]} if number else {})


class Signer:
    """Signs with what it signs."""

    certificate = b"certificate"

    def sign(self, data: bytes) -> bytes:
        return b"signed " + data


class Bench:
    """A configurator over two agents that are connected."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.fleet = Fleet()
        self.sent: list[tuple[str, Configuration]] = []
        self.told: list[Any] = []
        self.store = Store()
        self.agents = [self.connect("001"), self.connect("002")]
        self.mailbox = Mailbox("configurator")
        self.start()

    def start(self) -> None:
        manager = Agent(MANAGER, "boss", "")
        Configurator.start(self.mailbox, self.store, Signer(), self.fleet, manager, self.clock, self.told.append)

    def connect(self, agent_id: str) -> Presence:
        presence = self.fleet.of(Agent(AgentId(agent_id), f"web{agent_id}", ""))
        presence.connected = True
        presence.abilities = frozenset({"configure"})
        presence.send = lambda message: self.sent.append((agent_id, message))
        return presence

    async def tick(self, seconds: float = 1.0) -> list[tuple[str, Configuration]]:
        """Let time pass; what was sent."""
        self.clock.advance(seconds)
        before = len(self.sent)
        self.mailbox.tell_life(self.mailbox.life, Tick())
        await settle()
        return self.sent[before:]

    def take(self, agent_id: str) -> None:
        """The agent takes what it was sent last."""
        presence = self.fleet.get(agent_id)
        assert presence is not None
        presence.config = [message.version for receiver, message in self.sent if receiver == agent_id][-1]

    async def ask(self, message: Any) -> Rollout:
        said: Rollout = await self.mailbox.request(message)
        return said


def run(test: Callable[[Bench], Any]) -> None:
    async def main() -> None:
        bench = Bench()
        await test(bench)
        bench.mailbox.shut_down()
        await settle()

    asyncio.run(main())


def test_each_agent_is_sent_what_it_lacks_once():
    async def test(bench: Bench) -> None:
        assert await bench.tick() == []
        bench.agents[1].abilities = frozenset()
        await bench.ask(Try(1, (), 0))
        assert [receiver for receiver, _ in bench.sent] == ["001"]
        assert await bench.tick() == []
        bench.take("001")
        bench.agents[0].config_sent = None  # a new session, in which it says what it has
        assert await bench.tick() == []
        await bench.ask(Try(0, (), 0))
        assert bench.sent[-1] == ("001", Configuration("", b""))

    run(test)


def test_a_trial_that_goes_well_is_for_all():
    async def test(bench: Bench) -> None:
        await bench.ask(Try(1, ("001",), 10))
        with pytest.raises(ConfigError, match="on trial"):
            await bench.ask(Try(2, (), 0))
        assert [receiver for receiver, _ in bench.sent] == ["001"]
        bench.take("001")
        assert await bench.tick(9) == []
        assert [receiver for receiver, _ in await bench.tick(2)] == ["002"]
        assert bench.store.rollout.current == 1
        assert bench.store.rollout.outcome == "applied"

    run(test)


@pytest.mark.parametrize(
    ("happens", "why"),
    [
        (lambda presence: setattr(presence, "config_problem", "no"), "web001: no"),
        (lambda presence: setattr(presence, "stopped", "spool full"), "stopped reading"),
        (lambda presence: setattr(presence, "connected", False), "not connected any more"),
        (lambda presence: None, "did not say that it has taken it"),
    ],
)
def test_a_trial_that_does_not_go_well_is_taken_back(happens: Callable[[Presence], None], why: str):
    async def test(bench: Bench) -> None:
        await bench.ask(Try(1, (), 0))
        bench.take("001")
        bench.take("002")
        await bench.ask(Try(2, ("001",), 60))
        happens(bench.agents[0])
        await bench.tick()
        await bench.tick(61)
        rollout = await bench.ask(AskRollout())
        assert (rollout.current, rollout.trial, rollout.outcome) == (1, None, "reverted")
        assert why in rollout.last
        assert bench.told[0].text.startswith("configuration reverted: version 2: ")
        assert [receiver for receiver, _ in bench.sent].count("002") == 1

    run(test)


def test_who_comes_back_in_time_is_well():
    async def test(bench: Bench) -> None:
        await bench.ask(Try(1, ("001",), 300))
        bench.agents[0].connected = False
        await bench.tick()
        await bench.tick(CONNECT_S - 1)
        bench.agents[0].connected = True
        await bench.tick()
        bench.agents[0].connected = False
        await bench.tick(CONNECT_S - 1)
        assert bench.store.rollout.trial is not None
        await bench.tick(CONNECT_S + 1)
        assert bench.store.rollout.outcome == "reverted"

    run(test)


def test_a_trial_goes_on_after_a_restart_and_can_be_abandoned():
    async def test(bench: Bench) -> None:
        await bench.ask(Try(1, ("001",), 300))
        bench.mailbox.shut_down()
        await settle()
        bench.start()
        rollout = await bench.ask(AskRollout())
        assert rollout.trial is not None
        assert (await bench.ask(Abandon("root did"))).outcome == "reverted"
        assert bench.told == []

    run(test)
