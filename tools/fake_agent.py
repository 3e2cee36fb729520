#!/usr/bin/env python3
"""Load for a manager: a real spool and link with a joined identity, and lines that are made up at a given rate.

    hids-agent join manager:1515 --token ... --ca-pin ... --state /tmp/fake
    tools/fake_agent.py --state /tmp/fake --lines 600000 --rate 10000

Every `--attack-every`th line is a failed login from an address of the documentation range 198.51.100.0/24. Prints a
line a second, and at the end one JSON object; ends with 0 when all lines were acknowledged.
"""

import argparse
import asyncio
import contextlib
import datetime as dt
import os
import sys
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import msgspec

from hids.actors.stage import Mailbox
from hids.adapters.clock import SystemClock
from hids.adapters.logs import configure
from hids.agent.collector import IN_FLIGHT, Collector, SourceState
from hids.agent.link import Link
from hids.agent.linkstate import LinkState
from hids.agent.lock import lock
from hids.agent.machine import machine_id
from hids.agent.spooler import Desk, Spooler
from hids.errors import HidsError
from hids.messages.lines import MAX_BATCH_LINES, LogLine

TICK_S = 0.02
MAX_SPOOL_BYTES = 512 * 1024**2


class Generator(Collector):
    """Puts lines into the spool, at a rate, as a tail would."""

    def __init__(self, mailbox: Mailbox, spool: Mailbox, state: SourceState, options: argparse.Namespace) -> None:
        super().__init__(mailbox, spool, state)
        self._options = options

    async def run(self) -> None:
        """Make all lines, then rest."""
        texts = islice(made_up(self._options.attack_every), self._options.lines)
        began = time.monotonic()
        made = 0
        while made < self._options.lines:
            due = min(self._options.lines, int((time.monotonic() - began + TICK_S) * self._options.rate))
            while made < due:
                now_ms = SystemClock().now_ms()
                part = tuple(
                    LogLine(location="/var/log/auth.log", text=text, at_ms=now_ms, read_ms=now_ms)
                    for text in islice(texts, min(MAX_BATCH_LINES, due - made))
                )
                await self.put(part, {})
                made += len(part)
            await asyncio.sleep(TICK_S)
        await self.all_stored()
        self._state.idle = True


def made_up(attack_every: int) -> Iterator[bytes]:
    """Lines of a busy SSH server."""
    number = 0
    while True:
        number += 1
        stamp = dt.datetime.now().astimezone().strftime("%b %e %H:%M:%S")
        if attack_every and number % attack_every == 0:
            host = number // attack_every % 256
            what = f"Failed password for root from 198.51.100.{host} port 4{number % 10_000:04} ssh2"
        else:
            what = f"Accepted publickey for user{number % 500} from 10.0.{number % 256}.{number % 200} port 22 ssh2"
        yield f"{stamp} fake{os.getpid() % 100} sshd[{number % 30_000}]: {what}".encode()


async def main(options: argparse.Namespace) -> int:
    """Send, report, and wait for the last acknowledgement."""
    clock = SystemClock()
    desk, link_state, source = Desk(MAX_SPOOL_BYTES), LinkState(), SourceState(name="made up")
    boxes = {name: Mailbox(name, 4 * IN_FLIGHT + 16) for name in ("spool", "link", "made up")}
    ended: asyncio.Queue[str] = asyncio.Queue()
    for box in boxes.values():
        box.on_exit = lambda exited: ended.put_nowait(exited.name)
    desk.link, desk.routes["made up"] = boxes["link"], boxes["made up"]
    Spooler.start(boxes["spool"], options.state / "spool.db", desk, clock)
    sources = {"made up": source}
    Link.start(
        boxes["link"], boxes["spool"], desk, link_state, sources, options.state, machine_id(options.state), clock
    )
    Generator.start(boxes["made up"], boxes["spool"], source, options)
    began = time.monotonic()
    while time.monotonic() - began < options.timeout and not (source.idle and desk.lines == 0):
        await asyncio.sleep(1.0 if not source.idle else 0.05)
        print(f"{source.lines} made, {desk.lines} wait, connected: {link_state.connected}", file=sys.stderr)
    seconds = time.monotonic() - began
    report = {
        "lines": source.lines,
        "acknowledged": source.lines - desk.lines,
        "seconds": round(seconds, 2),
        "lines_per_second": round((source.lines - desk.lines) / seconds),
        "problem": link_state.problem,
    }
    print(msgspec.json.encode(report).decode())
    for name in ("link", "spool"):
        boxes[name].shut_down()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(5.0):
                while await ended.get() != name:
                    pass
    return 0 if source.idle and desk.lines == 0 else 1


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--state", type=Path, required=True, help="folder that hids-agent join has filled")
    parser.add_argument("--lines", type=int, default=100_000, help="how many in all (%(default)s)")
    parser.add_argument("--rate", type=float, default=10_000, help="lines a second (%(default)s)")
    parser.add_argument("--attack-every", type=int, default=1000, help="every so many lines; 0: never (%(default)s)")
    parser.add_argument("--timeout", type=float, default=600, help="seconds to give up after (%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    configure()
    chosen = options()
    try:
        held = lock(chosen.state)
        status = asyncio.run(main(chosen))
    except HidsError as error:
        sys.exit(f"fake_agent: {error}")
    os.close(held)
    sys.exit(status)
