"""Programs that run and whose file is gone, and libraries that are forced on programs.

A service that was upgraded and not restarted runs a deleted file as well: where a file of that name is there again, nothing is
told of it.

Whose program or environment may not be looked at (without CAP_SYS_PTRACE: whoever has more rights than the agent) is not guessed
about: the check goes through the others and then says that it is not complete.
"""

import os
import time
from collections.abc import Iterator

from hids.agent.checks.host import Host, Steps
from hids.agent.checks.regular import exists, open_regular
from hids.agent.paths import shown
from hids.core.rootcheck.finding import finding

DELETED = "deleted"
PRELOAD = "preload"
_GONE = " (deleted)"
_FORCES = (b"LD_PRELOAD=", b"LD_AUDIT=")
PAUSE_S = 0.2
"""Some start themselves from memory for a moment (runc); what is still so after this is told."""
MAX_ENVIRONMENT = 1024 * 1024
_CAP_SYS_PTRACE = 19
MAX_LIBRARIES = 64
"""Of one list."""
PRELOAD_FILE = "etc/ld.so.preload"


def check_deleted(host: Host, proc: str = "/proc") -> Steps:
    """Look for programs without a file: the first process of each."""
    told: set[str] = set()
    closed = 0
    for pid in _pids(proc):
        try:
            path = _deleted(proc, pid)
        except PermissionError:
            closed += not _is_kernels(proc, pid)
            continue
        if path and path not in told and not host.is_ignored(path):
            time.sleep(PAUSE_S)
            if _deleted(proc, pid) == path:
                told.add(path)
                what = "a file that never was on a disk," if path.startswith("/memfd:") else "the deleted file"
                yield finding(DELETED, f"Process '{pid}' runs {what} '{shown(path)}'.")
        yield None
    _complain(closed)


def check_preload(host: Host, proc: str = "/proc") -> Steps:
    """Look for libraries that the loader puts before all others: for all programs, or by the environment of one."""
    yield from _preload_file(host)
    told: set[tuple[str, str]] = set()
    closed = 0
    for pid in _pids(proc):
        try:
            forced = list(_forced(proc, pid))
        except PermissionError:
            closed += not _is_kernels(proc, pid)
            continue
        for name, library in forced:
            about = (library, _name(proc, pid))
            if about not in told and not _is_vouched(host, proc, pid, library):
                told.add(about)
                yield finding(PRELOAD, f"Library '{library}' is forced on program '{about[1]}' by {name}.")
        yield None
    _complain(closed)


def _complain(closed: int) -> None:
    """With the right to look, what is closed is closed to everybody (by a security module), and no reason to give up."""
    if closed and not _has_ptrace():
        raise PermissionError(f"{closed} processes may not be looked at; the agent needs CAP_SYS_PTRACE for them")


def _has_ptrace() -> bool:
    with open("/proc/self/status", encoding="ascii", errors="replace") as file:
        effective = next((line.split()[1] for line in file if line.startswith("CapEff:")), "0")
    return bool(int(effective, 16) & 1 << _CAP_SYS_PTRACE)


def _preload_file(host: Host) -> Steps:
    path = host.path(PRELOAD_FILE)
    there, listed = exists(path), os.path.basename(path) in _listing(os.path.dirname(path))
    if there is not listed:
        where = "its folder" if there else "a look at it"
        yield finding(PRELOAD, f"Anomaly detected in file '{host.shown(path)}'. Hidden from {where}.")
    file = open_regular(os.path.realpath(path)) if there else None
    if file is not None:
        with file:
            words = file.read(65_536).decode("utf-8", "surrogateescape").replace(":", " ")
        libraries = [word for line in words.splitlines() for word in line.partition("#")[0].split()]
        for library in libraries[:MAX_LIBRARIES]:
            if not host.packages.vouch_for(host.path(library)):
                yield finding(PRELOAD, f"Library '{shown(library)}' is forced on all programs by '{host.shown(path)}'.")


def _forced(proc: str, pid: str) -> Iterator[tuple[str, str]]:
    """(variable, library) of a process' environment as it was at its start. Raises PermissionError."""
    try:
        with open(f"{proc}/{pid}/environ", "rb") as file:
            environment = file.read(MAX_ENVIRONMENT)
    except PermissionError:
        raise
    except OSError:
        return
    for entry in environment.split(b"\0"):
        if entry.startswith(_FORCES):
            name, _, value = entry.partition(b"=")
            for library in value.replace(b":", b" ").split()[:MAX_LIBRARIES]:
                yield name.decode(), shown(os.fsdecode(library))


def _is_vouched(host: Host, proc: str, pid: str, library: str) -> bool:
    """As a package brought it, where that process sees it: it may live in a container."""
    if "/" not in library:  # by name: looked for in the system's own folders
        return False
    path = os.path.join(proc, pid, "root", library.lstrip("/"))
    return host.packages.vouch_for(library) if _same_root(proc, pid) else not exists(path)


def _same_root(proc: str, pid: str) -> bool:
    try:
        return os.path.samefile(f"{proc}/{pid}/root", "/")
    except OSError:
        return True


def _deleted(proc: str, pid: str) -> str:
    """The path that a program was started from, if that is gone; else empty. Raises PermissionError."""
    try:
        path = os.readlink(f"{proc}/{pid}/exe")
    except PermissionError:
        raise
    except OSError:
        return ""
    name = path.removesuffix(_GONE)
    return "" if path == name or exists(path) or exists(name) else name


def _is_kernels(proc: str, pid: str) -> bool:
    """A thread of the kernel's own, or one that has ended: it has no command line."""
    try:
        with open(f"{proc}/{pid}/cmdline", "rb") as file:
            return not file.read(1)
    except OSError:
        return True


def _name(proc: str, pid: str) -> str:
    try:
        with open(f"{proc}/{pid}/comm", "rb") as file:
            return shown(os.fsdecode(file.read(64).rstrip(b"\n")))
    except OSError:
        return "?"


def _pids(proc: str) -> list[str]:
    return sorted((name for name in _listing(proc) if name.isdecimal()), key=int)


def _listing(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
