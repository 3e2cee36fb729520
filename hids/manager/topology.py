"""Who hands to whom: every actor of main once, in the order of a line's path. Read this file first.

    agents ==TLS==> session_port -> sessions -> dispatcher -> workers -> dispatcher -> lane
    devices ==syslog==> syslog_listener -> syslog_intake -> dispatcher ...
    lane: commits, then -> dispatcher -> acknowledgement to the agent, and a wake-up to outputs and index

The tree starts at the output end and stops at the input end, so whoever is alive has someone to hand to. How each one is
started, and with what, is said by the part that it belongs to.

    root
    ├─ outputs, index          processes: the alert files; search.db (hids.manager.readers)
    ├─ senders                 process: one sender an [[output]]; only when there are some
    ├─ responses               process: the responder decides what is done about alerts; only when [[response]] or [[command]] say so
    ├─ keeper                  process: compresses, removes and anchors what is written, makes reports
    ├─ engine                  (hids.manager.engine)
    │   ├─ lane                process: correlation windows, syscheck store, ledger
    │   ├─ archive             process: every batch on disk before it is committed, where [archive] is enabled
    │   ├─ nursery             process: has the rulesets, forks workers
    │   ├─ dispatcher          keeps every batch until it is committed; its failure restarts the engine
    │   ├─ worker-N            processes: decoder, rule shard
    │   ├─ registrar           thread: agents.db (hids.manager.admission)
    │   ├─ legacy_sessions     what OSSEC's and Wazuh's agents deliver, if they are served (hids.manager.legacy)
    │   ├─ legacy              process: speaks with them
    │   ├─ sessions/session-N  one an agent connection
    │   ├─ session_port        takes connections
    │   ├─ syslog_intake       thread: lines of syslog on disk until they are committed (hids.manager.devices)
    │   ├─ syslog_listener     their ports
    │   └─ agentless-N         one a host that is looked at over SSH
    ├─ join_port               makes machines agents
    ├─ monitor                 looks for agents that are gone (hids.manager.watches)
    ├─ response_desk           brings the responder's orders to the agents (hids.manager.responses)
    ├─ configurator            brings agents the configuration that is set for them
    ├─ silence                 looks for agents that are here and not heard
    ├─ statistics              learns how many lines an hour brings
    ├─ budget                  replaces processes that hold too much memory
    ├─ exposition              answers Prometheus, where [metrics] says so
    ├─ telemetry               process: pushes the same figures to a collector, where [telemetry] says so
    └─ control                 answers hidsctl
"""

from collections.abc import Callable, Iterator
from functools import partial

from hids.actors.stage import Mailbox
from hids.actors.supervisor import ChildSpec, Intensity, Node, Supervisor
from hids.adapters.paths import ManagerPaths
from hids.manager.admission import Admission
from hids.manager.config import Config
from hids.manager.devices import Devices
from hids.manager.engine import Engine
from hids.manager.legacy import LegacyTree
from hids.manager.port import Port
from hids.manager.readers import Readers
from hids.manager.responses import OUTPUT, ResponseTree
from hids.manager.site import Site
from hids.manager.watches import Answer, Measure, Watches


class Topology:
    """Builds main's tree. One a run."""

    def __init__(self, config: Config, paths: ManagerPaths, refused: Callable[[tuple[str, ...]], None]) -> None:
        """Lay out the parts, and bind their ports; `start` starts them.

        Args:
            config: manager.toml.
            paths: where files are.
            refused: told the problems when the rulesets cannot be used.

        Raises:
            ConfigError: a port is taken, the CA cannot be read, or an output's library is missing.
        """
        self.site = site = Site(config, paths)
        self.readers = Readers(site)
        self.agents_port = Port("[listen] agents", config.listen.agents)
        self.join_port = Port("[listen] join", config.listen.join)
        self.metrics_port = Port("[metrics] listen", config.metrics.listen) if config.metrics.listen else None
        self.legacy = LegacyTree(site) if config.legacy.enabled else None
        """None: old agents are not served."""
        self.responses = (
            ResponseTree(site, self.legacy.order if self.legacy else None)
            if config.response or config.command
            else None
        )
        """None: nothing is done about alerts."""
        self.devices = Devices(site)
        readers = (*self.readers.cursors, *(((self.responses.process, (OUTPUT,)),) if self.responses else ()))
        self.engine = Engine(site, readers, refused)
        self.admission = Admission(site, self.agents_port, self.join_port, self.legacy, self.responses)
        self.watches = Watches(site)
        self.root = Node(Mailbox("root"), "supervisor")

    def start(self, answer: Answer, measure: Measure) -> None:
        """Start the tree on the running loop; `answer` serves the control socket, `measure` gives Prometheus' text."""
        self.root.state = "running"
        specs = tuple(self._tree(answer, measure))
        Supervisor.start(self.root.mailbox, self.root, specs, self.site.clock, Intensity(restarts=10, within_s=30))

    def ports(self) -> dict[str, int | tuple[int, ...]]:
        """Where the manager listens."""
        return {
            "agents": self.agents_port.number,
            "join": self.join_port.number,
            "syslog": tuple(port.number for port in self.devices.ports),
            **({"metrics": self.metrics_port.number} if self.metrics_port else {}),
            **({"legacy_udp": self.legacy.udp_port} if self.legacy else {}),
        }

    def _tree(self, answer: Answer, measure: Measure) -> Iterator[ChildSpec]:
        readers, responses, watches = self.readers, self.responses, self.watches
        yield _child(readers.outputs, "alert files", readers.start_outputs)
        yield _child(readers.index, "search index", readers.start_index)
        if readers.senders:
            yield _child(readers.senders, "network outputs", readers.start_senders)
        if responses:
            yield _child(responses.process, "responder", responses.start_process)
        yield _child(readers.keeper, "keeper", readers.start_keeper)
        yield self._branch(Node(Mailbox("engine"), "supervisor"), tuple(self._engine()))
        yield _child(Mailbox("join_port"), "joining", self.admission.start_join_port)
        yield _child(Mailbox("monitor"), "monitor", watches.start_monitor)
        if responses:
            yield _child(responses.desk, "responses", responses.start_desk)
        yield _child(watches.configurator, "configuration", watches.start_configurator)
        yield _child(Mailbox("silence"), "silence", watches.start_silence)
        yield _child(watches.statistics, "statistics", watches.start_statistics)
        yield _child(Mailbox("budget"), "budget", partial(watches.start_budget, self._processes))
        if self.metrics_port:
            start = partial(watches.start_exposition, self.metrics_port, measure)
            yield _child(Mailbox("exposition"), "metrics", start)
        if watches.telemetry:
            yield _child(watches.telemetry, "telemetry", watches.start_telemetry)
        yield _child(Mailbox("control"), "control socket", partial(watches.start_control, answer))

    def _engine(self) -> Iterator[ChildSpec]:
        site, engine, admission, legacy, devices = self.site, self.engine, self.admission, self.legacy, self.devices
        yield _child(site.lane, "lane", engine.start_lane)
        if engine.archive:
            yield _child(engine.archive, "archive", engine.start_archive)
        yield _child(engine.nursery, "nursery", engine.start_nursery, shutdown_s=1.0)
        yield _child(site.dispatcher, "dispatcher", engine.start_dispatcher, significant=True)
        for number, worker in enumerate(engine.workers, 1):
            yield _child(worker, "worker", partial(engine.start_worker, number))
        yield _child(site.registrar, "registrar", admission.start_registrar)
        if legacy:
            yield _child(legacy.sessions, "old agents", legacy.start_sessions, significant=True)
            yield _child(legacy.process, "old agents' process", legacy.start_process)
        yield self._branch(admission.sessions, ())
        yield _child(Mailbox("session_port"), "listener", admission.start_session_port)
        if devices.ports or devices.hosts:
            yield _child(devices.intake, "journal", devices.start_intake)
        if devices.ports:
            yield _child(Mailbox("syslog_listener"), "listener", devices.start_listener)
        for number, host in enumerate(devices.hosts, 1):
            yield _child(Mailbox(f"agentless-{number}"), "agentless check", partial(devices.start_check, host))

    @property
    def _processes(self) -> tuple[Mailbox, ...]:
        """Those whose memory is watched."""
        engine, readers, telemetry = self.engine, self.readers, self.watches.telemetry
        sometimes = (readers.senders, engine.archive, telemetry, self.responses.process if self.responses else None)
        always = (readers.outputs, readers.index, readers.keeper, self.site.lane, engine.nursery, *engine.workers)
        return (*always, *filter(None, sometimes))

    def _branch(self, node: Node, specs: tuple[ChildSpec, ...]) -> ChildSpec:
        """A supervisor of its own. When it gives up it starts anew; the rules shall know, once there is a dispatcher again."""
        site, intensity = self.site, Intensity(restarts=20, within_s=10)

        def gave_up(why: str) -> None:
            site.tell(f"supervisor gave up: {node.name}: {why}")

        def start(mailbox: Mailbox) -> object:
            return Supervisor.start(mailbox, node, specs, site.clock, intensity, gave_up)

        return ChildSpec(node=node, start=start, shutdown_s=4.0)


def _child(
    mailbox: Mailbox,
    kind: str,
    start: Callable[[Mailbox], object],
    *,
    shutdown_s: float = 2.0,
    significant: bool = False,
) -> ChildSpec:
    return ChildSpec(node=Node(mailbox, kind), start=start, shutdown_s=shutdown_s, significant=significant)
