#!/usr/bin/env python3
"""Kill -9 at every point of the way of one line: the eighth failed login of an address, which reaches a rule's threshold.

    tools/kill_points
    tools/kill_points --victim lane --victim manager --json
    tools/kill_points --victim manager --at lane            main is killed while the lane stands still at each of its points
    tools/kill_points --every 10                            only each tenth point

What others see of a process are its system calls, and nothing of it changes between two of them but shared memory. So the
points are its calls: while the threshold's line passes, they are recorded once (with strace); then there is one attacker for
each, and the process is killed at the entry of that call, which is not done any more. Calls that change nothing for others
(asking for one's own number, waiting, giving back a lock) are left out: a kill before such a call is a kill before the next.

With --at another process is held at the entry of each of its calls, the victim killed, and the other let go.

Nothing is built into the product for this: a real manager with one worker, a real agent, a real log file. Every attacker must
be told exactly once in alerts.json, the numbers of alerts be without gap, and the ledger balance. Ends with 0 when that is
so, 1 when not, 2 when processes cannot be traced here (strace is missing or not allowed).
"""

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import psutil
from sabotage import family
from stand import Stand, failed_login, wait_for

from hids.adapters.clock import SystemClock
from hids.errors import HidsError

USAGE = 2
BRUTE_FORCE = "201250"
BEFORE = 7
"""One more failure fires the rule."""
AGENT = "web1"
ROLES = ("worker", "lane", "manager", "outputs", "agent")
UNSEEN = {
    *("brk", "madvise", "mmap", "munmap", "getpid", "getrandom", "getrusage", "gettid"),
    *("clock_nanosleep", "epoll_ctl", "epoll_wait", "futex", "restart_syscall", "rt_sigprocmask", "rt_sigreturn"),
    *("sched_yield", "close", "fcntl", "fstat", "ioctl", "lseek", "newfstatat", "pread64"),
}
"""Calls that change nothing for other processes and on no disk, or only what a kill changes as well (locks, descriptors)."""
SETTLE_S = 1.2
"""Cursors are saved each second, and what has to do with them goes on for so long after the alert is written."""
LONG = ("outputs", "manager")
"""They have to do with cursors themselves; of the others what comes after the alert is a pulse, or another line's."""
QUIET_S = 0.1
REST_S = 5.5
"""A process of the manager lives so long before it is killed: one that dies 13 times in a row within 5 s takes others with it."""
NEAR = (0, 0, -1, 1, -2, 2)
"""A pulse or a heartbeat may come between: then it is another call that is met, and the calls around it are tried."""
CALL = re.compile(r"^\d+ +(\w+)\((.*)", re.MULTILINE)
MESSAGE = re.compile(r"type\\2[4-7]\d(\w+)")
"""The kind of one of our messages in what strace shows of a call: msgpack's "type", and a short text behind it."""
BESIDE = {"pulse"}
"""Messages that have nothing to do with a line."""
KILLED = "+++ killed by SIGKILL"
HELD_US = 600_000_000
"""How long a process would be held; it is let go before."""
LOOKS = 5
"""Each call is a stop of a moment; who is seen stopped so often in a row, 20 ms apart, is held."""


class Point(NamedTuple):
    """A place on the way."""

    role: str
    """The process that comes there."""
    call: str
    """Name of a system call ..."""
    turn: int
    """... and how many of that name it is, from 1, since the tracing began."""
    message: str = ""
    """The kind of our message that it sends, where that can be seen."""

    def __str__(self) -> str:
        return f"{self.call} {self.turn}{f' ({self.message})' if self.message else ''} of {self.role}"


class Call(NamedTuple):
    """A system call, as strace shows it."""

    name: str
    message: str


def calls(text: str) -> list[Call]:
    """The system calls in what strace has written."""
    return [
        Call(name, found[1] if name == "sendto" and (found := MESSAGE.search(rest)) else "")
        for name, rest in CALL.findall(text)
    ]


class Trial(NamedTuple):
    """One kill."""

    victim: str
    point: Point
    attacker: str
    met: bool
    """The process came there; it makes a call more or less each time ..."""
    right: bool
    """... and did there what it did when it was recorded."""
    committed: bool
    """The line was in the ledger when the victim died ..."""
    written: bool
    """... and its alert in alerts.json."""
    recovery_s: float
    """From the kill until the alert was written and everything ran again."""


class Tracer:
    """strace on a running process, from outside."""

    def __init__(self, pid: int, log: Path, point: Point | None = None, *, hold: bool = False) -> None:
        """Returns when every thread is traced. At `point` the process is killed, or held; without one calls are recorded."""
        what = f"delay_enter={HELD_US}" if hold else "signal=KILL"
        asked = [] if point is None else ["-e", f"trace={point.call}"]
        done = [] if point is None else ["-e", f"inject={point.call}:{what}:when={point.turn}"]
        self._log, self._pid = log, pid
        self._looks = 0
        self._process = subprocess.Popen(
            [shutil.which("strace") or "/usr/bin/strace", "-f", "-q", "-p", str(pid), "-o", str(log), *asked, *done],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_for(lambda: self.ended or _is_traced(pid), f"strace traces {pid}")

    @property
    def ended(self) -> bool:
        """Its process is gone."""
        return self._process.poll() is not None

    @property
    def killed(self) -> bool:
        """Its process was killed."""
        return KILLED in self.text()

    def text(self) -> str:
        """What it has recorded."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""

    def holds(self) -> bool:
        """A thread of the process stands still in the tracer's hand. To be asked again and again."""
        held = False
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            tasks = list(Path(f"/proc/{self._pid}/task").iterdir())
            held = any("\nState:\tt " in (task / "status").read_text() for task in tasks)
        self._looks = self._looks + 1 if held else 0
        return self._looks >= LOOKS

    def end(self) -> None:
        """Let go of the process."""
        if not self.ended:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:  # it waits for a thread that was killed meanwhile
            self._process.kill()
            self._process.communicate()


def _is_traced(pid: int) -> bool:
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        return all("\nTracerPid:\t0\n" not in (task / "status").read_text() for task in tasks)
    return False


def _is_gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def why_not() -> str:
    """Why processes cannot be traced here; empty when they can."""
    if shutil.which("strace") is None:
        return "strace is not installed"
    with subprocess.Popen(["/bin/sleep", "60"]) as process, tempfile.TemporaryDirectory() as folder:
        tracer = Tracer(process.pid, Path(folder) / "log")
        refused = tracer.ended
        tracer.end()
        process.kill()
    return "the system does not let strace attach to a process" if refused else ""


class Way(Stand):
    """A stand with one agent, one worker and one log, in which attackers reach the threshold."""

    def __init__(self, folder: Path, settle_s: float = SETTLE_S, rest_s: float = REST_S) -> None:
        super().__init__(folder)
        self._settle_s = settle_s
        self._rest_s = rest_s
        self._clock = SystemClock()
        self.log = folder / "auth.log"
        self.settings = "[workers]\ncount = 1\n"
        self.attackers: list[str] = []
        self._read = 0
        self.told: Counter[str] = Counter()
        """Alerts of the threshold's rule by attacker."""
        self.numbers: list[int] = []
        """Of all alerts."""

    def begin(self) -> None:
        """Start everything."""
        self.log.touch()
        self.start_manager()
        self.join(AGENT)
        self._start_agent()
        wait_for(lambda: self.nodes().get("session-1"), "the agent is connected")

    def _start_agent(self) -> None:
        self.start_agent(AGENT, f'[[source]]\npath = "{self.log}"\nfrom = "start"\n')

    def pid(self, role: str) -> int:
        """Process id of a role."""
        if role == "agent":
            return self.agents[AGENT].pid
        assert self.manager is not None
        main = self.manager.pid
        return wait_for(lambda: family(main).get(role, []), f"there is a process of {role}")[0]

    def committed(self) -> int:
        """Last sequence of the agent in the ledger; no process of the manager is asked."""
        with contextlib.closing(sqlite3.connect(f"file:{self.paths.ledger}?mode=ro", uri=True)) as ledger:
            row = ledger.execute("SELECT max(seq) FROM progress WHERE source LIKE 'agent/%'").fetchone()
        return int(row[0] or 0)

    def look(self) -> Counter[str]:
        """Read what is new in alerts.json; returns `told`."""
        path = self.paths.alerts / "alerts.json"
        if path.exists():
            with path.open("rb") as file:
                file.seek(self._read)
                new = file.read()
            whole = new[: new.rfind(b"\n") + 1]
            self._read += len(whole)
            for alert in map(json.loads, whole.splitlines()):
                self.numbers.append(alert["hids"]["number"])
                if alert["rule"]["id"] == BRUTE_FORCE:
                    self.told[alert["data"]["srcip"]] += 1
        return self.told

    def prepare(self) -> str:
        """A new attacker, all of whose failures but the last are committed, and nothing left to do."""
        number = len(self.attackers) + 1
        attacker = f"10.9.{number >> 8}.{number & 255}"
        self.attackers.append(attacker)
        before = self.committed()
        self.append("".join(failed_login(f"u{turn}", attacker) for turn in range(BEFORE)))
        wait_for(lambda: self.committed() >= before + BEFORE, "all but the last failure are committed")
        time.sleep(self._settle_s)
        return attacker

    def append(self, text: str) -> None:
        """Write to the log, as sshd does."""
        with self.log.open("a") as file:
            file.write(text)

    def record(self, role: str) -> list[Point]:
        """The points of a role: what it does while the threshold's line passes."""
        attacker = self.prepare()
        tracer = Tracer(self.pid(role), self.folder / f"{role}.calls")
        self.append(failed_login("last", attacker))
        wait_for(lambda: self.look()[attacker], "the attacker is told")
        time.sleep(self._settle_s if role in LONG else QUIET_S)
        tracer.end()
        turns: Counter[str] = Counter()
        points: list[Point] = []
        for call in calls(tracer.text()):
            turns[call.name] += 1
            if call.name not in UNSEEN and call.message not in BESIDE:
                points.append(Point(role, call.name, turns[call.name], call.message))
        return points

    def kill_at(self, victim: str, point: Point) -> Trial:
        """Kill the victim when the point's process is there, and let everything go on."""
        self._rest(victim)
        attacker = self.prepare()
        before, pids = self.committed(), (self.pid(point.role), self.pid(victim))
        itself = victim == point.role
        log = self.folder / "kill.calls"
        log.unlink(missing_ok=True)
        tracer = Tracer(pids[0], log, point, hold=not itself)
        self.append(failed_login("last", attacker))
        met = self._wait_at(point, tracer, attacker, itself=itself)
        if met and not itself:
            os.kill(pids[1], signal.SIGKILL)
        committed, written = self.committed() > before, bool(self.look()[attacker])
        began = time.monotonic()
        tracer.end()
        if itself:  # it may have come there when nobody looked any more
            met = tracer.killed or _is_gone(pids[0])
        if met:
            self._mend(victim)
        last = calls(tracer.text())[-1:]
        right = met and bool(last) and last[0].message == point.message
        wait_for(lambda: self.look()[attacker], f"the attacker is told after a kill of {victim} before {point}")
        wait_for(self._runs, "everything runs again")
        return Trial(victim, point, attacker, met, right, committed, written, time.monotonic() - began)

    def tries(self, victim: str, point: Point) -> Iterator[Trial]:
        """Kill at the point until the process is met doing what was recorded."""
        for near in NEAR:
            trial = self.kill_at(victim, point._replace(turn=max(1, point.turn + near)))
            yield trial._replace(point=point)
            if trial.right:
                return

    def _wait_at(self, point: Point, tracer: Tracer, attacker: str, *, itself: bool) -> bool:
        """Wait until the process is there, or surely will not come there any more."""
        over: list[float] = []

        def look() -> str:
            if tracer.ended if itself else tracer.holds():
                return "met"
            if not over and self.look()[attacker]:
                over.append(time.monotonic() + (self._settle_s if point.role in LONG else QUIET_S))
            return "over" if over and time.monotonic() > over[0] else ""

        return wait_for(look, f"{point} is met, or all is over") == "met"

    def _rest(self, victim: str) -> None:
        """Let it live for a while first."""
        if victim not in ("manager", "agent"):
            alive = psutil.Process(self.pid(victim)).create_time() + self._rest_s
            wait_for(lambda: self._clock.now_ms() / 1000 > alive, f"{victim} has lived {self._rest_s} s")

    def _runs(self) -> bool:
        """Everything runs; False as well when nobody answers."""
        try:
            return self.whole()
        except HidsError:
            return False

    def _mend(self, victim: str) -> None:
        """What the service manager does."""
        if victim == "manager":
            assert self.manager is not None
            self.manager.process.wait(10)
            self.start_manager()
        if victim == "agent":
            self.agents[AGENT].process.wait(10)
            self._start_agent()

    def wrong(self) -> dict[str, Any]:
        """What is not as promised, at the end; empty when all is."""
        self.look()
        return wrong(self.attackers, self.told, self.numbers, balances=self.ctl("ledger", "verify")["balances"])


def wrong(attackers: Iterable[str], told: Counter[str], numbers: list[int], *, balances: bool) -> dict[str, Any]:
    """What of these is not as promised: each attacker told once, alerts numbered from 1, none written twice."""
    found: dict[str, Any] = {
        "missing": sorted(attacker for attacker in attackers if not told[attacker]),
        "doubled": sorted(attacker for attacker, times in told.items() if times > 1),
        "gaps": sorted(set(range(1, max(numbers, default=0) + 1)) - set(numbers)),
        "written_twice": sorted(number for number, times in Counter(numbers).items() if times > 1),
        "ledger": "" if balances else "does not balance",
    }
    return {what: which for what, which in found.items() if which}


def in_turns(lists: Iterable[list[tuple[str, Point]]]) -> Iterator[tuple[str, Point]]:
    """One of each list after another: who dies again and again at once is started anew with pauses."""
    return (pair for pair in chain.from_iterable(zip_longest(*lists)) if pair is not None)


def sweep(way: Way, victims: Iterable[str], at: str = "", every: int = 1) -> Iterator[Trial]:
    """Kill each victim at each point of its own way, or that of process `at`."""
    lists = [[(victim, point) for point in way.record(at or victim)[::every]] for victim in victims]
    for victim, point in in_turns(lists):
        for trial in way.tries(victim, point):
            yield trial
            if trial.met and trial.written:  # after the alert one call is like another
                break


def figures(trials: list[Trial]) -> dict[str, dict[str, Any]]:
    """What came of the kills, by victim and process."""
    found: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys((trial.victim, trial.point.role) for trial in trials):
        own = [trial for trial in trials if (trial.victim, trial.point.role) == name]
        met = [trial for trial in own if trial.met]
        spans = sorted(trial.recovery_s for trial in met)
        found[name[0] if name[0] == name[1] else f"{name[0]} at {name[1]}"] = {
            "points": len({trial.point for trial in own}),
            "met": len({trial.point for trial in own if trial.right}),
            "kills": len(met),
            "before_commit": sum(not trial.committed for trial in met),
            "committed_not_written": sum(trial.committed and not trial.written for trial in met),
            "written": sum(trial.written for trial in met),
            "recovery_median_s": round(spans[len(spans) // 2], 2) if spans else None,
            "recovery_max_s": round(spans[-1], 2) if spans else None,
        }
    return found


def main() -> int:
    """Sweep; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="tools/kill_points", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--victim", action="append", choices=ROLES, help="who is killed; may be repeated (all)")
    parser.add_argument("--at", choices=ROLES, default="", help="at whose points (the victim's own)")
    parser.add_argument("--every", type=int, default=1, help="only each so manieth point (%(default)s)")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args()
    if reason := why_not():
        print(f"kill_points: {reason}", file=sys.stderr)
        return USAGE
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(prefix="hids-kill-points-") as folder:
        way = Way(Path(folder))
        try:
            way.begin()
            for trial in sweep(way, options.victim or ROLES, options.at, max(1, options.every)):
                trials.append(trial)
                if not options.json:
                    print(_shown(trial), flush=True)
            wrong = way.wrong()
        finally:
            way.close()
    result = {"attackers": len(way.attackers), "victims": figures(trials), "wrong": wrong}
    print(json.dumps(result) if options.json else _report(result))
    return int(bool(wrong))


def _shown(trial: Trial) -> str:
    point = trial.point
    place = "written" if trial.written else "committed" if trial.committed else "not committed"
    return (
        f"{trial.victim:8} killed before {point}: {place}; told {trial.recovery_s:.1f} s later{'' if trial.right else ' (not that call)'}"
        if trial.met
        else f"{trial.victim:8} not killed: it did not come to {point}"
    )


def _report(result: dict[str, Any]) -> str:
    lines = [
        f"{name}: {found['points']} points, {found['met']} met; {found['kills']} kills: {found['before_commit']} before the commit,"
        f" {found['committed_not_written']} between it and the alert's line, {found['written']} after that;"
        f" again whole after {found['recovery_median_s']} s, at most {found['recovery_max_s']} s"
        for name, found in result["victims"].items()
    ]
    verdict = json.dumps(result["wrong"]) if result["wrong"] else "every one told exactly once"
    return "\n".join([*lines, f"{result['attackers']} attackers: {verdict}"])


if __name__ == "__main__":
    sys.exit(main())
