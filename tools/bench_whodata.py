#!/usr/bin/env python3
"""Who-data, measured: a real manager and a real agent; how many processes that end at once are named, and what it costs.

Shells that write one file each and end (`sh -c 'echo > f'`) come one after another; each alert must say who it was. Then
processes that do nothing begin and end as fast as one process can make them.

    tools/bench_whodata
    tools/bench_whodata --provider audit --shells 1000 --forks 50000 --json
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import psutil
from stand import Daemon, Stand, wait_for

AGENT = "web1"
PATIENCE_S = 120.0
REST_S = 10.0
NO_PROGRAM = "/proc/self/no-such-program"


def named(stand: Stand, watched: Path, shells: int) -> Counter[str]:
    """What alerts say of the authors of files that shells wrote which ended at once."""
    script = f"for i in $(seq {shells}); do sh -c 'echo > {watched}/f'$i; done"
    subprocess.run(["sh", "-c", script], check=True)  # noqa: S607
    found: dict[str, str] = {}

    def all_are_told() -> bool:
        found.update(_authors(stand.alerts(), watched))
        return len(found) >= shells

    wait_for(all_are_told, f"{shells} alerts", PATIENCE_S)
    return Counter(found.values())


def _authors(alerts: list[dict[str, Any]], watched: Path) -> dict[str, str]:
    """Path -> "named", "in part", "gone" or "unknown"."""
    found: dict[str, str] = {}
    for alert in alerts:
        path = alert.get("syscheck", {}).get("path", "")
        if path.startswith(f"{watched}/f"):
            process = alert["syscheck"].get("audit", {}).get("process")
            found[path] = _verdict(process)
    return found


def _verdict(process: dict[str, Any] | None) -> str:
    if process is None:
        return "unknown"
    if process.get("gone"):
        return "gone"
    return "named" if str(process.get("command", "")).startswith("sh -c echo") else "in part"


def storm(forks: int) -> float:
    """Begin and end so many processes; returns how many in a second."""
    began = time.monotonic()
    for _ in range(forks):
        with suppress(OSError):
            os.posix_spawn(NO_PROGRAM, [NO_PROGRAM], {})
    return forks / (time.monotonic() - began)


def cpu_s(agent: Daemon) -> float:
    """Of the agent with the processes that it started."""
    main = psutil.Process(agent.pid)
    return sum(sum(process.cpu_times()[:2]) for process in (main, *main.children(recursive=True)))


def rss_mib(agent: Daemon) -> dict[str, float]:
    """Resident memory of the agent and of what it started."""
    main = psutil.Process(agent.pid)
    helpers = sum(process.memory_info().rss for process in main.children(recursive=True))
    return {"agent": round(main.memory_info().rss / 2**20, 1), "helpers": round(helpers / 2**20, 1)}


def share(agent: Daemon, began_cpu_s: float, began_s: float) -> float:
    """Percent of one CPU since then."""
    return round(100 * (cpu_s(agent) - began_cpu_s) / (time.monotonic() - began_s), 1)


def measure(stand: Stand, watched: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    stand.start_manager()
    stand.join(AGENT)
    agent = stand.start_agent(
        AGENT,
        f'[syscheck]\ndirectories = ["{watched}"]\nwhodata = true\nwhodata_provider = "{options.provider}"\npackages = false\n',
    )
    wait_for(lambda: "who-data works" in agent.output(), "who-data")
    wait_for(lambda: "scan finished" in agent.output(), "the first scan")
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    figures: dict[str, Any] = {"provider": options.provider, "shells": options.shells}
    began_cpu_s, began_s = cpu_s(agent), time.monotonic()
    time.sleep(REST_S)
    figures["rest_cpu_percent"] = share(agent, began_cpu_s, began_s)
    figures["authors"] = dict(named(stand, watched, options.shells))
    began_cpu_s, began_s = cpu_s(agent), time.monotonic()
    figures["forks_per_s"] = round(storm(options.forks))
    figures["storm_cpu_percent"] = share(agent, began_cpu_s, began_s)
    figures["rss_mib"] = rss_mib(agent)
    agent.stop()  # in peace, so that audit is as it was
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--provider", choices=("auto", "fanotify", "audit"), default="auto")
    parser.add_argument("--shells", type=int, default=1000, help="that write a file each (default 1000)")
    parser.add_argument("--forks", type=int, default=50_000, help="processes of the storm (default 50000)")
    parser.add_argument("--json", action="store_true", help="one object on the last line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="whodata", dir="/var/tmp") as folder:
        watched = Path(folder) / "watched"
        watched.mkdir()
        with closing(Stand(Path(folder) / "stand")) as stand:
            stand.folder.mkdir()
            figures = measure(stand, watched, options)
    if options.json:
        print(json.dumps(figures))
        return
    for name, value in figures.items():
        print(f"{name:18} {value}")


if __name__ == "__main__":
    main()
