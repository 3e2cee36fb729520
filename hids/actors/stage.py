"""What all actors share: the bounded mailbox that outlives them, and the two ways of running.

`LoopActor` runs on the asyncio loop of the thread that starts it: many and light. `ThreadActor` has a daemon thread of
its own: for the few that block. Both are pykka actors. What pykka 4.5 does (tried): a raise while handling a `tell`
ends the actor, calls `on_failure` and then empties its inbox unread; so an actor reads through a `Lease` on a mailbox
that belongs to its supervisor, and the messages wait there for the next life.
"""

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any

import pykka
from pykka import ActorRef, Future
from pykka._envelope import Envelope
from pykka.messages import _ActorStop  # pyright: ignore[reportPrivateUsage]

from hids.errors import HidsError, StoreError
from hids.messages.supervision import NodeFacts

BURST = 64
"""Messages that a loop actor handles before others on its loop get a turn."""


class MailboxFull(HidsError):  # noqa: N818 - a state, met by whoever runs on a loop and may not wait
    """The receiver is full and the sender runs on an event loop, where nobody may wait: credit was not respected."""


class Superseded(HidsError):  # noqa: N818
    """A newer life of this actor reads the mailbox now."""


class Idle(BaseException):
    """Nothing to read at the moment; the loop actor returns to its event loop."""


class Expected(Exception):  # noqa: N818 - base of reasons, not of errors
    """Base of failures that are the world's and not a bug: told in one line, without a traceback."""


class Control:
    """Base of messages that go first and are never refused: stop, ping, wake."""


class OneLife(Control):
    """A control message for one life of an actor only, such as its timers'; later lives never see it."""

    life = 0


class Shutdown(OneLife):
    """supervisor -> child: finish in order, then stop."""


class Abort(OneLife):
    """supervisor -> child: you did not finish in time; give back what you hold and stop now."""


class Ping(Control):
    """watchdog -> thread actor: are you still there?"""

    def __init__(self) -> None:
        self.answered = threading.Event()


class Wake(Control):
    """Something that you watch has changed. At most one waits in a mailbox."""


class Exited(Control):
    """child -> supervisor: one life has ended."""

    def __init__(self, name: str, life: int, failure: str | None) -> None:
        self.name = name
        self.life = life
        self.failure = failure
        """What went wrong in one line; None when the child stopped in order."""


class Mailbox:
    """A bounded queue of messages that belongs to a place in the tree, not to a life of the actor there.

    Control messages have a lane of their own, without a bound, that is read first. `tell` may be called from any
    thread: one without an event loop waits while the mailbox is full, one with a loop gets `MailboxFull`.
    """

    def __init__(self, name: str, bound: int = 64) -> None:
        self.name = name
        self.bound = bound
        self.handled = 0
        self.life = 0
        self.on_exit: Callable[[Exited], None] | None = None
        """Set by the supervisor."""
        self.facts: Callable[[], Mapping[str, str | int | float | bool]] = dict
        """Figures of the life that reads now, for `hidsctl status`."""
        self.inside: tuple[NodeFacts, ...] = ()
        """The tree inside the process that this place stands for, from its last pulse."""
        self._data: deque[Envelope[Any]] = deque()
        self._control: deque[Envelope[Any]] = deque()
        self._condition = threading.Condition()
        self._waiting = 0
        """Threads that wait for a message or for room; an event loop never does."""
        self._notify: Callable[[], None] | None = None
        self._wake_waits = False

    @property
    def depth(self) -> int:
        """Data messages that wait."""
        return len(self._data)

    def tell(self, message: Any) -> None:
        """Hand over a message.

        Raises:
            MailboxFull: full, and the caller runs on an event loop.
        """
        self.put(Envelope(message))

    def wake(self) -> None:
        """Tell the reader that a register it watches has changed; many calls make one message."""
        if not self._wake_waits:
            self._wake_waits = True
            self.put(Envelope(Wake()))

    async def request(self, message: Any) -> Any:
        """Ask from an event loop: hand over a message and await the answer (or the failure) of its handling."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        self.put(Envelope(message, reply_to=_LoopFuture(loop, answer)))
        return await answer

    def tell_life(self, life: int, message: OneLife) -> None:
        """Hand over a control message that is void once `life` is over."""
        message.life = life
        self.put(Envelope(message))

    def shut_down(self) -> None:
        """Ask the life that reads now to finish in order."""
        self.tell_life(self.life, Shutdown())

    def put(self, envelope: Envelope[Any]) -> None:
        """`tell` for an envelope (pykka's `ActorInbox`)."""
        with self._condition:
            if isinstance(envelope.message, (Control, _ActorStop)):
                self._control.append(envelope)
            else:
                if len(self._data) >= self.bound:
                    if _on_a_loop():
                        raise MailboxFull(f"{self.name} holds {self.bound} messages and takes no more")
                    while len(self._data) >= self.bound:
                        self._wait()
                self._data.append(envelope)
            if self._waiting:
                self._condition.notify_all()
            notify = self._notify
        if notify is not None:
            notify()

    def lease(self, notify: Callable[[], None] | None) -> "Lease":
        """Begin a new life; earlier leases are void.

        Args:
            notify: called after each `put`, from the sender's thread. None: the reader waits in `get` instead.
        """
        with self._condition:
            self.life += 1
            before, self._notify = self._notify, notify
            self._condition.notify_all()
            lease = Lease(self, self.life, waits=notify is None)
        if before is not None:
            before()  # a life that still runs finds out that it is superseded
        return lease

    def take(self, life: int, *, wait: bool) -> Envelope[Any]:
        """The next message for this life, control first.

        Raises:
            Superseded: there is a newer life.
            Idle: nothing is there and `wait` is false.
        """
        with self._condition:
            while True:
                if life != self.life:
                    raise Superseded(f"{self.name}: life {life} was replaced by {self.life}")
                if self._control:
                    envelope = self._control.popleft()
                    message = envelope.message
                    if isinstance(message, OneLife) and message.life != life:
                        continue
                    if isinstance(message, Wake):
                        self._wake_waits = False
                    return envelope
                if self._data:
                    envelope = self._data.popleft()
                    self.handled += 1
                    if self._waiting:
                        self._condition.notify_all()
                    return envelope
                if not wait:
                    raise Idle
                self._wait()

    def _wait(self) -> None:
        """Until another thread has put, taken or leased; called with the condition held."""
        self._waiting += 1
        try:
            self._condition.wait()
        finally:
            self._waiting -= 1

    def empty(self) -> bool:
        """True when no message of either lane waits."""
        return not self._data and not self._control


class Lease:
    """One life's right to read a mailbox (pykka's `ActorInbox`)."""

    def __init__(self, mailbox: Mailbox, life: int, *, waits: bool) -> None:
        self.mailbox = mailbox
        self.life = life
        self._waits = waits

    def put(self, envelope: Envelope[Any], /) -> None:
        """Senders that hold an ActorRef come this way."""
        self.mailbox.put(envelope)

    def get(self) -> Envelope[Any]:
        """The next message; see `Mailbox.take`."""
        return self.mailbox.take(self.life, wait=self._waits)

    def empty(self) -> bool:
        """True for pykka's teardown: a life that ends leaves all messages to the next one."""
        return True


class _LoopFuture(Future[Any]):
    """A pykka future that completes an asyncio one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, target: "asyncio.Future[Any]") -> None:
        super().__init__()
        self._loop = loop
        self._target = target

    def set(self, value: Any | None = None) -> None:
        """Complete with a value."""
        self._loop.call_soon_threadsafe(self._complete, value, None)

    def set_exception(self, exc_info: Any = None) -> None:
        """Complete with the exception that is being handled."""
        import sys  # noqa: PLC0415 - only here

        error = (exc_info or sys.exc_info())[1]
        self._loop.call_soon_threadsafe(self._complete, None, error)

    def _complete(self, value: Any, error: BaseException | None) -> None:
        if self._target.done():
            return
        if error is not None:
            self._target.set_exception(error)
        else:
            self._target.set_result(value)


def _on_a_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


class Stage(pykka.Actor):
    """An actor at a place in the tree. Subclasses say `on_receive`, and `closing` if something must be released."""

    mailbox: Mailbox
    _lease: Lease

    def __init__(self, mailbox: Mailbox, notify: Callable[[], None] | None) -> None:
        super().__init__()
        self.mailbox = mailbox
        self._lease = mailbox.lease(notify)
        mailbox.facts = self.facts
        self.actor_inbox = self._lease
        self._actor_ref = ActorRef(self)

    @staticmethod
    def _create_future() -> Future[Any]:
        return pykka.ThreadingFuture()

    def remind(self, message: OneLife) -> None:
        """Send this life a message; from callbacks, so that a raise in its handling ends the life as it should."""
        self.mailbox.tell_life(self._lease.life, message)

    @property
    def life(self) -> int:
        """Counts the lives at this place, from 1."""
        return self._lease.life

    def facts(self) -> Mapping[str, str | int | float | bool]:
        """Figures for `hidsctl status`; read by others on the same loop, so keep it cheap."""
        return {}

    def closing(self) -> None:
        """Release what this life holds. Called once, when it ends in order, fails or is superseded."""

    def on_shutdown(self) -> None:
        """Finish in order; the default is to stop at once. Whoever needs time calls `self.stop()` later."""
        self.stop()

    def on_stop(self) -> None:
        """Pykka: this life ends in order."""
        self.closing()
        self._report(None)

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pykka: this life ends by a raise."""
        try:
            self.closing()
        finally:
            self._report(describe(exception_value))

    def _report(self, failure: str | None) -> None:
        if self.mailbox.on_exit is not None and self.mailbox.life == self._lease.life:
            self.mailbox.on_exit(Exited(self.mailbox.name, self._lease.life, failure))

    def _handle_receive(self, message: Any) -> Any:
        if isinstance(message, Shutdown):
            return self.on_shutdown()
        if isinstance(message, Abort):
            return self.stop()
        if isinstance(message, Ping):
            return message.answered.set()
        return super()._handle_receive(message)

    def _handle_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Pykka logs a traceback for every failure; an expected one is the supervisor's to tell."""
        if isinstance(exception_value, (Expected, StoreError)):
            pykka.ActorRegistry.unregister(self.actor_ref)  # noqa: TID251 - pykka's own upkeep
            self.actor_stopped.set()
        else:
            super()._handle_failure(exception_type, exception_value, traceback)

    def _superseded(self) -> None:
        """Another life reads the mailbox now: end without a word, but leave nothing behind."""
        pykka.ActorRegistry.unregister(self.actor_ref)  # noqa: TID251 - pykka's own upkeep
        self.actor_stopped.set()
        self.closing()

    def _actor_loop_teardown(self) -> None:
        """Leave every message where it is (pykka would empty the inbox)."""


class LoopActor(Stage):
    """Runs on the event loop of the thread that starts it. Handlers must not block."""

    def __init__(self, mailbox: Mailbox) -> None:
        self._loop = asyncio.get_running_loop()
        self._scheduled = False
        self._begun = False
        super().__init__(mailbox, self._schedule)

    @staticmethod
    def _create_actor_inbox() -> Any:
        return None  # replaced by the lease before anyone can send

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop it runs on."""
        return self._loop

    def later(self, delay_s: float, message: OneLife) -> asyncio.TimerHandle:
        """Send this life a message after some time."""
        return self._loop.call_later(delay_s, self.remind, message)

    def _start_actor_loop(self) -> None:
        self._actor_loop_setup()
        self._begun = True
        self._schedule()

    def _schedule(self) -> None:
        if self._scheduled:
            return
        self._scheduled = True
        if _running_loop_is(self._loop):
            self._loop.call_soon(self._drain)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        self._scheduled = False
        if self.actor_stopped.is_set() or not self._begun:  # a life whose __init__ failed reads nothing
            return
        self.actor_inbox = _Burst(self._lease, BURST)
        try:
            self._actor_loop_running()
        except Superseded:
            self._superseded()
        except Idle:
            if not self.mailbox.empty():
                self._schedule()


class _Burst:
    """A lease that pauses after a number of messages."""

    def __init__(self, lease: Lease, left: int) -> None:
        self._lease = lease
        self._left = left

    def put(self, envelope: Envelope[Any], /) -> None:
        self._lease.put(envelope)

    def get(self) -> Envelope[Any]:
        if self._left == 0:
            raise Idle
        self._left -= 1
        return self._lease.get()

    def empty(self) -> bool:
        return True


def _running_loop_is(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


class ThreadActor(Stage, pykka.ThreadingActor):
    """Has a daemon thread of its own: for what blocks."""

    use_daemon_thread = True

    def __init__(self, mailbox: Mailbox) -> None:
        super().__init__(mailbox, None)

    def _actor_loop(self) -> None:
        try:
            super()._actor_loop()
        except Superseded:
            self._superseded()


def describe(error: BaseException | None) -> str:
    """One line about a failure, for status and logs."""
    if error is None:
        return "unknown"
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
