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

import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife, describe
from hids.core.response.decide import Verdict
from hids.core.response.guard import Surroundings
from hids.core.response.ledger import OrderStore
from hids.core.response.orders import Orders
from hids.core.response.policy import Policy
from hids.core.response.target import Network
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
from hids.messages.response import Respond, ResponseOrder
from hids.ports import Clock, Emit

log = structlog.get_logger()

OUTPUT = "responder"
"""Name of its cursor among all outputs'."""
TICK_S = 1.0


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
        store: OrderStore,
        source: Source,
        sign: Callable[[ResponseOrder], Respond],
        surroundings: Callable[[], Surroundings],
        clock: Clock,
        emit: Emit[Cursors | Ordered | ResponseNoted | ResponseTold | ResponseAnswer],
    ) -> None:
        super().__init__(mailbox)
        self._orders = Orders(policy, allow, store, sign, surroundings, emit, clock.now_ms())
        self._mode = policy.limits.mode
        self._store = store
        self._source = source
        self._clock = clock
        self._emit = emit
        self._ready = False
        self._cursor = store.cursor
        self._saved = self._cursor
        self._told_cursor = -1
        self._newest = -1
        """-1: main has not said yet."""
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
                self._orders.hear(message, self._clock.now_ms())
            case ResponseAsk() if not self._ready:
                self._emit(ResponseAnswer(message.number, "the manager has only just started; try again"))
            case ResponseAsk():
                self._orders.answer(message, self._clock.now_ms())
            case More():
                self._reading = False
                self._read_on()
            case Tick():
                self._timer = self.later(TICK_S, Tick())
                self._save()
                self._orders.drop_late(self._clock.now_ms())
                self._read_on()

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
            "mode": self._mode,
            **self._orders.counts,
            "active": self._orders.active(self._clock.now_ms()),
            "lag": max(0, self._newest - self._cursor),
            "failing": self._failing,
        }

    # -- alerts

    def _enlist(self, roster: Roster) -> None:
        self._orders.enlist(roster.agents)
        if roster.anew or not self._ready:
            self._orders.give_unanswered()
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
        self._orders.look_around(now_ms)
        verdicts: list[Verdict] = []
        for line in row.after(self._cursor).split(b"\n")[:-1]:
            try:
                verdicts += self._orders.decide(line, now_ms)
            except Exception as error:  # noqa: BLE001 - see the head
                self._orders.counts["failed"] += 1
                log.error("an alert cannot be judged", reason=describe(error), alert=line[:200])  # noqa: TRY400
        if self._orders.carry_out(verdicts, row.last, now_ms):
            self._saved = row.last
        self._cursor = row.last
