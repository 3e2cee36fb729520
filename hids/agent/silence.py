"""SourceSilence: tells when a source has been quiet for much longer than it ever was.

    timer --> source silence --say--> spool

State    how each source speaks; kept in the spool, saved now and then.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec
import structlog

from hids.actors.stage import Mailbox
from hids.agent.collector import SourceState, TaskActor
from hids.agent.spooler import Recall
from hids.core.silence import Pace
from hids.messages.lines import Append
from hids.ports import Clock

log = structlog.get_logger()

LOOK_S = 15.0
JUMP_MS = 60_000
SAVE_EVERY = 40
"""Looks between two savings."""
KEY = "silence:paces"


class SourceSilence(TaskActor):
    """Compare how many lines there were with how many there are."""

    def __init__(
        self,
        mailbox: Mailbox,
        spool: Mailbox,
        sources: Mapping[str, SourceState],
        clock: Clock,
        say: Callable[[str], None],
        *,
        look_s: float = LOOK_S,
    ) -> None:
        self._spool = spool
        self._sources = sources
        self._clock = clock
        self._say = say
        self._look_s = look_s
        self._paces: dict[str, Pace] = {}
        self._lines: dict[str, int] = {}
        super().__init__(mailbox)

    async def run(self) -> None:
        """Look until cancelled."""
        saved = (await self._spool.request(Recall(KEY))).get(KEY)
        if saved is not None:
            try:
                self._paces = msgspec.json.decode(saved, type=dict[str, Pace])
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                log.warning("what was learned about silent sources is lost", reason=str(error))
        looked_ms = self._clock.now_ms()
        looks = 0
        while True:
            await asyncio.sleep(self._look_s)
            now_ms = self._clock.now_ms()
            jump_ms = now_ms - looked_ms - int(self._look_s * 1000)
            if abs(jump_ms) > JUMP_MS:  # the clock was set, or the machine slept
                for pace in self._paces.values():
                    pace.shift(jump_ms)
            looked_ms = now_ms
            self.look(now_ms)
            looks += 1
            if looks % SAVE_EVERY == 0:
                self._save()

    def look(self, now_ms: int) -> None:
        """Look once."""
        for name, state in tuple(self._sources.items()):
            pace = self._paces.setdefault(name, Pace(now_ms, now_ms))
            if state.lines != self._lines.get(name, 0) and state.lines:
                if pace.heard(now_ms):
                    self._say(f"source speaks again: {state.name}")
            elif pace.falls_silent(now_ms):
                self._say(f"source silent: {pace.words(now_ms)}: {state.name}")
            self._lines[name] = state.lines
        for name in self._paces.keys() - self._sources.keys():
            del self._paces[name]

    def _save(self) -> None:
        positions: dict[str, bytes | None] = {KEY: msgspec.json.encode(self._paces)}
        self._spool.tell(Append(source=self.mailbox.name, lines=(), positions=positions))
