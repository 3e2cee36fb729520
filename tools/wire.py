"""A network between agents and their manager that can be cut: a TCP proxy with its own thread."""

import asyncio
import random
import threading
from collections.abc import Callable
from typing import Literal

CHUNK = 65_536
Way = Literal["up", "down"]


class Wire:
    """Carries every connection to 127.0.0.1:`target` until told otherwise. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.target = 0
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._up, self._down = asyncio.Event(), asyncio.Event()
        self._open = True
        self._writers: set[asyncio.StreamWriter] = set()
        self._tears = {"up": 0, "down": 0}
        """So many pieces that come next end in the middle, towards the manager and towards the agents."""
        ready = threading.Event()
        threading.Thread(target=self._run, args=(ready,), daemon=True, name="wire").start()
        ready.wait()

    def cut(self) -> None:
        """End every connection."""
        self._do(self._abort_all)

    def refuse(self, refusing: bool) -> None:  # noqa: FBT001 - a switch
        """Take no new connections, or take them again."""

        def switch() -> None:
            self._open = not refusing

        self._do(switch)

    def hold(self, *, up: bool, down: bool) -> None:
        """Carry nothing towards the manager, or nothing towards the agents, but keep connections."""

        def switch() -> None:
            for event, held in ((self._up, up), (self._down, down)):
                (event.clear if held else event.set)()

        self._do(switch)

    def tear(self, way: Way) -> None:
        """Let the next pieces towards the manager ("up") or the agents end in the middle, and their connections with them."""

        def switch() -> None:
            self._tears[way] = max(1, len(self._writers) // 8)

        self._do(switch)

    def _do(self, step: Callable[[], None]) -> None:
        self._loop.call_soon_threadsafe(step)

    def _run(self, ready: threading.Event) -> None:
        async def main() -> None:
            self._up.set()
            self._down.set()
            server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
            self.port = server.sockets[0].getsockname()[1]
            ready.set()
            await server.serve_forever()

        self._loop.run_until_complete(main())

    def _abort_all(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._open:
            writer.transport.abort()
            return
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, back}
        pumps = (
            asyncio.ensure_future(self._pump(reader, back, self._up, "up")),
            asyncio.ensure_future(self._pump(there, writer, self._down, "down")),
        )
        await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        for pump in pumps:
            pump.cancel()
        for end in (writer, back):
            self._writers.discard(end)
            end.transport.abort()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flows: asyncio.Event, way: Way
    ) -> None:
        try:
            while data := await reader.read(CHUNK):
                await flows.wait()
                if self._tears[way] and len(data) > 1:
                    self._tears[way] -= 1
                    writer.write(data[: random.randrange(1, len(data))])  # noqa: S311 - no secret
                    await writer.drain()
                    return
                writer.write(data)
                await writer.drain()
        except OSError:
            pass
