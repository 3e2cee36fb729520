"""Faults: what can happen to a manager and its agents, done on purpose and undone after a while."""

import contextlib
import os
import random
import shutil
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

import psutil
from receiver import Receiver
from wire import Way, Wire

RESERVE = 64 * 1024
"""Bytes that a full disk may have left, so that it is a write somewhere in the middle that fails."""


FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
"""libfaketime, where it is installed: what it says goes for all of a process, OpenSSL too. It leaves the monotonic clock alone."""
NO_FAKETIME = "needs libfaketime (apt-get install libfaketime)"
FAKETIME_READS_S = 1
"""It looks so often for what the clock shall say."""


class Clock:
    """The wall clock of all processes that are started with `environment`; `jump` sets it."""

    def __init__(self, path: Path) -> None:
        """`path` is a file that it may use."""
        self._path = path
        self.jump(0)

    @property
    def environment(self) -> dict[str, str]:
        """Variables for the processes; none where libfaketime is missing."""
        if FAKETIME is None:
            return {}
        return {
            "LD_PRELOAD": str(FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self._path),
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "FAKETIME_CACHE_DURATION": str(FAKETIME_READS_S),
            "NO_FAKE_STAT": "1",
        }

    def jump(self, seconds: float) -> None:
        """Be off the true time by so much, within FAKETIME_READS_S."""
        draft = self._path.with_name(f"{self._path.name}.new")
        draft.write_text(f"{seconds:+.0f}\n")
        draft.replace(self._path)

    @staticmethod
    def forget(pid: int) -> None:
        """Remove what libfaketime left of a process that was killed."""
        for name in (f"faketime_shm_{pid}", f"sem.faketime_sem_{pid}"):
            (Path("/dev/shm") / name).unlink(missing_ok=True)  # noqa: S108 - where libfaketime keeps it


class Disk:
    """A small disk of its own for a folder: a tmpfs for root; others do without."""

    def __init__(self, folder: Path, mib: int) -> None:
        folder.mkdir()
        self.folder = folder
        self.mounted = False
        if os.geteuid() == 0:
            command = ("/bin/mount", "-t", "tmpfs", "-o", f"size={mib}m", "tmpfs", str(folder))
            self.mounted = subprocess.run(command, check=False).returncode == 0

    @property
    def _filler(self) -> Path:
        return self.folder / "filler"

    def fill(self, leave: int) -> None:
        """Take all the room there is but so many bytes."""
        free = shutil.disk_usage(self.folder).free - leave
        with self._filler.open("wb") as file, contextlib.suppress(OSError):
            os.posix_fallocate(file.fileno(), 0, max(1, free))

    def clear(self) -> None:
        """Give it back."""
        self._filler.unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount."""
        if self.mounted:
            subprocess.run(("/bin/umount", "-l", str(self.folder)), check=False)


class Victims(Protocol):
    """Whom faults hit."""

    @property
    def manager_pid(self) -> int | None:
        """Process id of main, while it lives."""
        ...

    def agent_pids(self) -> list[int]:
        """Process ids of the agents that live."""
        ...


def family(main: int | None) -> dict[str, list[int]]:
    """Process ids of the manager's processes by role, from the process table: no part of it need answer for that."""
    found: dict[str, list[int]] = {}
    with contextlib.suppress(psutil.Error):
        children = psutil.Process(main).children(recursive=True) if main else []
        for child in children:
            with contextlib.suppress(psutil.Error):
                words = child.cmdline()
                role = next(
                    (word.removeprefix("hids.workers.") for word in words if word.startswith("hids.workers.")), ""
                )
                if role == "nursery" and child.ppid() != main:
                    role = "worker"
                if role == "outputs" and "search.db" in words:
                    role = "index"
                if role:
                    found.setdefault(role, []).append(child.pid)
    if main:
        found["manager"] = [main]
    return found


class Faults:
    """Every kind of fault, by name."""

    def __init__(
        self, victims: Victims, wire: Wire, disk: Disk, clocks: tuple[Clock, Clock], receiver: Receiver
    ) -> None:
        self._victims = victims
        self._wire = wire
        self._disk = disk
        self._clocks = clocks
        self._receiver = receiver
        self._random = random.Random()  # noqa: S311 - no secret
        self._undo: dict[threading.Timer, Callable[[], None]] = {}
        roles = ("worker", "nursery", "lane", "outputs", "index", "senders", "keeper", "manager", "agent")
        self.kinds: dict[str, Callable[[], bool]] = {
            **{f"kill {role}": lambda role=role: self._kill(role) for role in roles},
            **{f"stop {role}": lambda role=role: self._stop(role) for role in roles},
            "cut network": self._cut,
            "hold network both ways": lambda: self._hold(up=True, down=True),
            "hold network to manager": lambda: self._hold(up=True, down=False),
            "hold network to agents": lambda: self._hold(up=False, down=True),
            "torn frames to manager": lambda: self._tear("up"),
            "torn frames to agents": lambda: self._tear("down"),
            **({"disk full": self._fill} if disk.mounted else {}),
            **(self._jumps() if FAKETIME is not None else {}),
            "receiver fails": lambda: self._mood("failing"),
            "receiver hangs": lambda: self._mood("hanging"),
            "receiver dies after it took": lambda: self._mood("dying"),
        }

        self.without = {
            **({} if disk.mounted else {"disk full": "needs root to mount a tmpfs"}),
            **({} if FAKETIME is not None else {"clock jumps": NO_FAKETIME}),
        }
        """Kinds that cannot be done here, and why."""

    def seed(self, number: int) -> None:
        """Choose the same again."""
        self._random.seed(number)

    def rounds(self, only: str) -> Iterator[str]:
        """Kinds without end: each once in every round, in a random order."""
        kinds = [kind for kind in self.kinds if only in kind]
        if not kinds:
            raise SystemExit(f'campaign: no fault has "{only}" in its name; there are: {", ".join(self.kinds)}')
        while True:
            yield from self._random.sample(kinds, len(kinds))

    def undo_all(self) -> None:
        """Undo what is still to be undone, now."""
        for timer, step in tuple(self._undo.items()):
            timer.cancel()
            step()
        self._undo.clear()

    def _later(self, seconds: float, step: Callable[[], None]) -> None:
        timer = threading.Timer(seconds, lambda: self._undone(timer))
        timer.daemon = True
        self._undo[timer] = step
        timer.start()

    def _undone(self, timer: threading.Timer) -> None:
        step = self._undo.pop(timer, None)
        if step is not None:
            step()

    def _pid(self, role: str) -> int | None:
        pids = self._victims.agent_pids() if role == "agent" else family(self._victims.manager_pid).get(role, [])
        return self._random.choice(pids) if pids else None

    def _kill(self, role: str) -> bool:
        pid = self._pid(role)
        return pid is not None and _signal(pid, signal.SIGKILL)

    def _stop(self, role: str) -> bool:
        """SIGSTOP; some of the manager's children are never continued: whoever watches them must see to it."""
        pid = self._pid(role)
        if pid is None or not _signal(pid, signal.SIGSTOP):
            return False
        if role in ("manager", "agent") or self._random.random() < 0.7:  # noqa: PLR2004 - most
            self._later(self._random.uniform(0.3, 4.0), lambda: bool(_signal(pid, signal.SIGCONT)) and None)
        return True

    def _cut(self) -> bool:
        self._wire.refuse(True)
        self._wire.cut()
        self._later(self._random.uniform(0.2, 2.0), lambda: self._wire.refuse(False))
        return True

    def _hold(self, *, up: bool, down: bool) -> bool:
        self._wire.hold(up=up, down=down)
        self._later(self._random.uniform(0.5, 4.0), lambda: self._wire.hold(up=False, down=False))
        return True

    def _tear(self, way: Way) -> bool:
        self._wire.tear(way)
        return True

    def _fill(self) -> bool:
        self._disk.fill(self._random.choice((0, self._random.randrange(RESERVE))))
        self._later(self._random.uniform(0.5, 1.5), self._disk.clear)
        return True

    def _jumps(self) -> dict[str, Callable[[], bool]]:
        spans = {"a day forth": 86_400.0, "a year forth": 365 * 86_400.0, "an hour back": -3_600.0}
        return {
            f"{whose} clock {word}": lambda clock=clock, span_s=span_s: self._jump(clock, span_s)
            for whose, clock in zip(("manager's", "agents'"), self._clocks, strict=True)
            for word, span_s in spans.items()
        }

    def _jump(self, clock: Clock, span_s: float) -> bool:
        """The clock is set, and set right after a while, which is a jump the other way."""
        clock.jump(span_s)
        self._later(self._random.uniform(2.0, 5.0) * FAKETIME_READS_S, lambda: clock.jump(0))
        return True

    def _mood(self, mood: str) -> bool:
        self._receiver.mood = mood  # type: ignore[assignment]
        self._later(self._random.uniform(0.5, 3.0), self._receiver.recover)
        return True


def _signal(pid: int, number: signal.Signals) -> bool:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True
