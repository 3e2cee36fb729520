"""LegacySessions: what OSSEC's and Wazuh's agents deliver, in main. One place for all of them: they have no sessions.

    the legacy process --LegacyBatch|Hole--> legacy sessions --Job|Hole--> dispatcher
    progress register --wake--> legacy sessions --LegacyProgress--> the legacy process
    control --LegacyOrder, Renew--> legacy sessions --LegacyOrder, LegacyKeys--> the legacy process

State    none: what is not committed is in the journal of the process, who there is in the registry.
A bug    is the engine's: it starts anew, the process with it, which sends again what is not committed.
"""

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet
from hids.actors.registers import ProgressRegister
from hids.actors.registrar import Ask
from hids.actors.stage import Control, LoopActor, Mailbox, OneLife, Wake
from hids.errors import StoreError
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
from hids.messages.terms import SourceId
from hids.ports import Clock, Emit

log = structlog.get_logger()

RETRY_S = 1.0
ORDER_S = 5.0
"""An order that is not answered by then was not given."""


class Renew(Control):
    """anyone in main -> legacy sessions: the keys in the registry have changed."""


class Give(Control):
    """control -> legacy sessions: an order; `done` gets the problem, or nothing."""

    def __init__(self, order: LegacyOrder, done: "asyncio.Future[str]") -> None:
        self.order = order
        self.done = done


class Keys(OneLife):
    """registrar -> legacy sessions: all old agents; None: the registry could not be read."""

    def __init__(self, agents: tuple[LegacyAgent, ...] | None) -> None:
        self.agents = agents


class Again(OneLife):
    """timer -> legacy sessions: ask the registry again."""


class LegacySessions(LoopActor):
    """Carry to and fro."""

    def __init__(
        self,
        mailbox: Mailbox,
        process: Mailbox,
        registrar: Mailbox,
        register: ProgressRegister,
        fleet: Fleet,
        clock: Clock,
        emit: Emit[Job | Hole | Tell],
    ) -> None:
        super().__init__(mailbox)
        self._process = process
        self._registrar = registrar
        self._register = register
        self._fleet = fleet
        self._clock = clock
        self._emit = emit
        self._watched: set[SourceId] = set()
        self._open: dict[str, tuple[int, int]] = {}
        """Source -> (epoch, last sequence) that the process still waits to hear committed."""
        self._informed = False
        """The process knows what is committed of all agents."""
        self._ready = False
        """The process has asked, and waits for the first answer."""
        self._learning = self._stale = False
        """The registry has been asked; it has changed since."""
        self._orders: dict[int, asyncio.Future[str]] = {}
        self._number = 0
        self._asking: set[asyncio.Task[Any]] = set()
        self._lines = 0
        self._watch(SourceId("agent/"))  # no source: woken once, when the progress is known
        self._learn()

    def on_receive(
        self,
        message: LegacyReady
        | LegacyBatch
        | LegacySeen
        | LegacyNotice
        | LegacyDone
        | Hole
        | Renew
        | Give
        | Keys
        | Again
        | Wake,
    ) -> None:
        """One message of the process, or something for it."""
        match message:
            case LegacyBatch():
                self._take(message)
            case Hole():
                log.error("lines lost", agent=message.agent.name, first=message.first, last=message.last)
                self._emit(message)
            case LegacySeen():
                self._seen(message)
            case LegacyNotice():
                log.warning("old agent", agent=message.agent.name, what=message.text)
                self._emit(Tell(message.agent, message.text))
            case LegacyDone():
                self._answer(message.number, message.problem)
            case LegacyReady():
                self._ready, self._informed = True, False
                self._learn()
            case Renew():
                self._learn()
            case Keys():
                self._fetched(message)
            case Again():
                self._learn()
            case Give():
                self._give(message)
            case Wake():
                self._tell_progress()

    def closing(self) -> None:
        """Watch nothing any more."""
        for source in self._watched:
            self._register.unwatch(source, self.mailbox.wake)
        for task in self._asking:
            task.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"agents": max(0, len(self._watched) - 1), "lines": self._lines}

    def _take(self, message: LegacyBatch) -> None:
        source = SourceId(f"agent/{message.agent.id}")
        self._watch(source)
        self._lines += message.batch.count
        self._open[source] = message.batch.epoch, message.batch.first_seq + message.batch.count - 1
        there = self._register.get(source)
        if there is not None and (there.epoch, there.seq) >= self._open[source]:
            self.mailbox.wake()  # a process that was killed has not heard of it
        else:
            self._emit(Job(source, message.agent, message.batch, message.received_ms))

    def _seen(self, seen: LegacySeen) -> None:
        presence = self._fleet.of(seen.agent)
        if presence.hangup is not None:
            return  # it has become one of ours
        now_ms = self._clock.now_ms()
        presence.seen_ms = seen.at_ms
        presence.lines = seen.lines
        if seen.connected and not presence.connected:
            presence.since_ms = now_ms
            if presence.told_silent:
                presence.told_silent = False
                self._emit(Tell(seen.agent, "agent connected again"))
        elif presence.connected and not seen.connected:
            presence.ended_ms = now_ms
        presence.connected = seen.connected
        if seen.changed:
            self._ask(lambda registry: registry.seen(seen.agent.id, seen.at_ms, seen.agent.ip, seen.os, seen.software))

    # -- keys

    def _learn(self) -> None:
        """Fetch the keys from the registry; they come back as `Keys`. A fleet that enrols costs one fetch at a time."""
        if self._learning:
            self._stale = True
            return
        self._learning = True

        def fetched(task: "asyncio.Task[tuple[LegacyAgent, ...]]") -> None:
            if not task.cancelled():
                self.remind(Keys(None if task.exception() else task.result()))

        self._ask(lambda registry: registry.legacy.agents()).add_done_callback(fetched)

    def _fetched(self, keys: Keys) -> None:
        self._learning = False
        if keys.agents is None:
            self.later(RETRY_S, Again())
            return
        self._know(keys.agents)
        if self._stale:
            self._stale = False
            self._learn()

    def _know(self, agents: tuple[LegacyAgent, ...]) -> None:
        for known in agents:
            self._watch(SourceId(f"agent/{known.agent.id}"))
        if self._ready:
            self._informed = False  # newcomers may have had a life as our own agents
            self._tell_progress()
            here = {presence.agent.id for presence in self._fleet.all() if presence.connected}
            connected = tuple(known.agent.id for known in agents if known.agent.id in here)
            self._process.tell(LegacyKeys(agents, connected))

    def _ask(self, question: Callable[[Any], Any]) -> "asyncio.Task[Any]":
        task = self.loop.create_task(self._registrar.request(Ask(question)))
        self._asking.add(task)
        task.add_done_callback(self._asked)
        return task

    def _asked(self, task: "asyncio.Task[Any]") -> None:
        self._asking.discard(task)
        if not task.cancelled() and isinstance(task.exception(), StoreError):
            log.error("the registry does not answer", reason=str(task.exception()))

    # -- progress

    def _watch(self, source: SourceId) -> None:
        if source not in self._watched:
            self._watched.add(source)
            self._register.watch(source, self.mailbox.wake)

    def _tell_progress(self) -> None:
        """Say what has been committed since; the first time of every agent, also if that is nothing."""
        if not (self._ready and self._register.known):
            return
        looked_at = tuple(self._open) if self._informed else tuple(self._watched)
        news: dict[str, Progress] = {}
        for source in looked_at:
            there = self._register.get(source)
            if there is not None:
                news[source] = there
                if (there.epoch, there.seq) >= self._open.get(source, (0, 0)):
                    self._open.pop(source, None)
        if news or not self._informed:
            self._informed = True
            self._process.tell(LegacyProgress(news))

    # -- orders

    def _give(self, message: Give) -> None:
        self._number += 1
        self._orders[self._number] = message.done
        self.loop.call_later(ORDER_S, self._answer, self._number, "the process for old agents does not answer")
        self._process.tell(msgspec.structs.replace(message.order, number=self._number))

    def _answer(self, number: int, problem: str) -> None:
        done = self._orders.pop(number, None)
        if done is not None and not done.done():
            done.set_result(problem)
