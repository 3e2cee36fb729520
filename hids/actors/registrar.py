"""Registrar: who is an agent. The only user of the registry's database, on a thread of its own.

    session --Admit--> registrar --Admitted--> session
    join port, control --Ask--> registrar --> answer

State    in agents.db; a restart loses nothing.
"""

from collections.abc import Callable
from typing import Any, Protocol

from hids.actors.agent_session import Admitted
from hids.actors.stage import Mailbox, ThreadActor
from hids.errors import JoinRefused, ProtocolError
from hids.messages import Agent, AgentId, Hello


class Admit:
    """session -> registrar: may this certificate have a session?"""

    def __init__(self, certificate: bytes, hello: Hello, address: str, reply: Mailbox) -> None:
        self.certificate = certificate
        self.hello = hello
        self.address = address
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
    ) -> None:
        super().__init__(mailbox)
        self._open_registry = open_registry
        self._identify = identify
        self._now_ms = now_ms
        self._registry: Registry | None = None

    def on_receive(self, message: Admit | Ask) -> Any:
        """Answer one question."""
        registry = self._registry
        if registry is None:  # SQLite wants to be opened on the thread that uses it
            registry = self._registry = self._open_registry()
        match message:
            case Admit():
                message.reply.tell(self._admit(registry, message))
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
            row = registry.admit(agent_id, fingerprint)
        except (JoinRefused, ProtocolError) as refusal:
            return Admitted(None, str(refusal))
        registry.seen(agent_id, self._now_ms(), message.address, hello.os, hello.software)
        return Admitted(Agent(row.id, row.name, message.address), "")
