"""From a batch to its commit: archive, dispatcher, nursery, workers, lane."""

import os
import socket
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from hids.actors.dispatcher import Dispatcher
from hids.actors.nursery import Nursery
from hids.actors.stage import Mailbox
from hids.actors.worker_link import WorkerLink
from hids.adapters.channel import Channel, open_channel
from hids.adapters.markpage import MarkPage
from hids.adapters.process import Launched, ended, kill, launch
from hids.manager.processes import PULSE_LIMIT_S, start_process
from hids.manager.rulesets import folders
from hids.manager.site import LANE_BOUND, Site
from hids.messages.evaluation import FromWorker
from hids.messages.keeping import ArchiveReady, FromArchive, Kept, Said
from hids.messages.lane import FromLane
from hids.messages.nursery import NurseryReady

LOADING_LIMIT_S = 120.0
"""Both public rulesets take some seconds."""
MIB = 1024 * 1024


class Engine:
    """Mailboxes and lives."""

    def __init__(
        self,
        site: Site,
        readers: Sequence[tuple[Mailbox, Sequence[str]]],
        refused: Callable[[tuple[str, ...]], None],
    ) -> None:
        """`readers` read the outbox: whom to tell of news in it, and what cursors they keep there.

        `refused` is told the problems when the rulesets cannot be used.
        """
        self._site = site
        self._config = config = site.config
        """As it was at the start: lane and archive go by it in all their lives."""
        self._told = tuple(mailbox for mailbox, _ in readers)
        self._cursors = tuple(name for _, names in readers for name in names)
        self._refused = refused
        self.rulesets: NurseryReady | None = None
        """None: they are still loaded."""
        self.archive = Mailbox("archive", LANE_BOUND) if config.archive.enabled else None
        """None: batches are not kept beyond their commit."""
        self.nursery = Mailbox("nursery")
        self.workers = tuple(
            Mailbox(f"worker-{number}") for number in range(1, (config.workers.count or os.cpu_count() or 1) + 1)
        )

    # -- lives

    def start_lane(self, mailbox: Mailbox) -> object:
        """One life of the process that commits."""
        site = self._site
        return start_process(
            mailbox,
            lambda: launch("hids.workers.lane", self._lane_options()),
            FromLane,
            site.dispatcher.tell,
            site.clock,
        )

    def start_archive(self, mailbox: Mailbox) -> object:
        """One life of the process that keeps every batch."""
        return start_process(
            mailbox,
            lambda: launch("hids.workers.archive", self._archive_options()),
            FromArchive,
            self._kept,
            self._site.clock,
        )

    def start_nursery(self, mailbox: Mailbox) -> object:
        """One life of the process that has the rules."""

        def ready(said: NurseryReady) -> None:
            self.rulesets = said
            if said.problems:
                self._site.tell(f"rules refused: those that were good last are used: {said.problems[0]}")

        return Nursery.start(
            mailbox,
            self.launch_nursery,
            ready,
            self._refused,
            lambda: self.workers,
            ended,
            self._site.clock,
            pulse_limit_s=PULSE_LIMIT_S,
            loading_limit_s=LOADING_LIMIT_S,
        )

    def launch_nursery(self, *, reloads: bool = False) -> Launched:
        """A nursery process for the rulesets that the configuration names now."""
        site = self._site
        options = (
            *(("--reloads",) if reloads else ()),
            *("--tables", str(site.paths.tables)),
            *("--stats", str(site.paths.stats)),
            *("--manager", site.name),
            *("--rulesets", msgspec.json.encode(folders(site.config)).decode()),
        )
        return launch("hids.workers.nursery", options, datagrams=True)

    def start_dispatcher(self, mailbox: Mailbox) -> object:
        """One life of the actor that has every batch until it is committed."""
        site = self._site
        return Dispatcher.start(mailbox, site.progress, site.lane, self._told, site.clock, site.boot, self.archive)

    def start_worker(self, number: int, mailbox: Mailbox) -> object:
        """One life of the actor before worker `number`."""
        site = self._site
        return WorkerLink.start(
            mailbox,
            number,
            self.nursery,
            site.dispatcher,
            _connect_worker,
            MarkPage.new,
            kill,
            ended,
            site.clock,
            stuck_s=site.config.workers.stuck_s,
        )

    def _kept(self, message: ArchiveReady | Kept | Said) -> None:
        if isinstance(message, Said):
            self._site.tell(message.text)
        else:
            self._site.dispatcher.tell(message)

    # -- options of processes

    def _lane_options(self) -> tuple[str, ...]:
        config, paths = self._config, self._site.paths
        return (
            *("--ledger", str(paths.ledger)),
            *("--tables", str(paths.tables)),
            *("--boot", self._site.boot),
            *("--manager", self._site.name),
            *("--outputs", ",".join(self._cursors)),
            *("--log-level", str(config.alerts.level)),
            *("--alert-on", config.alerts.alert_on),
            *("--stored-keys", str(config.limits.stored_keys)),
            *("--window-bytes", str(config.limits.windows_mib * MIB)),
            *("--first-seen-days", str(config.limits.first_seen_days)),
            *("--ignored-days", str(config.limits.ignored_days)),
            *("--outbox-bytes", str(config.limits.outbox_mib * MIB)),
            *("--history-days", str(config.syscheck.history_days)),
            *("--history-rows", str(config.syscheck.history_rows)),
            *(("--auto-ignore",) if config.syscheck.auto_ignore else ()),
        )

    def _archive_options(self) -> tuple[str, ...]:
        config, paths = self._config, self._site.paths
        return (
            *("--archive", str(paths.archive)),
            *("--evidence", str(paths.evidence)),
            *("--lock", str(paths.lib / "archive.lock")),
            *("--head-every-s", str(config.evidence.head_s)),
        )


def _connect_worker(sock: socket.socket, got: Callable[[Any], None], closed: Callable[[], None]) -> Channel:
    return open_channel(sock, FromWorker, got, closed)
