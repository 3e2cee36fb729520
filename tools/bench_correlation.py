#!/usr/bin/env python3
"""Correlation under attack: whether each attacker is told exactly once, and what that costs the lane.

Lines go through the code of worker and lane, with commits to a real ledger.db; only the lane's part is timed. The rules
are OSSEC's own ($HIDS_CONFORMANCE), or ours with --ruleset own. The situations in which OSSEC's daemon was found to miss
attackers:

    logins N     ten failures of one address, N unrelated logins between the fifth and the sixth
    others N     the same, with one failure of each of N other addresses in between
    together N   N attackers at once, 40 failures each, 2,400 failures a second
    turns        ten attackers one after another within five seconds, 40 failures each

and what shows the limits:

    thousand     1,000 attackers at once, 50 failures each, 50,000 failures a second: every line feeds a window
    keys N       N addresses that fail once within an hour (default a million), and 100 attackers among them

Examples:
    tools/bench_correlation
    tools/bench_correlation --situation thousand --json
    tools/bench_correlation --situation "keys 200000" --window-mib 32

Exit status: 0 each attacker was told exactly once, 1 not so, 2 wrong usage.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tools")]

import psutil  # noqa: E402 - the path comes first
from lane_stand import MIB, Host, Lane, Worker, on_a_loop  # noqa: E402
from upstream import LoadError, read_load  # noqa: E402

from hids.adapters.rulesets import read_ruleset  # noqa: E402
from hids.core.rules.load import load  # noqa: E402
from hids.core.rules.plan import Plan, compile_plan  # noqa: E402
from hids.messages.lines import MAX_BATCH_LINES, LogLine  # noqa: E402

USAGE = 2
START_MS = 1_795_478_400_000
HOUR_MS = 3_600_000
BRUTE_FORCE = {"ossec": "5712", "own": "201250"}
"""The rule that each attacker shall give once: more than seven failures (OSSEC), eight (ours) within two minutes."""
BATCHES_A_GROUP = 8
"""About what one commit takes when the lane is busy."""

Events = Iterator[tuple[int, str | None]]
"""(milliseconds, address that fails); without one it is an unrelated login."""

SITUATIONS = (
    *("logins 0", "logins 7000", "logins 9000", "logins 20000"),
    *("others 100", "others 130", "others 200"),
    *("together 10", "together 20", "together 60", "turns", "thousand", "keys 1000000"),
)


class Figures(NamedTuple):
    """What one situation gave."""

    situation: str
    lines: int
    attackers: int
    alerts: int
    """Of the brute force rule."""
    exact: bool
    """Each attacker once, and nobody else."""
    lane_cpu_s: float
    """Of the lane: correlating and committing, system calls included."""
    lines_per_s: int
    """That the lane sustains, by wall time, nothing else running."""
    spilled: int
    """Windows that left memory for lack of room; they are on disk."""
    window_mib: float
    """Largest estimate of the windows in memory."""
    rss_mib: float
    """Growth of this process while the lane worked."""
    disk_mib: float
    """ledger.db at the end."""


def address(number: int) -> str:
    """One of 16 million addresses."""
    return f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"


def one(unrelated: int = 0, others: int = 0) -> Events:
    """Ten failures of one address, and something between the fifth and the sixth."""
    for turn in range(10):
        yield 1000 * turn, address(0)
        if turn == 4:  # noqa: PLR2004 - the fifth
            yield from ((1000 * turn, None) for _ in range(unrelated))
            yield from ((1000 * turn, address(1 + number)) for number in range(others))


def together(attackers: int, failures: int, per_s: int) -> Events:
    """All at once; the order of each round is another."""
    order = random.Random(7)  # noqa: S311 - it shall come out the same each time
    number = 0
    for _ in range(failures):
        for attacker in order.sample(range(attackers), attackers):
            yield number * 1000 // per_s, address(attacker)
            number += 1


def in_turns() -> Events:
    """Ten attackers one after another within five seconds."""
    for attacker in range(10):
        yield from ((500 * attacker + 12 * turn, address(attacker)) for turn in range(40))


def keys(count: int) -> Events:
    """Addresses that fail once, an hour long, and among them 100 that fail ten times within 90 s."""
    attackers = 100
    due: list[tuple[int, int]] = sorted(
        (attacker * (count * 9 // 10) // attackers + turn * max(1, count // 400), attacker)
        for attacker in range(attackers)
        for turn in range(10)
    )
    waiting = iter(due)
    place, attacker = next(waiting)
    for number in range(count):
        at_ms = number * HOUR_MS // count
        while place <= number:
            yield at_ms, address(attacker)
            place, attacker = next(waiting, (count + 1, -1))
        yield at_ms, address(attackers + number)


def situation(name: str) -> tuple[Events, int]:
    """Its events and how many attackers it has.

    Raises:
        ValueError: there is none of that name.
    """
    word, _, number = name.partition(" ")
    count = int(number or 1_000_000)
    match word:
        case "logins":
            return one(unrelated=count), 1
        case "others":
            return one(others=count), 1
        case "together":
            return together(count, 40, 2_400), count
        case "turns":
            return in_turns(), 10
        case "thousand":
            return together(1_000, 50, 50_000), 1_000
        case "keys":
            return keys(count), 100
        case _:
            raise ValueError(
                f"no situation {name!r}; there are: logins N, others N, together N, turns, thousand, keys N"
            )


def line(number: int, at_ms: int, failing: str | None) -> LogLine:
    """What sshd logs; each line is another, as ports and process ids are."""
    what = (
        f"Accepted password for bob from 198.51.100.9 port {1024 + number % 60_000} ssh2"
        if failing is None
        else f"Failed password for invalid user u{number} from {failing} port {1024 + number % 60_000} ssh2"
    )
    stamp = datetime.fromtimestamp(at_ms / 1000, UTC)
    text = f"{stamp:%b %e %H:%M:%S} web1 sshd[{number % 30_000 + 1}]: {what}"
    return LogLine("/var/log/auth.log", text.encode(), at_ms, at_ms)


class StreamClock:
    """As late as the last line that was read."""

    def __init__(self) -> None:
        self.ms = START_MS

    def now_ms(self) -> int:
        """Milliseconds since the epoch."""
        return self.ms

    def monotonic_s(self) -> float:
        """Seconds; the lane's running time."""
        return self.ms / 1000


def measure(name: str, plan: Plan, rule: str, window_mib: int, folder: Path) -> Figures:
    """Run one situation."""
    events, attackers = situation(name)
    clock, host, worker = StreamClock(), Host(1), Worker([plan])
    path = folder / "ledger.db"
    lane = Lane(path, [plan], clock, window_bytes=window_mib * MIB)
    lines = (line(number, START_MS + at_ms, failing) for number, (at_ms, failing) in enumerate(events))
    before = psutil.Process().memory_info().rss
    cpu_s = wall_s = largest = 0.0
    count = batches = rss = 0
    while batch := list(islice(lines, MAX_BATCH_LINES)):
        clock.ms = batch[-1].at_ms
        outcome = worker.outcome(host.job(batch, clock.ms))
        began_cpu, began = time.process_time(), time.perf_counter()
        lane.give(outcome)
        batches += 1
        if batches % BATCHES_A_GROUP == 0:
            lane.commit()
        cpu_s += time.process_time() - began_cpu
        wall_s += time.perf_counter() - began
        count += len(batch)
        if batches % BATCHES_A_GROUP == 0:
            largest = max(largest, lane.window.facts()["window_bytes"])
            rss = max(rss, psutil.Process().memory_info().rss)
            lane.committed.clear()
    lane.commit()
    told = Counter(alert["data"]["srcip"] for alert in lane.alerts() if alert["rule"]["id"] == rule)
    spilled = lane.window.facts()["spilled"]
    lane.stop()
    return Figures(
        situation=name,
        lines=count,
        attackers=attackers,
        alerts=told.total(),
        exact=told == Counter(address(attacker) for attacker in range(attackers)),
        lane_cpu_s=round(cpu_s, 2),
        lines_per_s=round(count / wall_s),
        spilled=spilled,
        window_mib=round(largest / MIB, 1),
        rss_mib=round(max(0, rss - before) / MIB, 1),
        disk_mib=round(path.stat().st_size / MIB, 1),
    )


def plan_of(ruleset: str) -> Plan:
    """The rules, compiled.

    Raises:
        LoadError: the conformance data is not there.
    """
    if ruleset == "own":
        return compile_plan(load("hids", "hids", read_ruleset(ROOT / "rules")))
    folder = os.environ.get("HIDS_CONFORMANCE")
    if not folder:
        raise LoadError("HIDS_CONFORMANCE is not set to the folder of the conformance data; or use --ruleset own")
    found = read_load(Path(folder) / "ossec" / "load.json")
    return compile_plan(load("ossec", "ossec", list(found.files), found.lists))


def main(arguments: list[str] | None = None) -> int:
    """Run the situations; the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/bench_correlation", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--situation", action="append", metavar="NAME", help="only this one; may be repeated")
    parser.add_argument("--ruleset", choices=sorted(BRUTE_FORCE), default="ossec")
    parser.add_argument("--window-mib", type=int, default=256, help="memory for windows, as in [limits]")
    parser.add_argument("--json", action="store_true", help="one JSON object a situation")
    options = parser.parse_args(arguments)
    try:
        plan = plan_of(options.ruleset)
        names: list[str] = options.situation or list(SITUATIONS)
        for name in names:
            situation(name)
    except (LoadError, ValueError) as error:
        print(f"bench_correlation: {error}", file=sys.stderr)
        return USAGE
    exact = True
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            work = partial(measure, name, plan, BRUTE_FORCE[options.ruleset], options.window_mib, Path(folder))
            figures: Figures = on_a_loop(work)
        exact = exact and figures.exact
        print(json.dumps(figures._asdict()) if options.json else _shown(figures), flush=True)
    return 0 if exact else 1


def _shown(figures: Figures) -> str:
    verdict = "exact" if figures.exact else "WRONG"
    return (
        f"{figures.situation:14} {figures.alerts:>5} of {figures.attackers:<5} {verdict}  {figures.lines:>9,} lines"
        f"  {figures.lines_per_s:>7,} lines/s  lane {figures.lane_cpu_s:.2f} CPU s  windows {figures.window_mib} MiB"
        f"  spilled {figures.spilled:,}  rss +{figures.rss_mib} MiB  disk {figures.disk_mib} MiB"
    )


if __name__ == "__main__":
    sys.exit(main())
