"""AgentSession: one agent's connection, from HELLO to its end.

    agent ==TLS==> agent session --Job|Hole--> dispatcher;  progress register --wake--> agent session --Ack--> agent

State    which batches are out; all of it is lost with the connection and comes again from the agent's spool.
Full     the socket is not read while messages wait here or while more bytes are out than the credit allows.
Fence    a newer session of the same agent closes this one; the lane refuses what is applied already.
A bug    ends this session; the agent connects again.
"""

import hashlib
import hmac
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import structlog
from msgspec import structs

from hids.actors.credit import CreditPool
from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.registers import ProgressRegister
from hids.actors.stage import Control, LoopActor, Mailbox, Wake
from hids.core.wire.lines import GENESIS, link
from hids.core.wire.session import PROTOCOL_VERSION, Fork, GoOn, Missing, judge
from hids.messages.agent_link import (
    Ability,
    Ack,
    Bye,
    Configured,
    Heartbeat,
    Hello,
    NewEpoch,
    Refused,
    Renew,
    Renewed,
    ToAgent,
    Welcome,
)
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, ReadThrough
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, Batch
from hids.messages.response import Responded
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import Clock, Emit

log = structlog.get_logger()

REFUSED_RETRY_S = 60
OFFSET_ALERT_MS = 60_000
"""A clock further off than this is worth a line."""

OFFSET_MAX_MS = 100 * 365 * 86_400_000
"""A clock that stands at its epoch is still put right; a number that is no time is not."""

TAKEOVERS = 3
TAKEOVERS_MS = 600_000
"""So many sessions that take over from another address within so long are a machine and its copy."""

ABILITIES: tuple[Ability, ...] = ("renew", "configure", "restart", "syscheck", "respond")

MAX_OUTCOMES = 5_000
"""Of responses between two heartbeats: more than an agent can do in that time, and less than what would hurt."""

HELLO_S = 15.0
"""From the handshake to the HELLO."""


class Wire(Protocol):
    """The connection (hids.adapters.session_port)."""

    address: str
    certificate: bytes

    def attach(self, deliver: Callable[[Any], int], closed: Callable[[str], None]) -> None:
        """Connect the session."""
        ...

    def send(self, message: Any) -> None:
        """Send to the agent."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def close(self, reason: str) -> None:
        """End."""
        ...


class _Out(NamedTuple):
    last: int
    """Its last sequence."""
    size: int
    chain: bytes


class Closed(Control):
    """connection -> session."""

    def __init__(self, reason: str) -> None:
        self.reason = reason


class Admitted(Control):
    """registrar -> session: who it is, or why not."""

    def __init__(self, agent: Agent | None, refusal: str, groups: tuple[str, ...] = ()) -> None:
        self.agent = agent
        self.refusal = refusal
        self.groups = groups


class RenewedFor(Control):
    """registrar -> session: the new certificate, or why there is none."""

    def __init__(self, certificate: bytes, refusal: str) -> None:
        self.certificate = certificate
        self.refusal = refusal


class HelloDue(Control):
    """timer -> session: it should have said hello by now."""


class AgentSession(LoopActor):
    """Check, forward, acknowledge."""

    def __init__(
        self,
        mailbox: Mailbox,
        wire: Wire,
        admit: Callable[[bytes, Hello, str], Any],
        register: ProgressRegister,
        credit: CreditPool,
        fleet: Fleet,
        clock: Clock,
        emit: Emit[Job | Hole | Tell | ReadThrough],
        renew: Callable[[AgentId, bytes], Any] = lambda _id, _csr: None,
        responded: Callable[[AgentId, Responded], None] | None = None,
    ) -> None:
        super().__init__(mailbox)
        self._renew = renew
        self._responded = responded
        self._outcomes = 0
        """Since the last heartbeat."""
        self._renewing = False
        self._wire = wire
        self._admit = admit
        self._register = register
        self._credit = credit
        self._fleet = fleet
        self._clock = clock
        self._emit = emit
        self._hello: Hello | None = None
        self._agent: Agent | None = None
        self._presence: Presence | None = None
        self._source = SourceId("")
        self._welcomed = False
        self._next: int = 0
        self._chain = GENESIS
        self._out: deque[_Out] = deque()
        """Batches that are not known to be committed."""
        self._bytes_out = 0
        self._acked = 0
        self._reason = ""
        """Why the connection ended."""
        credit.join()
        self._joined = True
        wire.attach(self._deliver, lambda reason: mailbox.tell(Closed(reason)))
        self._due = self.loop.call_later(HELLO_S, mailbox.tell, HelloDue())

    def on_receive(  # noqa: PLR0912 - one branch a message
        self,
        message: Hello
        | Batch
        | Heartbeat
        | Renew
        | Configured
        | Responded
        | Bye
        | Closed
        | Admitted
        | RenewedFor
        | Wake
        | HelloDue,
    ) -> None:
        """One message of the agent, or a wake-up."""
        match message:
            case Hello():
                self._greet(message)
            case Batch():
                self._take(message)
            case Heartbeat():
                self._beat(message)
            case Renew():
                self._ask_renewal(message)
            case RenewedFor():
                self._renewed(message)
            case Configured():
                self._configured(message)
            case Responded():
                self._hear(message)
            case Bye():
                self._wire.close(message.reason)
            case Admitted():
                self._admitted(message)
            case Wake():
                self._moved()
            case Closed():
                self._reason = message.reason
                log.info("session ended", agent=self._name(), reason=message.reason)
                self.stop()
            case HelloDue():
                if self._hello is None:
                    self._refuse("no hello came", retry_s=REFUSED_RETRY_S)
        over = self._over_credit()
        self._note_hold(over)
        if self.mailbox.depth == 0 and not over:
            self._wire.resume()

    def on_shutdown(self) -> None:
        """Main stops: the agent keeps what is not acknowledged."""
        self._wire.close("the manager stops")
        self.stop()

    def closing(self) -> None:
        """Take back what this session holds."""
        self._due.cancel()
        self._wire.close("session over")
        if self._joined:
            self._joined = False
            self._credit.leave()
        if self._source:
            self._register.unwatch(self._source, self.mailbox.wake)
        presence = self._presence
        if presence is not None and presence.hangup == self._hang_up:
            presence.connected = False
            presence.hangup = presence.send = None
            presence.ended_reason = self._reason
            presence.ended_ms = self._clock.now_ms()

    def facts(self) -> dict[str, str | int]:
        """Figures for `hidsctl status`."""
        return {
            "agent": self._name(),
            "committed": self._acked,
            "bytes_out": self._bytes_out,
            "address": self._wire.address,
        }

    def _deliver(self, message: Any) -> int:
        self.mailbox.tell(message)
        return self.mailbox.depth if not self._over_credit() else self.mailbox.bound

    # -- hello

    def _greet(self, hello: Hello) -> None:
        if self._hello is not None:
            self._refuse("a second hello in one session", retry_s=1)
            return
        self._hello = hello
        self._due.cancel()
        if hello.version != PROTOCOL_VERSION:
            self._refuse(
                f"the agent speaks protocol {hello.version}, this manager {PROTOCOL_VERSION}; upgrade the older one"
            )
            return
        self._admit(self._wire.certificate, hello, self._wire.address)

    def _admitted(self, answer: Admitted) -> None:
        if answer.agent is None:
            self._refuse(answer.refusal)
            return
        hello, agent = self._hello, answer.agent
        assert hello is not None  # noqa: S101 - only a hello asks for admission
        presence = self._fleet.get(agent.id) or self._fleet.of(agent)
        if presence.hangup is not None:
            if presence.machine_id != hello.machine_id:
                self._emit(Tell(agent, "agent refused: its identity is in use on another machine"))
                self._refuse(
                    f"agent {agent.id} is connected from another machine; join this one with a token of its own",
                    retry_s=REFUSED_RETRY_S,
                )
                return
            if presence.agent.ip != agent.ip:
                self._note_takeover(presence, agent)
            presence.hangup("replaced by a newer session", 1)
        presence = self._fleet.of(agent)
        self._agent = agent
        self._source = SourceId(f"agent/{agent.id}")
        self._presence = presence
        now_ms = self._clock.now_ms()
        presence.hangup = self._hang_up
        presence.send = self._send
        presence.connected = True
        presence.groups = answer.groups
        presence.os = hello.os
        presence.software = hello.software
        presence.abilities = frozenset(hello.abilities)
        presence.config = hello.config
        presence.config_problem, presence.config_sent = "", None
        presence.machine_id = hello.machine_id
        presence.since_ms = presence.seen_ms = now_ms
        presence.lines = 0
        presence.held_back = False
        presence.epoch = hello.epoch
        presence.canary_s = hello.canary_s
        presence.certificate = self._wire.certificate
        presence.clock_offset_ms = _offset(now_ms, hello.clock_ms)
        if abs(presence.clock_offset_ms) > OFFSET_ALERT_MS:
            self._emit(Tell(agent, f"agent clock: {presence.clock_offset_ms / 1000:+.0f} s off the manager's"))
        if presence.told_silent:
            presence.told_silent = False
            self._emit(Tell(agent, "agent connected again"))
        self._register.watch(self._source, self.mailbox.wake)
        self._begin()

    def _begin(self) -> None:
        """Judge the hello once it is known what is committed, and again after a hole is recorded.

        Batches of an earlier session may still be under way. The agent could have been restored from a copy meanwhile
        and send others under the same numbers, so they are waited for.
        """
        hello, agent = self._hello, self._agent
        if hello is None or agent is None or not self._register.known or self._register.under_way.get(self._source):
            return
        progress = self._register.get(self._source)
        match judge(hello, progress):
            case GoOn(from_seq):
                same = progress is not None and progress.epoch == hello.epoch
                self._chain = progress.chain if same and progress is not None else GENESIS
                self._next = from_seq
                self._acked = from_seq - 1
                self._welcomed = True
                if progress is not None and not same:
                    self._emit(Tell(agent, f"agent epoch changed: {hello.epoch} after {progress.epoch}"))
                log.info("session begins", agent=agent.name, epoch=hello.epoch, from_seq=from_seq)
                self._send(
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
                log.error("lines lost", agent=agent.name, epoch=hello.epoch, first=first, last=last)
                self._emit(Hole(self._source, agent, hello.epoch, first, last, chain, "the agent no longer has them"))
            case Fork(reason, after):
                self._fork(reason, after)

    def _fork(self, reason: str, after: int) -> None:
        log.warning("epoch refused", agent=self._name(), reason=reason)
        if self._agent is not None:
            self._emit(Tell(self._agent, f"agent epoch refused: {reason}"))
        self._send(NewEpoch(reason=reason, after=after))
        self._wire.close(reason)

    # -- batches

    def _take(self, batch: Batch) -> None:
        hello, agent = self._hello, self._agent
        if not self._welcomed or hello is None or agent is None:
            self._refuse("a batch before the welcome", retry_s=1)
            return
        if (
            batch.epoch != hello.epoch
            or batch.first_seq != self._next
            or not 0 < batch.count <= MAX_BATCH_LINES
            or len(batch.data) > MAX_BATCH_PACKED
        ):
            self._refuse(
                f"expected a batch of epoch {hello.epoch} from line {self._next} on, "
                f"got epoch {batch.epoch}, {batch.count} lines from {batch.first_seq}, {len(batch.data)} bytes",
                retry_s=1,
            )
            return
        chain = link(self._chain, batch.data)
        if not hmac.compare_digest(chain, batch.chain):
            self._fork(f"the chain differs at line {batch.first_seq}: another history", hello.epoch)
            return
        self._chain = chain
        self._next += batch.count
        self._out.append(_Out(self._next - 1, len(batch.data), chain))
        self._bytes_out += len(batch.data)
        presence = self._presence
        if presence is not None:
            presence.lines += batch.count
            presence.seen_ms = self._clock.now_ms()
            offset = presence.clock_offset_ms
        else:
            offset = 0
        self._emit(Job(self._source, agent, batch, self._clock.now_ms(), offset))
        self._settle()

    def _beat(self, beat: Heartbeat) -> None:
        presence = self._presence
        self._outcomes = 0
        if presence is None:
            return
        now_ms = self._clock.now_ms()
        presence.seen_ms = now_ms
        presence.clock_offset_ms = _offset(now_ms, beat.clock_ms)
        presence.read_through_ms = beat.read_through_ms
        presence.spooled = beat.spooled
        presence.stopped = beat.stopped
        if self._welcomed:
            self._send(Ack(seq=self._acked, credit=self._credit.share()))
            if self._agent is not None and self._hello is not None and beat.read_through_ms:
                through_ms = min(beat.read_through_ms + presence.clock_offset_ms, now_ms)
                self._emit(ReadThrough(self._source, self._agent, self._hello.epoch, self._next - 1, through_ms))

    # -- upkeep

    def _ask_renewal(self, message: Renew) -> None:
        if self._agent is not None and not self._renewing:
            self._renewing = True
            self._renew(self._agent.id, message.csr)

    def _renewed(self, answer: RenewedFor) -> None:
        self._renewing = False
        if answer.refusal:
            log.warning("certificate not renewed", agent=self._name(), reason=answer.refusal)
        else:
            log.info("certificate renewed", agent=self._name())
            self._send(Renewed(answer.certificate))

    def _hear(self, said: Responded) -> None:
        """What became of an order; nobody may say so more often than he can have been ordered."""
        self._outcomes += 1
        if self._outcomes > MAX_OUTCOMES:
            self._refuse(f"more than {MAX_OUTCOMES} outcomes between two heartbeats", retry_s=REFUSED_RETRY_S)
        elif self._agent is not None and self._responded is not None:
            self._responded(self._agent.id, said)

    def _configured(self, message: Configured) -> None:
        presence, agent = self._presence, self._agent
        if presence is None or agent is None:
            return
        if message.problem:
            presence.config_problem = message.problem
            self._emit(Tell(agent, f"configuration refused: {message.problem}"))
        else:
            presence.config, presence.config_problem = message.version, ""
            self._agent = presence.agent = structs.replace(agent, labels=labels_of(message.labels))

    def _note_takeover(self, presence: Presence, agent: Agent) -> None:
        """Two machines that take one identity from each other are a machine and its copy."""
        now_ms = self._clock.now_ms()
        taken = presence.takeovers
        taken.append(now_ms)
        if len(taken) == TAKEOVERS and now_ms - taken[0] < TAKEOVERS_MS:
            taken.clear()
            self._emit(
                Tell(
                    agent,
                    f"agent cloned: {agent.name} at {agent.ip}: {presence.agent.ip} has the same identity and machine "
                    "id; let one of them join with --as-new",
                )
            )

    def _moved(self) -> None:
        """The register has moved: begin, or acknowledge."""
        if self._welcomed:
            self._settle()
        else:
            self._begin()

    def _settle(self) -> None:
        """Acknowledge what is committed. It must be what this session brought, and the chain tells."""
        progress, hello = self._register.get(self._source), self._hello
        if progress is None or hello is None or progress.epoch != hello.epoch or progress.seq <= self._acked:
            return
        while self._out and self._out[0].last < progress.seq:
            self._bytes_out -= self._out.popleft().size
        if not self._out or self._out[0].last != progress.seq or self._out[0].chain != progress.chain:
            self._fork(f"what is committed at line {progress.seq} is not what came: another history", hello.epoch)
            return
        self._bytes_out -= self._out.popleft().size
        self._acked = progress.seq
        if self._presence is not None:
            self._presence.committed = self._acked
        self._send(Ack(seq=self._acked, credit=self._credit.share()))

    def _note_hold(self, over: bool) -> None:  # noqa: FBT001 - a fact, not a switch
        """Tell the monitor when the agent cannot be heard, and give it its time anew when it can."""
        presence = self._presence
        if presence is not None and presence.hangup == self._hang_up and presence.held_back != over:
            presence.held_back = over
            presence.seen_ms = self._clock.now_ms()

    def _over_credit(self) -> bool:
        return len(self._out) > 1 and self._bytes_out > 2 * self._credit.share()

    # -- endings

    def _refuse(self, reason: str, retry_s: int = 0) -> None:
        log.warning("session refused", agent=self._name(), address=self._wire.address, reason=reason)
        self._send(Refused(reason=reason, retry_s=retry_s))
        self._wire.close(reason)

    def _hang_up(self, reason: str, retry_s: int) -> None:
        self._refuse(reason, retry_s)

    def _send(self, message: ToAgent) -> None:
        self._wire.send(message)

    def _name(self) -> str:
        if self._agent is not None:
            return self._agent.name
        return hashlib.sha256(self._wire.certificate).hexdigest()[:12]


def labels_of(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """An agent's labels as alerts carry them; names that could act on a terminal are left out."""
    return tuple(sorted((name, value) for name, value in labels.items() if name.isprintable()))


def _offset(ours_ms: int, theirs_ms: int) -> int:
    """What to add to an agent's times to get ours, within reason."""
    return max(-OFFSET_MAX_MS, min(ours_ms - theirs_ms, OFFSET_MAX_MS))
