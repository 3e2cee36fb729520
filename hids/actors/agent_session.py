"""AgentSession: one agent's connection, from HELLO to its end.

    agent ==TLS==> agent session --Job|Hole--> dispatcher;  progress register --wake--> agent session --Ack--> agent

State    which batches are out; all of it is lost with the connection and comes again from the agent's spool.
Full     the socket is not read while messages wait here or while more bytes are out than the credit allows.
Fence    a newer session of the same agent closes this one; the lane refuses what is applied already.
A bug    ends this session; the agent connects again.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import structlog

from hids.actors.conversation import BEFORE_WELCOME, REFUSED_RETRY_S, Conversation, refuse
from hids.actors.credit import CreditPool
from hids.actors.dispatcher import Tell
from hids.actors.fleet import Fleet, Presence
from hids.actors.registers import ProgressRegister
from hids.actors.stage import Control, LoopActor, Mailbox, Wake
from hids.core.wire.session import PROTOCOL_VERSION
from hids.messages.agent_link import (
    Bye,
    Configured,
    Heartbeat,
    Hello,
    Renew,
    Renewed,
)
from hids.messages.evaluation import Job
from hids.messages.lane import Hole, ReadThrough
from hids.messages.lines import Batch
from hids.messages.response import Responded
from hids.messages.terms import Agent, AgentId
from hids.ports import Clock, Emit, Wire

log = structlog.get_logger()

OFFSET_ALERT_MS = 60_000
"""A clock further off than this is worth a line."""

HELLO_S = 15.0
"""From the handshake to the HELLO."""


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
        self._renewing = False
        self._wire = wire
        self._admit = admit
        self._register = register
        self._credit = credit
        self._fleet = fleet
        self._clock = clock
        self._emit = emit
        self._hello: Hello | None = None
        self._presence: Presence | None = None
        self._talk: Conversation | None = None
        """There is one as soon as it is known who this is."""
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
        talk = self._talk
        match message:
            case Hello():
                self._greet(message)
            case Batch():
                if talk is None:
                    self._refuse(BEFORE_WELCOME, retry_s=1)
                else:
                    talk.take(message)
            case Heartbeat() if talk is not None:
                talk.beat(message)
            case Renew():
                self._ask_renewal(message)
            case RenewedFor():
                self._renewed(message)
            case Configured() if talk is not None:
                talk.configured(message)
            case Responded() if talk is not None:
                talk.hear(message)
            case Wake() if talk is not None:
                talk.moved()
            case Heartbeat() | Configured() | Responded() | Wake():
                pass  # too early to mean anything
            case Bye():
                self._wire.close(message.reason)
            case Admitted():
                self._admitted(message)
            case Closed():
                self._reason = message.reason
                log.info("session ended", agent=self._name(), reason=message.reason)
                self.stop()
            case HelloDue():
                if self._hello is None:
                    self._refuse("no hello came", retry_s=REFUSED_RETRY_S)
        over = self._is_over_credit()
        if self._presence is not None and self._presence.hangup == self._hang_up:
            self._presence.hold(held_back=over, now_ms=self._clock.now_ms())
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
        if self._talk is not None:
            self._register.unwatch(self._talk.source, self.mailbox.wake)
        if self._presence is not None and self._presence.hangup == self._hang_up:
            self._presence.end(self._reason, self._clock.now_ms())

    def facts(self) -> dict[str, str | int]:
        """Figures for `hidsctl status`."""
        passage = self._talk.passage if self._talk is not None else None
        return {
            "agent": self._name(),
            "committed": passage.acked if passage is not None else 0,
            "bytes_out": passage.bytes_out if passage is not None else 0,
            "address": self._wire.address,
        }

    def _deliver(self, message: Any) -> int:
        self.mailbox.tell(message)
        return self.mailbox.depth if not self._is_over_credit() else self.mailbox.bound

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
        before = self._fleet.get(agent.id)
        if before is not None and before.hangup is not None and not self._replace(before, before.hangup, agent):
            return
        self._presence = presence = self._fleet.of(agent)
        now_ms = self._clock.now_ms()
        presence.begin(hello, answer.groups, self._wire.certificate, now_ms, self._hang_up, self._wire.send)
        self._talk = talk = Conversation(
            hello, presence, self._wire, self._register, self._credit, self._clock, self._emit, self._responded
        )
        if abs(presence.clock_offset_ms) > OFFSET_ALERT_MS:
            self._emit(Tell(agent, f"agent clock: {presence.clock_offset_ms / 1000:+.0f} s off the manager's"))
        if presence.told_silent:
            presence.told_silent = False
            self._emit(Tell(agent, "agent connected again"))
        self._register.watch(talk.source, self.mailbox.wake)
        talk.begin()

    def _replace(self, before: Presence, hang_up: Callable[[str, int], None], agent: Agent) -> bool:
        """Close the older session of the same agent. False: that one is another machine, and this one is refused."""
        hello = self._hello
        if hello is not None and before.machine_id != hello.machine_id:
            self._emit(Tell(agent, "agent refused: its identity is in use on another machine"))
            self._refuse(
                f"agent {agent.id} is connected from another machine; join this one with a token of its own",
                retry_s=REFUSED_RETRY_S,
            )
            return False
        if before.agent.ip != agent.ip and before.is_copied(self._clock.now_ms()):
            self._emit(
                Tell(
                    agent,
                    f"agent cloned: {agent.name} at {agent.ip}: {before.agent.ip} has the same identity and machine "
                    "id; let one of them join with --as-new",
                )
            )
        hang_up("replaced by a newer session", 1)
        return True

    # -- upkeep

    def _ask_renewal(self, message: Renew) -> None:
        if self._talk is not None and not self._renewing:
            self._renewing = True
            self._renew(self._talk.agent.id, message.csr)

    def _renewed(self, answer: RenewedFor) -> None:
        self._renewing = False
        if answer.refusal:
            log.warning("certificate not renewed", agent=self._name(), reason=answer.refusal)
        else:
            log.info("certificate renewed", agent=self._name())
            self._wire.send(Renewed(answer.certificate))

    # -- endings

    def _refuse(self, reason: str, retry_s: int = 0) -> None:
        refuse(self._wire, self._name(), reason, retry_s)

    def _hang_up(self, reason: str, retry_s: int) -> None:
        self._refuse(reason, retry_s)

    def _is_over_credit(self) -> bool:
        return self._talk is not None and self._talk.is_over_credit()

    def _name(self) -> str:
        if self._talk is not None:
            return self._talk.agent.name
        return hashlib.sha256(self._wire.certificate).hexdigest()[:12]
