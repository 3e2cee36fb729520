"""The agent as a process: killed, stopped, reloaded, asked."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hids.core.wire.facts import unpack

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.slow


QUIET = "[silence]\ncanary_s = 0\nsources = false\n"
"""Only what a test writes shall arrive."""


class Host:
    """A machine with an agent on it."""

    def __init__(self, folder: Path, manager: Any) -> None:
        self.state = folder / "state"
        self.logs = folder / "logs"
        self.logs.mkdir()
        self.log = self.logs / "app.log"
        self.config = folder / "agent.toml"
        self.configure("start")
        self.output = folder / "stderr"
        manager.identity().write(self.state)
        self.processes: list[subprocess.Popen[bytes]] = []

    def configure(self, from_: str = "start", more: str = "") -> None:
        self.config.write_text(f'[[source]]\npath = "{self.logs}/*.log"\nfrom = "{from_}"\n{more}{QUIET}')

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "hids.cli.agent", *arguments, "--state", str(self.state)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )

    def start(self) -> subprocess.Popen[bytes]:
        with self.output.open("ab") as output:
            process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "hids.cli.agent",
                    "run",
                    "--config",
                    str(self.config),
                    "--state",
                    str(self.state),
                ],
                cwd=ROOT,
                stderr=output,
            )
        self.processes.append(process)
        return process

    def append(self, first: int, count: int) -> None:
        with self.log.open("ab") as file:
            file.write(b"".join(b"line %d\n" % number for number in range(first, first + count)))

    def events(self) -> list[str]:
        return [json.loads(line)["event"] for line in self.output.read_text().splitlines() if line.startswith("{")]


@pytest.fixture
def host(tmp_path: Path, manager: Any) -> Iterator[Host]:
    host = Host(tmp_path, manager)
    yield host
    for process in host.processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def agent_lines(manager: Any) -> list[bytes]:
    return [line.text for line in manager.lines if line.kind == "agent"]


@pytest.mark.fault
def test_killed_again_and_again_in_twenty_thousand_lines_all_arrive_once(host: Host, manager: Any, until: Any):
    wanted = 0
    for turn in range(4):
        process = host.start()
        for _ in range(10):
            host.append(wanted, 500)
            wanted += 500
        goal = 5000 * turn + 1000
        until(lambda goal=goal: len(manager.texts) >= goal)
        if turn == 1:
            host.log.rename(host.logs / "app.log.1")
        process.kill()
        process.wait()
        if turn == 2:
            host.log.rename(host.logs / "app.log.2")
    host.start()
    until(lambda: len(manager.texts) >= wanted)
    assert wanted == 20_000
    assert sorted(manager.texts, key=lambda text: int(text.split()[1])) == [b"line %d" % n for n in range(wanted)]


@pytest.mark.fault
def test_killed_in_the_middle_of_events_of_several_lines_none_is_cut_or_doubled(host: Host, manager: Any, until: Any):
    host.configure("start", 'format = "multi-line_indented"\n')
    wanted = 0

    def append(count: int) -> None:
        nonlocal wanted
        with host.log.open("ab") as file:
            file.write(b"".join(b"event %d\n\tat a\n\tat b\n" % number for number in range(wanted, wanted + count)))
        wanted += count

    for _ in range(2):
        process = host.start()
        append(1500)
        with host.log.open("ab") as file:  # an event that is being written when the agent is killed
            file.write(b"event %d\n\tat a\n" % wanted)
            file.flush()
            until(lambda goal=wanted: len(manager.texts) >= goal - 1000)
            process.kill()
            process.wait()
            file.write(b"\tat b\n")
        wanted += 1
        host.start()
        until(lambda goal=wanted: len(manager.texts) >= goal)
        host.processes[-1].kill()
        host.processes[-1].wait()
    got = sorted(manager.texts, key=lambda text: int(text.split()[1]))
    assert got == [b"event %d at a at b" % number for number in range(wanted)]


def test_sigterm_delivers_and_ends_with_0(host: Host, manager: Any, until: Any):
    process = host.start()
    host.append(0, 3000)
    until(lambda: manager.texts)
    began = time.monotonic()
    process.send_signal(signal.SIGTERM)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 5
    until(lambda: manager.byes == 1)
    started, stopped = agent_lines(manager)
    assert started.startswith(b"agent started: version 0.1.0 on ")
    assert stopped == b"agent stopped: SIGTERM"
    status = host.command("status")
    assert status.returncode == 1
    assert "not running" in status.stdout


def test_sigterm_with_no_manager_keeps_all_for_the_next_start(host: Host, manager: Any, until: Any):
    manager.identity(port=9).write(host.state)
    host.append(0, 100)
    process = host.start()
    status_file = host.state / "status.json"
    until(lambda: status_file.exists() and json.loads(status_file.read_bytes())["spool"]["lines"] == 101)
    began = time.monotonic()
    process.send_signal(signal.SIGINT)
    assert process.wait(10) == 0
    assert time.monotonic() - began < 5
    manager.identity().write(host.state)
    host.start()
    until(lambda: len(manager.texts) == 100)
    until(lambda: len(agent_lines(manager)) > 1)
    assert agent_lines(manager)[1] == b"agent stopped: SIGINT"
    assert host.events().count("no session with the manager, trying on") == 1


def test_sighup_takes_sources_and_syscheck_that_changed(host: Host, manager: Any, until: Any, tmp_path: Path):
    process = host.start()
    host.append(0, 1)
    until(lambda: len(manager.texts) == 1)
    watched = tmp_path / "watched"
    watched.mkdir()
    (tmp_path / "other.txt").write_text("other\n")
    more = f'[[source]]\npath = "{tmp_path}/other.txt"\nfrom = "start"\n[syscheck]\ndirectories = ["{watched}"]\n'
    more += f"[[registry]]\npath = 'HKEY_USERS\\x'\nhive = '{tmp_path}/none'\n"
    host.configure("end", more)
    process.send_signal(signal.SIGHUP)
    until(lambda: any(b"source unreadable" in line.text and b"/none" in line.text for line in manager.lines))
    until(lambda: b"other" in manager.texts)
    until(lambda: any(line.kind == "syscheck" for line in manager.lines))
    (watched / "new").write_text("n")
    until(lambda: f"{watched}/new" in _paths(manager))
    host.append(1, 1)
    until(lambda: b"line 1" in manager.texts)
    host.config.write_text("nonsense = 1")
    process.send_signal(signal.SIGHUP)
    until(lambda: "configuration refused, the old one stays" in host.events())
    host.append(2, 1)
    until(lambda: b"line 2" in manager.texts)
    host.configure()
    process.send_signal(signal.SIGHUP)
    until(lambda: host.events().count("configuration taken") == 2)
    status = json.loads(host.command("status", "--json").stdout)
    until(
        lambda: (
            {source["name"] for source in json.loads(host.command("status", "--json").stdout)["sources"]}
            == {f"source {host.logs}/*.log"}
        )
    )
    assert status["running"]
    assert sorted(manager.texts) == [b"line 0", b"line 1", b"line 2", b"other"]


def _paths(manager: Any) -> set[str]:
    return {fact.path for line in manager.lines if line.kind == "syscheck" for fact in unpack(line.text)}


def test_status_and_sigusr1(host: Host, manager: Any, until: Any):
    process = host.start()
    host.append(0, 10)
    until(lambda: len(manager.texts) == 10)

    def status() -> dict[str, Any]:
        return json.loads(host.command("status", "--json").stdout or "{}")

    until(lambda: status().get("spool", {}).get("lines") == 0 and status()["link"]["connected"])
    shown = status()
    assert shown["pid"] == process.pid
    assert shown["link"]["agent_name"] == "web1"
    assert shown["sources"][0]["files"] == {str(host.log): [host.log.stat().st_size, 0]}
    assert [child["name"] for child in shown["tree"]["children"]] == ["spool", "link", f"source {host.logs}/*.log"]
    text = host.command("status")
    assert text.returncode == 0
    assert f"running, pid {process.pid}" in text.stdout
    assert "connected to 127.0.0.1" in text.stdout
    process.send_signal(signal.SIGUSR1)
    until(lambda: "Current thread" in host.output.read_text())
    process.kill()
    process.wait()
    assert "not running" in host.command("status").stdout


@pytest.mark.fault
def test_a_second_agent_with_the_same_state_is_turned_away(host: Host, manager: Any, until: Any):
    host.start()
    until(lambda: manager.hellos)
    second = host.command("run", "--config", str(host.config))
    assert second.returncode == 1
    assert "another hids-agent runs with this state folder" in second.stderr
    assert second.stderr.count("\n") == 1


def test_what_is_wrong_at_the_start_is_one_line_and_a_status(host: Host, tmp_path: Path):
    (tmp_path / "fresh").mkdir(mode=0o700)
    host.state = tmp_path / "fresh"
    not_joined = host.command("run", "--config", str(host.config))
    assert not_joined.returncode == 3
    assert "has not joined a manager; run hids-agent join" in not_joined.stderr
    host.config.write_text("[spool]\nmax = 3")
    wrong = host.command("run", "--config", str(host.config))
    assert wrong.returncode == 2
    assert "unknown field `max` - at `$.spool`" in wrong.stderr
    nothing = host.command("status")
    assert nothing.returncode == 1
    assert "no agent has run" in nothing.stderr
    assert all(run.stderr.count("\n") == 1 for run in (not_joined, wrong, nothing))


def test_it_rests_below_sixty_megabytes_and_without_work(host: Host, manager: Any, until: Any):
    process = host.start()
    host.append(0, 20_000)
    until(lambda: len(manager.texts) == 20_000)
    ticks = _ticks(process.pid)
    began = time.monotonic()
    until(lambda: time.monotonic() - began > 1.0)
    assert _ticks(process.pid) - ticks <= 0.03 * os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{process.pid}/status").read_text()
    resident_kib = int(status.partition("VmRSS:")[2].split()[0])
    assert resident_kib < 66_000, "60 MB, and what typer takes where pydantic happens to be installed"


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@pytest.fixture(autouse=True)
def _no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
