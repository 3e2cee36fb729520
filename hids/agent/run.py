"""The agent as a whole: who hands to whom, signals, and status.json.

    root ├─ spool      the lines on disk; started first, stopped last
         ├─ link       the session with the manager
         ├─ responder  where [response] enabled = true
         ├─ syscheck   where directories are configured
         ├─ policy     where policies are configured
         ├─ rootcheck  where it is switched on
         └─ one actor a source

SIGTERM, SIGINT  stop reading, store what was read, deliver for a moment, end with 0.
SIGHUP           read agent.toml again; sources and syscheck that changed are started anew. Policies are looked at.
                 So they are when the manager sends configuration, which is added to that of agent.toml (shared.py).
SIGUSR1          print every thread's stack to stderr.
"""

import asyncio
import faulthandler
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import structlog

from hids import __version__
from hids.actors.stage import Exited, Mailbox, MailboxFull
from hids.actors.supervisor import ChildSpec, Node, StartChild, StopChild, Supervisor
from hids.adapters import heap
from hids.adapters.files import write_atomically
from hids.adapters.identity import Identity
from hids.agent.canary import FILE as CANARY_FILE
from hids.agent.canary import CanaryWriter
from hids.agent.collector import IN_FLIGHT, SourceState
from hids.agent.config import (
    MAX_SOURCES,
    AgentConfig,
    PolicyConfig,
    RegistryConfig,
    RootcheckConfig,
    SilenceConfig,
    SourceConfig,
    SyscheckConfig,
    load,
)
from hids.agent.link import Link
from hids.agent.linkstate import LinkState
from hids.agent.lock import lock
from hids.agent.machine import machine_id, os_name
from hids.agent.paths import Excluded
from hids.agent.shared import SentPolicies, SharedFile
from hids.agent.silence import SourceSilence
from hids.agent.spooler import AGENT_LOCATION, Desk, Spooler, agent_line
from hids.agent.syscheck import Asked, ScanNow, Syscheck
from hids.agent.tail import FileTail
from hids.errors import ConfigError, StoreError
from hids.messages.agent_link import AskDigests, Configuration, Rescan
from hids.messages.lines import Append
from hids.ports import Clock

if TYPE_CHECKING:
    from hids.agent.responses import Responses

log = structlog.get_logger()

STATUS_S = 2.0
STATUS_FILE = "status.json"
POLICY_MARK = "policies.told"
"""In the state folder, see hids.agent.policy."""
TRIM_S = 30.0
"""How often memory that a scan or a backlog has left goes back to the system."""
_SPOOL_BOUND = IN_FLIGHT * (MAX_SOURCES + 4) + 64
"""Room for all that collectors may have under way, and for the agent's own lines: nobody on the loop may wait."""
_STOP_S = 3.0
RESTART = 75
"""Of `run`: the manager asked for a restart; whoever called shall do it."""


_Part = (
    SourceConfig
    | SyscheckConfig
    | RootcheckConfig
    | RegistryConfig
    | tuple[PolicyConfig, SentPolicies, tuple[tuple[str, str], ...]]
)
"""What a part depends on: where it differs, the part is started anew."""


class NotJoined(ConfigError):  # noqa: N818 - a state
    """This agent has no identity yet."""

    exit_status = 3
    """Of `hids-agent run`, so that scripts can tell."""


class Agent:
    """One agent: its configuration, its state folder and its tree."""

    def __init__(self, config_path: Path, folder: Path, clock: Clock) -> None:
        """Read what is there before anything runs.

        Raises:
            ConfigError: agent.toml is wrong.
            NotJoined: no identity in `folder`.
            StoreError: the folder or what is in it cannot be used.
        """
        self._config_path = config_path
        self._own = load(config_path)
        self._shared = SharedFile.read(folder)
        self._config, problem = self._shared.added_to(self._own)
        if problem:
            log.warning("the manager's configuration does not apply any more", reason=problem)
        self._restarting = False
        self._folder = folder
        identity = Identity.read(folder)
        self._ca = b"" if identity is None else identity.ca
        self._policies = self._shared.policies(self._own, self._ca)
        self._clock = clock
        if self._config.manager.protocol == "ossec":
            _check_enrolled(folder)
        elif identity is None:
            raise NotJoined(
                f"{folder}: this agent has not joined a manager; run hids-agent join (see hidsctl agent token)"
            )
        self._machine_id = machine_id(folder)
        self._desk = Desk(self._config.spool.max_bytes)
        self._spool = Mailbox("spool", _SPOOL_BOUND)
        self._root = Node(Mailbox("hids-agent"), "supervisor")
        self._link_state = LinkState()
        self._sources: dict[str, SourceState] = {}
        self._nodes: dict[str, Node] = {}
        self._reloading: asyncio.Task[None] | None = None
        self._link = Mailbox("link")
        self._responses = self._open_responses()

    async def run(self) -> int:
        """Run until a signal ends it; returns the exit status: 0 in order, 1 when the tree gave up."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[str | None] = loop.create_future()
        self._root.mailbox.on_exit = lambda exited: _tell_end(ended, exited)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._reload)
        self._say(f"agent started: version {__version__} on {os_name()}")
        Supervisor.start(self._root.mailbox, self._root, self._specs(), self._clock)
        log.info("agent started", version=__version__, config=str(self._config_path), state=str(self._folder))
        upkeep = [asyncio.create_task(self._keep_status()), asyncio.create_task(_keep_small())]
        failure = await ended
        for task in upkeep:
            task.cancel()
        self._write_status(self.status(running=False))
        if failure is not None:
            log.error("agent ends", reason=failure)
            return 1
        log.info("agent stopped")
        return RESTART if self._restarting else 0

    def status(self, *, running: bool = True) -> dict[str, Any]:
        """What `hids-agent status` shows."""
        return {
            "version": __version__,
            "running": running,
            "pid": os.getpid(),
            "link": msgspec.to_builtins(self._link_state),
            "spool": {
                "lines": self._desk.lines,
                "bytes": self._desk.bytes,
                "max_bytes": self._desk.max_bytes,
                "stopped": self._desk.stopped,
            },
            "sources": [msgspec.to_builtins(source) for source in self._sources.values()],
            "tree": _tree(self._root),
        }

    # -- the tree

    def _specs(self) -> list[ChildSpec]:
        spool = ChildSpec(
            node=Node(self._spool, "spool"),
            start=lambda mailbox: Spooler.start(mailbox, self._folder / "spool.db", self._desk, self._clock),
            shutdown_s=_STOP_S,
        )
        link = ChildSpec(node=Node(self._link, "link"), start=self._start_link, shutdown_s=_STOP_S)
        self._desk.link = self._link
        responder = () if self._responses is None else (self._responses.spec,)
        return [spool, link, *responder, *self._readers(self._config), *self._watchers(self._config.silence)]

    def _open_responses(self) -> "Responses | None":
        """A change of `[response]` is taken at the next start."""
        if not self._config.response.enabled:
            return None
        from hids.agent.responses import Responses  # noqa: PLC0415 - few need it, and memory is dear

        return Responses(
            self._folder,
            self._config.response,
            self._spool,
            self._link,
            self._link_state,
            self._clock,
            self.restart,
            (self._config.manager.address, *self._config.manager.others),
            answers=self._config.manager.protocol == "hids",
        )

    def _start_link(self, mailbox: Mailbox) -> None:
        if self._config.manager.protocol == "ossec":
            from hids.agent.ossec_link import OssecLink  # noqa: PLC0415 - few need it, and memory is dear

            OssecLink.start(
                mailbox,
                self._spool,
                self._desk,
                self._link_state,
                self._folder,
                self._config.manager,
                self._clock,
                self._scan_now,
                None if self._responses is None else self._responses.execute,
            )
            return
        Link.start(
            mailbox,
            self._spool,
            self._desk,
            self._link_state,
            self._sources,
            self._folder,
            self._machine_id,
            self._clock,
            address=self._config.manager.address,
            others=self._config.manager.others,
            upkeep=self,
            canary_s=self._config.silence.canary_s,
            responses=self._responses,
        )

    def _readers(self, config: AgentConfig) -> list[ChildSpec]:
        readers = [self._source_spec(source) for source in config.source]
        if config.syscheck.is_on:
            readers.insert(0, self._syscheck_spec(config.syscheck))
        if self._has_policies(config, self._policies):
            readers.append(self._policy_spec(config, self._policies))
        if not config.rootcheck.disabled:
            readers.append(self._rootcheck_spec(config.rootcheck))
        readers += [self._registry_spec(table) for table in config.registry]
        return readers

    def _watchers(self, config: SilenceConfig) -> list[ChildSpec]:
        """The canary with the tail that reads it, and who notices silent sources. A change is taken at the next start."""
        specs: list[ChildSpec] = []
        if config.canary_s:
            specs += [self._canary_tail(), self._canary(config.canary_s)]
        if config.sources:
            specs.append(self._source_silence())
        return specs

    def _canary_tail(self) -> ChildSpec:
        node = Node(Mailbox("canary tail"), "source")
        self._desk.routes[node.name] = node.mailbox
        source = SourceConfig(path=str(self._folder / CANARY_FILE), from_="end")

        def start(mailbox: Mailbox) -> None:
            state = SourceState(name=node.name)
            FileTail.start(mailbox, self._spool, state, source, Excluded(()), self._clock, self._say)

        return ChildSpec(node=node, start=start)

    def _canary(self, every_s: float) -> ChildSpec:
        return ChildSpec(
            node=Node(Mailbox("canary"), "canary"),
            start=lambda mailbox: CanaryWriter.start(mailbox, self._folder, self._clock, every_s=every_s),
        )

    def _source_silence(self) -> ChildSpec:
        return ChildSpec(
            node=Node(Mailbox("silence"), "silence"),
            start=lambda mailbox: SourceSilence.start(mailbox, self._spool, self._sources, self._clock, self._say),
        )

    def _source_spec(self, source: SourceConfig) -> ChildSpec:
        def start(mailbox: Mailbox) -> None:
            state = self._state_of(source.name)
            if (reader := _reader_of(source)) is not None:
                reader.start(mailbox, self._spool, state, source, self._clock, self._say)
            else:
                FileTail.start(mailbox, self._spool, state, source, self._excluded(), self._clock, self._say)

        return self._reader(source.name, "source", start)

    def _syscheck_spec(self, config: SyscheckConfig) -> ChildSpec:
        def start(mailbox: Mailbox) -> None:
            Syscheck.start(
                mailbox,
                self._spool,
                self._state_of("syscheck"),
                config,
                self._excluded(),
                self._folder,
                self._clock,
                self._say,
            )

        return self._reader("syscheck", "syscheck", start)

    def _policy_spec(self, config: AgentConfig, sent: SentPolicies) -> ChildSpec:
        def start(mailbox: Mailbox) -> None:
            from hids.agent.policy import PolicyWatch  # noqa: PLC0415 - imported where it is used, for the memory

            PolicyWatch.start(
                mailbox,
                self._spool,
                self._state_of("policy"),
                config.policy,
                sent,
                _hives(config),
                self._folder / POLICY_MARK,
                self._clock,
                self._say,
            )

        return self._reader("policy", "policy", start)

    def _has_policies(self, config: AgentConfig, sent: SentPolicies) -> bool:
        """Whether there are any, or were, and the manager has not heard yet that they are gone."""
        return bool(config.policy.files or sent.policies) or (self._folder / POLICY_MARK).exists()

    def _rootcheck_spec(self, config: RootcheckConfig) -> ChildSpec:
        def start(mailbox: Mailbox) -> None:
            from hids.agent.rootcheck import Rootcheck  # noqa: PLC0415 - not all need it, and memory is dear

            Rootcheck.start(
                mailbox, self._spool, self._state_of("rootcheck"), config, self._excluded(), self._clock, self._say
            )

        return self._reader("rootcheck", "rootcheck", start)

    def _registry_spec(self, config: RegistryConfig) -> ChildSpec:
        def start(mailbox: Mailbox) -> None:
            from hids.agent.registry import RegistryReader  # noqa: PLC0415 - as above

            RegistryReader.start(mailbox, self._spool, self._state_of(config.name), config, self._clock, self._say)

        return self._reader(config.name, "registry", start)

    def _reader(self, name: str, kind: str, start: Callable[[Mailbox], None]) -> ChildSpec:
        node = Node(Mailbox(name), kind)
        self._nodes[name] = node
        self._desk.routes[name] = node.mailbox
        return ChildSpec(node=node, start=start)

    def _state_of(self, name: str) -> SourceState:
        state = SourceState(name=name)
        self._sources[name] = state
        return state

    def _excluded(self) -> Excluded:
        return Excluded([self._folder, *self._config.exclude])

    def _say(self, text: str) -> None:
        """Put a line of the agent itself into the spool."""
        try:
            self._spool.tell(
                Append(source=AGENT_LOCATION, lines=(agent_line(text, self._clock.now_ms()),), positions={})
            )
        except MailboxFull:
            log.error("the spool does not keep up, a line of the agent is lost", text=text)  # noqa: TRY400

    def _scan_now(self) -> None:
        for name in ("syscheck", "rootcheck"):
            node = self._nodes.get(name)
            if node is not None:
                node.mailbox.tell(ScanNow())

    # -- what the manager asks for

    @property
    def labels(self) -> dict[str, str]:
        """What this host is."""
        return self._shared.added_to(self._own)[0].labels

    @property
    def shared_version(self) -> str:
        """Version of the manager's configuration that runs."""
        return self._shared.version

    def configure(self, message: Configuration) -> str:
        """Take the manager's configuration whole, or say why not."""
        try:
            shared = SharedFile.of(message)
            config, problem = shared.added_to(self._own)
            if problem:
                return problem
            shared.write(self._folder)
        except (ConfigError, StoreError) as error:
            return str(error)
        self._shared = shared
        log.info("the manager's configuration is taken", version=shared.version)
        self._reloading = asyncio.create_task(self._apply(config, self._reloading))
        return ""

    def restart(self, by: str) -> None:
        """Start anew."""
        log.info("the manager asks for a restart", by=by)
        self._restarting = True
        self._stop("restart")

    def ask_syscheck(self, order: AskDigests | Rescan) -> None:
        """Hand on to syscheck; where nothing is watched, nothing is known."""
        node = self._nodes.get("syscheck")
        if node is not None:
            node.mailbox.tell(Asked(order))

    # -- signals

    def _stop(self, reason: str) -> None:
        self._say(f"agent stopped: {reason}")
        self._root.mailbox.shut_down()

    def _reload(self) -> None:
        try:
            own = load(self._config_path)
        except ConfigError as error:
            log.warning("configuration refused, the old one stays", reason=str(error))
            return
        self._own = own
        config, problem = self._shared.added_to(own)
        if problem:
            log.warning("the manager's configuration does not apply any more", reason=problem)
        self._reloading = asyncio.create_task(self._apply(config, self._reloading))
        if (node := self._nodes.get("policy")) is not None:
            from hids.agent.policy import ScanPolicies  # noqa: PLC0415 - as in _policy_spec

            node.mailbox.tell(ScanPolicies())

    async def _apply(self, new: AgentConfig, before_it: "asyncio.Task[None] | None") -> None:
        """Start and stop what differs, one change after the other."""
        if before_it is not None:
            await before_it
        old, self._config = self._config, new
        self._desk.max_bytes = new.spool.max_bytes
        self._spool.wake()
        sent_before, self._policies = self._policies, self._shared.policies(self._own, self._ca)
        before, after = self._parts(old, sent_before), self._parts(new, self._policies)
        if old.exclude != new.exclude:
            before = {}  # all readers hold the old list
        leaving = [name for name in self._nodes if name not in after or before.get(name) != after[name]]
        await self._dismiss(leaving)
        started = self._readers_named(new, after.keys() - self._nodes.keys())
        for spec in started:
            self._root.mailbox.tell(StartChild(spec))
        if new.manager != old.manager:
            log.warning("the manager's address is taken at the next start", address=new.manager.address)
        if new.response != old.response:
            log.warning("[response] is taken at the next start")
        log.info("configuration taken", stopped=len(leaving), started=len(started))

    def _parts(self, config: AgentConfig, sent: SentPolicies) -> dict[str, _Part]:
        """Everything that is started and stopped by itself, with what it depends on."""
        parts: dict[str, _Part] = {source.name: source for source in config.source}
        parts |= {table.name: table for table in config.registry}
        if config.syscheck.is_on:
            parts["syscheck"] = config.syscheck
        if self._has_policies(config, sent):
            parts["policy"] = config.policy, sent, _hives(config)
        if not config.rootcheck.disabled:
            parts["rootcheck"] = config.rootcheck
        return parts

    async def _dismiss(self, names: list[str]) -> None:
        """Stop readers, and wait until they have: two lives must not read one file."""
        nodes = [self._nodes.pop(name) for name in names]
        for name in names:
            self._root.mailbox.tell(StopChild(name))
        while any(node in self._root.children for node in nodes):  # noqa: ASYNC110 - the supervisor has no event for it
            await asyncio.sleep(0.02)
        for name in names:
            self._sources.pop(name, None)

    def _readers_named(self, config: AgentConfig, names: set[str]) -> list[ChildSpec]:
        specs = [self._source_spec(source) for source in config.source if source.name in names]
        if "syscheck" in names:
            specs.append(self._syscheck_spec(config.syscheck))
        if "policy" in names:
            specs.append(self._policy_spec(config, self._policies))
        if "rootcheck" in names:
            specs.append(self._rootcheck_spec(config.rootcheck))
        specs += [self._registry_spec(table) for table in config.registry if table.name in names]
        return specs

    # -- status

    async def _keep_status(self) -> None:
        written: dict[str, Any] = {}
        while True:
            status = self.status()
            if status != written:
                self._write_status(status)
                written = status
            await asyncio.sleep(STATUS_S)

    def _write_status(self, status: dict[str, Any]) -> None:
        try:
            write_atomically(self._folder / STATUS_FILE, msgspec.json.encode({**status, "at_ms": self._clock.now_ms()}))
        except StoreError as error:
            log.warning("status not written", reason=str(error))


async def _keep_small() -> None:
    while True:
        await asyncio.sleep(TRIM_S)
        heap.give_back()


def run(config_path: Path, folder: Path, clock: Clock) -> int:
    """Run an agent in this process until it ends; returns its exit status."""
    faulthandler.register(signal.SIGUSR1, file=sys.stderr, all_threads=True)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, hard), hard))  # a descriptor for each file that is read
    heap.keep_in_one_arena()
    held = lock(folder)
    try:
        return asyncio.run(Agent(config_path, folder, clock).run())
    finally:
        os.close(held)


def _check_enrolled(folder: Path) -> None:
    from hids.agent.ossec_identity import read_key  # noqa: PLC0415 - few need it

    if read_key(folder) is None:
        raise NotJoined(
            f"{folder}: this agent has no key of an OSSEC manager; run hids-agent join-ossec or import-ossec-key"
        )


def _tell_end(ended: "asyncio.Future[str | None]", exited: Exited) -> None:
    if not ended.done():
        ended.set_result(exited.failure)


def _reader_of(source: SourceConfig) -> type[Any] | None:  # each is imported where it is used, for the memory
    """Who reads what is no log file."""
    match source.format:
        case "journal":
            from hids.agent.journal import JournalReader  # noqa: PLC0415

            return JournalReader
        case "command" | "full_command":
            from hids.agent.command import CommandRunner  # noqa: PLC0415

            return CommandRunner
        case "evtx":
            from hids.agent.evtx import EvtxReader  # noqa: PLC0415

            return EvtxReader
        case "eventchannel":
            from hids.agent.eventchannel import ChannelReader  # noqa: PLC0415

            return ChannelReader
        case "macos":
            from hids.agent.unifiedlog import UnifiedLogReader  # noqa: PLC0415

            return UnifiedLogReader
        case _:
            return None


def _hives(config: AgentConfig) -> tuple[tuple[str, str], ...]:
    """Hive files, with what their roots are called: rules of policies may ask for what is in them."""
    return tuple((table.path, table.hive) for table in config.registry if table.hive)


def _tree(node: Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "kind": node.kind,
        "state": node.state,
        "depth": node.mailbox.depth,
        "bound": node.mailbox.bound,
        "handled": node.mailbox.handled,
        "restarts": node.restarts,
        "last_failure": node.last_failure,
        "children": [_tree(child) for child in node.children],
    }
