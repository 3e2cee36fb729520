"""A stand: a real manager and real agents in folders of their own, started, killed and asked as a user would."""

import datetime
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import psutil
from typer.testing import CliRunner

import hids
from hids.adapters.control import ask
from hids.adapters.paths import ManagerPaths
from hids.errors import HidsError

ROOT = Path(hids.__file__).resolve().parent.parent
PATIENCE_S = float(os.environ.get("HIDS_TEST_PATIENCE_S", "60"))
LOOK_S = 0.02

T = TypeVar("T")


def wait_for(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Wait until `look` gives something true, and return that."""
    deadline = time.monotonic() + patience_s
    pause = threading.Event()
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what}")
        pause.wait(LOOK_S)


def failed_login(user: str, address: str = "192.0.2.7") -> str:
    """A line of sshd about now, with its newline: rule 201210 for every user that does not exist."""
    moment = datetime.datetime.now().astimezone()
    what = f"Failed password for invalid user {user} from {address} port 4022 ssh2"
    return f"{moment:%b %e %H:%M:%S} web1 sshd[7]: {what}\n"


class Daemon:
    """One of our programs as a process, with its log in a file."""

    def __init__(
        self,
        log: Path,
        module: str,
        *arguments: str,
        before: Path | None = None,
        within: tuple[str, ...] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`before`: a folder on Python's path before ours, with a `sitecustomize.py` that sabotages, say.

        `within`: a program and its arguments that start ours in their own process, such as `ip netns exec NAME`.
        `environment`: more variables.
        """
        self.log_path = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [*within, sys.executable, "-m", module, *arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env={
                    **os.environ,
                    **(environment or {}),
                    "PYTHONPATH": os.pathsep.join(map(str, filter(None, (before, ROOT)))),
                },
            )

    @property
    def pid(self) -> int:
        """Process id."""
        return self.process.pid

    def kill(self) -> None:
        """SIGKILL, as a crash would."""
        self.process.kill()
        self.process.wait(10)

    def stop(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(15)

    def output(self) -> str:
        """What it has said so far."""
        return self.log_path.read_text(errors="replace")


class Stand:
    """A manager with its agents below one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.paths = ManagerPaths.of(folder / "m")
        self.ports = {"agents": 0, "join": 0}
        self.manager: Daemon | None = None
        self.agents: dict[str, Daemon] = {}
        self.host = "127.0.0.1"
        """Where the manager listens."""
        self.within: tuple[str, ...] = ()
        """In what agents run, see `Daemon`."""
        self.settings = ""
        self.before: Path | None = None
        """On the manager's path, see `Daemon`."""
        self.environment: dict[str, str] = {}
        """Variables for the manager, beside those that are there."""

    def start_manager(self) -> None:
        """Start it (again), on the ports it had."""
        self.paths.lib.mkdir(parents=True, exist_ok=True)
        config = self.folder / "m" / "manager.toml"
        config.write_text(
            f'[listen]\nagents = "{self.host}:{self.ports["agents"]}"\njoin = "{self.host}:{self.ports["join"]}"\n'
            f"{self.settings}"
        )
        self.paths.ports.unlink(missing_ok=True)
        self.manager = Daemon(
            self.folder / "manager.log",
            "hids.cli.manager",
            *("run", "--config", str(config), "--state", str(self.paths.lib)),
            before=self.before,
            environment=self.environment,
        )
        wait_for(self._listens, f"the manager listens; its log:\n{self.manager.output()}")

    def _listens(self) -> bool:
        assert self.manager is not None
        if self.manager.process.poll() is not None:
            raise AssertionError(f"the manager ended:\n{self.manager.output()}")
        if not self.paths.ports.exists():
            return False
        self.ports = json.loads(self.paths.ports.read_bytes())
        return self.try_ask("status") is not None

    def ask(self, command: str, **arguments: Any) -> Any:
        """Ask the manager over its control socket."""
        return ask(self.paths.control, command, **arguments)

    def try_ask(self, command: str) -> Any:
        """Ask; None while nobody answers."""
        try:
            return self.ask(command)
        except HidsError:
            return None

    def agent_folder(self, name: str) -> Path:
        """Where this agent's files are."""
        return self.folder / name

    def join(self, name: str) -> None:
        """Make an agent, as a person would."""
        answer = self.ask("token")
        folder = self.agent_folder(name)
        folder.mkdir(parents=True, exist_ok=True)
        self.run(
            "hids.cli.agent",
            *("join", f"{self.host}:{self.ports['join']}", "--token", answer["token"], "--ca-pin", answer["pin"]),
            *("--state", str(folder / "state"), "--name", name),
        )

    def joining(self, name: str, /, *options: str, state: Path | None = None, **terms: Any) -> tuple[str, ...]:
        """The arguments of `hids.cli.agent` that join an agent, with a token of these terms."""
        answer = self.ask("token", **terms)
        folder = state or self.agent_folder(name) / "state"
        folder.parent.mkdir(parents=True, exist_ok=True)
        return (
            *("join", f"{self.host}:{self.ports['join']}", "--token", answer["token"], "--ca-pin", answer["pin"]),
            *("--state", str(folder), "--name", name, *options),
        )

    def ctl(self, *arguments: str, status: int = 0) -> Any:
        """Run hidsctl with --json in this process; its exit status must be the one that is expected."""
        from hids.cli import hidsctl  # noqa: PLC0415 - not every stand needs it

        done = CliRunner().invoke(hidsctl.app, ["--state", str(self.paths.lib), "--json", *arguments])
        assert done.exit_code == status, f"hidsctl {arguments}: status {done.exit_code}\n{done.output}{done.exception}"
        return json.loads(done.stdout) if done.stdout else done.stderr

    def join_with(self, *arguments: str, status: int = 0) -> str:
        """Run `hids-agent` with the arguments of `joining` in this process; returns what it says."""
        from hids.cli import agent  # noqa: PLC0415 - as above

        done = CliRunner().invoke(agent.app, list(arguments))
        assert done.exit_code == status, f"hids-agent {arguments}: status {done.exit_code}\n{done.output}"
        return done.output

    def start_agent(
        self, name: str, config: str, before: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> Daemon:
        """Start an agent (again) with this agent.toml; `before` and `environment` as for `Daemon`."""
        folder = self.agent_folder(name)
        (folder / "agent.toml").write_text(config)
        daemon = Daemon(
            folder / "agent.log",
            "hids.cli.agent",
            *("run", "--config", str(folder / "agent.toml"), "--state", str(folder / "state")),
            before=before,
            within=self.within,
            environment=environment,
        )
        self.agents[name] = daemon
        return daemon

    def run(self, module: str, *arguments: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        """Run a command line to its end; raises when its status is not 0."""
        done = subprocess.run(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        if done.returncode:
            raise AssertionError(f"{module} {arguments}: status {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def alerts(self) -> list[dict[str, Any]]:
        """Every alert in alerts.json, complete lines only."""
        path = self.paths.alerts / "alerts.json"
        if not path.exists():
            return []
        return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]

    def rules(self) -> Counter[str]:
        """How often each rule has alerted."""
        return Counter(alert["rule"]["id"] for alert in self.alerts())

    def nodes(self) -> dict[str, dict[str, Any]]:
        """Every place in the tree by name."""
        found: dict[str, dict[str, Any]] = {}

        def visit(node: dict[str, Any]) -> None:
            found[node["name"]] = node
            for child in node["children"]:
                visit(child)

        visit(self.ask("status")["tree"])
        return found

    def whole(self) -> bool:
        """Whether everything in the tree runs."""
        return all(node["state"] == "running" for node in self.nodes().values())

    def pid_of(self, name: str, before: int = 0) -> int:
        """Process id of a place in the tree, once it has one that is not the one `before`."""

        def look() -> int:
            node = self.nodes()[name]
            pid = int(node["facts"].get("pid", 0))
            return pid if node["state"] == "running" and pid != before else 0

        return wait_for(look, f"{name} has a process")

    def close(self) -> None:
        """End everything; nothing may be left."""
        pids = [daemon.pid for daemon in (*self.agents.values(), self.manager) if daemon is not None]
        family = [
            child for pid in pids if psutil.pid_exists(pid) for child in psutil.Process(pid).children(recursive=True)
        ]
        for daemon in (*self.agents.values(), self.manager):
            if daemon is not None and daemon.process.poll() is None:
                daemon.kill()
        _, alive = psutil.wait_procs(family, 10)
        assert not alive, f"processes outlived their manager: {alive}"
