#!/usr/bin/env python3
"""The whole way, measured: a real manager and a real agent, lines appended to a real file at a steady rate.

Prints CPU seconds per million lines of each process, the memory of the whole tree over time, and how long a line takes
from the append to its committed alert. Times are CPU seconds of the processes, read from the system; the latencies
are wall time and depend on the machine.

    tools/bench_path.py --rate 10000 --seconds 60
    tools/bench_path.py --load realistic.log.xz --rate 0 --json
    tools/bench_path.py --archive                    also keep every line, and tell what that costs
"""

import argparse
import json
import lzma
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from processes import Processes
from stand import Stand, wait_for

MARK = "bench-mark"
PROBE_S = 30.0
"""A probe line whose alert takes longer is lost."""
QUIET_S = 0.3
"""Longer than the agent gathers lines of a steady flow."""


def made_lines() -> Iterator[str]:
    """Benign lines with ever new numbers; one in ten is a failed login."""
    number = 0
    while True:
        number += 1
        moment = time.strftime("%b %d %H:%M:%S")
        if number % 10:
            yield f"{moment} web1 CRON[{number}]: (root) CMD (job number {number})"
        else:
            address = f"198.51.{number // 256 % 256}.{number % 256}"
            what = f"Failed password for invalid user u{number} from {address} port 4022 ssh2"
            yield f"{moment} web1 sshd[{number}]: {what}"


def file_lines(path: Path) -> Iterator[str]:
    """The lines of a file, over and over."""
    opened = lzma.open if path.suffix == ".xz" else open
    while True:
        with opened(path, "rt", errors="replace") as file:
            for line in file:
                yield line.rstrip("\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second; 0: as fast as it goes")
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--lines", type=int, default=0, help="stop after so many instead")
    parser.add_argument("--load", type=Path, help="take the lines from this file (.xz too) instead of making them")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    parser.add_argument("--archive", action="store_true", help="with [archive] enabled")
    options = parser.parse_args()
    lines = file_lines(options.load) if options.load else made_lines()
    with tempfile.TemporaryDirectory() as folder:
        stand = Stand(Path(folder))
        try:
            result = measure(stand, lines, options)
        finally:
            stand.close()
    if options.json:
        print(json.dumps(result))


def measure(stand: Stand, lines: Iterator[str], options: argparse.Namespace) -> dict[str, object]:
    """Write at the rate, wait until all is committed, print, and return the figures."""
    log = stand.folder / "load.log"
    log.touch()
    if options.archive:
        stand.settings = "[archive]\nenabled = true\n"
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    tree = Processes(stand, agent=stand.agents["web1"].pid)
    before, started = tree.cpu(), time.monotonic()
    written = 0
    memory: list[tuple[float, dict[str, float]]] = []
    next_look = 0.0
    with log.open("a") as file:
        while True:
            elapsed = time.monotonic() - started
            if (options.lines and written >= options.lines) or (not options.lines and elapsed >= options.seconds):
                break
            due = int(options.rate * elapsed) - written if options.rate else 20_000
            if options.lines:
                due = min(due, options.lines - written)
            if due > 0:
                file.write("".join(next(lines) + "\n" for _ in range(due)))
                file.flush()
                written += due
            if elapsed >= next_look:
                memory.append((elapsed, tree.rss()))
                next_look = elapsed + max(1.0, options.seconds / 12)
            time.sleep(0.02)
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= written, "all lines are committed", 600)
    wall = time.monotonic() - started
    kept = archived(stand, written, log.stat().st_size / written) if options.archive else {}
    memory.append((wall, tree.rss()))
    after = tree.cpu()
    latencies = probe(stand, log)
    cpu = {role: (after[role] - before.get(role, 0.0)) * 1e6 / written for role in after}
    manager = sum(value for role, value in cpu.items() if role not in ("agent", "index"))
    print(f"{written} lines in {wall:.1f} s: {written / wall:,.0f} a second, committed")
    print("CPU s per million lines: " + ", ".join(f"{role} {value:.2f}" for role, value in cpu.items()))
    print(f"manager without index and agent: {manager:.2f}")
    roles = list(memory[0][1])
    print("memory, MiB: " + " ".join(f"{role:>8}" for role in roles))
    for moment, rss in memory:
        print(f"{moment:8.1f} s   " + " ".join(f"{rss.get(role, 0):8.1f}" for role in roles))
    if kept:
        print("archive: " + ", ".join(f"{name} {value:.4g}" for name, value in kept.items()))
    ordered = sorted(latencies)
    p99 = ordered[int(len(ordered) * 0.99)]
    print(
        f"append to committed alert, idle: median {statistics.median(ordered) * 1000:.0f} ms, p99 {p99 * 1000:.0f} ms"
    )
    return {
        "lines": written,
        "lines_per_s": round(written / wall),
        "cpu_s_per_million": {role: round(value, 3) for role, value in cpu.items()},
        "manager_cpu_s_per_million": round(manager, 3),
        "rss_mib_first": memory[0][1],
        "rss_mib_last": memory[-1][1],
        "latency_median_ms": round(statistics.median(ordered) * 1000, 1),
        "latency_p99_ms": round(p99 * 1000, 1),
        **({"archive": kept} if kept else {}),
    }


def archived(stand: Stand, lines: int, line_bytes: float) -> dict[str, float]:
    """What the archive takes on disk, once it has every line; those that wait for a checkpoint are counted as well."""

    def sizes() -> tuple[int, int]:
        count = size = 0
        for path in stand.paths.archive.rglob("*.db"):
            with closing(sqlite3.connect(path)) as db:
                count += db.execute("SELECT coalesce(sum(count), 0) FROM batch").fetchone()[0]
                size += db.execute("PRAGMA page_count").fetchone()[0] * db.execute("PRAGMA page_size").fetchone()[0]
        return count, size

    wait_for(lambda: sizes()[0] >= lines, "every line is in the archive", 600)
    count, size = sizes()
    return {"lines": count, "bytes_per_line": size / count, "bytes_per_line_read": line_bytes}


def probe(stand: Stand, log: Path, count: int = 100) -> list[float]:
    """Seconds from the append of a line to its alert in alerts.json, one at a time, each after a quiet moment."""
    alerts = stand.paths.alerts / "alerts.json"
    wait_for(lambda: quiet(alerts), "the outputs have caught up", 600)
    latencies: list[float] = []
    with alerts.open("rb") as told, log.open("a") as file:
        told.seek(0, 2)
        for number in range(count):
            mark = f"{MARK}{number}"
            time.sleep(QUIET_S)
            began = time.monotonic()
            moment = time.strftime("%b %d %H:%M:%S")
            file.write(
                f"{moment} web1 sshd[1]: Failed password for invalid user {mark} from 192.0.2.{number} port 1 ssh2\n"
            )
            file.flush()
            text = b""
            while mark.encode() not in text:
                text += told.read()
                if time.monotonic() - began > PROBE_S:
                    raise SystemExit("a probe line made no alert within 30 s")
                time.sleep(0.001)
            latencies.append(time.monotonic() - began)
    return latencies


def quiet(path: Path) -> bool:
    """Whether nothing has been written for a while."""
    size = path.stat().st_size if path.exists() else 0
    time.sleep(1.5)
    return path.exists() and path.stat().st_size == size


if __name__ == "__main__":
    main()
