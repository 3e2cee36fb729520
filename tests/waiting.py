"""Time in tests: a clock that is set by hand, and waiting on an event loop for what must come true."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

PATIENCE_S = 5.0


class SetClock:
    """A clock that moves only when it is told to."""

    def __init__(self, now_ms: int = 1_700_000_000_000) -> None:
        self.ms = now_ms
        self.s = 1000.0

    def now_ms(self) -> int:
        return self.ms

    def monotonic_s(self) -> float:
        return self.s

    def advance(self, seconds: float) -> None:
        self.s += seconds
        self.ms += int(seconds * 1000)


async def until(look: Callable[[], T], what: str, patience_s: float = PATIENCE_S) -> T:
    """Let the loop run until `look` gives something true, and return that."""
    deadline = time.monotonic() + patience_s
    while not (found := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {patience_s:g} s: {what}")
        await asyncio.sleep(0.001)
    return found


async def settle(turns: int = 20) -> None:
    """Give every callback that is ready, and those that they make ready, their turn."""
    for _ in range(turns):
        await asyncio.sleep(0)
