"""Supervisor: starts children in order, restarts those that fail, gives up upwards [Erlang/OTP's supervisor].

    child --Exited--> supervisor;  whoever --StartChild/StopChild--> supervisor (dynamic children)

State    the list of children; a new life of the supervisor starts all of them anew.
Order    children start first to last and stop last to first: put the output end first.
Limit    more than `restarts` failures of its children within `within_s`, or one child that never lives long: it stops
         them and fails itself, which its own supervisor counts. The root's failure ends the process with a status that
         the service manager restarts.
A bug    of its own ends it the same way, children first: no life of a child is left behind for the next to meet.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

import msgspec
import structlog

from hids.actors.stage import Abort, Control, Exited, Expected, LoopActor, Mailbox, OneLife, describe
from hids.errors import ConfigError
from hids.ports import Clock

log = structlog.get_logger()

Restart = Literal["permanent", "transient", "temporary"]
"""Always; after failures only; never."""


class Node:
    """One place in the tree as `hidsctl status` shows it. Written by its supervisor, read on the same loop."""

    def __init__(self, mailbox: Mailbox, kind: str) -> None:
        self.mailbox = mailbox
        self.kind = kind
        self.state = "not started"
        self.restarts = 0
        self.last_failure: str | None = None
        self.last_failure_ms: int | None = None
        self.children: list[Node] = []
        self.facts: Callable[[], dict[str, Any]] = dict
        """What else is to be shown: pid, CPU, RSS, an agent's name."""

    @property
    def name(self) -> str:
        """Unique among its siblings."""
        return self.mailbox.name


class ChildSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A child as data."""

    node: Node
    start: Callable[[Mailbox], object]
    """Makes and starts one life that reads the mailbox. A raise here counts as a failure of the child."""
    restart: Restart = "permanent"
    significant: bool = False
    """Its siblings cannot go on without what it knew: its failure is the supervisor's own."""
    shutdown_s: float = 2.0
    """How long an orderly stop may take; then the child has to give back what it holds at once."""


class Intensity(msgspec.Struct, frozen=True, kw_only=True):
    """When to give up, and how fast to try."""

    restarts: int = 10
    within_s: float = 10.0
    first_backoff_s: float = 0.0
    next_backoff_s: float = 0.1
    max_backoff_s: float = 5.0
    healthy_s: float = 5.0
    """A life that is shorter counts as another failure in a row; pauses grow with those."""
    in_a_row: int = 12
    """More of them are a child that cannot live: with the pauses above that is known after some 36 s."""
    branch_healthy_s: float = 600.0
    branches_in_a_row: int = 2
    """The same for a supervisor that gave up."""


ABORT_S = 0.5
"""After this a child that was told to stop at once is left behind: its thread hangs."""


class GaveUp(Expected):
    """Too many restarts."""


class StartChild(Control):
    """Add a child and start it."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec


class StopChild(Control):
    """Stop the child of that name and forget it."""

    def __init__(self, name: str) -> None:
        self.name = name


class _Retry(OneLife):
    def __init__(self, name: str) -> None:
        self.name = name


class _Overdue(OneLife):
    def __init__(self, name: str) -> None:
        self.name = name


class _Child:
    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.running = False
        self.timer: asyncio.TimerHandle | None = None
        self.leaving = False
        self.aborted = False
        self.started_s = 0.0
        self.in_a_row = 0
        """Failures of lives that were short."""


class Supervisor(LoopActor):
    """Keep children alive."""

    def __init__(
        self,
        mailbox: Mailbox,
        node: Node,
        specs: Sequence[ChildSpec],
        clock: Clock,
        intensity: Intensity | None = None,
        gives_up: Callable[[str], None] | None = None,
    ) -> None:
        """`gives_up` is told why, before it does."""
        super().__init__(mailbox)
        self._node = node
        self._clock = clock
        self._intensity = intensity or Intensity()
        self._gives_up = gives_up
        self._children: dict[str, _Child] = {}
        self._failures: deque[float] = deque()
        self._stopping = False
        self._failing: Exception | None = None
        node.children = []
        try:
            for spec in specs:
                self._add(spec)
        except BaseException:
            self.closing()
            raise

    def on_receive(self, message: Any) -> None:
        """React to a child's end, a request for a dynamic child, or one's own timers."""
        try:
            self._handle(message)
        except Exception as error:
            if self._stopping:
                raise
            self._end_with(error)

    def _handle(self, message: Any) -> None:
        match message:
            case Exited():
                self._exited(message)
            case StartChild():
                self._add(message.spec)
            case StopChild():
                self._dismiss(message.name)
            case _Retry():
                self._retry(message)
            case _Overdue():
                self._overdue(message.name)
            case _:
                raise TypeError(f"{self.mailbox.name} cannot handle {type(message).__name__}")

    def on_shutdown(self) -> None:
        """Stop children last to first, then stop."""
        self._stopping = True
        self._stop_next()

    def closing(self) -> None:
        """Children that still run give back what they hold."""
        for child in self._children.values():
            self._cancel(child)
            child.spec.node.mailbox.on_exit = None
            if child.running:
                self._abort(child)

    # -- starting

    def _add(self, spec: ChildSpec) -> None:
        if self._stopping:
            return
        name = spec.node.name
        child = _Child(spec)
        self._children[name] = child
        self._node.children.append(spec.node)
        spec.node.mailbox.on_exit = self.mailbox.tell
        self._start(child)

    def _start(self, child: _Child) -> None:
        node = child.spec.node
        child.timer = None
        child.started_s = self._clock.monotonic_s()
        first = node.mailbox.life == 0
        try:
            child.spec.start(node.mailbox)
        except Exception as error:
            if first and isinstance(error, ConfigError):
                raise  # a person must act: whoever starts the tree says so and ends
            self._failed(child, describe(error))
        else:
            child.running = True
            node.state = "running"

    def _retry(self, message: _Retry) -> None:
        child = self._children.get(message.name)
        if child is not None and not child.running and not self._stopping:
            self._start(child)

    # -- ending

    def _exited(self, message: Exited) -> None:
        child = self._children.get(message.name)
        if child is None or message.life != child.spec.node.mailbox.life:
            return
        child.running = False
        self._cancel(child)
        if self._stopping or child.leaving:
            child.spec.node.state = "stopped"
            self._forget(child)
            if self._stopping:
                self._stop_next()
        elif message.failure is not None:
            self._failed(child, message.failure)
        elif child.spec.restart == "permanent":
            self._failed(child, "stopped by itself")
        else:
            child.spec.node.state = "stopped"
            self._forget(child)

    def _failed(self, child: _Child, failure: str) -> None:
        node = child.spec.node
        node.last_failure = failure
        node.last_failure_ms = self._clock.now_ms()
        if child.spec.restart == "temporary":
            log.warning("child ended", child=node.name, reason=failure)
            self._forget(child)
            return
        node.restarts += 1
        self._count()
        if child.spec.significant or len(self._failures) > self._intensity.restarts or self._cannot_live(child):
            node.state = "failed"
            self._give_up(node, child.in_a_row, failure)
            return
        delay = self._backoff(child.in_a_row)
        node.state = f"restarting in {delay:g} s" if delay else "restarting"
        log.warning("child failed, restarting", child=node.name, reason=failure, restarts=node.restarts, in_s=delay)
        child.timer = self.later(delay, _Retry(node.name))

    def _cannot_live(self, child: _Child) -> bool:
        """Count one more failure of this child; whether it fails again and again, however long the pauses are."""
        intensity, is_branch = self._intensity, child.spec.node.kind == "supervisor"
        lived_s = self._clock.monotonic_s() - child.started_s
        healthy = lived_s >= (intensity.branch_healthy_s if is_branch else intensity.healthy_s)
        child.in_a_row = 1 if healthy else child.in_a_row + 1
        return child.in_a_row > (intensity.branches_in_a_row if is_branch else intensity.in_a_row)

    def _count(self) -> None:
        """Note a failure now, and forget those that are older than the intensity looks back."""
        now, failures = self._clock.monotonic_s(), self._failures
        failures.append(now)
        while failures[0] < now - self._intensity.within_s:
            failures.popleft()

    def _backoff(self, failures: int) -> float:
        if failures == 1:
            return self._intensity.first_backoff_s
        return min(self._intensity.next_backoff_s * 2.0 ** (failures - 2), self._intensity.max_backoff_s)

    def _give_up(self, node: Node, in_a_row: int, failure: str) -> None:
        log.error("supervisor gives up", supervisor=self.mailbox.name, child=node.name, reason=failure)
        times, within_s = len(self._failures), self._intensity.within_s
        often = f"{times} times in {within_s:g} s" if times >= in_a_row else f"{in_a_row} times in a row"
        why = f"{node.name} failed {often}, last: {failure}"
        if self._gives_up is not None:
            self._gives_up(why)
        self._end_with(GaveUp(why))

    def _end_with(self, error: Exception) -> None:
        """Stop all children, then fail with `error`."""
        self._failing = error
        self._stopping = True
        self._stop_next()

    def _dismiss(self, name: str) -> None:
        child = self._children.get(name)
        if child is not None and not child.leaving:
            child.leaving = True
            self._ask_to_stop(child)

    def _stop_next(self) -> None:
        """Stop the last child that is left; when there is none, end."""
        for child in reversed(tuple(self._children.values())):
            if child.running:
                if not child.leaving:
                    child.leaving = True
                    self._ask_to_stop(child)
                return
            self._forget(child)
        if self._failing is not None:
            raise self._failing
        self.stop()

    def _ask_to_stop(self, child: _Child) -> None:
        node = child.spec.node
        if not child.running:
            self._forget(child)
            return
        node.state = "stopping"
        child.timer = self.later(child.spec.shutdown_s, _Overdue(node.name))
        node.mailbox.shut_down()

    def _overdue(self, name: str) -> None:
        child = self._children.get(name)
        if child is None or not child.running:
            return
        if not child.aborted:
            log.warning("child did not stop in time", child=name, after_s=child.spec.shutdown_s)
            child.aborted = True
            child.timer = self.later(ABORT_S, _Overdue(name))
            self._abort(child)
            return
        log.error("child cannot be stopped, it is left behind", child=name)
        child.running = False
        self._forget(child)
        if self._stopping:
            self._stop_next()

    def _forget(self, child: _Child) -> None:
        self._cancel(child)
        node = child.spec.node
        self._children.pop(node.name, None)
        if node in self._node.children and (child.leaving or child.spec.restart == "temporary"):
            self._node.children.remove(node)

    def _cancel(self, child: _Child) -> None:
        if child.timer is not None:
            child.timer.cancel()
            child.timer = None

    @staticmethod
    def _abort(child: _Child) -> None:
        mailbox = child.spec.node.mailbox
        mailbox.tell_life(mailbox.life, Abort())
