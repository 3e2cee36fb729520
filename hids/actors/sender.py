"""Sender: one output over the network, behind its own durable cursor.

    main --Outboxed--> sender ==deliveries==> the destination;  sender --Cursors--> main --> ledger

State    the cursor, on disk: what the receiver took, and which alerts the try under way is about.
Full     a receiver that hangs, refuses or fails is tried again, with growing pauses; the outbox keeps the alerts.
Again    a try is repeated with the same alerts and the same delivery id, also by the next life, until it is taken. What a
         receiver took of it is not sent again; what it will never take becomes a dead letter, and the rest goes on.
A bug    of the destination is met with one alert at a time; the one on which it fails again and again is set aside.
"""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Protocol, TypeVar

import msgspec
import structlog

from hids.actors.stage import LoopActor, Mailbox, OneLife, describe
from hids.core.delivery import Cursor, Delivery, Destination, Refused, Timed
from hids.errors import StoreError
from hids.messages.outputs import Cursors, Outboxed
from hids.ports import Emit

log = structlog.get_logger()

T = TypeVar("T")

FIRST_PAUSE_S = 0.5
MAX_PAUSE_S = 300.0
"""Between two tries at most, unless the receiver asks for more."""
STORE_PAUSE_S = 1.0
"""Before another try when our own disk or ledger does not answer."""
BUG_TRIES = 3
"""An alert on which a destination fails so often, alone, is set aside."""
RATE_S = 10.0
"""The rate in the facts is that of so many seconds."""


class Store(Protocol):
    """What the sender reads and remembers; see hids.adapters.outputs.store."""

    def cursor(self) -> Cursor:
        """What was saved; StoreError when it cannot be read."""
        ...

    def save(self, cursor: Cursor) -> None:
        """Save durably; StoreError when the disk does not take it."""
        ...

    def newest(self) -> int:
        """Number of the newest alert that is committed; StoreError when the ledger does not say."""
        ...

    def next(self, after: int, upto: int) -> Delivery | None:
        """The next alerts after a number; up to exactly `upto` if that is above it. None: there are none."""
        ...

    def set_aside(self, alert: bytes, reason: str) -> None:
        """Make an alert a dead letter; StoreError when the disk does not take it."""
        ...


class Ended(OneLife):
    """The task of this life is over."""

    def __init__(self, error: BaseException | None) -> None:
        self.error = error


class _Left:
    """What is left of a delivery, as places in its alerts."""

    def __init__(self, delivery: Delivery, settled: tuple[int, ...]) -> None:
        self.delivery = delivery
        self.places = [place for place in range(len(delivery.alerts)) if place not in settled]
        self.alone = False
        """One alert at a time: a bug was met."""
        self.bugs: Counter[int] = Counter()

    def part(self) -> tuple[list[int], Delivery]:
        """What the next try is about."""
        places = self.places[:1] if self.alone else list(self.places)
        alerts = tuple(self.delivery.alerts[place] for place in places)
        return places, msgspec.structs.replace(self.delivery, alerts=alerts)

    def settled(self) -> tuple[int, ...]:
        """Places that need no further try."""
        return tuple(place for place in range(len(self.delivery.alerts)) if place not in self.places)


class Sender(LoopActor):
    """Deliver in order, each alert at least once."""

    def __init__(
        self,
        mailbox: Mailbox,
        store: Store,
        destination: Destination,
        emit: Emit[Cursors],
        *,
        first_pause_s: float = FIRST_PAUSE_S,
        max_pause_s: float = MAX_PAUSE_S,
    ) -> None:
        super().__init__(mailbox)
        self._store = store
        self._destination = destination
        self._emit = emit
        self._first_pause_s = first_pause_s
        self._max_pause_s = max_pause_s
        self._cursor = Cursor()
        self._newest = 0
        self._told = -1
        self._failing = ""
        self._tries = self._sent = self._dead = 0
        self._samples: deque[tuple[float, int]] = deque([(self.loop.time(), 0)])
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

    def facts(self) -> dict[str, str | int | float]:
        """Figures for `hidsctl status`."""
        return {
            "taken": self._cursor.taken,
            "lag": max(0, self._newest - self._cursor.taken),
            "sent": self._sent,
            "per_s": self._rate(),
            "tries": self._tries,
            "dead_letters": self._dead,
            "failing": self._failing,
        }

    def _rate(self) -> float:
        """Alerts sent a second, lately. Called about once a second."""
        now = self.loop.time()
        self._samples.append((now, self._sent))
        while len(self._samples) > 2 and self._samples[1][0] <= now - RATE_S:  # noqa: PLR2004 - two make a difference
            self._samples.popleft()
        since, before = self._samples[0]
        return round((self._sent - before) / max(0.001, now - since), 1)

    def _over(self, task: "asyncio.Task[None]") -> None:
        if not self.actor_stopped.is_set():
            self.remind(Ended(None if task.cancelled() else task.exception()))

    async def _run(self) -> None:
        await self._news.wait()
        self._cursor = await self._insist(self._open)
        while True:
            self._tell_cursor()
            self._news.clear()
            while (delivery := await self._insist(self._next)) is not None:
                await self._deliver(delivery)
                await self._insist(partial(self._save, Cursor(delivery.last)))
                self._tell_cursor()
            await self._wait()

    def _tell_cursor(self) -> None:
        """Tell how far it is, once: what moves the ledger comes back as news, and must come to rest."""
        if self._cursor.taken != self._told:
            self._told = self._cursor.taken
            self._emit(Cursors(positions={self.mailbox.name: self._cursor.taken}))

    async def _wait(self) -> None:
        """Wait for news; meanwhile let the destination do what it does by itself."""
        destination = self._destination
        if not isinstance(destination, Timed):
            await self._news.wait()
            return
        while not self._news.is_set():
            try:
                async with asyncio.timeout(destination.due_s()):
                    await self._news.wait()
            except TimeoutError:
                await self._persist(destination.flush)

    def _open(self) -> Cursor:
        cursor = self._store.cursor()
        # What main has heard of may be older than what the life before has sent.
        newest = max(self._newest, self._store.newest())
        if cursor.taken > newest:
            log.warning("ledger is older than what was sent", output=self.mailbox.name, taken=cursor.taken)
            return Cursor(newest)
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
        """Try until all of it is taken or set aside."""
        left = _Left(delivery, self._cursor.settled)
        while left.places:
            await self._persist(partial(self._post, left))

    async def _post(self, left: _Left) -> None:
        """One try of what is left. Raises `Refused` when something still is."""
        places, part = left.part()
        try:
            await self._destination.post(part)
        except Refused as refused:
            hopeless = {places[at]: reason for at, reason in refused.hopeless.items()}
            await self._settle(left, [places[at] for at in refused.taken], hopeless)
            if left.places:
                raise
        except Exception as error:
            log.exception("output met a bug of ours", output=self.mailbox.name)
            hopeless = {}
            if len(places) == 1:
                left.bugs[places[0]] += 1
                if left.bugs[places[0]] >= BUG_TRIES:
                    hopeless = {places[0]: f"a bug of ours: {describe(error)}"}
            left.alone = True
            await self._settle(left, [], hopeless)
            if not hopeless:
                raise Refused(f"a bug of ours: {describe(error)}") from error
        else:
            self._sent += len(places)
            left.places = left.places[len(places) :]

    async def _settle(self, left: _Left, taken: list[int], hopeless: dict[int, str]) -> None:
        """Remember durably what needs no further try."""
        for place, reason in hopeless.items():
            await self._insist(partial(self._store.set_aside, left.delivery.alerts[place], reason))
            log.error("alert set aside as a dead letter", output=self.mailbox.name, reason=reason)
            self._dead += 1
        self._sent += len(taken)
        done = {*taken, *hopeless}
        left.places = [place for place in left.places if place not in done]
        if done:
            cursor = Cursor(self._cursor.taken, left.delivery.last, left.settled())
            await self._insist(partial(self._save, cursor))

    async def _persist(self, step: Callable[[], Awaitable[None]]) -> None:
        """Do something with the destination; while it refuses, try again, with growing pauses."""
        pause_s = self._first_pause_s
        while True:
            self._tries += 1
            try:
                await step()
            except Refused as refused:
                self._fails(str(refused))
                if refused.taken or refused.hopeless:
                    pause_s = self._first_pause_s
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
