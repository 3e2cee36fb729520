"""Actors whose life is a coroutine, and their credit with the spool."""

import asyncio
from collections.abc import Callable
from typing import Any

from hids.actors.stage import Exited, Mailbox
from hids.agent.collector import IN_FLIGHT, Collector, SourceState, TaskActor
from hids.messages.lines import Stored


def lives(actor: Callable[[Mailbox], Any], scene: Callable[[Mailbox, list[Exited]], Any]) -> list[Exited]:
    ends: list[Exited] = []

    async def main() -> None:
        mailbox = Mailbox("it")
        mailbox.on_exit = ends.append
        actor(mailbox)
        await scene(mailbox, ends)
        async with asyncio.timeout(5):
            while not ends:  # noqa: ASYNC110 - a plain list, on purpose
                await asyncio.sleep(0)

    asyncio.run(main())
    return ends


async def nothing(*_: object) -> None:
    pass


def test_a_raise_in_the_coroutine_is_the_lifes_failure():
    class Bad(TaskActor):
        async def run(self) -> None:
            raise ValueError("no")

    (end,) = lives(Bad.start, nothing)
    assert end.failure == "ValueError: no"


def test_a_coroutine_that_returns_ends_the_life_in_order():
    class Short(TaskActor):
        async def run(self) -> None:
            await asyncio.sleep(0)

    (end,) = lives(Short.start, nothing)
    assert end.failure is None


def test_shutdown_cancels_and_lets_it_clean_up():
    cleaned: list[str] = []

    class Long(TaskActor):
        async def run(self) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                cleaned.append("up")

    async def stop(mailbox: Mailbox, _: list[Exited]) -> None:
        await asyncio.sleep(0)
        mailbox.shut_down()

    (end,) = lives(Long.start, stop)
    assert (end.failure, cleaned) == (None, ["up"])


def test_only_so_many_appends_are_under_way():
    spool = Mailbox("spool")

    class Eager(Collector):
        async def run(self) -> None:
            for _ in range(3 * IN_FLIGHT):
                await self.put((), {})
            await self.all_stored()

    async def scene(mailbox: Mailbox, ends: list[Exited]) -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        assert spool.depth == IN_FLIGHT
        for stored in range(3 * IN_FLIGHT):
            assert spool.depth <= IN_FLIGHT + stored
            assert not ends
            mailbox.tell(Stored(lines=0))
            for _ in range(5):
                await asyncio.sleep(0)
        assert spool.depth == 3 * IN_FLIGHT

    (end,) = lives(lambda mailbox: Eager.start(mailbox, spool, SourceState(name="s")), scene)
    assert end.failure is None
