"""Silence: looks whether agents that are connected are also heard.

    timer --Look--> silence --Tell--> dispatcher

An agent that sends heartbeats but no lines is either quiet or blind. Two answers:

Canary   agents that promised signed marker lines must get them through to the ledger, or progress with a backlog.
Pace     how long an agent may send nothing else is learned from its own past, and kept over restarts.

State    the paces, saved now and then: a restart loses minutes of learning.
"""

from collections.abc import Callable

import msgspec
import structlog

from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.learned import Learned, Store
from hids.actors.registers import ProgressRegister
from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.silence import Pace
from hids.core.wire.canary import parse
from hids.messages.lane import Progress
from hids.messages.terms import AgentId
from hids.ports import Clock, Emit

log = structlog.get_logger()

LOOK_S = 5.0
JUMP_MS = 30_000
"""A look that comes so much earlier or later than it should: the clock was set, or we slept."""
CANARIES = 3.0
"""So many may be missing before it is told, plus a look or two."""
SAVE_EVERY = 120
"""Looks between two savings."""


class Paces(msgspec.Struct):
    """What is saved."""

    agents: dict[AgentId, Pace] = {}


class Look(OneLife):
    """timer -> silence."""


class _Heard:
    """What was last heard of an agent in this life."""

    def __init__(self, now_ms: int) -> None:
        self.progress: Progress | None = None
        self.moved_ms = now_ms
        """When progress moved, by whatever line."""
        self.canary_ms = now_ms
        """When the last genuine canary came, or the session began."""
        self.written_ms = 0
        """The time in it."""
        self.session_ms = 0
        self.told = False


class Silence(LoopActor):
    """Tell the rules about agents that are connected and not heard."""

    def __init__(
        self,
        mailbox: Mailbox,
        fleet: Fleet,
        register: ProgressRegister,
        store: Store,
        genuine: Callable[[bytes, bytes, bytes], bool],
        clock: Clock,
        emit: Emit[Tell],
    ) -> None:
        """`genuine` tells whether (certificate, text, signature) belong together."""
        super().__init__(mailbox)
        self._fleet = fleet
        self._register = register
        self._learned = Learned(store, Paces, "silence")
        self._genuine = genuine
        self._clock = clock
        self._emit = emit
        self._paces = self._learned.load()
        self._heard: dict[AgentId, _Heard] = {}
        self._looked_ms = clock.now_ms()
        self._looks = 0
        self._forged = 0
        self._timer = self.later(LOOK_S, Look())

    def on_receive(self, message: Look) -> None:
        """Look once."""
        del message
        now_ms = self._clock.now_ms()
        jump_ms = now_ms - self._looked_ms - int(LOOK_S * 1000)
        if abs(jump_ms) > JUMP_MS:
            self._shift(jump_ms)
        self._looked_ms = now_ms
        for presence in self._fleet.all():
            self._look_at(presence, now_ms)
        self._looks += 1
        if self._looks % SAVE_EVERY == 0:
            self._learned.save(self._paces)
        self._timer = self.later(LOOK_S, Look())

    def on_shutdown(self) -> None:
        """Save, then stop."""
        self._learned.save(self._paces)
        self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {
            "silent": sum(pace.told for pace in self._paces.agents.values()),
            "without_canary": sum(heard.told for heard in self._heard.values()),
            "forged_canaries": self._forged,
        }

    def _look_at(self, presence: Presence, now_ms: int) -> None:
        agent_id = presence.agent.id
        heard = self._heard.setdefault(agent_id, _Heard(now_ms))
        pace = self._paces.agents.setdefault(agent_id, Pace(now_ms, now_ms))
        lines = self._progress(presence, heard, now_ms) - self._canary(presence, heard, now_ms)
        if lines > 0:
            if pace.heard(now_ms):
                self._emit(Tell(presence.agent, "agent speaks again"))
        elif presence.connected and pace.falls_silent(now_ms):
            self._emit(Tell(presence.agent, f"agent silent: {pace.words(now_ms)}"))
        if presence.connected and presence.canary_s and not heard.told:
            self._miss(presence, heard, now_ms)

    def _progress(self, presence: Presence, heard: _Heard, now_ms: int) -> int:
        """Lines that were committed since the last look."""
        before, heard.progress = heard.progress, self._register.get(f"agent/{presence.agent.id}")
        if heard.progress is None or heard.progress == before:
            return 0
        heard.moved_ms = now_ms
        if before is None:
            return 0
        return heard.progress.seq - before.seq if before.epoch == heard.progress.epoch else heard.progress.seq

    def _canary(self, presence: Presence, heard: _Heard, now_ms: int) -> int:
        """Take the last canary of this agent that was evaluated; how many there were: 1 or 0."""
        if heard.session_ms != presence.since_ms:  # a new session: its first one takes a while
            heard.session_ms = presence.since_ms
            heard.canary_ms = max(heard.canary_ms, now_ms)
            heard.written_ms = 0  # the agent may have started again, with its clock set back meanwhile
        canary = parse(self._register.canaries.pop(f"agent/{presence.agent.id}", b""))
        if canary is None:
            return 0
        if canary.agent_id != presence.agent.id or not self._genuine(
            presence.certificate, canary.signed, canary.signature
        ):
            self._forged += 1
            return 0
        if canary.at_ms <= heard.written_ms:
            return 0
        heard.written_ms, heard.canary_ms = canary.at_ms, now_ms
        if heard.told:
            heard.told = False
            self._emit(Tell(presence.agent, "canary came back"))
        return 1

    def _miss(self, presence: Presence, heard: _Heard, now_ms: int) -> None:
        limit_ms = int((CANARIES * presence.canary_s + 2 * LOOK_S) * 1000)
        catching_up = presence.spooled > 0 and now_ms - heard.moved_ms <= limit_ms
        if now_ms - heard.canary_ms > limit_ms and not catching_up:
            heard.told = True
            log.warning("canary missing", agent=presence.agent.name)
            since_s = (now_ms - heard.canary_ms) // 1000
            text = f"canary missing: none for {since_s} s, one each {presence.canary_s} s was promised"
            self._emit(Tell(presence.agent, text))

    def _shift(self, by_ms: int) -> None:
        for pace in self._paces.agents.values():
            pace.shift(by_ms)
        for heard in self._heard.values():
            heard.moved_ms += by_ms
            heard.canary_ms += by_ms
