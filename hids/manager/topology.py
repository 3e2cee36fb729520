"""Who hands to whom: every actor of main once, in the order of a line's path. Read this file first.

    agents ==TLS==> session_port -> sessions -> dispatcher -> workers -> dispatcher -> lane
    devices ==syslog==> syslog_listener -> syslog_intake -> dispatcher ...
    lane: commits, then -> dispatcher -> acknowledgement to the agent, and a wake-up to outputs and index

The tree starts at the output end and stops at the input end, so whoever is alive has someone to hand to.

    root
    ├─ outputs, index          processes: the alert files; search.db
    ├─ senders                 process: one sender an [[output]]; only when there are some
    ├─ responses               process: the responder decides what is done about alerts; only when [[response]] or [[command]] say so
    ├─ keeper                  process: compresses, removes and anchors what is written, makes reports
    ├─ engine
    │   ├─ lane                process: correlation windows, syscheck store, ledger
    │   ├─ archive             process: every batch on disk before it is committed, where [archive] is enabled
    │   ├─ nursery             process: has the rulesets, forks workers
    │   ├─ dispatcher          keeps every batch until it is committed; its failure restarts the engine
    │   ├─ worker-N            processes: decoder, rule shard
    │   ├─ registrar           thread: agents.db
    │   ├─ legacy_sessions     what OSSEC's and Wazuh's agents deliver, if they are served (hids.manager.legacy)
    │   ├─ legacy              process: speaks with them
    │   ├─ sessions/session-N  one an agent connection
    │   ├─ session_port        takes connections
    │   ├─ syslog_intake       thread: lines of syslog on disk until they are committed (where [[syslog]] is configured)
    │   ├─ syslog_listener     their ports
    │   └─ agentless-N         one a host that is looked at over SSH
    ├─ join_port               makes machines agents
    ├─ monitor                 looks for agents that are gone
    ├─ response_desk           brings the responder's orders to the agents (hids.manager.responses)
    ├─ configurator            brings agents the configuration that is set for them
    ├─ silence                 looks for agents that are here and not heard
    ├─ statistics              learns how many lines an hour brings
    ├─ budget                  replaces processes that hold too much memory
    ├─ exposition              answers Prometheus, where [metrics] says so
    ├─ telemetry               process: pushes the same figures to a collector, where [telemetry] says so
    └─ control                 answers hidsctl
"""

import hashlib
import itertools
import os
import socket
import ssl
import uuid
from collections.abc import Awaitable, Callable, Iterator
from functools import partial
from typing import Any, Literal

import msgspec

from hids.actors.agent_session import AgentSession, Wire
from hids.actors.agentless import Agentless, Check
from hids.actors.budget import Budget
from hids.actors.child_process import ChildProcess
from hids.actors.configurator import Configurator
from hids.actors.control import Control
from hids.actors.credit import CreditPool
from hids.actors.dispatcher import Dispatcher, Tell
from hids.actors.exposition import Exposition
from hids.actors.fleet import Fleet, Refusal
from hids.actors.join_port import JoinPort
from hids.actors.monitor import Monitor
from hids.actors.nursery import Nursery
from hids.actors.registers import ProgressRegister
from hids.actors.registrar import Admit, Ask, Registrar, RenewFor
from hids.actors.responder import OUTPUT as RESPONDER_OUTPUT
from hids.actors.session_listener import SessionListener
from hids.actors.silence import Silence, Store
from hids.actors.stage import Mailbox
from hids.actors.statistics import Statistics
from hids.actors.supervisor import ChildSpec, Intensity, Node, StartChild, Supervisor
from hids.actors.syslog_intake import Backlog, SyslogIntake
from hids.actors.syslog_listener import SyslogListener
from hids.actors.worker_link import WorkerLink
from hids.adapters.arrivals import ArrivalJournal
from hids.adapters.channel import Channel, open_channel
from hids.adapters.clock import SystemClock
from hids.adapters.control import ControlSocket
from hids.adapters.evidence.key import EvidenceKey
from hids.adapters.files import private_folder, write_atomically
from hids.adapters.identity import agent_id_of, fingerprint, is_signed
from hids.adapters.joining import JoinDesk, JoinListener
from hids.adapters.listening import listen, listen_udp
from hids.adapters.markpage import MarkPage
from hids.adapters.metrics_port import MetricsPort
from hids.adapters.outputs.kinds import check_library, need
from hids.adapters.paths import ManagerPaths, host_name
from hids.adapters.pki import Authority
from hids.adapters.process import Launched, ended, kill, launch, rss_mib
from hids.adapters.registry import Registry
from hids.adapters.session_port import SessionPort
from hids.adapters.shared_configs import SharedConfigs
from hids.adapters.shared_port import SharedPort
from hids.adapters.ssh import Remote, words_of
from hids.adapters.ssh import run as run_ssh
from hids.adapters.syslog_ports import Door, SyslogPorts, Take, tls_context
from hids.core.keeping import Keeping
from hids.core.retention import Limit
from hids.errors import ConfigError
from hids.manager.config import AgentlessHost, Config, Syslog, address_of, networks_of
from hids.manager.legacy import LegacyTree
from hids.manager.responses import ResponseTree
from hids.manager.rulesets import folders
from hids.messages import (
    MANAGER,
    Agent,
    AgentId,
    ArchiveReady,
    FromArchive,
    FromJoin,
    FromKeeper,
    FromLane,
    FromOutput,
    FromWorker,
    Hello,
    JoinAnswer,
    Kept,
    NurseryReady,
    Outboxed,
    Said,
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

    def __init__(  # noqa: PLR0915 - one line a part
        self, config: Config, paths: ManagerPaths, refused: Callable[[tuple[str, ...]], None]
    ) -> None:
        """Lay out the tree; `start` starts it.

        Args:
            config: manager.toml.
            paths: where files are.
            refused: told the problems when the rulesets cannot be used.

        Raises:
            ConfigError: a port is taken, the CA cannot be read, or an output's library is missing.
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
        EvidenceKey.open_or_create(paths.evidence)  # before processes look for it at once
        self.pin = self._authority.pin
        self.worker_count = config.workers.count or os.cpu_count() or 1

        self.outputs = Mailbox("outputs")
        self.index = Mailbox("index")
        self.senders = Mailbox("senders")
        for output in config.output:
            check_library(output)
        self._sent_to = config.output
        self.responses: ResponseTree | None = None
        """None: nothing is done about alerts."""
        self.keeper = Mailbox("keeper")
        self.monitor = Mailbox("monitor")
        self.telemetry = Mailbox("telemetry")
        if config.telemetry.endpoint:
            need("opentelemetry.exporter.otlp.proto.http", "otel", "[telemetry] endpoint")
        self.statistics = Mailbox("statistics")
        self.archive = Mailbox("archive", LANE_BOUND)
        self.lane = Mailbox("lane", LANE_BOUND)
        self.nursery = Mailbox("nursery")
        self.dispatcher = Mailbox("dispatcher", DISPATCHER_BOUND)
        self.workers = tuple(Mailbox(f"worker-{number}") for number in range(1, self.worker_count + 1))
        self.registrar = Mailbox("registrar", 10_000)
        self.sessions = Node(Mailbox("sessions", 10_000), "supervisor")
        self.session_port = Mailbox("session_port")
        self.configurator = Mailbox("configurator")
        self.shared_configs = SharedConfigs(paths.shared)
        self._backlog = Backlog()
        self._syslog_intake = Mailbox("syslog_intake", 16)
        self._manager = Agent(MANAGER, self.name, "")
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
        self.metrics_port = self._bind_metrics(config.metrics.listen)
        self.legacy: LegacyTree | None = None
        """None: old agents are not served."""
        if config.legacy.enabled:
            self.legacy = LegacyTree(
                config, paths, self.name, self.clock, self.fleet, self.progress, self.registrar, self.dispatcher
            )
        if config.response or config.command:
            self.responses = ResponseTree(
                config,
                paths,
                self._authority.responses_file(),
                self._manager,
                self.clock,
                self.fleet,
                self.registrar,
                self.dispatcher,
                self.lane,
                self._newest,
                None if self.legacy is None else self.legacy.order,
            )
        for number, port in enumerate(config.syslog):
            self._first_sockets[f"syslog-{number}"] = _bind(number, port)
        self.syslog_ports: tuple[int, ...] = tuple(
            self._first_sockets[f"syslog-{number}"].getsockname()[1] for number in range(len(config.syslog))
        )
        self._syslog_tls = {
            number: _syslog_context(number, port) for number, port in enumerate(config.syslog) if port.protocol == "tls"
        }

    def start(
        self, answer: Callable[[str, dict[str, Any], str], Awaitable[Any]], measure: Callable[[], Awaitable[str]]
    ) -> None:
        """Start the tree on the running loop; `answer` serves the control socket, `measure` gives Prometheus' text."""
        self.root.state = "running"
        Supervisor.start(
            self.root.mailbox,
            self.root,
            (
                self._process(self.outputs, "alert files", "hids.workers.outputs", self._output(ALERT_OUTPUTS)),
                self._process(self.index, "search index", "hids.workers.outputs", self._output(INDEX_OUTPUTS)),
                *(
                    (self._process(self.senders, "network outputs", "hids.workers.senders", self._sender_options()),)
                    if self._sent_to
                    else ()
                ),
                *(
                    (self._child(self.responses.process, "responder", self.responses.start_process),)
                    if self.responses is not None
                    else ()
                ),
                self._process(self.keeper, "keeper", "hids.workers.keeper", self._keeper_options(), self._said),
                self._supervisor(self.engine, self._engine()),
                self._child(Mailbox("join_port"), "joining", self._join_port),
                self._child(self.monitor, "monitor", self._monitor),
                *(
                    (self._child(self.responses.desk, "responses", self.responses.start_desk),)
                    if self.responses is not None
                    else ()
                ),
                self._child(self.configurator, "configuration", self._configurator),
                self._child(Mailbox("silence"), "silence", self._silence),
                self._child(self.statistics, "statistics", self._statistics),
                self._child(Mailbox("budget"), "budget", self._budget),
                *self._exposition(measure),
                *self._telemetry(),
                self._child(
                    Mailbox("control"),
                    "control socket",
                    lambda mailbox: Control.start(mailbox, partial(ControlSocket, self.paths.control), answer),
                ),
            ),
            self.clock,
            Intensity(restarts=10, within_s=30),
        )

    def _bind_metrics(self, where: str) -> int:
        """The port where Prometheus may ask; 0: none."""
        if not where:
            return 0
        first = self._first_sockets["metrics"] = listen(*address_of(where, "[metrics] listen"), "metrics")
        port: int = first.getsockname()[1]
        return port

    def _exposition(self, measure: Callable[[], Awaitable[str]]) -> tuple[ChildSpec, ...]:
        if not self.config.metrics.listen:
            return ()

        def open_port(ask: Callable[[], Awaitable[str]]) -> MetricsPort:
            host, _ = address_of(self.config.metrics.listen, "[metrics] listen")
            return MetricsPort(self._socket("metrics", (host, self.metrics_port)), ask)

        return (
            self._child(
                Mailbox("exposition"),
                "metrics",
                lambda mailbox: Exposition.start(mailbox, open_port, measure, self.clock),
            ),
        )

    def _telemetry(self) -> tuple[ChildSpec, ...]:
        if not self.config.telemetry.endpoint:
            return ()
        options = (
            *("--lock", str(self.paths.lib / "telemetry.lock")),
            *("--paths", msgspec.json.encode(self.paths, enc_hook=str).decode()),
            *("--manager", self.name),
            *("--telemetry", msgspec.json.encode(self.config.telemetry).decode()),
        )
        return (self._process(self.telemetry, "telemetry", "hids.workers.telemetry", options, self._said),)

    def ports(self) -> dict[str, int | tuple[int, ...]]:
        """Where the manager listens."""
        ports: dict[str, int | tuple[int, ...]] = {
            "agents": self.agents_port,
            "join": self.join_port,
            "syslog": self.syslog_ports,
            **({"metrics": self.metrics_port} if self.metrics_port else {}),
        }
        return ports | {"legacy_udp": self.legacy.udp_port} if self.legacy is not None else ports

    def _engine(self) -> tuple[ChildSpec, ...]:
        return (
            self._process(self.lane, "lane", "hids.workers.lane", self._lane_options()),
            *self._archives(),
            self._child(self.nursery, "nursery", self._nursery, shutdown_s=1.0),
            ChildSpec(node=Node(self.dispatcher, "dispatcher"), start=self._dispatcher, significant=True),
            *(self._child(mailbox, "worker", self._worker(number)) for number, mailbox in enumerate(self.workers, 1)),
            self._child(self.registrar, "registrar", self._registrar),
            *self._old_agents(),
            self._supervisor(self.sessions, ()),
            self._child(self.session_port, "listener", self._session_port),
            *self._syslog(),
        )

    def _archives(self) -> tuple[ChildSpec, ...]:
        if not self.config.archive.enabled:
            return ()
        return (self._process(self.archive, "archive", "hids.workers.archive", self._archive_options(), self._kept),)

    def _kept(self, message: ArchiveReady | Kept | Said) -> None:
        if isinstance(message, Said):
            self._said(message)
        else:
            self.dispatcher.tell(message)

    def _syslog(self) -> tuple[ChildSpec, ...]:
        """What comes without an agent: syslog and agentless checks share the journal."""
        specs: list[ChildSpec] = []
        if self.config.syslog or self.config.agentless:
            specs.append(self._child(self._syslog_intake, "journal", self._intake))
        if self.config.syslog:
            specs.append(self._child(Mailbox("syslog_listener"), "listener", self._syslog_listener))
        for number, host in enumerate(self.config.agentless, 1):
            specs.append(self._child(Mailbox(f"agentless-{number}"), "agentless check", self._agentless(host)))
        return tuple(specs)

    def _agentless(self, host: AgentlessHost) -> Callable[[Mailbox], object]:
        remote = Remote(host.host, host.port, host.identity, host.options)
        command = host.run or words_of(host.paths)
        kind: Literal["diff", "command"] = "command" if host.type == "command" else "diff"
        check = Check(host.name, kind, host.run, host.frequency_s)
        private_folder(self.paths.agentless)
        path = self.paths.agentless / hashlib.sha256(f"{host.name}\0{host.port}\0{command}".encode()).hexdigest()[:32]

        def keep(text: bytes) -> None:
            write_atomically(path, text)

        async def look() -> tuple[bytes, str]:
            return await run_ssh(remote, command, host.timeout_s)

        return lambda mailbox: Agentless.start(
            mailbox,
            check,
            look,
            lambda: path.read_bytes() if path.exists() else None,
            keep,
            self._syslog_intake,
            self._manager,
            self.clock,
            self.dispatcher.tell,
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

    def _process(
        self,
        mailbox: Mailbox,
        kind: str,
        module: str,
        options: tuple[str, ...],
        receive: Callable[[Any], None] | None = None,
    ) -> ChildSpec:
        """`receive` takes what it says; None: it is an output, which says how far it has come."""
        receives: Any = FromOutput if receive is None else FromArchive if mailbox is self.archive else FromKeeper
        receives = FromLane if mailbox is self.lane else receives

        def start(mailbox: Mailbox) -> object:
            return ChildProcess.start(
                mailbox,
                lambda: launch(module, options),
                partial(_connect, receives),
                receive or (self.dispatcher if mailbox is self.lane else self.lane).tell,
                ended,
                self.clock,
                greet=None if mailbox is self.lane or receive is not None else self._newest,
                pulse_limit_s=PULSE_LIMIT_S,
            )

        return self._child(mailbox, kind, start)

    def _said(self, message: Said) -> None:
        self.tell(message.text)

    def _newest(self) -> Outboxed | None:
        """What an output that starts is told, so that it need not wait for the next commit."""
        return Outboxed(self.progress.outbox_next) if self.progress.known else None

    # -- lives

    def _dispatcher(self, mailbox: Mailbox) -> object:
        outputs = (
            self.outputs,
            self.index,
            *((self.senders,) if self._sent_to else ()),
            *((self.responses.process,) if self.responses is not None else ()),
        )
        archive = self.archive if self.config.archive.enabled else None
        return Dispatcher.start(mailbox, self.progress, self.lane, outputs, self.clock, self.boot, archive)

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
        def renew(registry: Registry, agent_id: AgentId, csr: bytes) -> bytes:
            key = self._authority.key_of(csr)
            return registry.renew(agent_id, key, lambda known, name: self._authority.sign_agent(csr, known, name))

        def refused(agent_id: AgentId, reason: str, address: str) -> None:
            self.fleet.refused(agent_id, Refusal(self.clock.now_ms(), reason, address))

        return Registrar.start(
            mailbox, lambda: Registry(self.paths.agents), _identify, self.clock.now_ms, renew, refused
        )

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

        def renew(agent_id: AgentId, csr: bytes) -> None:
            self.registrar.tell(RenewFor(agent_id, csr, mailbox))

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
                        renew,
                        self.responses.heard if self.responses is not None else None,
                    ),
                    restart="temporary",
                )
            )
        )

    def _intake(self, mailbox: Mailbox) -> object:
        return SyslogIntake.start(
            mailbox,
            lambda: ArrivalJournal(self.paths.syslog, self.clock.now_ms()),
            self._manager,
            self.progress,
            self._backlog,
            self.clock,
            self.dispatcher.tell,
            max_bytes=self.config.limits.syslog_mib * 1024 * 1024,
        )

    def _syslog_listener(self, mailbox: Mailbox) -> object:
        doors: list[Door] = []
        for number, port in enumerate(self.config.syslog):
            sock = self._first_sockets.pop(f"syslog-{number}", None)
            doors.append(
                Door(
                    sock=sock if sock is not None else _bind(number, port, self.syslog_ports[number]),
                    protocol=port.protocol,
                    allow=networks_of(port.allow, "allow"),
                    deny=networks_of(port.deny, "deny"),
                    context=self._syslog_tls.get(number),
                    max_connections=port.max_connections,
                )
            )

        def open_ports(take: Take) -> SyslogPorts:
            return SyslogPorts(doors, take)

        return SyslogListener.start(
            mailbox, open_ports, self._syslog_intake, self._backlog, self._manager, self.clock, self.dispatcher.tell
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
                desk = JoinDesk(self._authority, registry, self.agents_port, notes.append)
                return desk.answer(question, address, self.clock.now_ms())

            notes: list[str] = []
            said: FromJoin = await self.registrar.request(Ask(ask))
            if self.legacy is not None and isinstance(said, JoinAnswer):
                self.legacy.renew()  # an old agent may have become one of ours
            for note in notes:
                self.dispatcher.tell(Tell(self._manager, note))
            return said

        return JoinPort.start(mailbox, open_port, answer, self.dispatcher.tell)

    def _monitor(self, mailbox: Mailbox) -> object:
        agents = self.config.agents
        return Monitor.start(
            mailbox,
            self.fleet,
            self._store("absences.json"),
            self.clock,
            self.dispatcher.tell,
            disconnected_after_s=agents.disconnected_after_s,
            disconnected_at_most_s=agents.disconnected_at_most_s,
        )

    def _store(self, name: str) -> Store:
        """A small file of what an actor has learned."""
        path = self.paths.lib / name
        return Store(lambda: path.read_bytes() if path.exists() else None, partial(write_atomically, path))

    def _configurator(self, mailbox: Mailbox) -> object:
        return Configurator.start(
            mailbox, self.shared_configs, self.fleet, self._manager, self.clock, self.dispatcher.tell
        )

    def _silence(self, mailbox: Mailbox) -> object:
        return Silence.start(
            mailbox,
            self.fleet,
            self.progress,
            self._store("paces.json"),
            is_signed,
            self.clock,
            self.dispatcher.tell,
        )

    def _statistics(self, mailbox: Mailbox) -> object:
        store = self._store("volume.json")
        return Statistics.start(mailbox, self.progress, store, self._manager, self.clock, self.dispatcher.tell)

    def _budget(self, mailbox: Mailbox) -> object:
        return Budget.start(
            mailbox,
            lambda: (
                self.outputs,
                self.index,
                self.senders,
                self.keeper,
                self.telemetry,
                self.archive,
                self.lane,
                self.nursery,
                *self.workers,
                *((self.responses.process,) if self.responses is not None else ()),
            ),
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
                ",".join(
                    (
                        *(*ALERT_OUTPUTS, *INDEX_OUTPUTS, *(output.output for output in self._sent_to)),
                        *((RESPONDER_OUTPUT,) if self.responses is not None else ()),
                    )
                ),
            ),
            *("--log-level", str(self.config.alerts.level)),
            *("--alert-on", self.config.alerts.alert_on),
            *("--stored-keys", str(self.config.limits.stored_keys)),
            *("--window-bytes", str(self.config.limits.windows_mib * mib)),
            *("--first-seen-days", str(self.config.limits.first_seen_days)),
            *("--ignored-days", str(self.config.limits.ignored_days)),
            *("--outbox-bytes", str(self.config.limits.outbox_mib * mib)),
            *("--history-days", str(self.config.syscheck.history_days)),
            *("--history-rows", str(self.config.syscheck.history_rows)),
            *(("--auto-ignore",) if self.config.syscheck.auto_ignore else ()),
        )

    def _sender_options(self) -> tuple[str, ...]:
        return (
            *("--ledger", str(self.paths.ledger)),
            *("--cursors", str(self.paths.lib)),
            *("--senders", msgspec.json.encode(self._sent_to).decode()),
        )

    def _output(self, names: tuple[str, ...]) -> tuple[str, ...]:
        return (
            *("--outputs", ",".join(names)),
            *("--ledger", str(self.paths.ledger)),
            *("--alerts", str(self.paths.alerts)),
            *("--search", str(self.paths.search)),
            *("--evidence", str(self.paths.evidence)),
            *("--head-every-s", str(self.config.evidence.head_s)),
            *("--rotate-bytes", str(self.config.retention.rotate_mib * 1024 * 1024)),
            *("--search-days", str(self.config.retention.search_days)),
            *("--search-bytes", str(self.config.retention.search_mib * 1024 * 1024)),
        )

    def _archive_options(self) -> tuple[str, ...]:
        return (
            *("--archive", str(self.paths.archive)),
            *("--evidence", str(self.paths.evidence)),
            *("--lock", str(self.paths.lib / "archive.lock")),
            *("--head-every-s", str(self.config.evidence.head_s)),
        )

    def _keeper_options(self) -> tuple[str, ...]:
        retention, evidence = self.config.retention, self.config.evidence
        keeping = Keeping(
            alerts=str(self.paths.alerts),
            evidence=str(self.paths.evidence),
            lib=str(self.paths.lib),
            limit=Limit(retention.alerts_days, retention.alerts_mib * 1024 * 1024),
            compress=retention.compress,
            archive=str(self.paths.archive) if self.config.archive.enabled else "",
            archive_limit=Limit(self.config.archive.days, self.config.archive.mib * 1024 * 1024),
            reports=str(self.paths.reports),
            search=str(self.paths.search),
            scheduled=tuple(report.scheduled() for report in self.config.report),
            mail=self.config.mail if any(report.email_to for report in self.config.report) else None,
            anchor_file=evidence.anchor_file,
            anchor_command=evidence.anchor_command,
            anchor_s=evidence.anchor_s,
        )
        return (
            *("--lock", str(self.paths.lib / "keeper.lock")),
            *("--keeping", msgspec.json.encode(keeping).decode()),
        )

    def _socket(self, name: str, address: tuple[str, int]) -> socket.socket:
        """The socket that was bound at the start, for the first life; later ones bind the same port again."""
        first = self._first_sockets.pop(name, None)
        return first if first is not None else listen(*address, name)


def _connect(union: Any, launched: Launched, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(launched.sock, union, got, closed)


def _connect_worker(sock: socket.socket, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(sock, FromWorker, got, closed)


def _bind(number: int, port: Syslog, known_port: int = 0) -> socket.socket:
    """The socket of one `[[syslog]]`; a later life binds the port that the first one found."""
    where = f"[[syslog]] number {number + 1}"
    host, wanted = address_of(port.listen, where)
    bind = listen_udp if port.protocol == "udp" else listen
    return bind(host, wanted or known_port, where)


def _syslog_context(number: int, port: Syslog) -> ssl.SSLContext:
    try:
        return tls_context(port.certificate, port.key, port.client_ca)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError(f"[[syslog]] number {number + 1}: certificate {port.certificate}: {error}") from error


def _identify(certificate: bytes) -> tuple[AgentId, str]:
    return agent_id_of(certificate), fingerprint(certificate)
