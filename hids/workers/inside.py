"""What every process of the manager does inside: tell its pulse, stop on EOF, end on failure."""

import argparse
import asyncio
import faulthandler
import fcntl
import gc
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any, NoReturn

import structlog

from hids.actors.stage import Exited, Mailbox
from hids.adapters.channel import Channel, open_channel
from hids.adapters.family import die_with_parent
from hids.messages.outputs import Outboxed
from hids.messages.supervision import NodeFacts, Pulse

PULSE_S = 1.0

EX_SOFTWARE = 70
"""Exit status of a process that an actor's failure ended (sysexits.h)."""

log = structlog.get_logger()


def parser_of(name: str) -> argparse.ArgumentParser:
    """The command line of a process, with what main tells all of them."""
    parser = argparse.ArgumentParser(prog=name, description="Started by hids-manager; not for people.")
    parser.add_argument("--channel-fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    return parser


def move_in(parent: int) -> None:
    """What a process does first: it ends with main and not by signals, and says what it has to say as all do."""
    leave_signals_to_main()
    die_with_parent(parent)
    set_up_logging()


def leave_signals_to_main() -> None:
    """Ctrl-C and service managers signal the whole group; in here the end comes as EOF, after the work is done."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)


def collect_seldom() -> None:
    """Look for garbage in circles less often: what events leave behind is not in circles, and caches are long.

    With Python's own threshold of 700 objects every batch of lines had all remembered logs looked through (12 % of the
    CPU time of a worker, by tools/bench_engine).
    """
    gc.set_threshold(100_000, 20, 20)


def set_up_logging() -> None:
    """One line a fact on stderr: JSON unless a person looks at it. Standard logging (pykka's) goes the same way."""
    people = sys.stderr.isatty()
    renderer: Any = structlog.dev.ConsoleRenderer() if people else structlog.processors.JSONRenderer()
    shared: list[Any] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(processor=renderer, foreign_pre_chain=shared))
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)


def hold(path: Path) -> int:
    """Wait until no other process holds `path`, and hold it until this one ends.

    A process that was killed may still be finishing a write when its successor starts. The kernel gives the lock back
    only when it is gone, so the successor loads nothing before that.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


class Stopping:
    """Ends the process's loop, and says with which status."""

    def __init__(self) -> None:
        self._done: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(self, status: int = 0) -> None:
        """End with this status; the first call counts."""
        if not self._done.done():
            self._done.set_result(status)

    async def wait(self) -> int:
        """Wait for `stop`."""
        return await self._done


def end_on_exit(mailboxes: Sequence[Mailbox], stopped: Callable[[str], None] | None = None) -> None:
    """Let the end of any of these actors by a raise end the process: nothing is rolled back in memory.

    Args:
        mailboxes: the actors' places.
        stopped: called with the name of one that ended in order.
    """

    def ended(exited: Exited) -> None:
        if exited.failure is not None:
            log.error("actor failed, the process ends", actor=exited.name, reason=exited.failure)
            sys.stderr.flush()
            os._exit(EX_SOFTWARE)
        if stopped is not None:
            stopped(exited.name)

    for mailbox in mailboxes:
        mailbox.on_exit = ended


class Household:
    """The actors of a process, and its channel to main: they live until main closes it, and then end in order."""

    def __init__(
        self,
        channel_fd: int,
        hears: Any,
        actors: Sequence[Mailbox],
        kind: str,
        receive: Callable[[Any], None],
    ) -> None:
        """Open the channel. An actor that ends by a raise ends the process.

        Args:
            channel_fd: what main gave us.
            hears: union of the messages that come from main.
            actors: their mailboxes.
            kind: what they are, for the tree.
            receive: takes the messages.
        """
        self._actors = tuple(actors)
        self._kind = kind
        self._stopping = Stopping()
        self._left = asyncio.Event()
        self._running = {mailbox.name for mailbox in actors}
        end_on_exit(self._actors, self._gone)
        self._channel = open_channel(
            socket.socket(fileno=channel_fd), hears, on_message=receive, on_close=self._stopping.stop
        )

    def send(self, message: Any) -> None:
        """Say something to main."""
        self._channel.send(message)

    async def live(self) -> int:
        """Tell the pulse until main closes the channel and every actor has ended. Returns the exit status."""
        pulse = asyncio.ensure_future(tell_pulse(self._channel, self._nodes))
        status = await self._stopping.wait()
        pulse.cancel()
        for mailbox in self._actors:
            mailbox.shut_down()
        await self._left.wait()
        return status

    def _nodes(self) -> tuple[NodeFacts, ...]:
        return tuple(node_of(mailbox, self._kind) for mailbox in self._actors)

    def _gone(self, name: str) -> None:
        self._running.discard(name)
        if not self._running:
            self._left.set()


def newest_to(outputs: Sequence[Mailbox]) -> Callable[[Outboxed], None]:
    """Tells each output how far the outbox goes. One that has word of it waiting needs no second: the newest counts."""

    def receive(message: Outboxed) -> None:
        for mailbox in outputs:
            if mailbox.depth == 0:
                mailbox.tell(message)

    return receive


def node_of(mailbox: Mailbox, kind: str) -> NodeFacts:
    """An actor inside this process, for the pulse."""
    return NodeFacts(
        name=mailbox.name,
        kind=kind,
        state="running",
        depth=mailbox.depth,
        bound=mailbox.bound,
        handled=mailbox.handled,
        facts=dict(mailbox.facts()),
    )


async def tell_pulse(channel: Channel, nodes: Callable[[], tuple[NodeFacts, ...]]) -> NoReturn:
    """Send what lives in here each second."""
    while True:
        channel.send(Pulse(nodes=nodes()))
        await asyncio.sleep(PULSE_S)


def run(main: Coroutine[Any, Any, int]) -> NoReturn:
    """Run a process's main coroutine and exit with its status."""
    status = asyncio.run(main)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
