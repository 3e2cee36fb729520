"""WebhookSender: one receiver of alerts over HTTP, behind its own durable cursor.

    main --Outboxed--> webhook sender ==HTTP==> the receiver;  webhook sender --Cursors--> main --> ledger

State    the cursor, on disk: what the receiver took, and which alerts the try under way is about.
Full     a receiver that hangs, refuses or fails is tried again, with growing pauses; the outbox keeps the alerts.
Again    a try is repeated with the same alerts and the same delivery id, also by the next life, until it is taken.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.delivery import Cursor, Delivery, Refused
from hids.errors import StoreError
from hids.messages import Cursors, Outboxed
from hids.ports import Emit

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 300.0
"""Between two tries at most, unless the receiver asks for more."""
STORE_PAUSE_S = 1.0
"""Before another try when our own disk or ledger does not answer."""


class Store(Protocol):
    """What the sender reads and remembers; see hids.adapters.outputs.webhook."""

    def cursor(self) -> Cursor:
        """What was saved; StoreError when it cannot be read."""
        ...

    def save(self, cursor: Cursor) -> None:
        """Save durably; StoreError when the disk does not take it."""
        ...

    def next(self, after: int, upto: int) -> Delivery | None:
        """The next alerts after a number; up to exactly `upto` if that is above it. None: there are none."""
        ...


class Ended(OneLife):
    """The task of this life is over."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class WebhookSender(LoopActor):
    """Deliver in order, each alert at least once."""

    def __init__(
        self,
        mailbox: Mailbox,
        store: Store,
        post: Callable[[Delivery], Awaitable[None]],
        emit: Emit[Cursors],
        *,
        first_pause_s: float = FIRST_PAUSE_S,
        max_pause_s: float = MAX_PAUSE_S,
    ) -> None:
        super().__init__(mailbox)
        self._store = store
        self._post = post
        self._emit = emit
        self._first_pause_s = first_pause_s
        self._max_pause_s = max_pause_s
        self._cursor = Cursor()
        self._newest = 0
        self._failing = ""
        self._tries = 0
        self._news = asyncio.Event()
        self._task = self.loop.create_task(self._run())
        self._task.add_done_callback(self._over)

    def on_receive(self, message: Outboxed | Ended) -> None:
        """There are new alerts, or the life is over."""
        match message:
            case Outboxed():
                self._newest = max(self._newest, message.next - 1)
                self._news.set()
            case Ended():
                if message.error is not None:
                    raise message.error
                self.stop()

    def on_shutdown(self) -> None:
        """Leave at once: what is not taken stays in the outbox, and a try is repeated as it was."""
        self._task.cancel()

    def closing(self) -> None:
        """No task outlives this life."""
        self._task.cancel()

    def facts(self) -> dict[str, str | int]:
        """Figures for `hidsctl status`."""
        return {
            "taken": self._cursor.taken,
            "lag": max(0, self._newest - self._cursor.taken),
            "tries": self._tries,
            "failing": self._failing,
        }

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not self.actor_stopped.is_set():
            self.remind(Ended(None if task.cancelled() else task.exception()))

    async def _run(self) -> None:
        await self._news.wait()
        self._cursor = await self._insist(self._open)
        while True:
            self._emit(Cursors(positions={self.mailbox.name: self._cursor.taken}))
            self._news.clear()
            while (delivery := await self._insist(self._next)) is not None:
                await self._deliver(delivery)
                await self._insist(partial(self._save, Cursor(delivery.last)))
                self._emit(Cursors(positions={self.mailbox.name: self._cursor.taken}))
            await self._news.wait()

    def _open(self) -> Cursor:
        cursor = self._store.cursor()
        if cursor.taken > self._newest:
            log.warning("ledger is older than what was sent", output=self.mailbox.name, taken=cursor.taken)
            return Cursor(self._newest)
        return cursor

    def _next(self) -> Delivery | None:
        """The next alerts; which they are is on disk before they leave."""
        delivery = self._store.next(self._cursor.taken, self._cursor.trying)
        if delivery is not None and delivery.last != self._cursor.trying:
            self._save(Cursor(self._cursor.taken, delivery.last))
        return delivery

    def _save(self, cursor: Cursor) -> None:
        self._store.save(cursor)
        self._cursor = cursor

    async def _deliver(self, delivery: Delivery) -> None:
        """Try until it is taken."""
        if not delivery.alerts:
            return
        pause_s = self._first_pause_s
        while True:
            self._tries += 1
            try:
                await self._post(delivery)
            except Refused as refused:
                self._fails(str(refused))
                # Half of it is chance, so that many senders do not come back at once.
                wait_s = max(pause_s * random.uniform(0.5, 1.0), min(refused.after_s, self._max_pause_s))  # noqa: S311 - no secret
                pause_s = min(pause_s * 2, self._max_pause_s)
                await asyncio.sleep(wait_s)
            else:
                self._works()
                return

    async def _insist(self, step: Callable[[], T]) -> T:
        """Do what needs our own disk; while that fails, try again."""
        while True:
            try:
                return step()
            except StoreError as error:
                self._fails(str(error))
                await asyncio.sleep(STORE_PAUSE_S)

    def _fails(self, reason: str) -> None:
        if self._failing != reason:
            self._failing = reason
            log.error("output fails, trying again", output=self.mailbox.name, reason=reason)

    def _works(self) -> None:
        if self._failing:
            log.info("output works again", output=self.mailbox.name)
        self._failing = ""
