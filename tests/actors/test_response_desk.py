"""Orders reach agents when they are there, once in each session, until they answer."""

import asyncio
from typing import Any

from waiting import SetClock, settle

from hids.actors.fleet import Fleet, Presence
from hids.actors.response_desk import Fresh, Give, Heard, ResponseDesk, Tick
from hids.actors.stage import Mailbox
from hids.core.response.order import pack
from hids.messages.legacy import LegacyOrder
from hids.messages.responder import (
    Ordered,
    ResponseAnswer,
    ResponseAsk,
    ResponseHeard,
    ResponseNoted,
    ResponseTold,
    Roster,
)
from hids.messages.response import Noted, Respond, Responded, ResponseOrder
from hids.messages.terms import MANAGER, Agent, AgentId

NOW_MS = SetClock().ms


class Row:
    def __init__(self, id_: str) -> None:
        self.id = AgentId(id_)
        self.name = f"web{id_}"
        self.address = f"10.0.0.{int(id_)}"


def ordered(
    number: int = 1, agent: str = "001", until_ms: int = 0, *, undo: bool = False, action: str = "drop"
) -> Ordered:
    order = ResponseOrder(
        id=f"a{number}:drop:{agent}", agent=agent, response="drop", command="drop", action=action,
        address="192.0.2.7", issued_ms=NOW_MS, until_ms=NOW_MS + 60_000, reference="5.6", rule="5712",
    )  # fmt: skip
    return Ordered(AgentId(agent), order.id, until_ms, undo, Respond(pack(order), b"s", b"c"))


class Bench:
    """A desk with a fleet, and lists for what goes out."""

    def __init__(self) -> None:
        self.clock = SetClock()
        self.fleet = Fleet()
        self.process = Mailbox("responder", 1000)
        self.sent: list[Any] = []
        self.told: list[Any] = []
        self.old: list[LegacyOrder] = []
        self.problem = ""
        self.rows = [Row("001"), Row("002")]
        self.mailbox = Mailbox("response_desk", 1000)
        manager = Agent(MANAGER, "boss", "")
        ResponseDesk.start(
            self.mailbox, self.process, self._agents, self._legacy, self.fleet, manager, self.clock, self.told.append
        )

    async def _agents(self) -> tuple[Any, ...]:
        return tuple(self.rows)

    async def _legacy(self, order: LegacyOrder) -> str:
        self.old.append(order)
        return self.problem

    def connect(self, agent_id: str, *, legacy: bool = False, able: bool = True) -> Presence:
        presence = self.fleet.of(Agent(AgentId(agent_id), f"web{agent_id}", ""))
        presence.connected = True
        presence.since_ms = self.clock.ms
        presence.software = "hids 0.1.0"
        presence.abilities = frozenset({"respond", "renew"} if able else {"renew"})
        presence.send = None if legacy else self.sent.append
        return presence

    async def tell(self, *messages: Any) -> None:
        for message in messages:
            self.mailbox.tell(message)
        await settle()

    async def tick(self, seconds: float = 1.0) -> None:
        self.clock.advance(seconds)
        self.mailbox.tell_life(self.mailbox.life, Tick())
        await settle()

    def given(self, kind: type) -> list[Any]:
        """What the process was told, of one kind."""
        lease, found = self.process.lease(lambda: None), []
        while self.process.depth:
            found.append(lease.get().message)
        return [message for message in found if isinstance(message, kind)]


def run(scene: Any) -> None:
    async def main() -> None:
        await scene(Bench())

    asyncio.run(main())


def test_an_order_is_sent_once_in_each_session_until_it_is_noted():
    async def scene(bench: Bench) -> None:
        one = ordered()
        await bench.tell(one)
        assert not bench.sent, "nobody is there"
        presence = bench.connect("001")
        await bench.tick()
        await bench.tick()
        assert bench.sent == [one.respond]
        presence.since_ms = bench.clock.ms + 5
        await bench.tick()
        assert bench.sent == [one.respond] * 2
        bench.sent.clear()
        noted = Noted(one.id, "done")
        await bench.tell(ResponseNoted(AgentId("001"), noted))
        assert bench.sent == [noted]
        presence.since_ms += 1
        await bench.tick()
        assert bench.sent == [noted]

    run(scene)


def test_what_is_over_is_not_sent():
    async def scene(bench: Bench) -> None:
        await bench.tell(ordered(until_ms=bench.clock.ms + 5000))
        await bench.tick(6)
        bench.connect("001")
        await bench.tick()
        assert not bench.sent

    run(scene)


def test_an_agent_that_takes_none_refuses():
    async def scene(bench: Bench) -> None:
        bench.connect("001", able=False)
        await bench.tell(ordered())
        assert not bench.sent
        (heard,) = bench.given(ResponseHeard)
        assert heard.said.state == "refused"
        assert "enabled = true" in heard.said.text

    run(scene)


def test_an_undo_takes_the_place_of_what_it_undoes():
    async def scene(bench: Bench) -> None:
        bench.connect("001")
        add, undo = ordered(), ordered(undo=True)
        await bench.tell(add, undo)
        assert len(bench.sent) == 2
        await bench.tell(ResponseNoted(AgentId("001"), Noted(add.id, "done")))
        assert bench.mailbox.facts()["open"] == 1, "a late word about the order is none about the undo"
        await bench.tell(ResponseNoted(AgentId("001"), Noted(add.id, "undone")))
        assert bench.mailbox.facts()["open"] == 0

    run(scene)


def test_old_agents_are_told_in_their_words():
    async def scene(bench: Bench) -> None:
        bench.connect("001", legacy=True)
        await bench.tell(ordered(), ordered(2, action="restart"))
        first, second = bench.old
        assert (first.command, first.ip, first.alert, first.rule) == ("drop60", "192.0.2.7", "5.6", "5712")
        assert second.command == "restart"
        assert [heard.said.state for heard in bench.given(ResponseHeard)] == ["done", "done"]
        bench.problem = "not there"
        await bench.tell(ordered(3), ordered(4, undo=True))
        assert {heard.said.state for heard in bench.given(ResponseHeard)} == {"failed", "refused"}

    run(scene)


def test_an_old_agent_that_comes_late_is_not_blocked_beyond_the_end():
    async def scene(bench: Bench) -> None:
        await bench.tell(ordered())
        await bench.tick(31)
        bench.connect("001", legacy=True)
        await bench.tick()
        (heard,) = bench.given(ResponseHeard)
        assert (heard.said.state, bench.old) == ("refused", [])
        assert "came too late" in heard.said.text

    run(scene)


def test_the_responder_knows_the_agents_and_hears_them():
    async def scene(bench: Bench) -> None:
        await bench.tick()
        (roster,) = bench.given(Roster)
        assert [(agent.id, agent.addresses) for agent in roster.agents] == [
            ("001", ("10.0.0.1",)),
            ("002", ("10.0.0.2",)),
        ]
        await bench.tell(Fresh())
        assert bench.given(Roster) == [Roster(roster.agents)], "a new process asks"
        assert roster.anew
        bench.rows.append(Row("003"))
        bench.connect("003")
        await bench.tick()
        assert len(bench.given(Roster)[0].agents) == 3, "a new agent is known at once"
        said = Responded("x", "done")
        await bench.tell(Heard(AgentId("001"), said), ResponseTold("response refused: x"))
        assert bench.given(ResponseHeard) == [ResponseHeard(AgentId("001"), said)]
        assert [tell.text for tell in bench.told] == ["response refused: x"]

    run(scene)


def test_people_get_an_answer():
    async def scene(bench: Bench) -> None:
        done: asyncio.Future[ResponseAnswer] = asyncio.get_running_loop().create_future()
        await bench.tell(Give(ResponseAsk(0, "undo_all", "root"), done))
        (ask,) = bench.given(ResponseAsk)
        await bench.tell(ResponseAnswer(ask.number, orders=("x",)))
        assert (await done).orders == ("x",)

    run(scene)
