"""Conversation: what an agent that is admitted and its manager say to each other; a part of its session.

    session --Batch, Heartbeat, Configured, Responded--> conversation --Job|Hole|ReadThrough--> dispatcher, --Ack--> agent

Batches are checked and handed on; what is committed of them, as the progress register says, is acknowledged.
"""

from collections.abc import Callable

import structlog
from msgspec import structs

from hids.actors.credit import CreditPool
from hids.actors.dispatcher import Tell
from hids.actors.fleet import Presence
from hids.actors.registers import ProgressRegister
from hids.core.wire.passage import Passage
from hids.core.wire.session import Fork, GoOn, Missing, labels_of
from hids.errors import RemoteProtocolError
from hids.messages.agent_link import Ability, Ack, Configured, Heartbeat, Hello, NewEpoch, Refused, Welcome
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, ReadThrough
from hids.messages.lines import Batch
from hids.messages.response import Responded
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import Clock, Emit, Wire

log = structlog.get_logger()

REFUSED_RETRY_S = 60
ABILITIES: tuple[Ability, ...] = ("renew", "configure", "restart", "syscheck", "respond")

BEFORE_WELCOME = "a batch before the welcome"
MAX_OUTCOMES = 5_000
"""Of responses between two heartbeats: more than an agent can do in that time, and less than what would hurt."""


class Conversation:
    """Check, forward, acknowledge. The presence is this session's as long as no newer one has taken it."""

    def __init__(
        self,
        hello: Hello,
        presence: Presence,
        wire: Wire,
        register: ProgressRegister,
        credit: CreditPool,
        clock: Clock,
        emit: Emit[Job | Hole | Tell | ReadThrough],
        responded: Callable[[AgentId, Responded], None] | None,
    ) -> None:
        self.agent: Agent = presence.agent
        self.source = SourceId(f"agent/{presence.agent.id}")
        self.passage = Passage(hello)
        self._presence = presence
        self._wire = wire
        self._register = register
        self._credit = credit
        self._clock = clock
        self._emit = emit
        self._responded = responded
        self._outcomes = 0
        """Since the last heartbeat."""

    def begin(self) -> None:
        """Judge the hello once it is known what is committed, and again after a hole is recorded.

        Batches of an earlier session may still be under way. The agent could have been restored from a copy meanwhile
        and send others under the same numbers, so they are waited for.
        """
        passage, agent = self.passage, self.agent
        if not self._register.known or self._register.under_way.get(self.source):
            return
        progress = self._register.get(self.source)
        match passage.open(progress):
            case GoOn(from_seq):
                if progress is not None and progress.epoch != passage.epoch:
                    self._emit(Tell(agent, f"agent epoch changed: {passage.epoch} after {progress.epoch}"))
                log.info("session begins", agent=agent.name, epoch=passage.epoch, from_seq=from_seq)
                self._wire.send(
                    Welcome(
                        from_seq=from_seq,
                        credit=self._credit.share(),
                        clock_ms=self._clock.now_ms(),
                        agent_id=agent.id,
                        agent_name=agent.name,
                        abilities=ABILITIES,
                    )
                )
            case Missing(first, last, chain):
                log.error("lines lost", agent=agent.name, epoch=passage.epoch, first=first, last=last)
                self._emit(Hole(self.source, agent, passage.epoch, first, last, chain, "the agent no longer has them"))
            case Fork() as fork:
                self._fork(fork)

    def moved(self) -> None:
        """The register has moved: begin, or acknowledge."""
        if self.passage.is_open:
            self._settle()
        else:
            self.begin()

    def take(self, batch: Batch) -> None:
        """The next batch goes on to a worker."""
        if not self.passage.is_open:
            refuse(self._wire, self.agent.name, BEFORE_WELCOME, retry_s=1)
            return
        try:
            fork = self.passage.take(batch)
        except RemoteProtocolError as error:
            refuse(self._wire, self.agent.name, str(error), retry_s=1)
            return
        if fork is not None:
            self._fork(fork)
            return
        presence = self._presence
        presence.lines += batch.count
        presence.seen_ms = self._clock.now_ms()
        self._emit(Job(self.source, self.agent, batch, presence.seen_ms, presence.clock_offset_ms))
        self._settle()

    def beat(self, beat: Heartbeat) -> None:
        """The agent tells how it is, and how far it has read."""
        self._outcomes = 0
        now_ms = self._clock.now_ms()
        self._presence.beat(beat, now_ms)
        if self.passage.is_open:
            self._acknowledge()
            if beat.read_through_ms:
                through_ms = min(beat.read_through_ms + self._presence.clock_offset_ms, now_ms)
                self._emit(ReadThrough(self.source, self.agent, self.passage.epoch, self.passage.last, through_ms))

    def hear(self, said: Responded) -> None:
        """What became of an order; nobody may say so more often than he can have been ordered."""
        self._outcomes += 1
        if self._outcomes > MAX_OUTCOMES:
            text = f"more than {MAX_OUTCOMES} outcomes between two heartbeats"
            refuse(self._wire, self.agent.name, text, retry_s=REFUSED_RETRY_S)
        elif self._responded is not None:
            self._responded(self.agent.id, said)

    def configured(self, message: Configured) -> None:
        """What became of the manager's configuration."""
        presence = self._presence
        if message.problem:
            presence.config_problem = message.problem
            self._emit(Tell(self.agent, f"configuration refused: {message.problem}"))
        else:
            presence.config, presence.config_problem = message.version, ""
            self.agent = presence.agent = structs.replace(self.agent, labels=labels_of(message.labels))

    def is_over_credit(self) -> bool:
        """Whether the agent has more under way than it may."""
        return self.passage.is_over(self._credit.share())

    def _settle(self) -> None:
        match self.passage.settle(self._register.get(self.source)):
            case Fork() as fork:
                self._fork(fork)
            case True:
                self._presence.committed = self.passage.acked
                self._acknowledge()
            case False:
                pass

    def _acknowledge(self) -> None:
        self._wire.send(Ack(seq=self.passage.acked, credit=self._credit.share()))

    def _fork(self, fork: Fork) -> None:
        log.warning("epoch refused", agent=self.agent.name, reason=fork.reason)
        self._emit(Tell(self.agent, f"agent epoch refused: {fork.reason}"))
        self._wire.send(NewEpoch(reason=fork.reason, after=fork.after))
        self._wire.close(fork.reason)


def refuse(wire: Wire, name: str, reason: str, retry_s: int = 0) -> None:
    """End it, and say why; `retry_s` as in `Refused`."""
    log.warning("session refused", agent=name, address=wire.address, reason=reason)
    wire.send(Refused(reason=reason, retry_s=retry_s))
    wire.close(reason)
