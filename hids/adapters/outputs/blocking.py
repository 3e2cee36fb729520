"""For destinations whose library blocks: one step at a time on a thread, and never a second beside one that hangs."""

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from hids.core.delivery import Refused

T = TypeVar("T")


class Blocking:
    """Runs blocking steps for one destination. The threads are daemons: one that hangs does not keep the process."""

    def __init__(self, name: str) -> None:
        """`name` is the threads'."""
        self._name = name
        self._busy = False

    @property
    def busy(self) -> bool:
        """Whether a step is under way, or hangs."""
        return self._busy

    async def run(self, step: Callable[[], T], timeout_s: float) -> T:
        """Run a step and give what it gives, or raise what it raises.

        Raises:
            Refused: it takes longer than `timeout_s`, or the one before it still hangs.
        """
        if self._busy:
            raise Refused("the try before still hangs")
        self._busy = True
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(value: T | None, error: BaseException | None) -> None:
            self._busy = False
            if done.done():
                return
            if error is not None:
                done.set_exception(error)
            else:
                done.set_result(value)  # type: ignore[arg-type]

        def work() -> None:
            value: T | None = None
            failure: BaseException | None = None
            try:
                value = step()
            except BaseException as error:  # noqa: BLE001 - whatever it is, the loop's side shall have it
                failure = error
            if not loop.is_closed():
                loop.call_soon_threadsafe(settle, value, failure)

        threading.Thread(target=work, name=self._name, daemon=True).start()
        try:
            async with asyncio.timeout(timeout_s):
                return await done
        except TimeoutError as error:
            if done.done() and not done.cancelled():
                raise  # the step's own
            raise Refused(f"no answer within {timeout_s:g} s") from error
