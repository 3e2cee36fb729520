"""Who a process is, out of /proc: read at once, for it may end the next moment.

All is read below one descriptor of its folder, so that it is of one process, whoever is given its number meanwhile.
"""

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager

import msgspec

from hids.agent.paths import shown
from hids.messages.syscheck import MAX_PROCESS_TEXT, Who

_NOBODY = 0xFFFF_FFFF
"""The login uid of what no login started."""
_MAX_STATUS = 4_096
_STARTTIME = 19
"""Among the fields of `stat` after the name, proc_pid_stat(5)."""
_TICK_NS = 1_000_000_000 // os.sysconf("SC_CLK_TCK")
_FOLDER = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0) | getattr(os, "O_CLOEXEC", 0)


def who_is(pid: int, pidfd: int) -> Who:
    """Who a process is, as far as it can be told: less where it ended meanwhile, `gone` where it ended before.

    Users and groups have no names yet: to look them up takes too long.

    Args:
        pid: its number.
        pidfd: descriptor of it: tells whether what was read is of this process, or of the number's next owner.
    """
    gone = Who(pid=pid, gone=True)
    if pid <= 0 or pidfd < 0:
        return gone
    with _opened(pid) as folder:
        if folder is None or not _lives(pidfd):  # lives now, so it had the number when the folder was opened
            return gone
        who = _look(pid, folder)
        return gone if who is None else msgspec.structs.replace(who, parent=_parent(folder, who.ppid))


def glance(pid: int, at_ns: int) -> Who | None:
    """Who has a number, in a hurry: also without the parent's program.

    Args:
        pid: the number.
        at_ns: it had the number then (CLOCK_MONOTONIC): who began later is another one, and is not named.
    """
    with _opened(pid) as folder:
        if folder is None:
            return None
        who = _look(pid, folder)
        return who if who is not None and _begin_ns(folder) <= at_ns else None


def parent_of(pid: int, ppid: int) -> str:
    """The program of a process's parent, if it is the parent still; empty when that cannot be told."""
    with _opened(pid) as folder:
        return "" if folder is None or _status(folder).get("PPid") != str(ppid) else _parent(folder, ppid)


def bounded(text: str) -> str:
    """A path or command line as long as it may be."""
    return text[:MAX_PROCESS_TEXT]


def program_of(pid: int) -> str:
    """Path of the program of who has a number now; empty when it may not be read."""
    return _link(f"/proc/{pid}/exe")


def _look(pid: int, folder: int) -> Who | None:
    """What goes first is read first: path and command line are no more when it ends; the rest is until it is waited for."""
    program = _link("exe", folder)
    command = _text("cmdline", folder)
    status = _status(folder)
    if not status:
        return None
    uid, effective_uid = (int(text) for text in status["Uid"].split()[:2])
    login_uid = int(_text("loginuid", folder) or _NOBODY)
    return Who(
        pid=pid,
        uid=uid,
        effective_uid=effective_uid,
        login_uid=login_uid if login_uid != _NOBODY else -1,
        gid=int(status["Gid"].split()[0]),
        process=program or bounded(status["Name"]),
        command=bounded(command.rstrip("\0").replace("\0", " ")),
        cwd=_link("cwd", folder),
        ppid=int(status["PPid"]),
    )


def _parent(folder: int, ppid: int) -> str:
    """The program of a parent that is still the parent after it was read: no other can have had its number."""
    program = program_of(ppid) if ppid else ""
    return program if program and _status(folder).get("PPid") == str(ppid) else ""


def _begin_ns(folder: int) -> float:
    """When it began, by CLOCK_MONOTONIC, up to a tick too early; infinite when it has ended."""
    fields = _text("stat", folder).rpartition(")")[2].split()
    if len(fields) <= _STARTTIME:
        return float("inf")
    asleep_ns = time.clock_gettime_ns(time.CLOCK_BOOTTIME) - time.monotonic_ns()
    return int(fields[_STARTTIME]) * _TICK_NS - asleep_ns


@contextmanager
def _opened(pid: int) -> Generator[int | None]:
    try:
        folder = os.open(f"/proc/{pid}", _FOLDER)
    except OSError:
        yield None
        return
    try:
        yield folder
    finally:
        os.close(folder)


def _status(folder: int) -> dict[str, str]:
    """What it says of itself; nothing when it is not there."""
    lines = (line.partition(":") for line in _text("status", folder, _MAX_STATUS).splitlines())
    status = {key: value.strip() for key, _, value in lines}
    return status if status.keys() >= {"Name", "Uid", "Gid", "PPid"} else {}


def _text(name: str, folder: int, most: int = MAX_PROCESS_TEXT) -> str:
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC, dir_fd=folder)
    except OSError:
        return ""
    try:
        return os.read(descriptor, most).decode("utf-8", "backslashreplace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)


def _link(name: str, folder: int | None = None) -> str:
    try:
        return bounded(shown(os.readlink(name, dir_fd=folder)))
    except OSError:  # it ended, or it is another user's and we may not trace
        return ""


def _lives(pidfd: int) -> bool:
    """Whether the process of a descriptor has its number still: a zombie has, one that was waited for has not."""
    try:
        signal.pidfd_send_signal(pidfd, 0)
    except PermissionError:
        return True
    except OSError:
        return False
    return True
