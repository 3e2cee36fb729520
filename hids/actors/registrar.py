"""Registrar: who is an agent. The only user of the registry's database, on a thread of its own.

    session --Admit|RenewFor--> registrar --Admitted|RenewedFor--> session
    join port, control --Ask--> registrar --> answer

State    in agents.db; a restart loses nothing.
"""

from collections.abc import Callable
from typing import Any, Protocol

from hids.actors.agent_session import Admitted, RenewedFor
from hids.actors.stage import Mailbox, ThreadActor
from hids.core.wire.session import labels_of
from hids.errors import JoinRefused, ProtocolError
from hids.messages.agent_link import Hello
from hids.messages.terms import Agent, AgentId


class Admit:
    """session -> registrar: may this certificate have a session?"""

    def __init__(self, certificate: bytes, hello: Hello, address: str, reply: Mailbox) -> None:
        self.certificate = certificate
        self.hello = hello
        self.address = address
        self.reply = reply


class RenewFor:
    """session -> registrar: a new certificate for this agent."""

    def __init__(self, agent_id: AgentId, csr: bytes, reply: Mailbox) -> None:
        self.agent_id = agent_id
        self.csr = csr
        self.reply = reply


class Ask:
    """anyone -> registrar: run this on the registry; the answer goes back to the asker."""

    def __init__(self, question: Callable[[Any], Any]) -> None:
        self.question = question


class Row(Protocol):
    """An agent as registered."""

    @property
    def id(self) -> AgentId:
        """Text digits."""
        ...

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def group_names(self) -> tuple[str, ...]:
        """Its groups."""
        ...


class Registry(Protocol):
    """The database (hids.adapters.registry)."""

    def admit(self, agent_id: AgentId, shown: str) -> Row:
        """The agent of this certificate, or JoinRefused."""
        ...

    def seen(self, agent_id: AgentId, now_ms: int, address: str, os: str, software: str) -> None:
        """Note that it was here."""
        ...

    def close(self) -> None:
        """Close the file."""
        ...


class Registrar(ThreadActor):
    """Admit, enrol, list, remove."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_registry: Callable[[], Registry],
        identify: Callable[[bytes], tuple[AgentId, str]],
        now_ms: Callable[[], int],
        renew: Callable[[Any, AgentId, bytes], bytes],
        refused: Callable[[AgentId, str, str], None] = lambda _id, _reason, _address: None,
    ) -> None:
        """A registrar.

        Args:
            mailbox: its own.
            open_registry: on its thread.
            identify: certificate -> (agent's id, fingerprint).
            now_ms: the clock.
            renew: (registry, agent's id, request) -> certificate.
            refused: told (agent's id, why, from which address) of each refusal.
        """
        super().__init__(mailbox)
        self._renew = renew
        self._refused = refused
        self._open_registry = open_registry
        self._identify = identify
        self._now_ms = now_ms
        self._registry: Registry | None = None

    def on_receive(self, message: Admit | RenewFor | Ask) -> Any:
        """Answer one question."""
        registry = self._registry
        if registry is None:  # SQLite wants to be opened on the thread that uses it
            registry = self._registry = self._open_registry()
        match message:
            case Admit():
                message.reply.tell(self._admit(registry, message))
                return None
            case RenewFor():
                message.reply.tell(self._renewed(registry, message))
                return None
            case Ask():
                return message.question(registry)

    def closing(self) -> None:
        """Close the file."""
        if self._registry is not None:
            self._registry.close()

    def _admit(self, registry: Registry, message: Admit) -> Admitted:
        hello = message.hello
        try:
            agent_id, fingerprint = self._identify(message.certificate)
        except ProtocolError as refusal:
            return Admitted(None, str(refusal))
        try:
            row = registry.admit(agent_id, fingerprint)
        except JoinRefused as refusal:
            self._refused(agent_id, str(refusal), message.address)
            return Admitted(None, str(refusal))
        registry.seen(agent_id, self._now_ms(), message.address, hello.os, hello.software)
        agent = Agent(row.id, row.name, message.address, labels_of(hello.labels))
        return Admitted(agent, "", row.group_names)

    def _renewed(self, registry: Registry, message: RenewFor) -> RenewedFor:
        try:
            return RenewedFor(self._renew(registry, message.agent_id, message.csr), "")
        except JoinRefused as refusal:
            return RenewedFor(b"", str(refusal))
