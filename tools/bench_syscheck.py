#!/usr/bin/env python3
"""Syscheck, measured: a real manager and a real agent, beside AIDE over the same files with the same attributes.

A first scan lasts from the moment at which the agent is told of the folder until the manager has committed every file
and the agent has its acknowledgement; a re-scan until the agent says that it is through and nothing waits in its spool.
AIDE keeps a file on the same host. Latency is from the write of a file to its alert in alerts.json.

    tools/bench_syscheck --files 50000 --json
    tools/bench_syscheck --path /usr
"""

import argparse
import json
import shutil
import sqlite3
import statistics
import subprocess
import tempfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
from stand import Daemon, Stand, wait_for

AGENT = "web1"
FILE_BYTES = 4096
FILES_A_FOLDER = 1000
PATIENCE_S = 3600.0
PROBES = 50
PROBE_S = 30.0
AIDE_ATTRIBUTES = "p+ftype+i+l+n+u+g+s+m+c+acl+xattrs+caps+sha256"
"""What syscheck looks at by default."""


def make_files(folder: Path, count: int, *, flat: bool) -> None:
    """Small files that differ, `FILES_A_FOLDER` in a folder, or all in one."""
    for number in range(count):
        if number % FILES_A_FOLDER == 0:
            below = folder if flat else folder / f"d{number // FILES_A_FOLDER}"
            below.mkdir(exist_ok=True, parents=True)
        (below / f"file{number}.conf").write_bytes((b"%d\n" % number) * (FILE_BYTES // len(b"%d\n" % number)))


class Bench:
    """One manager with one agent."""

    def __init__(self, stand: Stand, watched: Path) -> None:
        self._stand = stand
        self._watched = watched
        stand.start_manager()
        stand.join(AGENT)
        self._scans = 0
        self._agent: Daemon = stand.start_agent(AGENT, "")
        wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
        self._spool = stand.agent_folder(AGENT) / "state" / "spool.db"
        wait_for(self._is_delivered, "the agent's first words are delivered")
        self.most_mib: dict[str, float] = {}

    def scan(self) -> tuple[float, float, float]:
        """Have the agent scan; returns (wall seconds, CPU seconds of the agent, of the manager)."""
        self._scans += 1
        config = f'[syscheck]\ndirectories = ["{self._watched}"]\nscan_interval_s = {86_400 + self._scans}\n'
        (self._stand.agent_folder(AGENT) / "agent.toml").write_text(config)
        agent, manager = self._cpu_s()
        began = time.monotonic()
        self._agent.process.send_signal(1)
        wait_for(self._is_through, "the scan", PATIENCE_S)
        took = time.monotonic() - began
        agent_after, manager_after = self._cpu_s()
        return took, agent_after - agent, manager_after - manager

    def stored(self) -> int:
        """Files that the manager knows."""
        with closing(sqlite3.connect(f"file:{self._stand.paths.ledger}?mode=ro", uri=True)) as db:
            tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
            table = "baseline" if "baseline" in tables else "syscheck"
            return int(db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - one of two names

    def sizes_mib(self) -> dict[str, float]:
        """Databases on disk."""
        found = {"agent spool.db": self._spool, "manager ledger.db": self._stand.paths.ledger}
        return {name: round(path.stat().st_size / 2**20, 1) for name, path in found.items()}

    def latencies(self, folder: Path) -> list[float]:
        """Seconds from a change to its alert, one at a time."""
        alerts = self._stand.paths.alerts / "alerts.json"
        wait_for(alerts.exists, "the first alerts")
        took: list[float] = []
        with alerts.open("rb") as told:
            told.seek(0, 2)
            for number in range(PROBES):
                name = f"probe-{number}-of-the-bench"
                began = time.monotonic()
                (folder / name).write_text(str(number))
                text = b""
                while name.encode() not in text:
                    text += told.read()
                    if time.monotonic() - began > PROBE_S:
                        raise SystemExit("a change made no alert within 30 s")
                    time.sleep(0.001)
                took.append(time.monotonic() - began)
        return took

    def _is_through(self) -> bool:
        self._look_at_memory()
        return self._agent.output().count("syscheck: scan finished") >= self._scans and self._is_delivered()

    def _is_delivered(self) -> bool:
        if not self._spool.exists():
            return False
        try:
            with closing(sqlite3.connect(f"file:{self._spool}?mode=ro", uri=True)) as db:
                oldest, following = db.execute("SELECT oldest, next FROM numbers").fetchone()
        except (sqlite3.OperationalError, TypeError):
            return False
        return bool(oldest == following)

    def _processes(self) -> dict[str, list[psutil.Process]]:
        assert self._stand.manager is not None
        main = psutil.Process(self._stand.manager.pid)
        return {"agent": [psutil.Process(self._agent.pid)], "manager": [main, *main.children(recursive=True)]}

    def _cpu_s(self) -> tuple[float, float]:
        times = {
            role: sum(sum(process.cpu_times()[:2]) for process in processes)
            for role, processes in self._processes().items()
        }
        return times["agent"], times["manager"]

    def _look_at_memory(self) -> None:
        for role, processes in self._processes().items():
            mib = sum(process.memory_info().rss for process in processes) / 2**20
            self.most_mib[role] = round(max(self.most_mib.get(role, 0.0), mib), 1)


def aide(folder: Path, watched: Path) -> dict[str, float]:
    """AIDE's wall and CPU seconds and memory for `--init` and `--check`; nothing where it is not installed."""
    program = shutil.which("aide")
    if program is None:
        return {}
    config = folder / "aide.conf"
    config.write_text(
        f"database_in=file:{folder}/aide.db\ndatabase_out=file:{folder}/aide.db\ngzip_dbout=no\n"
        f"report_url=file:{folder}/aide.report\nSame = {AIDE_ATTRIBUTES}\n{watched} Same\n"
    )
    figures: dict[str, float] = {}
    for step in ("init", "check"):
        timed = ("/usr/bin/env", "time", "-f", "%e %U %S %M") if shutil.which("time") else ()
        before = time.monotonic()
        cpu = psutil.Process().cpu_times()
        done = subprocess.run(
            [*timed, program, "--config", str(config), f"--{step}"], capture_output=True, text=True, check=False
        )
        figures[f"aide_{step}_s"] = round(time.monotonic() - before, 2)
        after = psutil.Process().cpu_times()
        spent = after.children_user + after.children_system - cpu.children_user - cpu.children_system
        figures[f"aide_{step}_cpu_s"] = round(spent, 2)
        if done.returncode > 7:  # noqa: PLR2004 - up to 7 it says what changed
            raise SystemExit(f"aide --{step}: status {done.returncode}: {done.stderr}{done.stdout}")
    return figures


def measure(folder: Path, watched: Path, options: argparse.Namespace) -> dict[str, Any]:
    """All figures of one run."""
    known = sum(1 for _ in watched.rglob("*")) if options.path is None else 0
    figures: dict[str, Any] = {} if options.no_aide else aide(folder, watched)
    stand = Stand(folder / "stand")
    stand.folder.mkdir()
    try:
        bench = Bench(stand, watched)
        for name in ("first_scan", "rescan"):
            wall, agent, manager = bench.scan()
            figures |= {
                f"{name}_s": round(wall, 2),
                f"{name}_agent_cpu_s": round(agent, 2),
                f"{name}_manager_cpu_s": round(manager, 2),
            }
        figures["stored"] = bench.stored()
        assert figures["stored"] >= known, f"{known} files are there, {figures['stored']} are stored"
        figures["sizes_mib"] = bench.sizes_mib()
        if options.path is None:
            took = sorted(bench.latencies(watched))
            figures["latency_median_s"] = round(statistics.median(took), 3)
            figures["latency_p95_s"] = round(took[int(len(took) * 0.95)], 3)
        figures["most_mib"] = bench.most_mib
    finally:
        stand.close()
    return figures


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=50_000, help="files of 4 KiB to make")
    parser.add_argument("--flat", action="store_true", help="all of them in one folder")
    parser.add_argument("--path", type=Path, help="scan this folder instead")
    parser.add_argument("--below", type=Path, help="where to make files and databases")
    parser.add_argument("--no-aide", action="store_true", help="measure syscheck only")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.below, prefix="hids-bench-") as name:
        folder = Path(name)
        watched = options.path or folder / "watched"
        if options.path is None:
            make_files(watched, options.files, flat=options.flat)
        figures = measure(folder, watched, options)
    for name, value in figures.items():
        print(f"{name:<24} {value}")
    if options.json:
        print(json.dumps(figures))


if __name__ == "__main__":
    main()
