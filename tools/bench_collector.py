#!/usr/bin/env python3
"""The collector, measured: a real agent process that reads real files into its spool, without a manager.

Prints how fast it reads one file, by format; what it takes of CPU and memory meanwhile; and what it takes at rest over many
files. CPU seconds are the process's own, as the system counts them.

    tools/bench_collector.py --lines 500000
    tools/bench_collector.py --files 2000 --rest 20 --json
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

import psutil

from hids.adapters.clock import SystemClock
from hids.adapters.identity import Identity, key_pem, make_csr, new_key
from hids.adapters.pki import Authority
from hids.messages.terms import AgentId

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 300.0
FILES_A_SOURCE = 500

MAKERS = {
    "syslog": lambda n: (
        b"Nov 24 03:21:43 web1 sshd[%d]: Accepted publickey for joe from 192.0.2.7 port %d ssh2\n" % (n, n % 60_000)
    ),
    "json": lambda n: b'{"time":"2026-11-24T03:21:43Z","level":"info","request":%d,"path":"/cart"}\n' % n,
    "multi-line_indented": lambda n: b"2026-11-24 03:21:43 request %d failed\n\tat a.b.C\n\tat d.e.F\n" % n,
    "audit": lambda n: (
        b"type=SYSCALL msg=audit(1.0:%d): arch=c000003e syscall=59\ntype=CWD msg=audit(1.0:%d): cwd=/\n" % (n, n)
    ),
}
"""Format -> what writes event number n."""


class AgentProcess:
    """An agent that has joined a manager which is not there."""

    def __init__(self, folder: Path, config: str) -> None:
        authority = Authority.open_or_create(folder / "ca", SystemClock())
        key = new_key()
        certificate = authority.sign_agent(make_csr(key), AgentId("001"), "bench")
        self.state = folder / "state"
        Identity("127.0.0.1", 9, key_pem(key), certificate, authority.ca_pem).write(self.state)
        (folder / "agent.toml").write_text(config + f"\n[spool]\nmax_bytes = {4 << 30}\n")
        arguments = ("run", "--config", str(folder / "agent.toml"), "--state", str(self.state))
        self._log = (folder / "agent.log").open("wb")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "hids.cli.agent", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=self._log,
            stderr=self._log,
        )
        self._seen = psutil.Process(self.process.pid)

    def spooled(self) -> int:
        """Lines in the spool."""
        path = self.state / "spool.db"
        if not path.exists():
            return 0
        try:
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
                return int(db.execute("SELECT next - 1 FROM numbers").fetchone()[0])
        except sqlite3.OperationalError:
            return 0

    def is_at_rest(self) -> bool:
        """Whether all sources have read all."""
        try:
            status = json.loads((self.state / "status.json").read_bytes())
        except (OSError, ValueError):
            return False
        return bool(status["sources"]) and all(source["idle"] for source in status["sources"])

    def cpu_s(self) -> float:
        """CPU seconds so far."""
        times = self._seen.cpu_times()
        return float(times.user + times.system)

    def rss_mib(self) -> float:
        """Memory now."""
        return float(self._seen.memory_info().rss / 1048576)

    def stop(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait(15)
        self._log.close()


def wait(look: object, what: str) -> None:
    """Wait until `look()` is true."""
    deadline = time.monotonic() + PATIENCE_S
    while not look():  # type: ignore[operator]
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {PATIENCE_S:g} s: {what}")
        time.sleep(0.02)


def read_one(form: str, count: int) -> dict[str, float | str]:
    """One file of `count` events that are there already."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "one.log"
        make = MAKERS[form]
        with path.open("wb") as file:
            for number in range(count):
                file.write(make(number))
        raw = path.read_bytes().count(b"\n")
        agent = AgentProcess(folder, f'[[source]]\npath = "{path}"\nformat = "{form}"\nfrom = "start"\n')
        try:
            wait(lambda: agent.spooled() > 1, "the first lines")
            began, cpu, first = time.monotonic(), agent.cpu_s(), agent.spooled()
            most = agent.rss_mib()

            def done() -> bool:
                nonlocal most
                most = max(most, agent.rss_mib())
                return agent.spooled() >= count + 1  # and the agent's own first words

            wait(done, "all lines")
            took, cpu = time.monotonic() - began, agent.cpu_s() - cpu
        finally:
            agent.stop()
    share = raw / count
    lines = (count + 1 - first) * share
    return {
        "format": form,
        "lines": raw,
        "events": count,
        "lines_per_s": round(lines / took),
        "cpu_s_per_million_lines": round(cpu / lines * 1e6, 2),
        "most_mib": round(most, 1),
    }


def at_rest(files: int, seconds: float) -> dict[str, float]:
    """Many files, and nothing happens."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = ""
        for first in range(0, files, FILES_A_SOURCE):
            part = folder / f"logs{first}"
            part.mkdir()
            for number in range(first, min(first + FILES_A_SOURCE, files)):
                (part / f"{number}.log").write_text("old\n")
            config += f'[[source]]\npath = "{part}/*.log"\n'
        agent = AgentProcess(folder, config)
        try:
            wait(agent.is_at_rest, "rest")
            time.sleep(3)  # the start's last writes
            cpu = agent.cpu_s()
            time.sleep(seconds)
            spent = agent.cpu_s() - cpu
            return {"files": files, "cpu_percent": round(100 * spent / seconds, 2), "mib": round(agent.rss_mib(), 1)}
        finally:
            agent.stop()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=500_000, help="events in the one file")
    parser.add_argument("--files", type=int, default=2_000, help="files at rest")
    parser.add_argument("--rest", type=float, default=20.0, help="seconds of rest")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    result = {
        "one_file": [read_one(form, options.lines) for form in MAKERS],
        "at_rest": at_rest(options.files, options.rest),
    }
    if options.json:
        print(json.dumps(result))
        return
    for row in result["one_file"]:
        print(
            f"{row['format']:<20} {row['lines_per_s']:>8} lines/s  {row['cpu_s_per_million_lines']:>6} CPU s/million  "  # type: ignore[index]
            f"{row['most_mib']:>6} MiB"  # type: ignore[index]
        )
    rest = result["at_rest"]
    print(f"at rest over {rest['files']} files: {rest['cpu_percent']} % of a core, {rest['mib']} MiB")  # type: ignore[index,call-overload]


if __name__ == "__main__":
    main()
