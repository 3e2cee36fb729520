"""Those that read what is committed: alert files, index, senders; and the keeper, who puts away what was written."""

import msgspec

from hids.actors.stage import Mailbox
from hids.adapters.outputs.kinds import check_library
from hids.adapters.process import launch
from hids.core.keeping import Keeping
from hids.core.retention import Limit
from hids.manager.processes import start_process
from hids.manager.site import Site
from hids.messages.keeping import FromKeeper, Said
from hids.messages.outputs import FromOutput
from hids.workers.outputs import ALERT_OUTPUTS, INDEX_OUTPUTS

MIB = 1024 * 1024


class Readers:
    """Mailboxes and lives. They go by the configuration of the start in all their lives."""

    def __init__(self, site: Site) -> None:
        """Look whether all can be had that `[[output]]` needs.

        Raises:
            ConfigError: an output's library is missing.
        """
        self._site = site
        self._config = site.config
        for output in self._config.output:
            check_library(output)
        self.outputs = Mailbox("outputs")
        self.index = Mailbox("index")
        self.senders = Mailbox("senders") if self._config.output else None
        """None: nobody is told over the network."""
        self.keeper = Mailbox("keeper")

    @property
    def cursors(self) -> tuple[tuple[Mailbox, tuple[str, ...]], ...]:
        """Who reads the outbox: its mailbox, and the names of its cursors."""
        return (
            (self.outputs, ALERT_OUTPUTS),
            (self.index, INDEX_OUTPUTS),
            *(((self.senders, tuple(output.output for output in self._config.output)),) if self.senders else ()),
        )

    # -- lives

    def start_outputs(self, mailbox: Mailbox) -> object:
        """One life of the process that writes the alert files."""
        return self._start(mailbox, "hids.workers.outputs", self._output_options(ALERT_OUTPUTS))

    def start_index(self, mailbox: Mailbox) -> object:
        """One life of the process that fills search.db."""
        return self._start(mailbox, "hids.workers.outputs", self._output_options(INDEX_OUTPUTS))

    def start_senders(self, mailbox: Mailbox) -> object:
        """One life of the process that sends alerts over the network."""
        return self._start(mailbox, "hids.workers.senders", self._sender_options())

    def start_keeper(self, mailbox: Mailbox) -> object:
        """One life of the keeper's process."""
        return start_process(
            mailbox,
            lambda: launch("hids.workers.keeper", self._keeper_options()),
            FromKeeper,
            self._said,
            self._site.clock,
        )

    def _start(self, mailbox: Mailbox, module: str, options: tuple[str, ...]) -> object:
        site = self._site
        return start_process(
            mailbox, lambda: launch(module, options), FromOutput, site.lane.tell, site.clock, site.newest
        )

    def _said(self, message: Said) -> None:
        self._site.tell(message.text)

    # -- options of processes

    def _output_options(self, names: tuple[str, ...]) -> tuple[str, ...]:
        config, paths = self._config, self._site.paths
        return (
            *("--outputs", ",".join(names)),
            *("--ledger", str(paths.ledger)),
            *("--alerts", str(paths.alerts)),
            *("--search", str(paths.search)),
            *("--evidence", str(paths.evidence)),
            *("--head-every-s", str(config.evidence.head_s)),
            *("--rotate-bytes", str(config.retention.rotate_mib * MIB)),
            *("--search-days", str(config.retention.search_days)),
            *("--search-bytes", str(config.retention.search_mib * MIB)),
        )

    def _sender_options(self) -> tuple[str, ...]:
        paths = self._site.paths
        return (
            *("--ledger", str(paths.ledger)),
            *("--cursors", str(paths.lib)),
            *("--senders", msgspec.json.encode(self._config.output).decode()),
        )

    def _keeper_options(self) -> tuple[str, ...]:
        config, paths = self._config, self._site.paths
        retention, evidence = config.retention, config.evidence
        keeping = Keeping(
            alerts=str(paths.alerts),
            evidence=str(paths.evidence),
            lib=str(paths.lib),
            limit=Limit(retention.alerts_days, retention.alerts_mib * MIB),
            compress=retention.compress,
            archive=str(paths.archive) if config.archive.enabled else "",
            archive_limit=Limit(config.archive.days, config.archive.mib * MIB),
            reports=str(paths.reports),
            search=str(paths.search),
            scheduled=tuple(report.scheduled() for report in config.report),
            mail=config.mail if any(report.email_to for report in config.report) else None,
            anchor_file=evidence.anchor_file,
            anchor_command=evidence.anchor_command,
            anchor_s=evidence.anchor_s,
        )
        return (
            *("--lock", str(paths.lib / "keeper.lock")),
            *("--keeping", msgspec.json.encode(keeping).decode()),
        )
