"""How much of the machine a thread of syscheck may take: priority of CPU and disk, bytes read in a second."""

import os
import threading
import time
from collections.abc import Callable

import psutil
import structlog

log = structlog.get_logger()

_MAX_DEBT_S = 1.0
"""Rests are at most so long at a time."""
_LOWEST_BEST_EFFORT = 7


class Pace:
    """The budget of bytes. Its `pay` blocks for as long as too much was read."""

    def __init__(self, max_bytes_per_s: int, rest: Callable[[float], None] = time.sleep) -> None:
        """0 bytes: no limit."""
        self._max_bytes_per_s = max_bytes_per_s
        self._rest = rest
        self._paid_until_s = 0.0

    def pay(self, count: int) -> None:
        """So many bytes were read; rest until the budget covers them."""
        if not self._max_bytes_per_s:
            return
        now_s = time.monotonic()
        self._paid_until_s = max(self._paid_until_s, now_s) + count / self._max_bytes_per_s
        while (debt_s := self._paid_until_s - time.monotonic()) > 0:
            self._rest(min(debt_s, _MAX_DEBT_S))


def set_priority(nice: int, ioprio: str) -> None:
    """Set the calling thread's priorities, as far as the system lets it."""
    thread = threading.get_native_id()
    try:
        if nice:
            os.setpriority(os.PRIO_PROCESS, thread, nice)
        if ioprio == "idle":
            psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_IDLE)
        elif ioprio == "low":
            psutil.Process(thread).ionice(psutil.IOPRIO_CLASS_BE, _LOWEST_BEST_EFFORT)
    except (OSError, AttributeError, psutil.Error) as error:
        log.info("syscheck runs with usual priority", reason=str(error))
