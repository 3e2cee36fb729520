#!/usr/bin/env python3
"""Many agents at rest: the memory and CPU of one manager with N idle sessions over real TLS.

Each session is a joined identity of its own that says hello and sends its heartbeat every 10 s, as an agent with
nothing to tell does.

    tools/bench_sessions.py --agents 1000 --seconds 30
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import psutil
from stand import Stand, wait_for

from hids.adapters.identity import Identity, client_context
from hids.agent.joining import Manager, join
from hids.core.wire.frames import frame
from hids.core.wire.lines import GENESIS
from hids.core.wire.session import PROTOCOL_VERSION
from hids.messages import Heartbeat, Hello

HEARTBEAT_S = 10.0
AT_ONCE = 20
"""Connections between two breaths: this program shares the machine with the manager."""

encode = msgspec.msgpack.Encoder().encode


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

    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, range(count)))


async def session(stand: Stand, folder: Path, number: int) -> None:
    """Say hello, then only heartbeats."""
    identity = Identity.read(folder)
    if identity is None:
        raise SystemExit(f"{folder}: not joined")
    context = client_context(identity.ca, Identity.file(folder))
    reader, writer = await asyncio.open_connection("127.0.0.1", stand.ports["agents"], ssl=context)
    now_ms = time.time_ns() // 1_000_000
    hello = Hello(PROTOCOL_VERSION, f"machine{number}", 1, 1, 1, GENESIS, now_ms)
    writer.write(frame(encode(hello)))
    await reader.readexactly(4)
    while True:
        await asyncio.sleep(HEARTBEAT_S)
        now_ms = time.time_ns() // 1_000_000
        writer.write(frame(encode(Heartbeat(now_ms, now_ms))))


async def hold(stand: Stand, folders: list[Path], seconds: float) -> dict[str, object]:
    """Connect all, let them be, and measure."""
    tasks = []
    for number, folder in enumerate(folders):
        tasks.append(asyncio.create_task(session(stand, folder, number)))
        if number % AT_ONCE == 0:
            await asyncio.sleep(0.05)
    connected = 0
    while connected < len(folders):
        await asyncio.sleep(0.5)
        connected = (await asyncio.to_thread(stand.ask, "status"))["agents_connected"]
    assert stand.manager is not None
    tree = [psutil.Process(stand.manager.pid), *psutil.Process(stand.manager.pid).children(recursive=True)]
    before = {process.pid: sum(process.cpu_times()[:2]) for process in tree}
    began = time.monotonic()
    await asyncio.sleep(seconds)
    wall = time.monotonic() - began
    cpu = sum(sum(process.cpu_times()[:2]) - before[process.pid] for process in tree)
    rss = sum(process.memory_info().rss for process in tree) / 1048576
    main = tree[0].memory_info().rss / 1048576
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return {
        "agents": len(folders),
        "rss_mib_all": round(rss, 1),
        "rss_mib_main": round(main, 1),
        "cpu_percent_of_a_core": round(100 * cpu / wall, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--agents", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        try:
            stand.start_manager()
            began = time.monotonic()
            folders = join_all(stand, options.agents)
            print(f"{len(folders)} joined in {time.monotonic() - began:.1f} s", file=sys.stderr)
            wait_for(stand.whole, "the tree is whole")
            print(json.dumps(asyncio.run(hold(stand, folders, options.seconds))))
        finally:
            stand.close()


if __name__ == "__main__":
    main()
