"""ResponseDesk: brings orders to the agents that are connected, and their words to the responder.

    responder --Ordered, ResponseNoted, ResponseTold--> desk --Respond, Noted--> agents' sessions; --Tell--> dispatcher
    agents' sessions --Heard--> desk --ResponseHeard--> responder;  control --Give--> desk --ResponseAsk--> responder

State    which orders are open. The responder gives them again when it starts, so a restart of either loses none.
Again    an order is sent once in each session, until its agent answers or its end comes.
Full     it only looks at registers, once a second, and at what comes.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.response.order import unpack
from hids.core.wire.ossec.response import RESTART
from hids.errors import HidsError, StoreError
from hids.messages.legacy import LegacyOrder
from hids.messages.responder import (
    Enlisted,
    Ordered,
    ResponseAnswer,
    ResponseAsk,
    ResponseHeard,
    ResponseNoted,
    ResponseTold,
    Roster,
)
from hids.messages.response import Responded, ResponseOrder
from hids.messages.terms import Agent, AgentId
from hids.ports import Clock, Emit

log = structlog.get_logger()

TICK_S = 1.0
ROSTER_TICKS = 10
"""Ticks between two looks into the registry."""
OLD_WAIT_MS = 30_000
"""An old agent that is not there within this gets no order that ends: it would end later than it was meant to."""
ANSWER_S = 10.0
"""The responder answers a person within this, or somebody says why not."""


class Row(Protocol):
    """An agent of the registry (hids.adapters.registry)."""

    id: AgentId
    name: str
    address: str


class Heard:
    """agent's session -> desk."""

    def __init__(self, agent: AgentId, said: Responded) -> None:
        self.agent = agent
        self.said = said


class Give:
    """control -> desk: ask the responder; `done` gets its answer."""

    def __init__(self, ask: ResponseAsk, done: "asyncio.Future[ResponseAnswer]") -> None:
        self.ask = ask
        self.done = done


class Hand(OneLife):
    """registry -> desk: the agents are known as of now; the responder may be asked."""

    def __init__(self, ask: ResponseAsk) -> None:
        self.ask = ask


class Fresh:
    """topology -> desk: the responder's process is new and knows no agents."""


class Tick(OneLife):
    """timer -> desk."""


class Enlist(OneLife):
    """registry -> desk: the agents that there are."""

    def __init__(self, agents: tuple[Enlisted, ...]) -> None:
        self.agents = agents


class _Open:
    """An order that is not answered."""

    def __init__(self, ordered: Ordered) -> None:
        self.ordered = ordered
        self.session_ms = 0
        """Since when the session is there in which it was sent; 0: it was not."""


class ResponseDesk(LoopActor):
    """Between the responder, the sessions and people."""

    def __init__(
        self,
        mailbox: Mailbox,
        process: Mailbox,
        agents: Callable[[], Awaitable[tuple[Row, ...]]],
        legacy: Callable[[LegacyOrder], Awaitable[str]] | None,
        fleet: Fleet,
        manager: Agent,
        clock: Clock,
        emit: Emit[Tell],
    ) -> None:
        """A desk.

        Args:
            mailbox: its own.
            process: the responder's.
            agents: reads the registry.
            legacy: gives an order to an old agent; None where they are not served.
            fleet: who is connected.
            manager: who speaks of what is not done.
            clock: time.
            emit: to the dispatcher.
        """
        super().__init__(mailbox)
        self._process = process
        self._agents = agents
        self._legacy = legacy
        self._fleet = fleet
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._open: dict[str, dict[str, _Open]] = {}
        """Agent -> order id -> order."""
        self._roster: tuple[Enlisted, ...] | None = None
        self._asked: dict[int, asyncio.Future[ResponseAnswer]] = {}
        self._number = 0
        self._ticks = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._look()
        self._timer = self.later(TICK_S, Tick())

    def on_receive(
        self,
        message: Ordered | ResponseNoted | ResponseTold | ResponseAnswer | Heard | Give | Hand | Fresh | Enlist | Tick,
    ) -> None:
        """One message."""
        match message:
            case Ordered():
                opened = _Open(message)
                self._open.setdefault(message.agent, {})[message.id] = opened
                self._bring(opened)
            case ResponseNoted():
                self._note(message)
            case ResponseTold():
                self._emit(Tell(self._manager, message.text))
            case ResponseAnswer():
                self._answer(message)
            case Heard():
                self._process.tell(ResponseHeard(message.agent, message.said))
            case Give():
                self._give(message)
            case Hand():
                self._process.tell(message.ask)
            case Fresh():
                if self._roster is not None:
                    self._process.tell(Roster(self._roster))
            case Enlist():
                if message.agents != self._roster:
                    anew, self._roster = self._roster is None, message.agents
                    self._process.tell(Roster(message.agents, anew))
            case Tick():
                self._tick()

    def closing(self) -> None:
        """Nothing outlives this life."""
        self._timer.cancel()
        for task in self._tasks:
            task.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"open": sum(map(len, self._open.values())), "agents": len(self._roster or ())}

    def _tick(self) -> None:
        self._timer = self.later(TICK_S, Tick())
        self._ticks += 1
        known = {agent.id: agent.legacy for agent in self._roster or ()}
        is_new = any(
            presence.connected and known.get(presence.agent.id) is not (presence.send is None)
            for presence in self._fleet.all()
        )
        if self._roster is None or is_new or self._ticks % ROSTER_TICKS == 0:
            self._look()
        now_ms = self._clock.now_ms()
        for agent in list(self._open):
            opened = self._open[agent]
            for id_ in [id_ for id_, one in opened.items() if 0 < one.ordered.until_ms <= now_ms]:
                del opened[id_]
            if not opened:
                del self._open[agent]
            for one in list(opened.values()):
                self._bring(one)

    # -- orders

    def _bring(self, opened: _Open) -> None:
        ordered = opened.ordered
        presence = self._fleet.get(ordered.agent)
        if presence is None or not presence.connected or opened.session_ms == presence.since_ms:
            return
        opened.session_ms = presence.since_ms
        if presence.send is None:
            self._to_old(ordered)
        elif "respond" in presence.abilities:
            presence.send(ordered.respond)
        else:
            self._refuse(ordered, _why_not(presence))

    def _refuse(self, ordered: Ordered, why: str) -> None:
        self._drop(ordered.agent, ordered.id)
        said = Responded(order=ordered.id, state="refused", text=why[:256], at_ms=self._clock.now_ms())
        self._process.tell(ResponseHeard(ordered.agent, said))

    def _to_old(self, ordered: Ordered) -> None:
        """Old agents take a name and an address, and never answer."""
        self._drop(ordered.agent, ordered.id)
        if self._legacy is None or ordered.undo:
            self._refuse(
                ordered, "an old agent undoes nothing on an order" if ordered.undo else "old agents are not served"
            )
            return
        order = unpack(ordered.respond.body)
        if order.until_ms and self._clock.now_ms() - order.issued_ms > OLD_WAIT_MS:
            self._refuse(ordered, "the agent came too late: an old one counts the whole time from when it hears of it")
            return
        task = self.loop.create_task(self._order_old(ordered, order, self._legacy))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _order_old(
        self, ordered: Ordered, order: ResponseOrder, give: Callable[[LegacyOrder], Awaitable[str]]
    ) -> None:
        timeout_s = (order.until_ms - order.issued_ms) // 1000 if order.until_ms else 0
        problem = await give(
            LegacyOrder(
                agent=ordered.agent,
                command=RESTART if order.action == RESTART else f"{order.command}{timeout_s}",
                user=order.user,
                ip=order.address,
                alert=order.reference,
                rule=order.rule,
                file=order.file,
                extra=order.extra,
                alert_json=order.alert_json or b"{}",
            )
        )
        said = Responded(
            order=ordered.id,
            state="failed" if problem else "done",
            text=(problem or "sent; an old agent does not tell whether it was done")[:256],
            at_ms=self._clock.now_ms(),
        )
        self._process.tell(ResponseHeard(ordered.agent, said))

    def _drop(self, agent: AgentId, id_: str) -> None:
        self._open.get(agent, {}).pop(id_, None)

    def _note(self, message: ResponseNoted) -> None:
        opened = self._open.get(message.agent, {}).get(message.noted.order)
        if opened is not None and (not opened.ordered.undo or message.noted.state != "done"):
            self._drop(message.agent, message.noted.order)
        presence = self._fleet.get(message.agent)
        if presence is not None and presence.send is not None and "respond" in presence.abilities:
            presence.send(message.noted)

    # -- agents

    def _look(self, then: Hand | None = None) -> None:
        """Fetch the agents from the registry; they come back as `Enlist`, and `then` behind it."""
        task = self.loop.create_task(self._fetch(then))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _fetch(self, then: Hand | None) -> None:
        try:
            rows = await self._agents()
        except (StoreError, HidsError) as error:
            log.error("the registry does not answer", reason=str(error))  # noqa: TRY400
        else:
            self.remind(Enlist(tuple(self._enlisted(row) for row in rows)))
        if then is not None:
            self.remind(then)

    def _enlisted(self, row: Row) -> Enlisted:
        presence = self._fleet.get(row.id)
        addresses = {row.address, presence.agent.ip if presence is not None else ""} - {"", "any"}
        legacy = presence is not None and presence.connected and presence.send is None
        return Enlisted(row.id, row.name, tuple(sorted(addresses)), legacy)

    # -- people

    def _give(self, message: Give) -> None:
        self._number += 1
        number = self._number
        self._asked[number] = message.done
        self.loop.call_later(ANSWER_S, self._answer, ResponseAnswer(number, "the responder does not answer"))
        self._look(
            Hand(msgspec.structs.replace(message.ask, number=number))
        )  # it may be about one that joined just now

    def _answer(self, answer: ResponseAnswer) -> None:
        done = self._asked.pop(answer.number, None)
        if done is not None and not done.done():
            done.set_result(answer)


def _why_not(presence: Presence) -> str:
    if presence.software and presence.abilities:
        return "this agent takes no responses; set [response] enabled = true in its agent.toml"
    return "this agent is too old to take responses; upgrade it"
