"""The manager's life: one process that stays in the foreground until a signal ends it."""

import asyncio
import faulthandler
import fcntl
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import msgspec
import structlog

import hids
from hids.actors.stage import Exited, Mailbox, Ping
from hids.adapters.files import write_atomically
from hids.adapters.lastwords import LastWords
from hids.adapters.paths import ManagerPaths
from hids.errors import ConfigError, HidsError
from hids.manager.answers import Answers
from hids.manager.config import Config, read_config
from hids.manager.measures import measure
from hids.manager.topology import Topology
from hids.workers.inside import EX_SOFTWARE, set_up_logging

log = structlog.get_logger()

STOP_S = 5.0
"""SIGTERM to exit."""
HUNG_S = 30
"""The event loop did nothing for so long: the process ends, so that the service manager starts it anew."""

EX_CONFIG = 2
"""Exit status for a configuration that a person must mend."""


def run(config_path: Path | None, paths: ManagerPaths) -> int:
    """Run the manager until SIGTERM or SIGINT. Returns the exit status.

    Raises:
        ConfigError: something that a person wrote, or a port that is taken.
    """
    paths.make()
    set_up_logging()
    os.umask(0o027)
    path = config_path or (paths.config if paths.config.exists() else None)
    lock = _lock(paths)
    try:
        return asyncio.run(_main(path, read_config(path), paths))
    finally:
        os.close(lock)


async def _main(config_path: Path | None, config: Config, paths: ManagerPaths) -> int:
    loop = asyncio.get_running_loop()
    ended: asyncio.Future[int] = loop.create_future()

    def finish(status: int) -> None:
        if not ended.done():
            ended.set_result(status)

    def refused(problems: tuple[str, ...]) -> None:
        for problem in problems:
            print(problem, file=sys.stderr)  # noqa: T201 - for the person who wrote the rules
        log.error("the rulesets are refused; correct them and start again", problems=len(problems))
        finish(EX_CONFIG)

    topology = Topology(config, paths, refused)
    answers = Answers(topology, lambda: read_config(config_path))
    words = LastWords(paths.last_words)

    def root_ended(exited: Exited) -> None:
        log.error("the tree cannot be kept alive", reason=exited.failure)
        words.failed(exited.failure or "its tree stopped by itself")
        finish(EX_SOFTWARE)

    topology.root.mailbox.on_exit = root_ended
    watchdog = _Watchdog(loop, (topology.site.registrar,))
    if before := words.before():
        topology.site.tell(before)
    topology.site.tell(f"manager started: version {hids.__version__}")
    words.running()
    topology.start(answers.answer, lambda: measure(paths, answers.status, topology.site.clock.now_ms()))
    write_atomically(
        paths.ports,
        msgspec.json.encode(topology.ports()),
        mode=0o644,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, finish, 0)
    reloads: set[asyncio.Task[None]] = set()
    loop.add_signal_handler(signal.SIGHUP, lambda: reloads.add(loop.create_task(_reload(answers))))
    log.info(
        "manager runs",
        version=hids.__version__,
        agents_port=topology.agents_port.number,
        join_port=topology.join_port.number,
        workers=len(topology.engine.workers),
        pid=os.getpid(),
    )
    status = await ended
    log.info("manager stops", status=status)
    if status != EX_SOFTWARE:
        words.stopped()
    stopped = asyncio.Event()
    topology.root.mailbox.on_exit = lambda _exited: stopped.set()
    topology.root.mailbox.shut_down()
    try:
        async with asyncio.timeout(STOP_S):
            await stopped.wait()
    except TimeoutError:
        log.warning("not everything stopped in time; nothing is lost, agents send again", after_s=STOP_S)
        sys.stderr.flush()
        os._exit(status or EX_SOFTWARE)
    finally:
        watchdog.stop()
    return status


async def _reload(answers: Answers) -> None:
    try:
        await answers.reload()
        log.info("reloaded")
    except HidsError as error:
        log.error("not reloaded", reason=str(error))  # noqa: TRY400 - the text says it all


class _Watchdog:
    """Ends the process when its event loop or a thread of it hangs: a thread cannot be killed, a process can."""

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: Sequence[Mailbox]) -> None:
        """`threads` are the mailboxes of actors with a thread of their own."""
        self._loop = loop
        self._threads = threads
        self._pings: dict[str, Ping] = {}
        self._silent: Counter[str] = Counter()
        self._answered = threading.Event()
        self._stopped = threading.Event()
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        while not self._stopped.wait(1.0):
            self._answered.clear()
            self._loop.call_soon_threadsafe(self._answered.set)
            # One second at a time: a process that was stopped, or a machine that slept, is not a loop that hangs.
            for _ in range(HUNG_S):
                if self._answered.wait(1.0) or self._stopped.is_set():
                    break
            else:
                self._end()
            for mailbox in self._threads:
                self._look_at(mailbox)

    def _look_at(self, mailbox: Mailbox) -> None:
        """Once a second: a thread that does not come back for its next message."""
        ping = self._pings.get(mailbox.name)
        if ping is None or ping.answered.is_set():
            ping = self._pings[mailbox.name] = Ping()
            mailbox.tell(ping)
            self._silent[mailbox.name] = 0
            return
        self._silent[mailbox.name] += 1
        if self._silent[mailbox.name] >= HUNG_S:
            self._end()

    def _end(self) -> None:
        faulthandler.dump_traceback(all_threads=True)
        os._exit(EX_SOFTWARE)

    def stop(self) -> None:
        """The loop is about to end on purpose."""
        self._stopped.set()


def _lock(paths: ManagerPaths) -> int:
    """Hold the state folder: one manager each."""
    descriptor = os.open(paths.pid, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        other = os.read(descriptor, 20).decode(errors="replace").strip()
        os.close(descriptor)
        raise ConfigError(
            f"{paths.lib}: a manager already runs on this state folder (process {other}); "
            "stop it or use another --state"
        ) from error
    os.ftruncate(descriptor, 0)
    os.write(descriptor, f"{os.getpid()}\n".encode())
    return descriptor
