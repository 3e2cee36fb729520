#!/usr/bin/env python3
"""Many agents: the memory and CPU of one manager with N sessions over real TLS, and how long lines take.

Each session is a joined identity of its own that says hello and sends its heartbeat every 10 s, as an agent with
nothing to tell does; with --rate it sends that many lines a second, too, and waits for their acknowledgement.

    tools/fake_agents --agents 1000 --seconds 30
    tools/fake_agents --agents 1000 --rate 20 --seconds 60
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import msgspec
from processes import Processes
from stand import Stand, wait_for

from hids.adapters.identity import Identity, client_context
from hids.agent.joining import Manager, join
from hids.agent.spooler import HOLD_S
from hids.core.wire.frames import FrameReader, frame
from hids.core.wire.lines import GENESIS, link, pack
from hids.core.wire.session import PROTOCOL_VERSION
from hids.messages.agent_link import Ack, Heartbeat, Hello, ToAgent, Welcome
from hids.messages.lines import MAX_BATCH_LINES, Batch, LogLine

HEARTBEAT_S = 10.0
AT_ONCE = 20
"""Connections between two breaths: this program shares the machine with the manager."""

UNDER_WAY = 10
"""Batches of one agent that wait for their acknowledgement at most; then it sends no more."""

encode = msgspec.msgpack.Encoder().encode
to_agent = msgspec.msgpack.Decoder(ToAgent)


def join_all(stand: Stand, count: int) -> list[Path]:
    """Join that many agents; returns their folders."""
    answer = stand.ask("token", uses=count, valid_s=3600)
    manager = Manager("127.0.0.1", stand.ports["join"])

    def one(number: int) -> Path:
        folder = stand.folder / f"agent{number}"
        folder.mkdir()
        join(
            manager,
            token=answer["token"],
            pin=answer["pin"],
            name=f"host{number}",
            machine_id=f"machine{number}",
            folder=folder,
        )
        return folder

    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(one, range(count)))


class Sent(NamedTuple):
    """A batch that waits for its acknowledgement."""

    last_seq: int
    written_s: float
    """When its first line was written: what a line waits for its batch counts."""
    sent_s: float


class FakeAgent:
    """One session: hello, heartbeats, and batches of made-up lines as far as the credit goes."""

    def __init__(self, port: int, folder: Path, number: int, options: argparse.Namespace) -> None:
        identity = Identity.read(folder)
        if identity is None:
            raise SystemExit(f"{folder}: not joined")
        self._context = client_context(identity.ca, Identity.file(folder))
        self._port = port
        self._number = number
        self._rate: float = options.rate
        self._every_s: float = options.every
        self._attack_every: int = options.attack_every
        self._chain, self._seq = GENESIS, 1
        self._waiting: deque[Sent] = deque()
        self._welcome = asyncio.Event()
        self.acknowledged = 0
        self.from_line_s: list[float] = []
        """From a line, the first of its batch, to the acknowledgement of the batch, which comes when it is committed."""
        self.from_batch_s: list[float] = []
        """... and from when the batch was sent."""

    async def run(self) -> None:
        """Until cancelled."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=self._context)
        now_ms = time.time_ns() // 1_000_000
        writer.write(frame(encode(Hello(PROTOCOL_VERSION, f"machine{self._number}", 1, 1, 1, GENESIS, now_ms))))
        await asyncio.gather(self._listen(reader), self._beat(writer), self._send(writer))

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        cutter = FrameReader()
        while data := await reader.read(65_536):
            for payload in cutter.feed(data):
                message = to_agent.decode(payload)
                if isinstance(message, Ack):
                    self._acknowledge(message.seq)
                elif isinstance(message, Welcome):
                    self._welcome.set()
                else:
                    raise SystemExit(f"agent {self._number}: {message}")
        raise SystemExit(f"agent {self._number}: the manager closed the session")

    def _acknowledge(self, seq: int) -> None:
        now_s = time.monotonic()
        while self._waiting and self._waiting[0].last_seq <= seq:
            sent = self._waiting.popleft()
            self.from_line_s.append(now_s - sent.written_s)
            self.from_batch_s.append(now_s - sent.sent_s)
        self.acknowledged = seq

    async def _beat(self, writer: asyncio.StreamWriter) -> None:
        await self._welcome.wait()
        while True:
            await asyncio.sleep(HEARTBEAT_S)
            now_ms = time.time_ns() // 1_000_000
            writer.write(frame(encode(Heartbeat(now_ms, now_ms))))

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        """A batch now and then, with the lines that have come meanwhile.

        As an agent does, it waits for the acknowledgement of what is under way, or HOLD_S.
        """
        if not self._rate:
            return
        await self._welcome.wait()
        await asyncio.sleep(self._number % 100 / 100 * self._every_s)
        done = time.monotonic()
        """When the last line was written that is sent."""
        while True:
            now_s = time.monotonic()
            count = min(int((now_s - done) * self._rate), MAX_BATCH_LINES)
            held = self._waiting and now_s < self._waiting[-1].sent_s + HOLD_S
            if count and not held and len(self._waiting) < UNDER_WAY:
                lines = tuple(self._line(self._seq + n) for n in range(count))
                data = pack(lines)
                self._chain = link(self._chain, data)
                batch = Batch(1, self._seq, len(lines), self._chain, data)
                self._seq += len(lines)
                self._waiting.append(Sent(self._seq - 1, done, now_s))
                done += count / self._rate
                writer.write(frame(encode(batch)))
                await writer.drain()
            await asyncio.sleep(self._every_s)

    def _line(self, seq: int) -> LogLine:
        """One line; every so many is a failed login, an alert that feeds windows, and the others matter to nobody."""
        now_ms = time.time_ns() // 1_000_000
        if seq % self._attack_every:
            text = f"Nov 24 10:00:00 host{self._number} CRON[{seq % 30_000}]: (root) CMD (job number {seq})"
            return LogLine("/var/log/syslog", text.encode(), now_ms, now_ms)
        address = f"10.{self._number >> 8}.{self._number & 255}.{seq % 250}"
        what = f"Failed password for invalid user u{seq % 500} from {address} port 22 ssh2"
        text = f"Nov 24 10:00:00 host{self._number} sshd[{seq % 30_000}]: {what}"
        return LogLine("/var/log/auth.log", text.encode(), now_ms, now_ms)


async def hold(stand: Stand, folders: list[Path], options: argparse.Namespace) -> dict[str, object]:
    """Connect all, let them be, and measure."""
    agents: list[FakeAgent] = []
    tasks: list[asyncio.Task[None]] = []
    for number, folder in enumerate(folders):
        agents.append(FakeAgent(stand.ports["agents"], folder, number, options))
        tasks.append(asyncio.create_task(agents[-1].run()))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0.05)
    connected = 0
    while connected < len(folders):
        await asyncio.sleep(0.5)
        for task in tasks:
            if task.done():
                task.result()
        connected = (await asyncio.to_thread(stand.ask, "status"))["agents_connected"]
    tree = Processes(stand, generator=os.getpid())
    before = tree.cpu()
    for agent in agents:
        agent.from_line_s.clear()
        agent.from_batch_s.clear()
    lines = sum(agent.acknowledged for agent in agents)
    began = time.monotonic()
    await asyncio.sleep(options.seconds)
    wall = time.monotonic() - began
    lines = sum(agent.acknowledged for agent in agents) - lines
    cpu = {role: seconds - before.get(role, 0.0) for role, seconds in tree.cpu().items()}
    rss = {role: mib for role, mib in tree.rss().items() if role != "generator"}
    batches = sum(len(agent.from_batch_s) for agent in agents)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "agents": len(folders),
        "rss_mib_all": round(sum(rss.values()), 1),
        "rss_mib_main": round(rss["main"], 1),
        "cpu_percent_of_a_core": round(100 * (sum(cpu.values()) - cpu["generator"]) / wall, 2),
        "cpu_s": {role: round(seconds, 2) for role, seconds in cpu.items()},
        "lines_per_s": round(lines / wall),
        "batches_per_s": round(batches / wall),
        "cpu_ms_per_batch": {role: round(1000 * seconds / batches, 3) for role, seconds in cpu.items() if batches},
        "line_committed_after_ms": in_ms([one for agent in agents for one in agent.from_line_s]),
        "batch_committed_after_ms": in_ms([one for agent in agents for one in agent.from_batch_s]),
    }


def in_ms(seconds: list[float]) -> dict[str, int]:
    """Median and 99th percentile."""
    ordered = sorted(seconds) or [0.0]
    return {
        "median": round(1000 * ordered[len(ordered) // 2]),
        "p99": round(1000 * ordered[len(ordered) * 99 // 100]),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--rate", type=float, default=0.0, help="lines a second of each; 0: none")
    parser.add_argument("--every", type=float, default=1.0, help="seconds from one batch of an agent to its next")
    parser.add_argument("--attack-every", type=int, default=20, help="each such line is a failed login; 1: all are")
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_manager()
            began = time.monotonic()
            folders = join_all(stand, options.agents)
            joined_s = time.monotonic() - began
            print(f"{len(folders)} joined in {joined_s:.1f} s", file=sys.stderr)
            wait_for(stand.whole, "the tree is whole")
            print(json.dumps({"joined_s": round(joined_s, 1), **asyncio.run(hold(stand, folders, options))}))
        finally:
            stand.close()


if __name__ == "__main__":
    main()
