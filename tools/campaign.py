#!/usr/bin/env python3
"""A campaign of faults against a real manager and real agents under load; counts what is lost and what is doubled.

    tools/campaign --faults 1000 --agents 60 --rate 5000
    tools/campaign --faults 30 --agents 4 --rate 300 --json
    tools/campaign --faults 40 --every 8 --only kill        recovery after each kind of kill

Faults: kill -9 and SIGSTOP of every process, the network cut or held in either direction, torn frames, a full disk (a
tmpfs, as root), clocks that jump both ways (libfaketime), a webhook receiver that fails, hangs, or dies after it took. The campaign
plays the service manager: it starts main and agents again when they end.

Afterwards every line that was written must be accounted for once in the ledger, and every failed login among them be one
alert in alerts.json and, by its id, one at the webhook's receiver; the alert files must be what was sealed. Ends with 0 when that is so. With --json the last line
is one object.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from receiver import Receiver
from sabotage import Clock, Disk, Faults
from stand import Daemon, Stand, failed_login, wait_for
from wire import Wire

from hids.adapters.archive import lines_of
from hids.adapters.evidence.key import public_key
from hids.adapters.evidence.verify import verify
from hids.adapters.proof import Proof
from hids.errors import StoreError
from hids.workers.outputs import ALERT_OUTPUTS

ATTACK_EVERY = 20
"""One line in so many is a failed login, and so must be an alert."""
TICK_S = 0.05
DISK_MIB = 4096
UNKNOWN_USER = "201210"
SECRET = b"the campaign's own secret words."
SETTLE_S = 300.0
"""After the last fault: how long everything may take to arrive."""
AGREE_S = 30.0
"""After that: how long the places may take to agree, since some alert of hids itself may be on its way to one of them."""


class Written(NamedTuple):
    """An attack line in some agent's log."""

    agent: str
    at_s: float


class Fleet(Stand):
    """A stand whose daemons are started again when they end, with a load on it."""

    def __init__(self, folder: Path, agents: int, rate: float) -> None:
        super().__init__(folder)
        self.disk = Disk(folder / "m", DISK_MIB)
        self.clocks = (Clock(folder / "manager_clock"), Clock(folder / "agent_clock"))
        self.wire = Wire()
        self.receiver = Receiver(SECRET)
        self.faults = Faults(self, self.wire, self.disk, self.clocks, self.receiver)
        self.names = [f"web{number:02}" for number in range(1, agents + 1)]
        self.rate = rate
        self.written: Counter[str] = Counter()
        """Lines by agent."""
        self.attacks: dict[str, Written] = {}
        """By user, who names the line."""
        self.seen: dict[str, float] = {}
        """User -> when its alert was in alerts.json."""
        self.ended: Counter[str] = Counter()
        """How often daemons were started again, by name."""
        self.given_up: list[int] = []
        """Exit statuses with which main ended by itself."""
        self._stop_load, self._stop_all = threading.Event(), threading.Event()
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self.environment = self.clocks[0].environment
        secret = folder / "secret"
        secret.write_bytes(SECRET)
        secret.chmod(0o600)
        self.settings = (
            "[workers]\ncount = 2\nstuck_s = 2.0\n"
            f'[[output]]\ntype = "webhook"\nurl = "{self.receiver.url}"\nsecret_file = "{secret}"\ntimeout_s = 2.0\n'
        )

    def begin(self) -> None:
        """Start everything, and the load."""
        self.start_manager()
        self.wire.target = self.ports["agents"]
        # What is written to a full disk may be lost, so the configuration of later lives is elsewhere.
        text = f'[listen]\nagents = "127.0.0.1:{self.ports["agents"]}"\njoin = "127.0.0.1:{self.ports["join"]}"\n'
        (self.folder / "manager.toml").write_text(text + self.settings)
        for name in self.names:
            self.join(name)
            self.log_of(name).touch()
            self._start_agent(name)
        wait_for(lambda: self._connected() == len(self.names), "all agents are connected", 300)
        for target in (self._keep, self._load, self._look):
            thread = threading.Thread(target=target, daemon=True, name=target.__name__)
            thread.start()
            self._threads.append(thread)

    def log_of(self, name: str) -> Path:
        """The file that this agent reads."""
        return self.folder / f"{name}.log"

    @property
    def manager_pid(self) -> int | None:
        """Process id of main, while it lives."""
        return self.manager.pid if self.manager is not None and self.manager.process.poll() is None else None

    def agent_pids(self) -> list[int]:
        """Process ids of the agents that live."""
        with self._lock:
            return [daemon.pid for daemon in self.agents.values() if daemon.process.poll() is None]

    def end_load(self) -> None:
        """Write no more."""
        self._stop_load.set()
        self._threads[1].join()

    def close(self) -> None:
        """End everything."""
        self._stop_all.set()
        for thread in self._threads:
            thread.join(10)
        try:
            super().close()
        finally:
            for daemon in (*self.agents.values(), self.manager):
                if daemon is not None:
                    Clock.forget(daemon.pid)
            self.receiver.close()
            self.disk.close()

    def _start_agent(self, name: str) -> None:
        config = (
            f'[manager]\naddress = "127.0.0.1:{self.wire.port}"\n[[source]]\npath = "{self.log_of(name)}"\n'
            "[silence]\ncanary_s = 0\n"  # every line that arrives must be one that was written here
        )
        self.start_agent(name, config, environment=self.clocks[1].environment)

    def _connected(self) -> int:
        status = self.try_ask("status")
        return int(status["agents_connected"]) if status else 0

    def _keep(self) -> None:
        """What systemd does with Restart=always."""
        while not self._stop_all.wait(0.05):
            assert self.manager is not None
            status = self.manager.process.poll()
            if status is not None and not self._stop_all.is_set():
                Clock.forget(self.manager.pid)
                self.ended["manager"] += 1
                if status > 0:
                    self.given_up.append(status)
                config = str(self.folder / "manager.toml")
                self.manager = Daemon(
                    self.folder / "manager.log",
                    "hids.cli.manager",
                    *("run", "--config", config, "--state", str(self.paths.lib)),
                    environment=self.environment,
                )
            with self._lock:
                for name, daemon in tuple(self.agents.items()):
                    if daemon.process.poll() is not None and not self._stop_all.is_set():
                        Clock.forget(daemon.pid)
                        self.ended[name] += 1
                        self._start_agent(name)

    def _load(self) -> None:
        """Write lines to the logs in turn, at the rate."""
        files = {name: self.log_of(name).open("a") for name in self.names}
        began = time.monotonic()
        made = 0
        while not self._stop_load.wait(TICK_S):
            due = int((time.monotonic() - began) * self.rate)
            parts: dict[str, list[str]] = {name: [] for name in self.names}
            at_s = time.monotonic()
            while made < due:
                made += 1
                name = self.names[made % len(self.names)]
                if made // len(self.names) % ATTACK_EVERY == 0:
                    user = f"c{made}"
                    self.attacks[user] = Written(name, at_s)
                    parts[name].append(failed_login(user, f"10.{made >> 16 & 255}.{made >> 8 & 255}.{made & 255}"))
                else:
                    parts[name].append(
                        f"Nov 24 10:00:00 web1 CRON[{made % 30000}]: (root) CMD (command number {made})\n"
                    )
            for name, lines in parts.items():
                files[name].write("".join(lines))
                files[name].flush()
                self.written[name] += len(lines)
        for file in files.values():
            file.close()

    def _look(self) -> None:
        """Follow alerts.json, and the one after it when it is put away; note when each attack was told."""
        path = self.paths.alerts / "alerts.json"
        while not self._stop_all.is_set():
            wait_for(lambda: path.exists() or self._stop_all.is_set(), "the next file of alerts")
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                self._follow(path, file)

    def _follow(self, path: Path, file: BinaryIO) -> None:
        rest, inode = b"", os.fstat(file.fileno()).st_ino
        while not self._stop_all.wait(0.02):
            there = path.exists() and path.stat().st_ino == inode  # first: once it is put away nobody writes to it
            *lines, rest = (rest + file.read()).split(b"\n")
            at_s = time.monotonic()
            for line in lines:
                user = user_of(line.decode(errors="replace"))
                if user:
                    self.seen.setdefault(user, at_s)
            if not there:
                return

    def alerts(self) -> list[dict[str, Any]]:
        """Those of files that were put away, too: a clock that jumps ends a day."""
        return [json.loads(line) for line in lines_of(self.paths.alerts / "alerts.json")]


def user_of(text: str) -> str:
    """The user whom an attack line names; empty when the text is about none."""
    _, found, rest = text.partition("Failed password for invalid user c")
    return f"c{rest.split(' ', 1)[0]}" if found else ""


class Fault(NamedTuple):
    """One that was done."""

    kind: str
    at_s: float


def attack(fleet: Fleet, options: argparse.Namespace) -> list[Fault]:
    """Do the faults, one every so often."""
    faults = fleet.faults
    faults.seed(options.seed)
    kinds = faults.rounds(options.only)
    done: list[Fault] = []
    began = time.monotonic()
    pause = threading.Event()
    while len(done) < options.faults and (not options.seconds or time.monotonic() - began < options.seconds):
        kind = next(kinds)
        if faults.kinds[kind]():
            done.append(Fault(kind, time.monotonic()))
            if len(done) % 50 == 0:
                print(
                    f"{len(done)} faults, {sum(fleet.written.values())} lines, {len(fleet.seen)} of {len(fleet.attacks)} told",
                    file=sys.stderr,
                    flush=True,
                )
            pause.wait(options.every)
        else:
            pause.wait(0.05)  # its victim is not there at the moment
    faults.undo_all()
    return done


def settle(fleet: Fleet) -> float:
    """Wait until everything has arrived; how long that took."""
    began = time.monotonic()
    patience = SETTLE_S

    def arrived() -> bool:
        told = len(fleet.seen) >= len(fleet.attacks) and len(fleet.receiver.seen) >= len(fleet.attacks)
        there = told and bool(fleet.try_ask("status")) and fleet.whole() and delivered(fleet)
        return there and fleet.attacks.keys() <= set(map(user_of, fleet.receiver.logs.copy().values()))

    with contextlib.suppress(AssertionError):
        wait_for(arrived, "everything has arrived", patience)
    return time.monotonic() - began


def delivered(fleet: Fleet) -> bool:
    """Whether the ledger has at least as many lines of each agent as were written."""
    try:
        account = Proof(fleet.paths.ledger).account()
    except StoreError:
        return False
    lines: Counter[str] = Counter()
    for interval in account.intervals:
        lines[interval.source] += interval.lines
    ids = {row["name"]: row["id"] for row in fleet.ask("agents")}
    return all(lines[f"agent/{ids[name]}"] >= fleet.written[name] for name in fleet.names)


def count(fleet: Fleet) -> dict[str, Any]:
    """What is lost, what is doubled, in each place where it would show."""
    alerts = fleet.alerts()
    ids = {row["name"]: row["id"] for row in fleet.ask("agents")}
    said = Counter(alert["agent"]["id"] for alert in alerts if alert["location"] == "hids-agent")
    account = Proof(fleet.paths.ledger).account()
    there: Counter[str] = Counter()
    for interval in account.intervals:
        there[interval.source] += interval.lines - interval.counts.get("known", 0) - interval.counts.get("lost", 0)
    excess = {name: there[f"agent/{ids[name]}"] - fleet.written[name] - said[ids[name]] for name in fleet.names}
    logins = Counter(user for alert in alerts if (user := user_of(alert["full_log"])))
    numbers = [alert["hids"]["number"] for alert in alerts]
    hooked = Counter(user for log in fleet.receiver.logs.values() if (user := user_of(log)))
    lost = {
        "ledger": sum(-n for n in excess.values() if n < 0) + sum(i.counts.get("lost", 0) for i in account.intervals),
        "alerts.json": sum(user not in logins for user in fleet.attacks)
        + (len(set(numbers)) != max(numbers, default=0)),
        "webhook": sum(user not in hooked for user in fleet.attacks)
        + sum(alert["id"] not in fleet.receiver.seen for alert in alerts),
    }
    doubled = {
        "ledger": sum(n for n in excess.values() if n > 0),
        "alerts.json": sum(n - 1 for n in logins.values()) + len(numbers) - len(set(numbers)),
        "webhook": sum(n - 1 for n in hooked.values()),
    }
    named = {alert["id"]: f"{alert['id']} rule {alert['rule']['id']}: {alert['full_log'][:80]}" for alert in alerts}
    examples = {
        "not in alerts.json": [user for user in fleet.attacks if user not in logins],
        "not at the webhook": [text for alert, text in named.items() if alert not in fleet.receiver.seen],
        "twice in alerts.json": [user for user, times in logins.items() if times > 1],
        "twice at the webhook": [user for user, times in hooked.items() if times > 1],
        "lines too many (+) or few (-) in the ledger": [f"{name}: {n:+}" for name, n in excess.items() if n],
    }
    gaps = [f"{gap.source} {gap.epoch}:{gap.first}-{gap.last} {gap.text}" for gap in account.gaps()]
    return {
        "lost": sum(lost.values()),
        "doubled": sum(doubled.values()),
        "lost_in": lost,
        "doubled_in": doubled,
        "examples": {what: texts[:5] for what, texts in examples.items() if texts},
        "balances": not gaps,
        "gaps": gaps[:20],
        "forged": fleet.receiver.forged,
        "changed": fleet.receiver.changed,
        "lines": sum(fleet.written.values()),
        "alerts": len(alerts),
        "webhook_again": sum(fleet.receiver.seen.values()) - len(fleet.receiver.seen),
    }


def wrong(result: dict[str, Any]) -> bool:
    """Whether a result is none that we promise."""
    promised = not (result["lost"] or result["doubled"] or result["forged"] or result["altered"])
    return not (promised and result["balances"])


def judge(fleet: Fleet) -> dict[str, Any]:
    """Count until the places agree, or will not: what is lost or doubled stays so however often one looks."""
    until = time.monotonic() + AGREE_S
    looks = 0
    while True:
        looks += 1
        result = {**count(fleet), "altered": altered(fleet), "looks": looks}
        if not wrong(result) or time.monotonic() > until:
            return result
        found = {key: result[key] for key in ("lost_in", "doubled_in", "examples", "gaps", "forged", "altered")}
        print(f"look {looks}: {found}; looking again", file=sys.stderr, flush=True)
        threading.Event().wait(1.0)


def altered(fleet: Fleet) -> list[str]:
    """What of the alert files is not what was sealed and signed."""
    evidence = fleet.paths.evidence
    files = [fleet.paths.alerts / name for name in ALERT_OUTPUTS]
    problems = verify(evidence, files, public_key(evidence) or "").problems
    return [f"{problem.stream}: {problem}" for problem in problems]


def recovery(fleet: Fleet, faults: list[Fault]) -> dict[str, dict[str, float]]:
    """Seconds from each fault until an alert about a line that was written after it was in alerts.json."""
    told = sorted((written.at_s, fleet.seen[user]) for user, written in fleet.attacks.items() if user in fleet.seen)
    earliest: list[tuple[float, float]] = []  # (written, first alert of a line written then or later)
    first = float("inf")
    for at_s, seen_s in reversed(told):
        first = min(first, seen_s)
        earliest.append((at_s, first))
    earliest.reverse()
    by_kind: dict[str, list[float]] = {}
    for fault in faults:
        later = next((seen for at_s, seen in earliest if at_s > fault.at_s), None)
        if later is not None:
            by_kind.setdefault(fault.kind, []).append(later - fault.at_s)
    return {
        kind: {"times": len(spans), "median_s": round(statistics.median(spans), 2), "max_s": round(max(spans), 2)}
        for kind, spans in sorted(by_kind.items())
    }


def main() -> int:
    """Run a campaign; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--faults", type=int, default=1000, help="how many (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0, help="stop after so long, however many there were")
    parser.add_argument("--every", type=float, default=2.0, help="seconds between two (%(default)s)")
    parser.add_argument("--agents", type=int, default=60, help="real agents (%(default)s)")
    parser.add_argument("--rate", type=float, default=5000, help="lines a second of all together (%(default)s)")
    parser.add_argument("--only", default="", help="only faults with these words in their name")
    parser.add_argument("--seed", type=int, default=0, help="the same faults in the same order; 0: others each time")
    parser.add_argument("--keep", type=Path, help="a new folder for everything, which is left there")
    parser.add_argument("--json", action="store_true", help="end with one object on one line")
    options = parser.parse_args()
    options.seed = options.seed or int.from_bytes(os.urandom(4))
    with contextlib.ExitStack() as stack:
        if options.keep:
            options.keep.mkdir(parents=True)
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="hids-campaign-")))
        fleet = Fleet(folder, options.agents, options.rate)
        stack.callback(fleet.close)
        fleet.begin()
        began = time.monotonic()
        faults = attack(fleet, options)
        seconds = time.monotonic() - began
        fleet.end_load()
        settled_s = settle(fleet)
        result = {
            "faults": len(faults),
            "kinds": dict(sorted(Counter(fault.kind for fault in faults).items())),
            "without": fleet.faults.without,
            **judge(fleet),
            "seconds": round(seconds),
            "settled_s": round(settled_s, 1),
            "agents": options.agents,
            "rate": round(sum(fleet.written.values()) / seconds),
            "seed": options.seed,
            "restarted": {"manager": fleet.ended["manager"], "agents": fleet.ended.total() - fleet.ended["manager"]},
            "manager_gave_up": len(fleet.given_up),
            "recovery": recovery(fleet, faults),
        }
    report(result)
    if options.json:
        print(json.dumps(result))
    return int(wrong(result))


def report(result: dict[str, Any]) -> None:
    """For a person."""
    print(
        f"{result['faults']} faults in {result['seconds']} s, {result['lines']} lines of {result['agents']} agents at "
        f"{result['rate']} a second, {result['alerts']} alerts; all was there {result['settled_s']} s after the end"
    )
    print(f"started again: {result['restarted']}; the manager gave up {result['manager_gave_up']} times")
    for kind, reason in result["without"].items():
        print(f"not done: {kind}: {reason}")
    for kind, figures in result["recovery"].items():
        print(
            f"  {kind:30} {figures['times']:4} times   median {figures['median_s']:6.2f} s   max {figures['max_s']:6.2f} s"
        )
    print(f"lost: {result['lost']} {result['lost_in']}")
    print(f"doubled: {result['doubled']} {result['doubled_in']}; sent again to the webhook: {result['webhook_again']}")
    for what, texts in result["examples"].items():
        print(f"  {what}: {', '.join(texts)}")
    print(f"the ledger {'balances' if result['balances'] else 'does not balance'}")
    for gap in result["gaps"]:
        print(f"  {gap}")
    print(f"the alert files are {'not ' if result['altered'] else ''}what was sealed")
    for problem in result["altered"][:20]:
        print(f"  {problem}")


if __name__ == "__main__":
    sys.exit(main())
