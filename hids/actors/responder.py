"""Responder: reads committed alerts behind its own cursor, and orders what policy says to do about them.

    main --Outboxed, Roster, ResponseHeard, ResponseAsk--> responder --Ordered, ResponseNoted, ResponseTold--> main

State    responses.db: cursor and orders move in one transaction, so that no alert is answered twice or passed over. Alerts that
         are no reason for anything move the cursor once a second; a crash has them judged again, to the same end.
Disk     while it takes nothing, nothing is decided or noted; it is tried again each second, and agents say again what they did.
Bug      an alert on which the decision fails is told, and passed over: it must not stop what follows.
Again    what is not answered is given to main at each start, and main brings it in each session until the agent answers.
Full     it only lags; the outbox keeps the alerts. An alert that is too old by then is recorded as stale.
Nobody   is acted on before main has said which agents there are.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife, describe
from hids.core.response.blocks import Blocks
from hids.core.response.decide import PAUSE_MS, Decider, Verdict, alert_decoder
from hids.core.response.guard import Guard, Surroundings
from hids.core.response.ledger import Kept, OrderRow, next_state, row_of
from hids.core.response.order import target_of
from hids.core.response.policy import Policy
from hids.core.response.target import Network, address_of
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed
from hids.messages.responder import (
    Ordered,
    ResponseAnswer,
    ResponseAsk,
    ResponseHeard,
    ResponseNoted,
    ResponseTold,
    Roster,
)
from hids.messages.response import Noted, Respond, ResponseOrder
from hids.ports import Clock, Emit

log = structlog.get_logger()

OUTPUT = "responder"
"""Name of its cursor among all outputs'."""
TICK_S = 1.0
GUARD_MS = 30_000
"""How long addresses of this machine and of the agents are taken to be as they were seen: looking costs milliseconds."""
SILENT_MS = 3_600_000
"""The same refusal of the same target is said once in so long."""
MAX_SAID = 10_000


class Source(Protocol):
    """The outbox (hids.adapters.outbox)."""

    def read(self, after: int) -> Sequence["Row"]:
        """Rows with alerts above a number."""
        ...

    def newest(self) -> int:
        """Number of the newest alert that is committed."""
        ...


class Row(Protocol):
    """Alerts that were committed together."""

    @property
    def first(self) -> int:
        """Number of the first one."""
        ...

    @property
    def last(self) -> int:
        """Number of the last one."""
        ...

    def after(self, number: int) -> bytes:
        """Lines of the alerts above a number."""
        ...


class Store(Protocol):
    """Where orders are kept (hids.adapters.responses)."""

    @property
    def cursor(self) -> int:
        """The last alert that was judged."""
        ...

    def commit(self, kept: Sequence[Kept], cursor: int | None = None) -> frozenset[str]:
        """Store orders and the cursor at once; returns the ids that were new."""
        ...

    def settle(self, id_: str, state: str, text: str, at_ms: int, respond: Respond | None = None) -> None:
        """Note what became of an order."""
        ...

    def row(self, id_: str) -> OrderRow | None:
        """One order."""
        ...

    def unanswered(self) -> list[Kept]:
        """What agents must still be told."""
        ...

    def live(self, now_ms: int) -> list[OrderRow]:
        """What may be in force."""
        ...

    def late(self, now_ms: int) -> list[OrderRow]:
        """What no agent took before its end."""
        ...

    def restore(self, blocks: Blocks, now_ms: int) -> None:
        """Fill what the budget needs to know."""
        ...


class Tick(OneLife):
    """timer -> responder."""


class More(OneLife):
    """responder -> itself: read on, after others had a turn."""


class Responder(LoopActor):
    """Decide, store, order."""

    def __init__(
        self,
        mailbox: Mailbox,
        policy: Policy,
        allow: Sequence[Network],
        store: Store,
        source: Source,
        sign: Callable[[ResponseOrder], Respond],
        surroundings: Callable[[], Surroundings],
        clock: Clock,
        emit: Emit[Cursors | Ordered | ResponseNoted | ResponseTold | ResponseAnswer],
    ) -> None:
        super().__init__(mailbox)
        self._policy = policy
        self._allow = tuple(allow)
        self._store = store
        self._source = source
        self._sign = sign
        self._surroundings = surroundings
        self._clock = clock
        self._emit = emit
        self._decider = Decider(policy, Blocks())
        self._remember()
        self._guard = Guard(Surroundings())
        self._guarded_ms = 0
        self._ready = False
        self._cursor = store.cursor
        self._saved = self._cursor
        self._told_cursor = -1
        self._newest = -1
        """-1: main has not said yet."""
        self._said: dict[tuple[str, str, str], int] = {}
        self._counts = dict.fromkeys(("ordered", "refused", "shadow", "stale", "failed"), 0)
        self._reading = False
        self._failing = ""
        self._timer = self.later(TICK_S, Tick())

    def on_receive(self, message: Outboxed | Roster | ResponseHeard | ResponseAsk | Tick | More) -> None:
        """News of main's, or time."""
        try:
            self._handle(message)
            self._works()
        except StoreError as error:
            self._fails(message, str(error))

    def _handle(self, message: Outboxed | Roster | ResponseHeard | ResponseAsk | Tick | More) -> None:
        match message:
            case Outboxed():
                if self._newest < 0:
                    self._begin(message.next - 1)
                self._newest = max(self._newest, message.next - 1)
                self._read_on()
            case Roster():
                self._enlist(message)
            case ResponseHeard():
                self._heard(message)
            case ResponseAsk():
                self._asked(message)
            case More():
                self._reading = False
                self._read_on()
            case Tick():
                self._timer = self.later(TICK_S, Tick())
                self._save()
                self._drop_late()
                self._read_on()

    def _remember(self) -> None:
        """Know of what is in force what is on disk, and nothing else."""
        self._decider.blocks = Blocks()
        self._store.restore(self._decider.blocks, self._clock.now_ms())

    def _fails(self, message: object, reason: str) -> None:
        if self._failing != reason:
            self._failing = reason
            log.error("responses cannot be stored, trying again", reason=reason)
        if isinstance(message, ResponseAsk):
            self._emit(ResponseAnswer(message.number, reason))

    def _works(self) -> None:
        if self._failing:
            log.info("responses can be stored again")
        self._failing = ""

    def on_shutdown(self) -> None:
        """Note how far it has read."""
        try:
            self._save()
        except StoreError as error:
            log.warning("how far alerts were judged is not stored", reason=str(error))
        self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int | str]:
        """Figures for `hidsctl status`."""
        return {
            "mode": self._policy.limits.mode,
            **self._counts,
            "active": self._decider.blocks.targets(self._clock.now_ms()),
            "lag": max(0, self._newest - self._cursor),
            "failing": self._failing,
        }

    # -- alerts

    def _enlist(self, roster: Roster) -> None:
        self._decider.agents = roster.agents
        self._guarded_ms = 0
        if roster.anew or not self._ready:
            for kept in self._store.unanswered():
                self._give(kept.row, kept.respond)
        self._ready = True
        self._read_on()

    def _begin(self, told: int) -> None:
        """Where to read on. What was there before there were responses is no reason for any.

        The life before may have read further than main has heard by now, so the ledger itself is asked.
        """
        newest = max(told, self._source.newest())
        if self._cursor > newest:
            log.warning("ledger is older than what was judged", judged=self._cursor, newest=newest)
        if self._cursor < 0 or self._cursor > newest:
            self._store.commit((), newest)
            self._cursor = self._saved = newest

    def _read_on(self) -> None:
        if not self._ready or self._reading or self._newest < 0:
            return
        rows = self._source.read(self._cursor)
        if not rows:
            return
        if rows[0].first > self._cursor + 1:
            log.error("alerts are gone from the outbox", output=OUTPUT, first=self._cursor + 1, last=rows[0].first - 1)
        for row in rows:
            self._judge(row)
        self._reading = True
        self.remind(More())

    def _save(self) -> None:
        """Store how far it has read, and tell what is stored: those alerts may go.

        Telling is a commit of the lane's, of which we hear in turn: so it is told when it has moved, and at each tick only.
        """
        if self._ready and self._saved != self._cursor:
            self._store.commit((), self._cursor)
            self._saved = self._cursor
        if self._ready and self._told_cursor != self._saved >= 0:
            self._told_cursor = self._saved
            self._emit(Cursors({OUTPUT: self._saved}))

    def _judge(self, row: Row) -> None:
        """The alerts that were committed together: one transaction here, too."""
        now_ms = self._clock.now_ms()
        guard = self._guard_now(now_ms)
        verdicts: list[Verdict] = []
        for line in row.after(self._cursor).split(b"\n")[:-1]:
            try:
                verdicts += self._decider.decide(alert_decoder.decode(line), line, guard, now_ms)
            except Exception as error:  # noqa: BLE001 - see the head
                self._counts["failed"] += 1
                log.error("an alert cannot be judged", reason=describe(error), alert=line[:200])  # noqa: TRY400
        fresh = [verdict for verdict in verdicts if self._is_new(verdict)]
        if fresh:
            self._order(fresh, row.last)
            self._saved = row.last
        self._cursor = row.last

    def _order(self, verdicts: Sequence[Verdict], cursor: int | None) -> None:
        kept = [
            Kept(row_of(verdict), self._sign(verdict.order) if verdict.state == "open" else None)
            for verdict in verdicts
        ]
        try:
            fresh = self._store.commit(kept, cursor)
        except StoreError:
            self._remember()  # what was decided just now is not in force
            raise
        for verdict, one in zip(verdicts, kept, strict=True):
            if one.row.id not in fresh:
                continue  # judged before: what was decided then holds
            self._counts["ordered" if verdict.state == "open" else verdict.state] += 1
            self._give(one.row, one.respond)
            self._tell(verdict)

    def _is_new(self, verdict: Verdict) -> bool:
        """A refusal is recorded once an hour for each target: who forges addresses must not fill our disk."""
        if verdict.state == "open":
            return True
        order = verdict.order
        return not self._is_silent((f"{order.response} {order.agent}", verdict.state, target_of(order)))

    def _is_silent(self, key: tuple[str, str, str]) -> bool:
        """Whether this was said within the hour; from now on it was."""
        now_ms = self._clock.now_ms()
        before_ms = self._said.pop(key, 0)
        if len(self._said) >= MAX_SAID:
            del self._said[next(iter(self._said))]
        silent = now_ms - before_ms < SILENT_MS
        self._said[key] = before_ms if silent else now_ms
        return silent

    def _tell(self, verdict: Verdict) -> None:
        """Rules shall see what was not done, and why; what is done the agent tells."""
        order = verdict.order
        what = f"{order.response}: {order.action} {target_of(order) or '-'} on {verdict.agent.name}, rule {order.rule}"
        if verdict.over_budget:
            if not self._is_silent(("", "budget", verdict.reason)):
                self._emit(ResponseTold(f"response budget: {what}: {verdict.reason}; see `hidsctl response list`"))
        elif verdict.state == "stale" and not self._is_silent(("", "stale", order.response)):
            self._emit(ResponseTold(f"response stale: {what}: {verdict.reason}"))
        elif verdict.state in ("refused", "shadow"):
            self._emit(ResponseTold(f"response {verdict.state}: {what}: {verdict.reason}"))

    def _give(self, row: OrderRow, respond: Respond | None) -> None:
        if respond is not None:
            undo = row.state == "undoing"
            self._emit(Ordered(row.agent, row.id, row.until_ms, undo, respond, row.legacy))

    # -- agents' words

    def _heard(self, heard: ResponseHeard) -> None:
        said = heard.said
        row = self._store.row(said.order)
        if row is not None and row.agent == heard.agent:
            state = next_state(row, said.state)
            if state is not None:
                self._store.settle(row.id, state, said.text, self._clock.now_ms())
                key = (row.command, row.agent, row.target)
                if state == "undone":
                    self._decider.blocks.end(key)
                elif state in ("refused", "failed"):  # not again for each alert of a flood
                    self._decider.blocks.pause(key, self._clock.now_ms() + PAUSE_MS)
        self._emit(ResponseNoted(heard.agent, Noted(said.order, said.state)))

    def _drop_late(self) -> None:
        now_ms = self._clock.now_ms()
        for row in self._store.late(now_ms):
            undoing = row.state == "undoing"
            text = "its end came before the agent did" if not undoing else "it ended by itself before the agent came"
            self._store.settle(row.id, "undone" if undoing else "dropped", text, now_ms)
            if not undoing:
                self._emit(
                    ResponseTold(
                        f"response dropped: {row.response}: {row.action} {row.target or '-'} on {row.agent_name}, "
                        f"rule {row.rule}: {text}"
                    )
                )

    # -- people

    def _asked(self, ask: ResponseAsk) -> None:
        if not self._ready:
            self._emit(ResponseAnswer(ask.number, "the manager has only just started; try again"))
        elif ask.what == "run":
            self._run(ask)
        else:
            self._undo(ask)

    def _run(self, ask: ResponseAsk) -> None:
        command = self._policy.command(ask.action)
        agents = self._decider.named(ask.agent) if ask.agent else self._decider.agents
        if command is None:
            self._emit(
                ResponseAnswer(ask.number, f"there is no command {ask.action!r}; see `hidsctl response commands`")
            )
            return
        if not agents:
            self._emit(ResponseAnswer(ask.number, f"there is no agent {ask.agent!r}; see `hidsctl agent list`"))
            return
        now_ms = self._clock.now_ms()
        verdicts = self._decider.by_hand(
            command, ask.target, agents, ask.by, ask.timeout_s, self._guard_now(now_ms), now_ms
        )
        self._order(verdicts, None)
        refused = [verdict.reason for verdict in verdicts if verdict.state == "refused"]
        if len(refused) == len(verdicts):
            self._emit(ResponseAnswer(ask.number, f"refused: {refused[0]}"))
            return
        given = tuple(verdict.order.id for verdict in verdicts if verdict.state == "open")
        self._emit(ResponseTold(f"response ordered: {command.name} {ask.target or '-'} by {ask.by}"))
        self._emit(ResponseAnswer(ask.number, orders=given))

    def _undo(self, ask: ResponseAsk) -> None:
        now_ms = self._clock.now_ms()
        rows = [
            row
            for row in self._store.live(now_ms)
            if ask.what == "undo_all" or ask.target in (row.id, row.target, row.alert)
        ]
        rows = [row for row in rows if not ask.agent or ask.agent in (row.agent, row.agent_name)]
        old = {agent.id for agent in self._decider.agents if agent.legacy}
        ours = [row for row in rows if not row.legacy and row.agent not in old]
        if not rows and ask.what == "undo":
            self._emit(
                ResponseAnswer(ask.number, f"nothing is in force for {ask.target!r}; see `hidsctl response list`")
            )
            return
        if rows and not ours:
            self._emit(
                ResponseAnswer(ask.number, "an old agent undoes its responses when their time is over, and on no order")
            )
            return
        for row in ours:
            order = _undo_of(row, now_ms, ask.by)
            respond = self._sign(order)
            self._store.settle(row.id, "undoing", order.why, now_ms, respond)
            self._decider.blocks.end((row.command, row.agent, row.target))
            self._emit(Ordered(row.agent, row.id, 0, undo=True, respond=respond))
        if ours:
            self._emit(ResponseTold(f"response ordered: undo {ask.target or 'everything'} by {ask.by}"))
        self._emit(ResponseAnswer(ask.number, orders=tuple(row.id for row in ours)))

    # -- guard rails

    def _guard_now(self, now_ms: int) -> Guard:
        """What is never acted against, as it was seen lately."""
        if not self._guarded_ms or now_ms - self._guarded_ms > GUARD_MS:
            self._guarded_ms = now_ms
            around = self._surroundings()
            agents = tuple((address, agent.name) for agent in self._decider.agents for address in agent.addresses)
            limits = self._policy.limits
            around = msgspec.structs.replace(around, agents=agents)
            self._guard = Guard(around, self._allow, limits.allow_users)
        return self._guard


def _undo_of(row: OrderRow, now_ms: int, by: str) -> ResponseOrder:
    return ResponseOrder(
        id=row.id,
        agent=row.agent,
        response=row.response,
        command=row.command,
        action=row.action,
        undo=True,
        address=row.target if address_of(row.target) else "",
        user="" if address_of(row.target) else row.target,
        issued_ms=now_ms,
        alert=row.alert,
        rule=row.rule,
        why=f"undone by {by}"[:1024],
    )
