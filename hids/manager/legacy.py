"""What of the tree serves OSSEC's and Wazuh's agents, when `[legacy]` switches it on.

old agents ==UDP==> legacy (a process) -> legacy_sessions -> dispatcher, like any session
           ==TCP==> session_port, which gives the connection to the process
           ==1515=> join_port: a key for a name and a password
"""

import asyncio
import socket
from pathlib import Path

from msgspec import structs

from hids.actors.dispatcher import Tell
from hids.actors.legacy_sessions import Give, LegacySessions, Renew
from hids.actors.stage import Mailbox
from hids.adapters.enrolling import EnrolDesk, Enrolled, EnrolLimit, EnrolPolicy
from hids.adapters.legacy_port import hand_over
from hids.adapters.listening import bind_datagrams
from hids.adapters.process import Launched, launch
from hids.adapters.registry import Registry
from hids.errors import ConfigError
from hids.manager.config import Legacy, address_of
from hids.manager.processes import start_process
from hids.manager.site import Site
from hids.messages.legacy import FromLegacy, LegacyOrder
from hids.messages.terms import Agent, AgentId

PROCESS_BOUND = 100_000
"""Keys, progress and orders; main sends few."""
SESSIONS_BOUND = 200_000
"""The process has 8 MiB of batches under way at most."""
UDP_BUFFER_BYTES = 16 * 1024 * 1024
"""What the kernel is asked to keep of datagrams; it may give less (net.core.rmem_max)."""
GUESS_DELAY_S = 1.0
"""A wrong password is answered so late."""
GUESS_NOTICE_S = 10.0
MIN_PASSWORD = 8


class LegacyTree:
    """Sockets, mailboxes and lives. One a run."""

    def __init__(self, site: Site) -> None:
        """Bind the UDP port and read the password.

        Raises:
            ConfigError: the port is taken, or the password file cannot be used.
        """
        self._site = site
        self._config = config = site.config
        self.process = Mailbox("legacy", PROCESS_BOUND)
        self.sessions = Mailbox("legacy_sessions", SESSIONS_BOUND)
        host, port = address_of(config.legacy.udp, "[legacy] udp")
        self._udp = bind_datagrams(host, port, "[legacy] udp", UDP_BUFFER_BYTES)
        self.udp_port: int = self._udp.getsockname()[1]
        self._handover, self._handover_theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._handover.setblocking(False)
        self._policy = _policy(config.legacy)
        self._limit = EnrolLimit()
        self._guessed_s = float("-inf")

    # -- lives

    def start_process(self, mailbox: Mailbox) -> object:
        """One life of the process."""
        return start_process(mailbox, self._launch, FromLegacy, self.sessions.tell, self._site.clock)

    def start_sessions(self, mailbox: Mailbox) -> object:
        """One life of its counterpart in main."""
        site = self._site
        return LegacySessions.start(
            mailbox, self.process, site.registrar, site.progress, site.fleet, site.clock, site.dispatcher.tell
        )

    def _launch(self) -> Launched:
        legacy = self._config.legacy
        udp, handover = self._udp.fileno(), self._handover_theirs.fileno()
        options = (
            *("--udp-fd", str(udp)),
            *("--handover-fd", str(handover)),
            *("--journal", str(self._site.paths.legacy_journal)),
            *("--journal-bytes", str(legacy.journal_mib * 1024 * 1024)),
            *("--shared", legacy.shared),
            *("--manager", self._site.name),
            *("--disconnected-after", str(self._config.agents.disconnected_after_s)),
            *(("--blowfish",) if legacy.blowfish else ()),
        )
        return launch("hids.workers.legacy", options, inherit=(udp, handover))

    # -- what comes from outside

    def take_over(self, sock: socket.socket, address: str) -> None:
        """Give a TCP connection to the process."""
        hand_over(self._handover, sock, address)

    async def enrol(self, received: bytes, address: str) -> bytes:
        """Answer one enrolment."""

        def ask(registry: Registry) -> Enrolled:
            desk = EnrolDesk(registry.legacy, self._policy, self._limit, self._is_live)
            return desk.answer(received, address, self._site.clock.now_ms())

        said: Enrolled = await self._site.ask(ask)
        if said.agent is not None:
            agent = Agent(said.agent.agent.id, said.agent.agent.name, address)
            self._site.dispatcher.tell(Tell(agent, f"agent joined: name {agent.name} address {address}"))
            if said.replaced is not None:
                before = Agent(said.replaced, agent.name, address)
                self._site.dispatcher.tell(Tell(before, f"agent removed: replaced by agent {agent.id}"))
            self.renew()
        elif said.is_guess:
            self._tell_guess(address)
            await asyncio.sleep(GUESS_DELAY_S)
        return said.reply

    # -- for control

    def renew(self) -> None:
        """The keys in the registry have changed."""
        self.sessions.tell(Renew())

    async def order(self, order: LegacyOrder) -> str:
        """Give an order to an old agent; returns why it could not be sent, or nothing."""
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.sessions.tell(Give(order, done))
        return await done

    def _is_live(self, agent_id: AgentId) -> bool:
        presence = self._site.fleet.get(agent_id)
        return presence is not None and presence.connected

    def _tell_guess(self, address: str) -> None:
        now_s = self._site.clock.monotonic_s()
        if now_s - self._guessed_s >= GUESS_NOTICE_S:
            self._guessed_s = now_s
            manager = structs.replace(self._site.manager, ip=address)
            self._site.dispatcher.tell(Tell(manager, f"agent refused: wrong password for enrolment from {address}"))


def _policy(legacy: Legacy) -> EnrolPolicy:
    password = ""
    if legacy.password_file:
        try:
            password = Path(legacy.password_file).read_text(encoding="utf-8").split("\n", 1)[0].removesuffix("\r")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"[legacy] password_file: {legacy.password_file}: cannot be read: {error}") from error
        if len(password) < MIN_PASSWORD:
            raise ConfigError(
                f"[legacy] password_file: {legacy.password_file}: expected a password of at least {MIN_PASSWORD} "
                "characters on its first line"
            )
    return EnrolPolicy(password, legacy.cut_password, legacy.use_source_ip, legacy.enrol_per_hour)
