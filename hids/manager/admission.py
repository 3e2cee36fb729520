"""How agents come in: the port for sessions, the sessions, the registrar who knows whose they are, the port for joining."""

import itertools
import ssl
from collections.abc import Awaitable, Callable, Iterator
from functools import partial

from hids.actors.agent_session import AgentSession
from hids.actors.credit import CreditPool
from hids.actors.fleet import Refusal
from hids.actors.join_port import JoinPort
from hids.actors.registrar import Admit, Registrar, RenewFor
from hids.actors.session_listener import SessionListener
from hids.actors.stage import Mailbox
from hids.actors.supervisor import ChildSpec, Node, StartChild
from hids.adapters.identity import agent_id_of, fingerprint
from hids.adapters.joining import JoinDesk, JoinListener
from hids.adapters.registry import Registry
from hids.adapters.session_port import SessionPort
from hids.adapters.shared_port import SharedPort
from hids.manager.legacy import LegacyTree
from hids.manager.port import Port
from hids.manager.responses import ResponseTree
from hids.manager.site import Site
from hids.messages.agent_link import Hello
from hids.messages.joining import FromJoin, JoinAnswer, ToJoin
from hids.messages.terms import AgentId
from hids.ports import Wire

SESSION_BOUND = 32_768
"""More frames than one read of a socket can bring; reading pauses long before."""


class Admission:
    """Ports, mailboxes and lives."""

    def __init__(
        self, site: Site, agents: Port, joining: Port, legacy: LegacyTree | None, responses: ResponseTree | None
    ) -> None:
        """`legacy`: None: old agents are not served. `responses`: None: nothing is done about alerts."""
        self._site = site
        self._agents = agents
        self._joining = joining
        self._credit = CreditPool()
        self._numbers: Iterator[int] = itertools.count(1)
        self._legacy = legacy
        self._responses = responses
        self.sessions = Node(Mailbox("sessions", 10_000), "supervisor")

    # -- lives

    def start_registrar(self, mailbox: Mailbox) -> object:
        """One life of the thread that has agents.db."""
        site, authority = self._site, self._site.authority

        def renew(registry: Registry, agent_id: AgentId, csr: bytes) -> bytes:
            key = authority.key_of(csr)
            return registry.renew(agent_id, key, lambda known, name: authority.sign_agent(csr, known, name))

        def refused(agent_id: AgentId, reason: str, address: str) -> None:
            site.fleet.refused(agent_id, Refusal(site.clock.now_ms(), reason, address))

        return Registrar.start(
            mailbox, lambda: Registry(site.paths.agents), _identify, site.clock.now_ms, renew, refused
        )

    def start_session_port(self, mailbox: Mailbox) -> object:
        """One life of the listener for agents."""
        context = self._site.authority.server_context(self._site.config.manager.names)
        return SessionListener.start(mailbox, partial(self._open_sessions, context), self._begin)

    def start_join_port(self, mailbox: Mailbox) -> object:
        """One life of the listener for machines that are no agents yet."""
        return JoinPort.start(mailbox, self._open_joining, self._join, self._site.dispatcher.tell)

    # -- sessions

    def _open_sessions(self, context: ssl.SSLContext, accept: Callable[[Wire], None]) -> SessionPort | SharedPort:
        listening = self._agents.open()
        if self._legacy is not None:
            return SharedPort(listening, context, accept, self._legacy.take_over)
        return SessionPort(listening, context, accept)

    def _begin(self, wire: Wire) -> None:
        """A connection: make it a session."""
        site = self._site
        mailbox = Mailbox(f"session-{next(self._numbers)}", SESSION_BOUND)

        def admit(certificate: bytes, hello: Hello, address: str) -> None:
            site.registrar.tell(Admit(certificate, hello, address, mailbox))

        def renew(agent_id: AgentId, csr: bytes) -> None:
            site.registrar.tell(RenewFor(agent_id, csr, mailbox))

        def start(mailbox: Mailbox) -> object:
            return AgentSession.start(
                mailbox,
                wire,
                admit,
                site.progress,
                self._credit,
                site.fleet,
                site.clock,
                site.dispatcher.tell,
                renew,
                self._responses.heard if self._responses is not None else None,
            )

        spec = ChildSpec(node=Node(mailbox, "agent session"), start=start, restart="temporary")
        self.sessions.mailbox.tell(StartChild(spec))

    # -- joining

    def _open_joining(self, serve: Callable[[ToJoin, str], Awaitable[FromJoin]]) -> JoinListener:
        site, legacy = self._site, self._legacy
        context = site.authority.joining_context(site.config.manager.names, old_agents=legacy is not None)
        listener = JoinListener()
        listener.start(self._joining.open(), context, serve, legacy.enrol if legacy is not None else None)
        return listener

    async def _join(self, question: ToJoin, address: str) -> FromJoin:
        site = self._site
        notes: list[str] = []

        def ask(registry: Registry) -> FromJoin:
            desk = JoinDesk(site.authority, registry, self._agents.number, notes.append)
            return desk.answer(question, address, site.clock.now_ms())

        said: FromJoin = await site.ask(ask)
        if self._legacy is not None and isinstance(said, JoinAnswer):
            self._legacy.renew()  # an old agent may have become one of ours
        for note in notes:
            site.tell(note)
        return said


def _identify(certificate: bytes) -> tuple[AgentId, str]:
    return agent_id_of(certificate), fingerprint(certificate)
