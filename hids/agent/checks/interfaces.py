"""Interfaces that take packets for others: somebody may be listening.

Two views: the flags in /sys/class/net, and netlink's count of those who asked for it. A port of a bridge is in that
state once by its nature.
"""

import os

from hids.agent.checks.host import Host, Steps
from hids.agent.checks.netlink import promiscuous
from hids.core.rootcheck.finding import finding

CHECK = "if"
_IFF_PROMISC = 0x100


def check(_host: Host, sys: str = "/sys/class/net") -> Steps:
    """Look at each interface."""
    counts = promiscuous()
    for name in sorted({*counts, *_flagged(sys)}):
        expected = 1 if _is_bridged(os.path.join(sys, name)) else 0
        if counts.get(name, 1) > expected:
            yield finding(CHECK, f"Interface '{name}' in promiscuous mode.")
    yield None


def _flagged(folder: str) -> list[str]:
    """Those whose flags say it."""
    found: list[str] = []
    for name in _names(folder):
        try:
            with open(os.path.join(folder, name, "flags"), encoding="ascii") as file:
                if int(file.read(32), 16) & _IFF_PROMISC:
                    found.append(name)
        except (OSError, ValueError):
            continue
    return found


def _is_bridged(folder: str) -> bool:
    """A port of a bridge, or below a bond, a team or Open vSwitch."""
    return any(os.path.lexists(os.path.join(folder, part)) for part in ("brport", "master"))


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []
