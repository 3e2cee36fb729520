"""Who hands to whom: every actor of main once, in the order of a line's path. Read this file first.

    agents ==TLS==> session_port -> sessions -> dispatcher -> workers -> dispatcher -> lane
    lane: commits, then -> dispatcher -> acknowledgement to the agent, and a wake-up to outputs and index

The tree starts at the output end and stops at the input end, so whoever is alive has someone to hand to.

    root
    ├─ outputs, index          processes: the alert files; search.db
    ├─ webhooks                process: one sender a webhook; only when there are some
    ├─ engine
    │   ├─ lane                process: correlation windows, syscheck store, ledger
    │   ├─ nursery             process: has the rulesets, forks workers
    │   ├─ dispatcher          keeps every batch until it is committed; its failure restarts the engine
    │   ├─ worker-N            processes: decoder, rule shard
    │   ├─ registrar           thread: agents.db
    │   ├─ legacy_sessions     what OSSEC's and Wazuh's agents deliver, if they are served (hids.manager.legacy)
    │   ├─ legacy              process: speaks with them
    │   ├─ sessions/session-N  one an agent connection
    │   └─ session_port        takes connections
    ├─ join_port               makes machines agents
    ├─ monitor                 looks for agents that are gone
    ├─ silence                 looks for agents that are here and not heard
    ├─ budget                  replaces processes that hold too much memory
    └─ control                 answers hidsctl
"""

import itertools
import os
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any

import msgspec

from hids.actors.agent_session import AgentSession, Wire
from hids.actors.budget import Budget
from hids.actors.child_process import ChildProcess
from hids.actors.control import Control
from hids.actors.credit import CreditPool
from hids.actors.dispatcher import Dispatcher, Tell
from hids.actors.fleet import Fleet
from hids.actors.join_port import JoinPort
from hids.actors.monitor import Monitor
from hids.actors.nursery import Nursery
from hids.actors.registers import ProgressRegister
from hids.actors.registrar import Admit, Ask, Registrar
from hids.actors.session_listener import SessionListener
from hids.actors.silence import Silence, Store
from hids.actors.stage import Mailbox
from hids.actors.supervisor import ChildSpec, Intensity, Node, StartChild, Supervisor
from hids.actors.worker_link import WorkerLink
from hids.adapters.channel import Channel, open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.control import ControlSocket
from hids.adapters.files import write_atomically
from hids.adapters.identity import agent_id_of, fingerprint, is_signed
from hids.adapters.joining import JoinDesk, JoinListener
from hids.adapters.listening import listen
from hids.adapters.markpage import MarkPage
from hids.adapters.paths import ManagerPaths, host_name
from hids.adapters.pki import Authority
from hids.adapters.process import Launched, ended, kill, launch, rss_mib
from hids.adapters.registry import Registry
from hids.adapters.session_port import SessionPort
from hids.adapters.shared_port import SharedPort
from hids.core.delivery import Receiver
from hids.manager.config import Config, address_of
from hids.manager.legacy import LegacyTree
from hids.manager.rulesets import folders
from hids.messages import (
    MANAGER,
    Agent,
    AgentId,
    FromJoin,
    FromLane,
    FromOutput,
    FromWorker,
    Hello,
    JoinAnswer,
    NurseryReady,
    Outboxed,
    ToJoin,
)
from hids.workers.outputs import ALERT_OUTPUTS, INDEX_OUTPUTS

LANE_BOUND = 100_000
"""Messages to the lane: never reached, since credit bounds the bytes under way."""
DISPATCHER_BOUND = 200_000
SESSION_BOUND = 32_768
"""More frames than one read of a socket can bring; reading pauses long before."""

LOADING_LIMIT_S = 120.0
"""Both public rulesets take some seconds."""
PULSE_LIMIT_S = 15.0
"""A lane, an output or the index may wait so long for a slow disk."""


class Topology:
    """Builds main's tree. One a run."""

    def __init__(self, config: Config, paths: ManagerPaths, refused: Callable[[tuple[str, ...]], None]) -> None:
        """Lay out the tree; `start` starts it.

        Args:
            config: manager.toml.
            paths: where files are.
            refused: told the problems when the rulesets cannot be used.

        Raises:
            ConfigError: a port is taken, or the CA cannot be read.
        """
        self.config = config
        self.paths = paths
        self.boot = uuid.uuid4().hex
        self.name = config.manager.name or host_name()
        self.clock = SystemClock()
        self.fleet = Fleet()
        self.progress = ProgressRegister()
        self.rulesets: NurseryReady | None = None
        self._refused = refused
        self._credit = CreditPool()
        self._numbers: Iterator[int] = itertools.count(1)
        self._authority = Authority.open_or_create(paths.authority, self.clock)
        self.pin = self._authority.pin
        self.worker_count = config.workers.count or os.cpu_count() or 1

        self.outputs = Mailbox("outputs")
        self.index = Mailbox("index")
        self.webhooks = Mailbox("webhooks")
        self._receivers = tuple(
            Receiver(**{field: getattr(output, field) for field in Receiver.__struct_fields__})
            for output in config.output
        )
        self.lane = Mailbox("lane", LANE_BOUND)
        self.nursery = Mailbox("nursery")
        self.dispatcher = Mailbox("dispatcher", DISPATCHER_BOUND)
        self.workers = tuple(Mailbox(f"worker-{number}") for number in range(1, self.worker_count + 1))
        self.registrar = Mailbox("registrar", 10_000)
        self.sessions = Node(Mailbox("sessions", 10_000), "supervisor")
        self.session_port = Mailbox("session_port")
        self.engine = Node(Mailbox("engine"), "supervisor")
        self.root = Node(Mailbox("root"), "supervisor")
        self._agents_address = address_of(config.listen.agents, "[listen] agents")
        self._join_address = address_of(config.listen.join, "[listen] join")
        self._first_sockets = {
            "agents": listen(*self._agents_address, "agents"),
            "join": listen(*self._join_address, "join"),
        }
        self.agents_port: int = self._first_sockets["agents"].getsockname()[1]
        self.join_port: int = self._first_sockets["join"].getsockname()[1]
        self.legacy: LegacyTree | None = None
        """None: old agents are not served."""
        if config.legacy.enabled:
            self.legacy = LegacyTree(
                config, paths, self.name, self.clock, self.fleet, self.progress, self.registrar, self.dispatcher
            )

    def start(self, answer: Callable[[str, dict[str, Any], str], Awaitable[Any]]) -> None:
        """Start the tree on the running loop; `answer` serves the control socket."""
        self.root.state = "running"
        Supervisor.start(
            self.root.mailbox,
            self.root,
            (
                self._process(self.outputs, "alert files", "hids.workers.outputs", self._output(ALERT_OUTPUTS)),
                self._process(self.index, "search index", "hids.workers.outputs", self._output(INDEX_OUTPUTS)),
                *(
                    (self._process(self.webhooks, "webhooks", "hids.workers.webhooks", self._webhook_options()),)
                    if self._receivers
                    else ()
                ),
                self._supervisor(self.engine, self._engine()),
                self._child(Mailbox("join_port"), "joining", self._join_port),
                self._child(Mailbox("monitor"), "monitor", self._monitor),
                self._child(Mailbox("silence"), "silence", self._silence),
                self._child(Mailbox("budget"), "budget", self._budget),
                self._child(
                    Mailbox("control"),
                    "control socket",
                    lambda mailbox: Control.start(mailbox, partial(ControlSocket, self.paths.control), answer),
                ),
            ),
            self.clock,
            Intensity(restarts=10, within_s=30),
        )

    def ports(self) -> dict[str, int]:
        """Where the manager listens."""
        ports = {"agents": self.agents_port, "join": self.join_port}
        return ports | {"legacy_udp": self.legacy.udp_port} if self.legacy is not None else ports

    def _engine(self) -> tuple[ChildSpec, ...]:
        return (
            self._process(self.lane, "lane", "hids.workers.lane", self._lane_options()),
            self._child(self.nursery, "nursery", self._nursery, shutdown_s=1.0),
            ChildSpec(node=Node(self.dispatcher, "dispatcher"), start=self._dispatcher, significant=True),
            *(self._child(mailbox, "worker", self._worker(number)) for number, mailbox in enumerate(self.workers, 1)),
            self._child(self.registrar, "registrar", self._registrar),
            *self._old_agents(),
            self._supervisor(self.sessions, ()),
            self._child(self.session_port, "listener", self._session_port),
        )

    def _old_agents(self) -> tuple[ChildSpec, ...]:
        legacy = self.legacy
        if legacy is None:
            return ()
        return (
            ChildSpec(node=Node(legacy.sessions, "old agents"), start=legacy.start_sessions, significant=True),
            self._child(legacy.process, "old agents' process", legacy.start_process),
        )

    # -- specs

    def _child(
        self, mailbox: Mailbox, kind: str, start: Callable[[Mailbox], object], shutdown_s: float = 2.0
    ) -> ChildSpec:
        node = Node(mailbox, kind)
        return ChildSpec(node=node, start=start, shutdown_s=shutdown_s)

    def _supervisor(self, node: Node, specs: tuple[ChildSpec, ...]) -> ChildSpec:
        intensity = Intensity(restarts=20, within_s=10)
        return ChildSpec(
            node=node,
            start=lambda mailbox: Supervisor.start(
                mailbox, node, specs, self.clock, intensity, partial(self._gave_up, node.name)
            ),
            shutdown_s=4.0,
        )

    def _gave_up(self, name: str, why: str) -> None:
        """A branch starts anew; the rules shall know. The message waits for the branch's next life."""
        self.tell(f"supervisor gave up: {name}: {why}")

    def tell(self, text: str) -> None:
        """Have the rules see a line of the manager about itself."""
        self.dispatcher.tell(Tell(Agent(MANAGER, self.name, ""), text))

    def _process(self, mailbox: Mailbox, kind: str, module: str, options: tuple[str, ...]) -> ChildSpec:
        receives = FromLane if mailbox is self.lane else FromOutput

        def start(mailbox: Mailbox) -> object:
            return ChildProcess.start(
                mailbox,
                lambda: launch(module, options),
                partial(_connect, receives),
                (self.dispatcher if mailbox is self.lane else self.lane).tell,
                ended,
                self.clock,
                greet=None if mailbox is self.lane else self._newest,
                pulse_limit_s=PULSE_LIMIT_S,
            )

        return self._child(mailbox, kind, start)

    def _newest(self) -> Outboxed | None:
        """What an output that starts is told, so that it need not wait for the next commit."""
        return Outboxed(self.progress.outbox_next) if self.progress.known else None

    # -- lives

    def _dispatcher(self, mailbox: Mailbox) -> object:
        outputs = (self.outputs, self.index, *((self.webhooks,) if self._receivers else ()))
        return Dispatcher.start(mailbox, self.progress, self.lane, outputs, self.clock, self.boot)

    def _nursery(self, mailbox: Mailbox) -> object:
        def ready(said: NurseryReady) -> None:
            self.rulesets = said

        return Nursery.start(
            mailbox,
            self.launch_nursery,
            ready,
            self._refused,
            lambda: self.workers,
            ended,
            self.clock,
            pulse_limit_s=PULSE_LIMIT_S,
            loading_limit_s=LOADING_LIMIT_S,
        )

    def launch_nursery(self) -> Launched:
        """A nursery process for the rulesets that the configuration names now."""
        options = (
            *("--tables", str(self.paths.tables)),
            *("--stats", str(self.paths.stats)),
            *("--manager", self.name),
        )
        return launch(
            "hids.workers.nursery",
            (*options, "--rulesets", msgspec.json.encode(folders(self.config)).decode()),
            datagrams=True,
        )

    def _worker(self, number: int) -> Callable[[Mailbox], object]:
        return lambda mailbox: WorkerLink.start(
            mailbox,
            number,
            self.nursery,
            self.dispatcher,
            _connect_worker,
            MarkPage.new,
            kill,
            ended,
            self.clock,
            stuck_s=self.config.workers.stuck_s,
        )

    def _registrar(self, mailbox: Mailbox) -> object:
        return Registrar.start(mailbox, lambda: Registry(self.paths.agents), _identify, self.clock.now_ms)

    def _session_port(self, mailbox: Mailbox) -> object:
        context = self._authority.server_context(self.config.manager.names)
        return SessionListener.start(mailbox, partial(self._open_sessions, context), self._begin)

    def _open_sessions(self, context: ssl.SSLContext, accept: Callable[[Wire], None]) -> SessionPort | SharedPort:
        listening = self._socket("agents", (self._agents_address[0], self.agents_port))
        if self.legacy is not None:
            return SharedPort(listening, context, accept, self.legacy.take_over)
        return SessionPort(listening, context, accept)

    def _begin(self, wire: Wire) -> None:
        """A connection: make it a session."""
        mailbox = Mailbox(f"session-{next(self._numbers)}", SESSION_BOUND)

        def admit(certificate: bytes, hello: Hello, address: str) -> None:
            self.registrar.tell(Admit(certificate, hello, address, mailbox))

        self.sessions.mailbox.tell(
            StartChild(
                ChildSpec(
                    node=Node(mailbox, "agent session"),
                    start=lambda mailbox: AgentSession.start(
                        mailbox,
                        wire,
                        admit,
                        self.progress,
                        self._credit,
                        self.fleet,
                        self.clock,
                        self.dispatcher.tell,
                    ),
                    restart="temporary",
                )
            )
        )

    def _join_port(self, mailbox: Mailbox) -> object:
        def open_port(serve: Callable[[ToJoin, str], Awaitable[FromJoin]]) -> JoinListener:
            listener = JoinListener()
            listening = self._socket("join", (self._join_address[0], self.join_port))
            legacy = self.legacy
            context = self._authority.joining_context(self.config.manager.names, old_agents=legacy is not None)
            listener.start(listening, context, serve, legacy.enrol if legacy is not None else None)
            return listener

        async def answer(question: ToJoin, address: str) -> FromJoin:
            def ask(registry: Registry) -> FromJoin:
                desk = JoinDesk(self._authority, registry, self.agents_port)
                return desk.answer(question, address, self.clock.now_ms())

            said: FromJoin = await self.registrar.request(Ask(ask))
            if self.legacy is not None and isinstance(said, JoinAnswer):
                self.legacy.renew()  # an old agent may have become one of ours
            return said

        return JoinPort.start(mailbox, open_port, answer, self.dispatcher.tell)

    def _monitor(self, mailbox: Mailbox) -> object:
        return Monitor.start(
            mailbox,
            self.fleet,
            self.clock,
            self.dispatcher.tell,
            disconnected_after_s=self.config.agents.disconnected_after_s,
        )

    def _silence(self, mailbox: Mailbox) -> object:
        path = self.paths.lib / "paces.json"

        def save(data: bytes) -> None:
            write_atomically(path, data)

        return Silence.start(
            mailbox,
            self.fleet,
            self.progress,
            Store(lambda: path.read_bytes() if path.exists() else None, save),
            is_signed,
            self.clock,
            self.dispatcher.tell,
        )

    def _budget(self, mailbox: Mailbox) -> object:
        return Budget.start(
            mailbox,
            lambda: (self.outputs, self.index, self.webhooks, self.lane, self.nursery, *self.workers),
            rss_mib,
            kill,
            Agent(MANAGER, self.name, ""),
            self.dispatcher.tell,
            limit_mib=self.config.limits.process_mib,
        )

    # -- options of processes

    def _lane_options(self) -> tuple[str, ...]:
        mib = 1024 * 1024
        return (
            *("--ledger", str(self.paths.ledger)),
            *("--tables", str(self.paths.tables)),
            *("--boot", self.boot),
            *("--manager", self.name),
            *(
                "--outputs",
                ",".join((*ALERT_OUTPUTS, *INDEX_OUTPUTS, *(receiver.output for receiver in self._receivers))),
            ),
            *("--log-level", str(self.config.alerts.level)),
            *("--alert-on", self.config.alerts.alert_on),
            *("--stored-keys", str(self.config.limits.stored_keys)),
            *("--window-bytes", str(self.config.limits.windows_mib * mib)),
            *("--first-seen-days", str(self.config.limits.first_seen_days)),
            *("--ignored-days", str(self.config.limits.ignored_days)),
            *("--outbox-bytes", str(self.config.limits.outbox_mib * mib)),
        )

    def _webhook_options(self) -> tuple[str, ...]:
        return (
            *("--ledger", str(self.paths.ledger)),
            *("--cursors", str(self.paths.lib)),
            *("--receivers", msgspec.json.encode(self._receivers).decode()),
        )

    def _output(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return (
            *("--outputs", ",".join(names)),
            *("--ledger", str(self.paths.ledger)),
            *("--alerts", str(self.paths.alerts)),
            *("--search", str(self.paths.search)),
        )

    def _socket(self, name: str, address: tuple[str, int]) -> socket.socket:
        """The socket that was bound at the start, for the first life; later ones bind the same port again."""
        first = self._first_sockets.pop(name, None)
        return first if first is not None else listen(*address, name)


def _connect(union: Any, launched: Launched, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(launched.sock, union, got, closed)


def _connect_worker(sock: socket.socket, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(sock, FromWorker, got, closed)


def _identify(certificate: bytes) -> tuple[AgentId, str]:
    return agent_id_of(certificate), fingerprint(certificate)
