"""What an OSSEC manager orders, as an order of ours: its name looked up in the ar.conf that it has shared.

firewall-drop600 - firewall-drop.sh - 600       NAME - EXECUTABLE - TIMEOUT
"""

import re

from hids.core.response.policy import BUILT_IN, MAX_TIMEOUT_S
from hids.core.response.target import user_of
from hids.errors import RemoteProtocolError
from hids.messages.legacy import LegacyOrder
from hids.messages.response import ResponseOrder

MAX_COMMANDS = 256
"""Lines of ar.conf that are read; OSSEC takes 64."""
_LINE = re.compile(r"(\S{1,64}) - ([A-Za-z0-9_][A-Za-z0-9._-]{0,63}) - ([0-9]{1,8})")
_SUFFIXES = (".sh", ".cmd", ".exe")
_RESTARTS = ("restart-ossec", "restart-wazuh")


def read_ar_conf(text: str) -> dict[str, tuple[str, int]]:
    """Name -> (executable, timeout in seconds). The first of a name that is for Unix counts; other lines are passed over."""
    found: dict[str, tuple[str, int]] = {}
    for line in text.splitlines()[:MAX_COMMANDS]:
        match = _LINE.fullmatch(line.strip())
        if match is not None and not match[2].endswith((".cmd", ".exe")):
            found.setdefault(match[1], (match[2], min(int(match[3]), MAX_TIMEOUT_S)))
    return found


def as_order(told: LegacyOrder, known: dict[str, tuple[str, int]], now_ms: int) -> ResponseOrder:
    """The order.

    Args:
        told: what came.
        known: of `read_ar_conf`.
        now_ms: this agent's clock.

    Raises:
        RemoteProtocolError: the name is not in ar.conf.
    """
    if told.command not in known:
        raise RemoteProtocolError(f"{told.command}: this name is not in the ar.conf that the manager has shared")
    executable, timeout_s = known[told.command]
    base = executable.removesuffix(next((end for end in _SUFFIXES if executable.endswith(end)), ""))
    action = "restart" if base in _RESTARTS else base if base in BUILT_IN else executable
    return ResponseOrder(
        id=f"ossec:{told.command}:{told.alert or now_ms}:{told.ip or told.user}"[:256],
        agent="ossec",
        response=told.command,
        command=told.command,
        action=action,
        address=told.ip,
        user=user_of(told.user),
        file=told.file[:4096],
        issued_ms=now_ms,
        until_ms=now_ms + timeout_s * 1000 if timeout_s else 0,
        alert=told.alert[:256],
        reference=told.alert[:256],
        rule=told.rule[:256],
        once=action == "restart" or (not timeout_s and action not in BUILT_IN),
        why="ordered by the OSSEC manager",
    )
