"""Nursery: the process that has the rulesets in memory and forks workers.

    worker link --ForkRequest--> nursery ==descriptors==> the process --Forked|Exited--> worker link
    control --Reload--> nursery

State    fork requests that wait for the process to be ready; they outlive it.
Reload   a second process loads beside; when it is ready the worker links renew their workers one after another, and
         the old process goes when its last worker has gone. When it refuses, nothing changes.
A bug    or a kill of the process: its workers die with it (PDEATHSIG), and all are started anew.
"""

import socket
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Protocol

import msgspec
import structlog

from hids.actors.child_process import CHECK_S, ENDING_S, Check, Deadline, Launched, ProcessDied
from hids.actors.stage import Control, LoopActor, Mailbox, OneLife
from hids.messages.nursery import Fork, FromNursery, NurseryReady, NurseryRefused, WorkerExited, WorkerForked
from hids.messages.supervision import Pulse
from hids.ports import Clock

log = structlog.get_logger()

DATAGRAM_BYTES = 256 * 1024

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(FromNursery)


class ForkRequest(Control):
    """worker link -> nursery: make a worker with this channel, which is closed here once sent, and this page."""

    def __init__(self, worker: int, channel: socket.socket, page: "Descriptor", reply: Mailbox, life: int) -> None:
        self.worker = worker
        self.channel = channel
        self.page = page
        self.reply = reply
        self.life = life


class Descriptor(Protocol):
    """An open file."""

    def fileno(self) -> int:
        """Its number; ValueError when it is closed."""
        ...


class Forked(OneLife):
    """nursery -> worker link."""

    def __init__(self, pid: int) -> None:
        self.pid = pid


class WorkerEnded(OneLife):
    """nursery -> worker link: the process `pid` has ended."""

    def __init__(self, pid: int, status: int) -> None:
        self.pid = pid
        self.status = status


class Renew(Control):
    """nursery -> worker link: rulesets have changed; get a new worker, then let the old one go."""


class Reload(Control):
    """Load the rulesets anew. `done` is told the problems; none means that the new rules are in use."""

    def __init__(self, launch: Callable[[], "NurseryLaunched"], done: Callable[[tuple[str, ...]], None]) -> None:
        self.launch = launch
        self.done = done


class _Said(OneLife):
    def __init__(self, process: "_Process", message: FromNursery | None) -> None:
        self.process = process
        self.message = message


class NurseryLaunched(Launched, Protocol):
    """A nursery process with its socket."""

    @property
    def sock(self) -> socket.socket:
        """Our end, which keeps message boundaries."""
        ...


class _Process:
    """One nursery process: reads its datagrams and passes them to the actor."""

    def __init__(self, actor: "Nursery", launched: NurseryLaunched, deadline: Deadline) -> None:
        self.launched = launched
        self.deadline = deadline
        self.ready = False
        self.workers: dict[int, ForkRequest] = {}
        """Living workers of this process, by pid."""
        self.asked: dict[int, deque[ForkRequest]] = defaultdict(deque)
        """Sent and not answered, by worker; the process answers in order."""
        self._actor = actor
        launched.sock.setblocking(False)
        actor.loop.add_reader(launched.sock, self._read)
        self.open = True

    def _read(self) -> None:
        try:
            data = self.launched.sock.recv(DATAGRAM_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self.close()
        self._actor.remind(_Said(self, _decoder.decode(data) if data else None))

    def answered(self, worker: int) -> ForkRequest:
        """The request that was answered just now."""
        waiting = self.asked[worker]
        request = waiting.popleft()
        if not waiting:
            del self.asked[worker]
        return request

    def close(self) -> None:
        """Stop listening; the process sees EOF and exits, its workers with it."""
        if self.open:
            self.open = False
            self._actor.loop.remove_reader(self.launched.sock)
            self.launched.sock.close()


class Nursery(LoopActor):
    """One process in use, at most one beside it that loads, and old ones that wait for their workers to go."""

    def __init__(
        self,
        mailbox: Mailbox,
        launch: Callable[[], NurseryLaunched],
        ready: Callable[[NurseryReady], None],
        refused: Callable[[tuple[str, ...]], None],
        links: Callable[[], tuple[Mailbox, ...]],
        in_words: Callable[[int], str],
        clock: Clock,
        *,
        pulse_limit_s: float,
        loading_limit_s: float,
    ) -> None:
        super().__init__(mailbox)
        self._clock = clock
        self._pulse_limit_s = pulse_limit_s
        self._loading_limit_s = loading_limit_s
        self._ready = ready
        self._refused = refused
        self._links = links
        self._in_words = in_words
        self._waiting: list[ForkRequest] = []
        self._loading: tuple[_Process, Reload] | None = None
        self._old: list[_Process] = []
        self._rulesets = ""
        self._current = self._watched(launch())
        self._timer = self.later(CHECK_S, Check())

    def on_receive(self, message: ForkRequest | Reload | _Said | Check) -> None:
        """Fork, reload, hear what a process says, or look whether it still says anything."""
        match message:
            case Check():
                self._check()
            case ForkRequest():
                self._waiting.append(message)
                self._fork_waiting()
            case Reload():
                self._reload(message)
            case _Said():
                self._hear(message.process, message.message)

    def closing(self) -> None:
        """All processes end, and their workers with them."""
        self._timer.cancel()
        for process in (self._current, *self._old, *((self._loading[0],) if self._loading else ())):
            process.close()
            process.launched.kill()
        for request in self._waiting:
            request.channel.close()

    def facts(self) -> dict[str, str | int]:
        """Figures for `hidsctl status`."""
        return {"pid": self._current.launched.pid, "rulesets": self._rulesets, "old": len(self._old)}

    def _watched(self, launched: NurseryLaunched) -> _Process:
        return _Process(self, launched, Deadline(self._clock, self._loading_limit_s))

    def _check(self) -> None:
        """End a process that says nothing: one that loads for too long, or one that no longer serves."""
        for process in (self._current, *((self._loading[0],) if self._loading else ())):
            if process.deadline.missed():
                process.launched.kill()
        self._timer = self.later(CHECK_S, Check())

    def _hear(self, process: _Process, message: FromNursery | None) -> None:
        process.deadline.renew()
        match message:
            case Pulse():
                pass
            case NurseryReady():
                self._now_ready(process, message)
            case NurseryRefused():
                self._now_refused(process, message)
            case WorkerForked():
                request = process.workers[message.pid] = process.answered(message.worker)
                request.reply.tell_life(request.life, Forked(message.pid))
            case WorkerExited():
                request = process.workers.pop(message.pid)
                request.reply.tell_life(request.life, WorkerEnded(message.pid, message.status))
                self._let_old_go()
            case None:
                self._ended(process)

    def _now_ready(self, process: _Process, message: NurseryReady) -> None:
        process.ready = True
        process.deadline = Deadline(self._clock, self._pulse_limit_s)
        if self._loading is not None and process is self._loading[0]:
            _, reload = self._loading
            self._loading = None
            self._old.append(self._current)
            self._current = process
            for link in self._links():
                link.tell(Renew())
            reload.done(())
            self._let_old_go()
        self._rulesets = ", ".join(f"{name} ({rules} rules, {hash_})" for name, hash_, _, rules in message.rulesets)
        log.info("rulesets loaded", rulesets=self._rulesets)
        if message.problems:
            log.error("the rules on disk are refused; those that were good last are used", problems=message.problems)
        self._ready(message)
        self._fork_waiting()

    def _now_refused(self, process: _Process, message: NurseryRefused) -> None:
        if self._loading is not None and process is self._loading[0]:
            _, reload = self._loading
            self._loading = None
            process.close()
            reload.done(message.problems)
        elif self.life == 1:
            self._refused(message.problems)
        else:  # broken on disk since it was started: no reason to end, but to try until a person has mended them
            raise ProcessDied(f"the rulesets are refused: {message.problems[0]}")

    def _ended(self, process: _Process) -> None:
        if process is self._current:
            status = process.launched.status()
            if status is None:
                self.later(ENDING_S, _Said(process, None))
                return
            raise ProcessDied(self._in_words(status))
        if self._loading is not None and process is self._loading[0]:
            _, reload = self._loading
            self._loading = None
            reload.done(("the process that loads the rulesets ended; see the manager's log",))
        if process in self._old:
            self._old.remove(process)
        process.launched.kill()
        process.launched.status()

    def _reload(self, message: Reload) -> None:
        if self._loading is not None:
            message.done(("a reload is under way; try again when it is done",))
            return
        self._loading = (self._watched(message.launch()), message)

    def _fork_waiting(self) -> None:
        while self._current.ready and self._current.open and self._waiting:
            request = self._waiting.pop(0)
            try:
                descriptors = [request.channel.fileno(), request.page.fileno()]
            except ValueError:
                request.channel.close()  # its link has died meanwhile and asks again
                continue
            try:
                socket.send_fds(self._current.launched.sock, [_encode(Fork(request.worker))], descriptors)
            except OSError:
                self._waiting.insert(0, request)  # the process is ending; the next one will make it
                return
            self._current.asked[request.worker].append(request)
            request.channel.close()

    def _let_old_go(self) -> None:
        for process in tuple(self._old):
            if not process.workers and not process.asked:
                process.close()
                self._old.remove(process)
                self.loop.call_later(1.0, process.launched.status)
