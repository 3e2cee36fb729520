"""Shows hids at work: a real manager and a real agent on this machine, an attack on a demo folder, and the alerts.

Makes a virtual environment, installs the project there, starts both daemons under the current user in a folder of their
own, joins them over TLS with a one-time token, and takes all of it away at the end. `tools/try` starts this.
"""

import argparse
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

import scenario
import sources
from environment import PROJECT, Environment, InstallError, fingerprint, held

READY_S = 60.0
"""For each step until the first alert; takes a second or two."""
ALERTS_S = 60.0
"""From the last line written to the last alert expected; takes well under a second."""
STOP_S = 10.0
LOOK_S = 0.1
SOCKET_ROOM = 60
"""Bytes that a state folder's path may have, so that its socket's stays below the 107 of a unix socket."""
TOLD_LINES = 15
USUAL_PORTS = (1514, 1515)
FREE_PORTS = (0, 0)

INSTALLED = ("pyproject.toml", "README.md", "LICENSE", "hids", "rules", "conf")
_HEAD = re.compile(r"^\S+ \S+ level +\d+ rule (\d+) ")
"""First line of an alert as `hidsctl alerts` prints it."""
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")

IS_TERMINAL = sys.stdout.isatty()
COLOURS = IS_TERMINAL and not os.environ.get("NO_COLOR")


class TryError(Exception):
    """It does not work; the text says what to do."""


class Interrupted(Exception):  # noqa: N818 - asked for
    """A signal asked to end."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


def main() -> int:
    """Run; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/try",
        description="Show hids at work on this machine: manager, agent, an attack on a demo folder, alerts.",
        epilog="Needs no root. As root the agent reads the protected logs too. Everything is taken away at the end.",
    )
    parser.add_argument("--once", action="store_true", help="end when the expected alerts have come: 0, or 1 if not")
    parser.add_argument("--keep", action="store_true", help="leave the state folder (logs, databases) in place")
    options = parser.parse_args()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        with installed() as environment, state_folder(keep=options.keep) as folder:
            Show(environment, folder).run(once=options.once)
    except (TryError, InstallError) as error:
        print(f"tools/try: {error}", file=sys.stderr)
        return 1
    except Interrupted as interrupted:
        left = interrupted.status == 128 + signal.SIGINT and not options.once
        return 0 if left else interrupted.status
    return 0


def _interrupt(number: int, _: object) -> NoReturn:
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, signal.SIG_IGN)  # tidying up is short, and must come to its end
    raise Interrupted(number)


# -- where things are


@contextlib.contextmanager
def installed() -> Generator[Environment]:
    """An environment that has the project as it is now; the one of another state of the project is taken away."""
    files = [path for name in INSTALLED for path in _files(PROJECT / name)]
    stamp = fingerprint(files)
    base = _own_folder()
    environment = Environment(base / f"venv-{stamp[:12]}")
    with held(base / f"{environment.folder.name}.used", fcntl.LOCK_SH):
        if not environment.holds(stamp):
            _forget_others(base, environment.folder)
            with tempfile.TemporaryDirectory(prefix="hids-source-") as copy:
                for name in INSTALLED:  # building would leave its traces among the sources, or could not write there
                    _copy(PROJECT / name, Path(copy) / name)
                environment.ensure((f"{copy}[manager]",), stamp)
        yield environment


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    return [file for file in path.rglob("*") if file.is_file() and file.suffix != ".pyc"]


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        shutil.copyfile(source, target)


def _own_folder() -> Path:
    """Where this user's environment can be: in the project, else in the cache, else in the temporary folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "hids"
    temporary = Path(tempfile.gettempdir()) / f"hids-{os.geteuid()}"
    for folder in (PROJECT / ".try" / str(os.geteuid()), cache, temporary):
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            info = folder.lstat()
            if info.st_uid == os.geteuid() and not info.st_mode & 0o022 and os.access(folder, os.W_OK):
                return folder
    raise TryError(f"no place for a virtual environment: none of {PROJECT / '.try'}, {cache}, {temporary} is writable")


def _forget_others(base: Path, kept: Path) -> None:
    """Remove environments of former states of the project that no run uses."""
    for folder in base.glob("venv-*"):
        if folder.is_dir() and folder != kept:
            used = base / f"{folder.name}.used"
            with contextlib.suppress(BlockingIOError), held(used, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(folder, ignore_errors=True)
                used.unlink(missing_ok=True)
                folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)


@contextlib.contextmanager
def state_folder(*, keep: bool) -> Generator[Path]:
    """A new folder for all that manager and agent write; removed at the end."""
    short = [place for place in (tempfile.gettempdir(), "/tmp", "/var/tmp") if len(place) < SOCKET_ROOM]  # noqa: S108 - mkdtemp makes it safe
    try:
        folder = Path(tempfile.mkdtemp(prefix="hids-try-", dir=short[0]))
    except OSError as error:
        raise TryError(
            f"cannot make a folder in {short[0]}: {error.strerror}; set TMPDIR to a place with room"
        ) from error
    try:
        yield folder
    finally:
        if keep:
            print(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)


# -- processes


class Daemon:
    """One of our programs, running, with its log in a file."""

    def __init__(self, environment: Environment, log: Path, name: str, *arguments: str) -> None:
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                (environment.command(name), *arguments),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment.variables(),
                cwd=log.parent,
                start_new_session=True,  # Ctrl-C is for us: we stop the agent first, then the manager
            )

    @property
    def ended(self) -> bool:
        """Whether it has stopped, which it should not on its own."""
        return self.process.poll() is not None

    def must_run(self) -> None:
        """Raise TryError with its last words when it has ended."""
        if self.ended:
            raise TryError(f"{self.name} ended with status {self.process.returncode}; its log:\n{self.last_words()}")

    def last_words(self) -> str:
        """The end of its log."""
        lines = self.log.read_text(errors="replace").splitlines()
        return "\n".join(f"    {line}" for line in lines[-TOLD_LINES:]) or "    (empty)"

    def stop(self) -> None:
        """SIGTERM, and SIGKILL when that does not help in time."""
        if not self.ended:
            self.process.terminate()
            try:
                self.process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


class Follower:
    """`hidsctl alerts -f`: passes on what it shows, and notes which rules have alerted."""

    def __init__(self, command: Sequence[str], variables: dict[str, str]) -> None:
        self.rules: set[str] = set()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env=variables | {"PYTHONUNBUFFERED": "1"} | ({"FORCE_COLOR": "1"} if COLOURS else {}),
            text=True,
            errors="replace",
            start_new_session=True,
        )
        assert self.process.stdout is not None
        self._thread = threading.Thread(target=self._read, args=(self.process.stdout,), daemon=True)
        self._thread.start()

    def _read(self, pipe: IO[str]) -> None:
        for line in pipe:
            if head := _HEAD.match(_COLOUR.sub("", line)):
                self.rules.add(head[1])
            print(line, end="", flush=True)

    def stop(self) -> None:
        """As Ctrl-C does; what is under way is still shown."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self._thread.join(STOP_S)


# -- the show


class Show:
    """One run, from the first daemon to the last alert."""

    def __init__(self, environment: Environment, folder: Path) -> None:
        self._environment = environment
        self._manager_state = folder / "m"
        self._agent_state = folder / "a"
        self._folder = folder
        self._stage = scenario.Stage(folder / "demo")
        self._running: list[Daemon] = []

    def run(self, *, once: bool) -> None:
        """Play it all.

        Raises:
            TryError: something does not work, or with `once` an expected alert does not come.
        """
        try:
            with contextlib.ExitStack() as follower_ends:
                self._start_manager()
                self._join()
                self._start_agent()
                follower = self._follow()
                follower_ends.callback(follower.stop)
                for what in self._stage.play():
                    _say("now", what)
                    self._all_run()
                self._wait_for_alerts(follower)
                if not once:
                    self._say_what_next()
                    while True:
                        self._all_run()
                        time.sleep(LOOK_S)
            print(f"\nall {len(scenario.EXPECTED)} kinds of alerts that were expected have come")
        finally:
            for daemon in reversed(self._running):
                daemon.stop()

    def _start_manager(self) -> None:
        """On the usual ports; when one of them is taken, on free ones."""
        self._manager_state.mkdir()
        for ports in (USUAL_PORTS, FREE_PORTS):
            config = self._manager_state / "manager.toml"
            config.write_text('[listen]\nagents = "127.0.0.1:{}"\njoin = "127.0.0.1:{}"\n'.format(*ports))
            manager = Daemon(
                self._environment,
                self._folder / "manager.log",
                "hids-manager",
                *("run", "--config", str(config), "--state", str(self._manager_state)),
            )
            if self._comes_up(manager) or ports == FREE_PORTS:
                break
            _say("ports", f"{_listed(USUAL_PORTS)} are not both free here, taking others")
        self._running.append(manager)
        manager.must_run()
        listening = json.loads((self._manager_state / "run" / "ports.json").read_text())
        _say("manager", f"runs, agents on 127.0.0.1:{listening['agents']}, joining on 127.0.0.1:{listening['join']}")

    def _comes_up(self, manager: Daemon) -> bool:
        """Wait until a manager serves; whether it does."""
        try:
            _wait(lambda: manager.ended or self._manager_is_whole(), "the manager is ready", manager)
        except BaseException:
            manager.stop()
            raise
        return not manager.ended

    def _manager_is_whole(self) -> bool:
        if not (self._manager_state / "run" / "ports.json").exists():
            return False
        asked = self._hidsctl("--json", "status")
        return asked.returncode == 0 and bool(json.loads(asked.stdout)["rulesets"])

    def _join(self) -> None:
        """As a person would: a token from the manager, and the command that it prints."""
        made = self._hidsctl("--json", "agent", "token", "--host", "127.0.0.1")
        if made.returncode:
            raise TryError(f"no token: {made.stderr.strip()}")
        answer: dict[str, Any] = json.loads(made.stdout)
        joined = self._call(
            *("hids-agent", "join", f"127.0.0.1:{answer['join_port']}", "--token", answer["token"]),
            *("--ca-pin", answer["pin"], "--state", str(self._agent_state)),
        )
        if joined.returncode:
            raise TryError(f"joining failed: {joined.stderr.strip()}")
        _say("agent", joined.stdout.split(";")[0])

    def _start_agent(self) -> None:
        found = sources.look()
        read = [*found.paths, *(["the journal"] if found.journal else [])]
        live = f"{', '.join(read)}, from their end on" if read else "no log of this machine"
        _say("reads", f"{live}; and the demo folder {self._stage.auth.parent}")
        for note in found.notes:
            _say("not", note)
        config = self._folder / "agent.toml"
        logs = [self._stage.auth, self._stage.access]
        config.write_text(sources.agent_toml(found, self._stage.watched, logs, exclude=[self._manager_state]))
        agent = Daemon(
            self._environment,
            self._folder / "agent.log",
            "hids-agent",
            *("run", "--config", str(config), "--state", str(self._agent_state)),
        )
        self._running.append(agent)
        _wait(self._agent_is_ready, "the agent is connected and has looked at the watched folder", agent)

    def _agent_is_ready(self) -> bool:
        """Connected, and it knows the watched folder, so that what comes next is a change."""
        self._all_run()
        asked = self._call("hids-agent", "status", "--json", "--state", str(self._agent_state))
        if asked.returncode:
            return False
        return any(source["name"] == "syscheck" and source["idle"] for source in json.loads(asked.stdout)["sources"])

    def _follow(self) -> Follower:
        _wait((self._manager_state / "search.db").exists, "there is an index of alerts", self._running[0])
        return Follower((*self._hidsctl_command(), "alerts", "-f"), self._environment.variables())

    def _wait_for_alerts(self, follower: Follower) -> None:
        deadline = time.monotonic() + ALERTS_S
        while missing := scenario.EXPECTED.keys() - follower.rules:
            self._all_run()
            if follower.process.poll() is not None:
                raise TryError(f"hidsctl alerts -f ended with status {follower.process.returncode}")
            if time.monotonic() > deadline:
                follower.stop()
                raise TryError(self._says_missing(missing))
            time.sleep(LOOK_S)

    def _says_missing(self, missing: set[str]) -> str:
        rules = "\n".join(f"    rule {rule}: {scenario.EXPECTED[rule]}" for rule in sorted(missing))
        logs = "\n".join(f"{daemon.name} says:\n{daemon.last_words()}" for daemon in self._running)
        return (
            f"within {ALERTS_S:.0f} s these alerts did not come:\n{rules}\n{logs}\n"
            f"run it with --keep to see all logs ({self._folder.parent}/hids-try-...)"
        )

    def _say_what_next(self) -> None:
        hidsctl = " ".join(self._hidsctl_command())
        tree = json.loads(self._hidsctl("--json", "status").stdout)["tree"]
        worker = next(node["facts"]["pid"] for node in _nodes(tree) if node["name"] == "worker-1")
        watched = self._stage.watched
        print(f"""
It runs, and shows alerts until Ctrl-C. In another terminal, try:
    alias h='{hidsctl}'
    h status
    h alerts --level 10
    h agent list
    tail -n 1 {self._stage.auth} | h logtest
    kill -9 {worker}; h status    # a worker dies: see it replaced, and the reason shown
    {self._environment.command("hids-agent")} status --state {self._agent_state}
    echo hello >> {watched}/settings.ini; rm {watched}/*.sh
    ssh nobody-here@localhost    # or whatever else the logs that it reads will tell of

The daemons' logs:  {self._folder}/manager.log, agent.log
The alerts' files:  {self._manager_state}/logs/alerts
""")

    def _all_run(self) -> None:
        for daemon in self._running:
            daemon.must_run()

    def _hidsctl_command(self) -> tuple[str, ...]:
        return (self._environment.command("hidsctl"), "--state", str(self._manager_state))

    def _hidsctl(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return self._call(*self._hidsctl_command(), *arguments)

    def _call(self, program: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            (str(self._environment.bin / program), *arguments),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=READY_S,
            env=self._environment.variables(),
            start_new_session=True,
            check=False,
        )


def _nodes(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node["children"]:
        yield from _nodes(child)


def _wait(look: Callable[[], bool], what: str, daemon: Daemon) -> None:
    """Wait until `look` says yes.

    Raises:
        TryError: it did not in time.
    """
    deadline = time.monotonic() + READY_S
    while not look():
        if time.monotonic() > deadline:
            raise TryError(f"not within {READY_S:.0f} s: {what}. {daemon.name} says:\n{daemon.last_words()}")
        time.sleep(LOOK_S)


def _listed(ports: Sequence[int]) -> str:
    return " and ".join(map(str, ports))


def _say(label: str, text: str) -> None:
    """One line of ours, told apart from alerts."""
    shown = f"{label:>8}"
    print(f"\x1b[36m{shown}\x1b[0m  {text}" if COLOURS else f"{shown}  {text}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
