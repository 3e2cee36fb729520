#!/usr/bin/env python3
"""What an agent costs that has something to say: a real manager, a real agent, lines at an even rate.

Prints the agent's CPU seconds as a share of one core, and its memory, for lines that come one by one and in small groups.

    tools/bench_agent.py --rate 100 --seconds 60
    tools/bench_agent.py --rate 100 --groups 1 10 25 50 --json
"""

import argparse
import json
import tempfile
import time
from pathlib import Path

import psutil
from stand import Stand, wait_for

SETTLE_S = 5.0
"""After joining: the start's last writes."""


def flow(rate: float, group: int, seconds: float, config: str) -> dict[str, float]:
    """One agent whose file grows by `group` lines at a time."""
    with tempfile.TemporaryDirectory(prefix="hids-bench-") as name:
        folder = Path(name)
        stand = Stand(folder)
        try:
            stand.start_manager()
            stand.join("web1")
            path = folder / "one.log"
            path.touch()
            daemon = stand.start_agent("web1", f'[[source]]\npath = "{path}"\n{config}')
            wait_for(lambda: stand.ask("status")["agents_connected"], "the agent is connected")
            time.sleep(SETTLE_S)
            seen = psutil.Process(daemon.pid)
            before, began, made = seen.cpu_times(), time.monotonic(), 0
            with path.open("a") as file:
                while (now := time.monotonic() - began) < seconds:
                    while made + group <= now * rate:
                        file.write("".join(map(plain, range(made, made + group))))
                        file.flush()
                        made += group
                    time.sleep(max(0.0, (made + group) / rate - (time.monotonic() - began)))
            after = seen.cpu_times()
            wait_for(lambda: not any(row.get("spooled") for row in stand.ask("agents")), "all is delivered")
            spent = after.user + after.system - before.user - before.system
            return {
                "rate": rate,
                "group": group,
                "cpu_percent": round(100 * spent / seconds, 2),
                "of_it_system": round(100 * (after.system - before.system) / seconds, 2),
                "mib": round(seen.memory_info().rss / 1048576, 1),
            }
        finally:
            stand.close()


def plain(number: int) -> str:
    """A line that is no alert."""
    return f"Nov 24 10:00:00 web1 CRON[{number % 30000}]: (root) CMD (command number {number})\n"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rate", type=float, default=100.0, help="lines a second (%(default)s)")
    parser.add_argument("--groups", type=int, nargs="*", default=[1, 10], help="lines at a time (%(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each (%(default)s)")
    parser.add_argument("--config", default="", help="more lines of agent.toml")
    parser.add_argument("--json", action="store_true", help="one object on one line")
    options = parser.parse_args()
    rows = [flow(options.rate, group, options.seconds, options.config) for group in options.groups]
    if options.json:
        print(json.dumps({"flows": rows}))
        return
    for row in rows:
        print(f"{row['rate']:g} lines/s, {row['group']} at a time: {row['cpu_percent']} % of a core "
              f"({row['of_it_system']} in the kernel), {row['mib']} MiB")  # fmt: skip


if __name__ == "__main__":
    main()
