"""A step that blocks runs beside the loop; what it raises comes through, and a hanging one is alone."""

import asyncio
import threading

import pytest

from hids.adapters.outputs.blocking import Blocking
from hids.core.delivery import Refused


def test_what_a_step_gives_or_raises_comes_through():
    async def main() -> None:
        blocking = Blocking("test")
        assert await blocking.run(lambda: threading.current_thread().name, 5) == "test"
        with pytest.raises(ZeroDivisionError):
            await blocking.run(lambda: 1 // 0, 5)

    def own_timeout() -> None:
        raise TimeoutError("the step's")

    async def timeout() -> None:
        with pytest.raises(TimeoutError, match="the step's"):
            await Blocking("test").run(own_timeout, 5)

    asyncio.run(main())
    asyncio.run(timeout())


def test_a_step_that_hangs_keeps_the_next_away_until_it_is_over():
    go_on = threading.Event()

    async def main() -> None:
        blocking = Blocking("test")
        with pytest.raises(Refused, match="no answer within"):
            await blocking.run(go_on.wait, 0.01)
        with pytest.raises(Refused, match="still hangs"):
            await blocking.run(go_on.wait, 0.01)
        go_on.set()
        while True:
            try:
                assert await blocking.run(lambda: 7, 5) == 7
            except Refused:
                await asyncio.sleep(0)
            else:
                return

    asyncio.run(main())
