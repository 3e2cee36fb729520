"""ChildProcess: one of the manager's processes as a child in the tree.

    whoever --message--> child process ==channel==> the process;  the process --message--> `receive`

State    none: a new life is a new process. What waits in the mailbox goes to the new one.
Watch    no pulse for `pulse_limit_s` of our own running time: SIGKILL. The end of the process is this actor's
         failure, so the supervisor counts it, shows its reason and starts the next.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Protocol

from hids.actors.stage import Expected, LoopActor, Mailbox, OneLife
from hids.messages.supervision import Pulse
from hids.ports import Clock

CHECK_S = 1.0
ENDING_S = 0.02
"""How often to look whether a process whose channel is closed has ended."""
ENDING_PATIENCE = 100
"""So many looks, then it is killed."""


class ProcessDied(Expected):
    """A process ended that should not have."""


class Launched(Protocol):
    """A running process (hids.adapters.process)."""

    @property
    def pid(self) -> int:
        """Process id."""
        ...

    def status(self) -> int | None:
        """Exit status, or None while it lives."""
        ...

    def kill(self) -> None:
        """SIGKILL."""
        ...


class Channel(Protocol):
    """Our end of its channel (hids.adapters.channel)."""

    def send(self, message: Any) -> None:
        """Queue a message."""
        ...

    def close(self) -> None:
        """Close after what is queued."""
        ...


class Gone(OneLife):
    """The channel is closed; look whether the process has ended."""


class Check(OneLife):
    """Look at the pulse."""


class Deadline:
    """A deadline in one's own running time: ticks that come late move it."""

    def __init__(self, clock: Clock, limit_s: float, tick_s: float = CHECK_S) -> None:
        self._clock = clock
        self._limit_s = limit_s
        self._tick_s = tick_s
        self._due = clock.monotonic_s() + limit_s
        self._next_tick = clock.monotonic_s() + tick_s

    def renew(self) -> None:
        """It is alive."""
        self._due = self._clock.monotonic_s() + self._limit_s

    def missed(self) -> bool:
        """Called at each tick: is it overdue?"""
        now = self._clock.monotonic_s()
        self._due += max(0.0, now - self._next_tick)
        self._next_tick = now + self._tick_s
        return now > self._due


class ChildProcess(LoopActor):
    """Start a process, carry messages to it, watch it."""

    def __init__(
        self,
        mailbox: Mailbox,
        launch: Callable[[], Launched],
        connect: Callable[[Launched, Callable[[Any], None], Callable[[], None]], Channel],
        receive: Callable[[Any], None],
        in_words: Callable[[int], str],
        clock: Clock,
        *,
        greet: Callable[[], Any] | None = None,
        pulse_limit_s: float,
    ) -> None:
        """`greet` gives the first message for the process, or None."""
        super().__init__(mailbox)
        self._receive = receive
        self._in_words = in_words
        self._deadline = Deadline(clock, pulse_limit_s)
        self._stopping = False
        self._looks = 0
        mailbox.inside = ()
        self._process = launch()
        self._channel = connect(self._process, self._got, lambda: self.remind(Gone()))
        greeting = greet() if greet is not None else None
        if greeting is not None:
            self._channel.send(greeting)
        self._timer: asyncio.TimerHandle = self.later(CHECK_S, Check())

    def on_receive(self, message: Any) -> None:
        """Carry a message to the process."""
        match message:
            case Gone():
                self._look()
            case Check():
                self._check()
            case _:
                self._channel.send(message)

    def on_shutdown(self) -> None:
        """Close the channel; the process sees EOF, finishes and exits."""
        self._stopping = True
        self._channel.close()

    def closing(self) -> None:
        """Nothing of this life is left behind."""
        self._timer.cancel()
        self._channel.close()
        self._process.kill()

    def facts(self) -> dict[str, int]:
        """The process id; CPU and memory are read when somebody asks for the status."""
        return {"pid": self._process.pid}

    def _got(self, message: Any) -> None:
        if isinstance(message, Pulse):
            self._deadline.renew()
            self.mailbox.inside = message.nodes
        else:
            self._receive(message)

    def _check(self) -> None:
        if self._deadline.missed():
            self._process.kill()
        self._timer = self.later(CHECK_S, Check())

    def _look(self) -> None:
        status = self._process.status()
        if status is None:
            self._looks += 1
            if self._looks > ENDING_PATIENCE and not self._stopping:
                self._process.kill()
            self._timer.cancel()
            self._timer = self.later(ENDING_S, Gone())
        elif self._stopping:
            self.stop()
        else:
            raise ProcessDied(self._in_words(status))
