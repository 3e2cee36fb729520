"""Scans of a host that end in kill -9 at a chosen point. A process that forks one for each scan: `Forks` talks to it.

A point is a transaction of the spool: that is where a scan's state changes for good. Whoever is killed before one has done all
that comes before it, and whoever is killed after one has told nobody that it is stored.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.agent import collector, policy, registry, scan
from hids.agent.collector import SourceState
from hids.agent.config import load
from hids.agent.paths import Excluded
from hids.agent.rootcheck import Rootcheck
from hids.agent.shared import NO_POLICIES
from hids.agent.spool import Spool
from hids.agent.spooler import Desk, Spooler
from hids.agent.syscheck import Syscheck
from hids.messages.lines import LogLine

PATIENCE_S = 30.0


class Order(msgspec.Struct, frozen=True):
    """One scan."""

    config: str
    """agent.toml, with one of syscheck, rootcheck, policy and registry in it."""
    state: str
    """The agent's state folder."""
    kill_at: int = 0
    """Transaction at which to be killed, from 1; 0: none."""
    after: bool = False
    """Not right before it but right after it."""


class Forks:
    """The process, from outside."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(PATIENCE_S)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def scan(self, order: Order) -> bool:
        """Scan once; False: it was killed at its point. Any other end fails."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(msgspec.json.encode(order).decode() + "\n")
        self._process.stdin.flush()
        status = json.loads(self._process.stdout.readline())
        assert status in (0, -signal.SIGKILL), f"a scan ended with status {status}"
        return bool(status == 0)


def main() -> None:
    """Fork a scan for each line that comes."""
    for line in sys.stdin:
        order = msgspec.json.decode(line, type=Order)
        child = os.fork()
        if not child:
            os.dup2(2, 1)  # logs
            signal.alarm(int(PATIENCE_S))
            _arm(order)
            asyncio.run(_scan(order))
            os._exit(0)
        _, status = os.waitpid(child, 0)
        sys.stdout.write(f"{os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


def _arm(order: Order) -> None:
    append: Callable[..., None] = Spool.append
    count = 0

    def counted(spool: Spool, lines: tuple[LogLine, ...], positions: Mapping[str, bytes | None]) -> None:
        nonlocal count
        count += 1
        if count == order.kill_at and not order.after:
            os.kill(os.getpid(), signal.SIGKILL)
        append(spool, lines, positions)
        if count == order.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Spool.append = counted  # type: ignore[method-assign]
    # A transaction for each append, and small ones: more points.
    policy.LINES_AT_ONCE = collector.IN_FLIGHT = 1
    registry.SLICE_KEYS = 2
    scan.SHEET_FACTS = scan.STORED_TOGETHER = scan.BATCH = 3


async def _scan(order: Order) -> None:
    """One scan, until all that it told is stored."""
    folder, config, clock = Path(order.state), load(Path(order.config)), SystemClock()
    desk, spool, mailbox = Desk(1 << 30), Mailbox("spool", 1024), Mailbox("scan")
    failures: list[str | None] = []
    spool.on_exit = mailbox.on_exit = lambda exited: failures.append(exited.failure)
    Spooler.start(spool, folder / "spool.db", desk, clock)
    state = SourceState(name="scan", idle=False)
    desk.routes["scan"] = mailbox
    head: tuple[Any, ...] = (mailbox, spool, state)
    if config.policy.files:
        policy.PolicyWatch.start(*head, config.policy, NO_POLICIES, (), folder / "told", clock, failures.append)
    elif not config.rootcheck.disabled:
        Rootcheck.start(*head, config.rootcheck, Excluded(()), clock, failures.append)
    elif config.registry:
        registry.RegistryReader.start(*head, config.registry[0], clock, failures.append)
    else:
        Syscheck.start(*head, config.syscheck, Excluded([str(folder)]), folder, clock, failures.append)
    while not state.idle:
        assert not failures, failures
        await asyncio.sleep(0.005)


if __name__ == "__main__":
    main()
