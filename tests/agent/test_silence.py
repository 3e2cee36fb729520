"""A source that is quiet for longer than it ever was is told, also when it was learned in another life of the agent."""

import asyncio
from typing import ClassVar

import msgspec
from waiting import SetClock, until

from hids.actors.stage import LoopActor, Mailbox
from hids.agent.collector import SourceState
from hids.agent.silence import KEY, SourceSilence
from hids.agent.spooler import Recall
from hids.core.silence import LEARN_MS, Pace
from hids.messages.lines import Append

NAME = "source /var/log/auth.log"


class Spool(LoopActor):
    """Keeps positions."""

    positions: ClassVar[dict[str, bytes]] = {}

    def on_receive(self, message: Append | Recall) -> dict[str, bytes] | None:
        if isinstance(message, Recall):
            return dict(self.positions)
        self.positions |= {key: value for key, value in message.positions.items() if value is not None}
        return None


class WatchedClock(SetClock):
    """Counts who looks at it."""

    looks = 0

    def now_ms(self) -> int:
        self.looks += 1
        return super().now_ms()


def test_a_source_that_falls_silent_and_speaks_again():
    clock = WatchedClock()
    pace = Pace(clock.ms - 2 * LEARN_MS, clock.ms, gaps=50, longest_ms=600_000.0)
    Spool.positions = {KEY: msgspec.json.encode({NAME: pace})}
    said: list[str] = []

    async def main() -> None:
        spool, mailbox = Mailbox("spool"), Mailbox("silence")
        Spool.start(spool)
        state = SourceState(name=NAME, lines=7)
        sources = {NAME: state}
        SourceSilence.start(mailbox, spool, sources, clock, said.append, look_s=0.001)
        await until(lambda: KEY in Spool.positions and spool.handled >= 2, "what was learned is saved now and then")
        for _ in range(70):
            clock.advance(30)  # under what counts as a clock that was set
            seen = clock.looks
            await until(lambda: clock.looks > seen, "it looks")  # noqa: B023
        assert len(said) == 1
        quiet = int(said[0].split(" for ")[1].split(" s, ")[0])
        assert 1800 < quiet < 2000
        assert said[0].endswith(f" s, usually at most 600 s: {NAME}")
        state.lines += 1
        await until(lambda: len(said) == 2, "it speaks again")
        assert said[1] == f"source speaks again: {NAME}"
        del sources[NAME]
        handled = spool.handled
        await until(lambda: spool.handled > handled + 1, "it is saved again")
        mailbox.shut_down()
        spool.shut_down()
        await until(lambda: mailbox.empty() and spool.empty(), "both stop")

    asyncio.run(main())
    assert msgspec.json.decode(Spool.positions[KEY]) == {}
