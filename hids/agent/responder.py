"""Responder: carries out the manager's orders, and undoes them in time, whatever happens.

    manager ==Respond, Noted==> link --> responder --audit line--> spool;  responder --outcomes--> link ==Responded==> manager

State    responses.db: an order is there before it is done. After a crash what is over is undone, what is not is done again.
Guard    the signature, this agent's own guard rails and its own budget, whatever the manager has checked before.
Cut off  after a block the manager must be heard within `deadman_s`; else that block is undone, and told when it can be.
Full     more than MAX_WAITING orders are left; they come again in the next session.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import structlog

from hids.actors.stage import Mailbox, Wake
from hids.adapters.order_signing import problem_of
from hids.agent.collector import TaskActor
from hids.agent.response.action import Action
from hids.agent.response.program import ActionFailed
from hids.agent.response.store import AgentResponseStore, Held, said
from hids.core.collect.config import ResponseConfig
from hids.core.response.audit import audit_line
from hids.core.response.guard import Guard, Surroundings
from hids.core.response.order import pack, target_of, unpack
from hids.core.response.policy import networks_of
from hids.errors import HidsError, RemoteProtocolError, StoreError
from hids.messages.lines import Append, LogLine
from hids.messages.response import Noted, Respond, Responded, ResponseOrder
from hids.ports import Clock

log = structlog.get_logger()

LOCATION = "active-responses"
FILE = "responses.db"
MAX_WAITING = 4_096
RETRY_MS = 10_000
"""What could not be undone is tried again after this."""
SETTLE_S = 0.25
"""What is heard so soon after a block may have come before it."""
_LONGEST_WAIT_S = 60.0
_PROBE_S = 1.0
_DISK_PAUSE_S = 5.0
"""An order that could not be noted comes again in the next session; what is to be undone is undone, and noted later."""


class Line(Protocol):
    """The session with the manager, as far as it matters here (hids.agent.responses)."""

    heard_s: float
    """When the manager was heard last, monotonic."""

    def probe(self) -> None:
        """Make the manager say something."""
        ...

    def outcomes_wait(self) -> None:
        """There is something to say."""
        ...


class Outcomes:
    """What the manager must hear; the link reads it."""

    def __init__(self) -> None:
        self.waiting: dict[str, Responded] = {}


class Arrived:
    """link -> responder: an order, and what to add to the manager's times to get ours."""

    def __init__(self, respond: Respond, offset_ms: int) -> None:
        self.respond = respond
        self.offset_ms = offset_ms


class Trusted:
    """link -> responder: an order that came under the protection of OSSEC's protocol, and has no signature."""

    def __init__(self, order: ResponseOrder) -> None:
        self.order = order


class Responder(TaskActor):
    """One thing at a time, in the order in which it came."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        folder: Path,
        config: ResponseConfig,
        action: Callable[[str], Action],
        identity: Callable[[], tuple[str, bytes] | None],
        surroundings: Callable[[], Surroundings],
        line: Line,
        outcomes: Outcomes,
        clock: Clock,
    ) -> None:
        """A responder.

        Args:
            mailbox: its own.
            spool: takes audit lines.
            folder: the agent's state.
            config: `[response]` of agent.toml.
            action: makes the action of a name; ActionFailed when there is none.
            identity: this agent's id, and the CA that it joined (PEM).
            surroundings: addresses that must stay reachable.
            line: the session with the manager.
            outcomes: what the link shall say.
            clock: time.
        """
        super().__init__(mailbox)
        self._spool = spool
        self._config = config
        self._action = action
        self._identity = identity
        self._surroundings = surroundings
        self._line = line
        self._outcomes = outcomes
        self._clock = clock
        self._store = AgentResponseStore(folder / FILE)
        self._allow = networks_of(config.allow, "[response] allow")
        self._arrived: deque[Arrived | Trusted] = deque()
        self._stir = asyncio.Event()
        self._unproven_s: dict[str, float] = {}
        """Order -> monotonic time at which it was done."""
        self._retry_ms: dict[str, int] = {}
        self._in_force = 0

    def on_receive(self, message: Any) -> None:
        """An order, a note, or something to look at."""
        match message:
            case Arrived() | Trusted():
                if len(self._arrived) < MAX_WAITING:
                    self._arrived.append(message)
                else:
                    log.error("an order is left for the next session: too many wait", waiting=MAX_WAITING)
                self._stir.set()
            case Noted():
                self._store.noted(message.order, message.state)
                waiting = self._outcomes.waiting.get(message.order)
                if waiting is not None and waiting.state == message.state:
                    del self._outcomes.waiting[message.order]
            case Wake():
                self._stir.set()
            case _:
                super().on_receive(message)

    def closing(self) -> None:
        """Close the list. What is in force stays in force: the next life knows it."""
        super().closing()
        self._store.close()

    def facts(self) -> dict[str, int]:
        """Figures for `hids-agent status`."""
        return {"in_force": self._in_force, "untold": len(self._outcomes.waiting)}

    async def run(self) -> None:
        """Resume, then obey, undo and watch until cancelled."""
        await self._resume()
        while True:
            self._stir.clear()
            wait_s = await self._turn()
            try:
                async with asyncio.timeout(wait_s):
                    await self._stir.wait()
            except TimeoutError:
                pass

    async def _turn(self) -> float:
        """Obey and look; returns for how long there is nothing to do."""
        try:
            while self._arrived:
                await self._obey(self._arrived.popleft())
            await self._look()
            return self._wait_s()
        except StoreError as error:
            log.error("responses cannot be noted; nothing new is done", reason=str(error))  # noqa: TRY400
            return _DISK_PAUSE_S

    # -- start

    async def _resume(self) -> None:
        for held in self._store.untold():
            self._say(held)
        now_ms = self._clock.now_ms()
        for held in self._store.in_force():
            if 0 < held.until_ms <= now_ms:
                continue  # `_look` undoes it
            await self._resume_one(held)

    async def _resume_one(self, held: Held) -> None:
        """Do it again, as a reboot may have ended it. What a script did by half is undone."""
        try:
            action = self._action(held.order.action)
            if action.repeatable:
                await action.add(held.order, self._left_s(held))
                if held.state == "taken":
                    self._finish(
                        held, "ran" if held.order.once else "done", "done after a restart of the agent", "done", "add"
                    )
            elif held.state == "taken":
                await self._undo(held, "the agent was stopped while it was done")
        except ActionFailed as error:
            log.error("a response cannot be resumed", order=held.id, reason=str(error))  # noqa: TRY400
            if held.state == "taken":
                self._finish(held, "failed", str(error), "failed", "add")
        if not held.proven and held.state == "done":
            self._watch(held)

    # -- orders

    async def _obey(self, arrived: Arrived | Trusted) -> None:
        if isinstance(arrived, Trusted):
            if self._store.get(arrived.order.id) is None:
                await self._do(arrived.order, Respond(pack(arrived.order), b"", b""), 0)
            return
        respond = arrived.respond
        try:
            order = unpack(respond.body)
        except RemoteProtocolError as error:
            log.error("an order cannot be read", reason=str(error))  # noqa: TRY400
            return
        forged = self._forgery(respond, order)
        if forged:
            log.error("an order is not genuine", order=order.id, reason=forged)
            self._audit("forged", order, "delete" if order.undo else "add", respond.signature, forged)
            return
        known = self._store.get(order.id)
        if order.undo:
            await self._undo_ordered(order, known, respond)
        elif known is not None:
            self._say(known)
        else:
            await self._do(order, respond, arrived.offset_ms)

    def _forgery(self, respond: Respond, order: ResponseOrder) -> str:
        identity = self._identity()
        if identity is None:
            return "this agent has not joined"
        agent_id, ca = identity
        if order.agent != agent_id:
            return f"it is for agent {order.agent}"
        return problem_of(respond, ca)

    async def _do(self, order: ResponseOrder, respond: Respond, offset_ms: int) -> None:
        now_ms = self._clock.now_ms()
        until_ms = order.until_ms + offset_ms if order.until_ms else 0
        held = Held(order.id, respond.body, "taken", "", until_ms, now_ms, False, False, now_ms, respond.signature)
        refusal = "its end is past" if 0 < until_ms <= now_ms else self._refusal(order)
        if refusal:
            self._finish(held, "refused", refusal, "refused", "add")
            return
        held.proven = not order.address or order.once  # what is done about an address may cut us off
        self._store.put(held)
        try:
            await self._action(order.action).add(order, self._left_s(held))
        except ActionFailed as error:
            self._finish(held, "failed", str(error), "failed", "add")
            return
        self._finish(held, "ran" if order.once else "done", "", "done", "add")
        if not held.proven:
            self._watch(held)

    def _left_s(self, held: Held) -> float:
        """Seconds for which the system itself shall keep it: until it is proven to be harmless only some."""
        left_s = max(0.001, (held.until_ms - self._clock.now_ms()) / 1000) if held.until_ms else 0.0
        trial_s = 2 * self._config.deadman_s
        return left_s if held.proven else min(left_s or trial_s, trial_s)

    def _refusal(self, order: ResponseOrder) -> str:
        guard = Guard(self._surroundings(), self._allow, self._config.allow_users)
        if order.address and (why := guard.refusal_of_address(order.address)):
            return f"a guard rail of this agent: {why}"
        if order.user and (why := guard.refusal_of_user(order.user)):
            return f"a guard rail of this agent: {why}"
        if len({held.key for held in self._store.in_force()}) >= self._config.max_active:
            return f"{self._config.max_active} are in force on this agent: [response] max_active"
        return ""

    async def _undo_ordered(self, order: ResponseOrder, held: Held | None, respond: Respond) -> None:
        if held is None or held.state not in ("taken", "done"):
            held = held or Held(order.id, respond.body, "undone", "was not in force", changed_ms=self._clock.now_ms())
            held.state, held.told = "undone", False
            self._store.put(held)
            self._say(held)
            return
        same = [other for other in self._store.in_force() if other.key == held.key]
        for other in same:  # a person who frees an address means it
            await self._undo(other, order.why)

    # -- the end

    async def _look(self) -> None:
        """Undo what is over, and what cut us off."""
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        in_force = self._store.in_force()
        self._in_force = len(in_force)
        for held in in_force:
            if 0 < held.until_ms <= now_ms and self._retry_ms.get(held.id, 0) <= now_ms:
                longer = [
                    other for other in in_force if other.key == held.key and (other.until_ms or 2**53) > held.until_ms
                ]
                if longer:
                    self._finish(held, "undone", "goes on as another order", "", "delete")
                else:
                    await self._undo(held, "its time is over")
            elif held.id in self._unproven_s:
                await self._prove(held, now_s)

    async def _prove(self, held: Held, now_s: float) -> None:
        done_s = self._unproven_s[held.id]
        if self._line.heard_s > done_s + SETTLE_S:
            await self._proven(held)
        elif now_s - done_s >= self._config.deadman_s:
            await self._undo(held, f"the manager was not heard within {self._config.deadman_s:g} s of it", "cut-off")
        else:
            self._line.probe()

    async def _proven(self, held: Held) -> None:
        """It does not cut us off: let it last."""
        del self._unproven_s[held.id]
        held.proven = True
        action = self._action(held.order.action)
        if action.repeatable:
            try:
                await action.add(held.order, self._left_s(held))
            except ActionFailed as error:
                log.error("a response may end early", order=held.id, reason=str(error))  # noqa: TRY400
        self._store.put(held)

    async def _undo(self, held: Held, why: str, word: str = "undone") -> None:
        try:
            await self._action(held.order.action).delete(held.order)
        except ActionFailed as error:
            first = held.id not in self._retry_ms
            self._retry_ms[held.id] = self._clock.now_ms() + RETRY_MS
            if first:
                log.error("a response cannot be undone, trying again", order=held.id, reason=str(error))  # noqa: TRY400
                self._audit("failed", held.order, "delete", held.signature, str(error))
            return
        self._retry_ms.pop(held.id, None)
        self._unproven_s.pop(held.id, None)
        self._finish(held, "undone", why, word, "delete")

    def _watch(self, held: Held) -> None:
        self._unproven_s[held.id] = self._clock.monotonic_s()
        self._line.probe()

    def _wait_s(self) -> float:
        """Until the next thing is due."""
        now_ms, now_s = self._clock.now_ms(), self._clock.monotonic_s()
        dues = [self._retry_ms.get(held.id, held.until_ms) for held in self._store.in_force() if held.until_ms]
        waits = [(due - now_ms) / 1000 for due in dues]
        waits += [self._config.deadman_s - (now_s - done_s) for done_s in self._unproven_s.values()]
        if self._unproven_s:
            waits.append(_PROBE_S)
        return max(0.01, min([_LONGEST_WAIT_S, *waits]))

    # -- words

    def _finish(self, held: Held, state: str, text: str, word: str, what: str) -> None:
        """Store what became of it, then tell: the log here, the rules, the manager."""
        held.state, held.text, held.told = state, text, False
        held.changed_ms = self._clock.now_ms()
        self._store.put(held)
        order = held.order
        log.info("response", what=what, state=state, action=order.action, target=target_of(order), reason=text)
        if word:
            self._audit(word, order, what, held.signature, text)
        self._say(held)

    def _say(self, held: Held) -> None:
        if held.state == "taken":
            return
        self._outcomes.waiting[held.id] = Responded(held.id, said(held), held.text[:256], held.changed_ms)
        self._line.outcomes_wait()

    def _audit(self, word: str, order: ResponseOrder, what: str, signature: bytes, text: str) -> None:
        now_ms = self._clock.now_ms()
        line = audit_line(word, order, what=what, signature=signature, text=text)
        entry = LogLine(
            location=LOCATION, text=line.encode("utf-8", "replace"), at_ms=now_ms, read_ms=now_ms, kind="response"
        )
        try:
            self._spool.tell(Append(source=self.mailbox.name, lines=(entry,), positions={}))
        except HidsError as error:
            log.error("the spool does not keep up, an audit line is lost", line=line, reason=str(error))  # noqa: TRY400
