"""Those that look after the rest: agents that are gone or not heard, their configuration, volume, memory, and who asks."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from hids.actors.budget import Budget
from hids.actors.configurator import Configurator
from hids.actors.control import Control
from hids.actors.exposition import Exposition
from hids.actors.learned import Store
from hids.actors.monitor import Known, Monitor, Records
from hids.actors.silence import Silence
from hids.actors.stage import Mailbox
from hids.actors.statistics import Statistics
from hids.adapters.control import ControlSocket
from hids.adapters.files import write_atomically
from hids.adapters.identity import is_signed
from hids.adapters.metrics_port import MetricsPort
from hids.adapters.outputs.kinds import need
from hids.adapters.process import kill, launch, rss_mib
from hids.adapters.registry import AgentRow
from hids.adapters.shared_configs import SharedConfigs
from hids.adapters.signing import Signer
from hids.manager.port import Port
from hids.manager.processes import start_process
from hids.manager.site import Site
from hids.messages.keeping import FromKeeper, Said
from hids.messages.terms import Agent, AgentId

Answer = Callable[[str, dict[str, Any], str], Awaitable[Any]]
"""Serves the control socket (hids.manager.answers)."""
Measure = Callable[[], Awaitable[str]]
"""Gives Prometheus' text."""


class Watches:
    """Mailboxes and lives."""

    def __init__(self, site: Site) -> None:
        """Look whether `[telemetry]` can be had.

        Raises:
            ConfigError: its library is missing.
        """
        self._site = site
        self._pushes = site.config.telemetry
        if self._pushes.endpoint:
            need("opentelemetry.exporter.otlp.proto.http", "otel", "[telemetry] endpoint")
        self.telemetry = Mailbox("telemetry") if self._pushes.endpoint else None
        """None: no collector gets figures."""
        self.configurator = Mailbox("configurator")
        self.shared_configs = SharedConfigs(site.paths.shared)
        self.statistics = Mailbox("statistics")

    def start_monitor(self, mailbox: Mailbox) -> object:
        """Looks for agents that are gone."""
        site = self._site

        async def roll() -> list[Known]:
            rows: list[AgentRow] = await site.ask(lambda registry: list(registry.list()))
            return [
                Known(Agent(row.id, row.name, row.address), row.last_seen_ms)
                for row in rows
                if row.removed_ms is None and row.last_seen_ms is not None
            ]

        async def note(seen: Mapping[AgentId, int]) -> None:
            await site.ask(lambda registry: registry.last_seen(seen))

        records, store = Records(roll, note), _store(site.paths.lib / "gone.json")
        return Monitor.start(
            mailbox,
            *(site.fleet, site.manager, site.clock, site.dispatcher.tell, records, store),
            disconnected_after_s=site.config.agents.disconnected_after_s,
            disconnected_at_most_s=site.config.agents.disconnected_at_most_s,
        )

    def start_configurator(self, mailbox: Mailbox) -> object:
        """Brings agents the configuration that is set for them."""
        site = self._site
        signer = Signer.read(site.authority.configuration_file())
        return Configurator.start(
            mailbox, self.shared_configs, signer, site.fleet, site.manager, site.clock, site.dispatcher.tell
        )

    def start_silence(self, mailbox: Mailbox) -> object:
        """Looks for agents that are here and not heard."""
        site = self._site
        store = _store(site.paths.lib / "paces.json")
        return Silence.start(mailbox, site.fleet, site.progress, store, is_signed, site.clock, site.dispatcher.tell)

    def start_statistics(self, mailbox: Mailbox) -> object:
        """Learns how many lines an hour brings."""
        site = self._site
        store = _store(site.paths.lib / "volume.json")
        return Statistics.start(mailbox, site.progress, store, site.manager, site.clock, site.dispatcher.tell)

    def start_budget(self, processes: tuple[Mailbox, ...], mailbox: Mailbox) -> object:
        """Replaces processes that hold too much memory."""
        site = self._site
        limit_mib = site.config.limits.process_mib
        return Budget.start(
            mailbox, lambda: processes, rss_mib, kill, site.manager, site.dispatcher.tell, limit_mib=limit_mib
        )

    def start_exposition(self, port: Port, measure: Measure, mailbox: Mailbox) -> object:
        """Answers Prometheus."""

        def open_port(ask: Measure) -> MetricsPort:
            return MetricsPort(port.open(), ask)

        return Exposition.start(mailbox, open_port, measure, self._site.clock)

    def start_telemetry(self, mailbox: Mailbox) -> object:
        """One life of the process that pushes figures to a collector."""
        site = self._site
        options = (
            *("--lock", str(site.paths.lib / "telemetry.lock")),
            *("--paths", msgspec.json.encode(site.paths, enc_hook=str).decode()),
            *("--manager", site.name),
            *("--telemetry", msgspec.json.encode(self._pushes).decode()),
        )
        return start_process(
            mailbox, lambda: launch("hids.workers.telemetry", options), FromKeeper, self._said, site.clock
        )

    def _said(self, message: Said) -> None:
        self._site.tell(message.text)

    def start_control(self, answer: Answer, mailbox: Mailbox) -> object:
        """Answers hidsctl."""
        return Control.start(mailbox, partial(ControlSocket, self._site.paths.control), answer)


def _store(path: Path) -> Store:
    def save(data: bytes) -> None:
        write_atomically(path, data)

    return Store(lambda: path.read_bytes() if path.exists() else None, save)
