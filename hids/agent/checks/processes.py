"""Hidden processes: asked in several ways whether a process is there, and compared.

    listed   the names in /proc, read twice: by psutil and by reading the folder
    there    kill(pid, 0), getsid, getpgid and a look at /proc/PID, for every number that a process can have

A process that is there and not listed is hidden; so is one that is listed and that a call denies. Processes come and go, so each
suspicion is looked at again, TRIES times.
"""

import os
import time
from collections.abc import Callable, Iterator

import psutil

from hids.agent.checks.host import Host, Steps
from hids.core.rootcheck.finding import finding

TRIES = 4
PAUSE_S = 0.02
"""Between two looks: a process that ends is gone from one view before the other for some microseconds."""
SLICE_PIDS = 512
MAX_PIDS = 4_194_304
"""The kernel's own limit, PID_MAX_LIMIT."""
MAX_FINDINGS = 100
CHECK = "pids"


def check(_host: Host, proc: str = "/proc") -> Steps:
    """Compare the views of all processes."""
    if hides_others(proc):
        yield finding(
            CHECK,
            f"Processes cannot be checked: {proc} is mounted with hidepid, and this agent may not look behind it.",
        )
        return
    suspects: set[int] = set()
    listed, threads = _listed(proc), _threads(proc)
    for start in range(1, _pid_max(proc), SLICE_PIDS):
        suspects |= {pid for pid in range(start, start + SLICE_PIDS) if _is_there(pid)} - listed - threads
        yield None
    suspects |= {pid for pid in listed if not (_is_there(pid) and _shows(pid, proc))}
    for count, pid in enumerate(sorted(suspects)):
        words = _verdict(pid, proc)
        yield finding(CHECK, words) if words else None
        if count >= MAX_FINDINGS:
            break


def hides_others(proc: str) -> bool:
    """Whether this process is not shown others' folders: the mount option hidepid, without the right to look."""
    if os.path.isdir(f"{proc}/1") and _readable(f"{proc}/1/status"):
        return False
    try:
        with open(f"{proc}/self/mountinfo", encoding="utf-8", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return False
    return any(row[4] == proc and "hidepid=" in row[-1] and "hidepid=0" not in row[-1] for row in rows)


def _verdict(pid: int, proc: str) -> str:
    """What is told of a suspect; empty when it was no more than a race."""
    views: dict[str, bool] = {}
    for _ in range(TRIES):
        time.sleep(PAUSE_S)
        before = _views(pid, proc)
        if (
            all(before.values())
            or not any(before.values())
            or (not before["the list of /proc"] and _is_thread(pid, proc))
        ):
            return ""
        if views and before != views:  # it came or went meanwhile
            return ""
        views = before
    hidden = [name for name, sees in views.items() if not sees]
    seen = [name for name, sees in views.items() if sees]
    return f"Process '{pid}' hidden from {', '.join(hidden)}. It is there for {', '.join(seen)}."


def _views(pid: int, proc: str) -> dict[str, bool]:
    return {
        "the list of /proc": str(pid) in os.listdir(proc) and pid in psutil.pids(),
        "a look at its folder": _shows(pid, proc),
        "kill": _answers(lambda: os.kill(pid, 0)),
        "getsid": _answers(lambda: os.getsid(pid)),
        "getpgid": _answers(lambda: os.getpgid(pid)),
    }


def _is_there(pid: int) -> bool:
    return _answers(lambda: os.kill(pid, 0)) or _answers(lambda: os.getsid(pid))


def _shows(pid: int, proc: str) -> bool:
    return _readable(f"{proc}/{pid}/stat")


def _answers(call: Callable[[], object]) -> bool:
    """Whether the kernel knows of it: that we may not ask says so as well."""
    try:
        call()
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True


def _listed(proc: str) -> set[int]:
    return {int(name) for name in os.listdir(proc) if name.isdecimal()} & set(psutil.pids())


def _threads(proc: str) -> set[int]:
    """Threads answer to calls as processes do, and are not listed."""
    return {thread for pid in os.listdir(proc) if pid.isdecimal() for thread in _tasks(f"{proc}/{pid}/task")}


def _is_thread(pid: int, proc: str) -> bool:
    return pid in _threads(proc)


def _tasks(folder: str) -> Iterator[int]:
    try:
        yield from (int(name) for name in os.listdir(folder) if name.isdecimal())
    except OSError:
        return


def _readable(path: str) -> bool:
    try:
        with open(path, "rb") as file:
            return bool(file.read(1))
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except OSError:
        return False


def _pid_max(proc: str) -> int:
    try:
        with open(f"{proc}/sys/kernel/pid_max", encoding="ascii") as file:
            return min(int(file.read(32)) + 1, MAX_PIDS)
    except (OSError, ValueError):
        return 32_768
