"""Kernel modules: those that hide, those that nobody signed, and a kernel that was tampered with.

Three lists from three places: /proc/modules, /sys/module (one that can be unloaded has `initstate`), and the symbols of
/proc/kallsyms. A module that is in one and not in another hides. Built-in code is in neither.
"""

import os
import re
import time

from hids.agent.checks.host import Host, Steps
from hids.core.rootcheck.finding import finding

CHECK = "modules"
TRIES = 3
PAUSE_S = 0.1
_SYMBOL = re.compile(rb"\t\[([^\]\s]+)\]$")
MAX_BYTES = 4 * 1024 * 1024
_BUILTIN = frozenset(("bpf", "__builtin__ftrace", "__builtin__kprobes"))
"""What the kernel calls its own made-up code in the list of symbols."""

TAINTS = {
    "F": (1, "was loaded by force"),
    "O": (12, "is not of the kernel's own tree"),
    "E": (13, "has no valid signature"),
}
"""Letter of a module, bit of the kernel, and what it means (Documentation/admin-guide/tainted-kernels.rst)."""


def check(_host: Host, proc: str = "/proc", sys: str = "/sys/module") -> Steps:
    """Compare the lists, and look at the taints."""
    for name, hidden, seen in _hidden(proc, sys):
        yield finding(
            CHECK, f"Kernel module '{name}' hidden from {' and '.join(hidden)}. It is in {' and '.join(seen)}."
        )
    yield None
    letters: set[str] = set()
    for name in _names(sys):
        tainted = _read(os.path.join(sys, name, "taint")).strip()
        letters |= set(tainted)
        reasons = [reason for letter, (_, reason) in TAINTS.items() if letter in tainted]
        if reasons:
            yield finding(CHECK, f"Kernel module '{name}' {' and '.join(reasons)}.")
    value = _read(f"{proc}/sys/kernel/tainted").strip()
    bits = int(value) if value.isdecimal() else 0
    for letter, (bit, reason) in TAINTS.items():
        if bits & 1 << bit and letter not in letters:
            yield finding(CHECK, f"The kernel has had a module that {reason}, and no module that is loaded says so.")


def _hidden(proc: str, sys: str) -> list[tuple[str, tuple[str, ...], tuple[str, ...]]]:
    """(name, lists without it, lists with it), as often as it is looked."""
    if not os.path.exists(f"{proc}/modules"):
        return []  # a kernel without modules
    before: list[tuple[str, tuple[str, ...], tuple[str, ...]]] | None = None
    for _ in range(TRIES):
        views = _views(proc, sys)
        names = set[str]().union(*views.values())
        now = [
            (
                name,
                tuple(view for view, members in views.items() if name not in members and view != _SYMBOLS),
                tuple(view for view, members in views.items() if name in members),
            )
            for name in sorted(names)
            if any(name not in members for view, members in views.items() if view != _SYMBOLS)
        ]
        if not now:
            return []
        before = now if before is None else [each for each in before if each in now]
        time.sleep(PAUSE_S)
    return before or []


_SYMBOLS = "/proc/kallsyms"


def _views(proc: str, sys: str) -> dict[str, set[str]]:
    views = {
        "/proc/modules": {line.partition(" ")[0] for line in _read(f"{proc}/modules").splitlines()},
        "/sys/module": {name for name in _names(sys) if os.path.lexists(os.path.join(sys, name, "initstate"))},
    }
    views[_SYMBOLS] = _symbols(f"{proc}/kallsyms") - _BUILTIN
    return views


def _symbols(path: str) -> set[str]:
    """Modules that have symbols, line by line: there are some hundred thousand."""
    try:
        with open(path, "rb") as file:
            found = {match[1] for line in file if (match := _SYMBOL.search(line))}
    except OSError:
        return set()
    return {name.decode("utf-8", "backslashreplace") for name in found}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(MAX_BYTES)
    except OSError:
        return ""


def _names(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []
