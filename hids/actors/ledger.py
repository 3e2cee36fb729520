"""Ledger: gathers what was thought through into groups, commits them, and says what is committed.

    syscheck store --Applied--> ledger --Committed--> main
    main --Cursors--> ledger;  ledger --Baselined, Settled--> syscheck store, correlation window

State    the open group. A group is one transaction; `Committed` leaves after it.
Full     the group closes at 8 MiB, or a few milliseconds after it was opened, when it has taken what waits: while one
         commit waits for the disk, the next group gathers.
A bug    or a failed write ends the lane's process. Nothing is rolled back in memory: the next lane loads what is
         committed and main sends the rest again.
"""

import asyncio
import datetime
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from hids.actors.stage import LoopActor, Mailbox, OneLife
from hids.core.proof import counts_lines
from hids.core.wire.lines import GENESIS, cut, link, pack
from hids.messages.lane import Applied, Committed, DerivedBatch, Progress, Settle
from hids.messages.lines import Batch, LogLine
from hids.messages.outputs import Cursors
from hids.messages.terms import Agent, SourceId
from hids.ports import Clock, Emit, Group, LedgerStore, Stretch

GROUP_WAIT_S = 0.005
"""How long a group gathers after its first message."""
BUSY_WAIT_S = 0.02
"""The same behind a group of many batches: a group costs the lane what fifteen small batches do, before its outputs."""
BUSY_BATCHES = 8
"""So many are many: as much as some hundred batches a second bring."""
GROUP_BYTES = 8 * 1024 * 1024
"""A group that has so many bytes of alerts and state closes at once."""

BASELINE_BYTES = 4_096
"""What a changed baseline counts in a group: 2,000 fill it, for their writes take longer than their bytes."""

WINDOW_LIFE_MS = 24 * 3600 * 1000
"""Stored windows are kept so long beyond the time that they matter (hids.core.correlate.correlator.LATE_MAX_MS)."""
OUTBOX_LIFE_MS = 7 * 24 * 3600 * 1000
"""An output that is further behind has a hole, which is counted and alerted."""
HOUSEKEEPING_S = 60.0
MORE_S = 0.1
"""Until the next time when there is more to do."""
DROPPED_SOURCE = "derived/agent/000"
"""Whose count windows that are gone before their time are: the manager's own word."""

WAL_ALERT_BYTES = 512 * 1024 * 1024
"""A write-ahead log of this size says that some reader never lets go, or that the disk is far too slow."""


Scan = tuple[Agent, int, bytes]
"""Whose policies a line is about, when it was told, the line."""


class Due(OneLife):
    """timer -> ledger: the group has gathered long enough."""


class Say(NamedTuple):
    """lane -> ledger: the rules shall see this about the manager."""

    text: str


class Housekeeping(OneLife):
    """timer -> ledger: forget old windows, keep the outbox within its budget."""


class Ledger(LoopActor):
    """The only writer of ledger.db."""

    def __init__(
        self,
        mailbox: Mailbox,
        store: LedgerStore,
        boot: str,
        manager: Agent,
        next_alert: int,
        derived_ends: Mapping[str, tuple[int, bytes]],
        outputs: tuple[str, ...],
        clock: Clock,
        emit: Emit[Committed],
        settled: Emit[Group],
        *,
        outbox_bytes: int,
        stored_keys: int,
        history_days: int,
        history_rows: int,
        believed: Clock | None = None,
        derived_epoch: int = 1,
        record: Callable[[Sequence[Scan]], None] | None = None,
    ) -> None:
        """Some of it is told by others.

        `believed` is the clock by which what is old goes (hids.core.believed); None: `clock` itself. `derived_epoch` numbers
        the history of derived lines. `record` writes what came of policies; it is called before the commit, and may be so again after a crash.
        """
        super().__init__(mailbox)
        self._record = record
        self._scans: list[Scan] = []
        self._store = store
        self._boot = boot
        self._manager = manager
        self._next_alert = next_alert
        self._ends = dict(derived_ends)
        self._cursors = dict.fromkeys(outputs, 0)
        self._clock = clock
        self._believed = believed or clock
        self._derived_epoch = derived_epoch
        self._emit = emit
        self._settled = settled
        self._outbox_bytes = outbox_bytes
        self._stored_keys = stored_keys
        self._history_ms = history_days * 24 * 3600 * 1000
        self._history_rows = history_rows
        self._group = Group()
        self._size = 0
        self._lines: dict[tuple[str, Agent], list[LogLine]] = defaultdict(list)
        self._notices = 0
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False
        """The group has gathered long enough."""
        self._batches = 0
        """In the open group."""
        self._wait_s = GROUP_WAIT_S
        self._groups = 0
        self._dropped = 0
        self._told_dropped_ms = 0
        self._wal_told = False
        self._canaries: dict[str, bytes] = {}
        self._housekeeping = self.later(HOUSEKEEPING_S, Housekeeping())

    def on_receive(self, message: Applied | Cursors | Settle | Say | Due | Housekeeping) -> None:
        """Add to the open group; close it when it is time."""
        match message:
            case Applied(order=None):
                self._add(message)
            case Applied():
                self._obey(message)
            case Cursors():
                if not self._move_cursors(message) and not self._is_due:
                    return
            case Settle():
                self._settle(message)
            case Say():
                self._tell(message.text)
            case Due():
                self._is_due = True
            case Housekeeping():
                self._keep_house()
        if self._size >= GROUP_BYTES or (self._is_due and self.mailbox.depth == 0):
            self._close()
        elif self._timer is None:
            self._timer = self.later(self._wait_s, Due())

    def on_shutdown(self) -> None:
        """Commit what is open, then stop."""
        self._close()
        self.stop()

    def closing(self) -> None:
        """No timer outlives this life."""
        self._housekeeping.cancel()
        if self._timer is not None:
            self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"groups": self._groups, "next_alert": self._next_alert}

    def _add(self, applied: Applied) -> None:
        group = self._group
        self._batches += 1
        group.alerts.extend(applied.alerts)
        group.state.update(applied.state)
        group.fired.update(applied.fired)
        group.baselines.update(applied.baselines)
        group.changes.extend(applied.changes)
        group.checks.extend(applied.checks)
        group.maintenance.extend(applied.maintenance)
        self._size += sum(map(len, applied.alerts)) + sum(len(data) for data, _ in applied.state.values())
        self._size += len(applied.baselines) * BASELINE_BYTES
        if applied.progress is not None:
            group.progress[applied.source] = applied.progress
            if applied.digest:
                group.digests.append((applied.source, applied.progress.epoch, applied.digest))
        if applied.hole is not None:
            group.holes.append(applied.hole)
        group.dead.extend((applied.source, epoch, seq, dropped, applied.agent) for epoch, seq, dropped in applied.dead)
        for what, n in applied.counts.items():
            group.counts[applied.source, what] = group.counts.get((applied.source, what), 0) + n
        if applied.progress is not None:
            self._prove(applied, applied.progress)
        for kind, line in applied.lines:
            self._lines[kind, applied.agent].append(line)
            self._size += len(line.text) + len(line.facts)
        self._notices = max(self._notices, applied.notice)
        self._scans += ((applied.agent, at_ms, text) for at_ms, text in applied.scans)
        self._size += sum(len(text) for _, text in applied.scans)
        if applied.canary:
            self._canaries[applied.source] = applied.canary

    def _obey(self, applied: Applied) -> None:
        """What a person wants done with baselines comes after all that came before it, and before the rest."""
        self._close()
        self._group.order = applied.order
        self._add(applied)
        self._close()

    def _prove(self, applied: Applied, progress: Progress) -> None:
        """Add these lines to the stretch that the group moves over; say so when they do not add up."""
        where = (applied.source, progress.epoch)
        stretch = self._group.stretches.setdefault(where, Stretch(applied.first, applied.first - 1))
        stretch.last = progress.seq
        for what, n in applied.counts.items():
            if counts_lines(what):
                stretch.counts[what] = stretch.counts.get(what, 0) + n
        lines = progress.seq - applied.first + 1
        known = sum(n for what, n in applied.counts.items() if counts_lines(what))
        if known != lines:
            self._tell(
                f"ledger does not balance: {applied.source} {applied.first} to {progress.seq} of epoch "
                f"{progress.epoch}: {lines} lines, {known} accounted for"
            )

    def _settle(self, order: Settle) -> None:
        """Send dead letters on their way again, or let them be."""
        for letter in self._store.dead_letters(order.letters):
            if letter.state != "kept" or letter.number in self._group.settled:
                continue
            if order.verdict == "replayed":
                if letter.line is None or letter.agent is None:
                    continue
                kind = letter.source.split("/")[1] if letter.source.startswith("derived/") else "replay"
                self._lines[kind, letter.agent].append(letter.line)
            self._group.settled[letter.number] = order.verdict

    def _tell(self, text: str) -> None:
        """A line of the manager about itself."""
        now_ms = self._clock.now_ms()
        self._lines["agent", self._manager].append(LogLine("hids-manager", text.encode(), now_ms, now_ms, "agent"))

    def _move_cursors(self, cursors: Cursors) -> bool:
        """Whether one moved: only that is worth a commit, of which the outputs hear again."""
        moved = {name: n for name, n in cursors.positions.items() if self._cursors.get(name, n) != n}
        if moved:
            self._cursors |= moved
            self._group.cursors = dict(self._cursors)
        return bool(moved)

    def _close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._is_due = False
        self._wait_s = BUSY_WAIT_S if self._batches >= BUSY_BATCHES else GROUP_WAIT_S
        group, self._group, self._size, self._batches = self._group, Group(), 0, 0
        group.derived = self._derive()
        if self._notices:
            group.notices = (self._boot, self._notices)
        group.at_ms = self._clock.now_ms()
        if self._scans and self._record is not None:
            self._record(self._scans)
            self._scans = []
        self._store.commit(group, self._next_alert)
        self._next_alert += len(group.alerts)
        self._groups += 1
        self._settled(group)
        self._emit(
            Committed(
                progress=group.progress,
                derived=tuple(group.derived),
                notices=self._notices,
                outbox_next=self._next_alert,
                canaries=self._canaries,
            )
        )
        self._canaries = {}

    def _derive(self) -> list[DerivedBatch]:
        """Turn gathered lines into numbered batches of their derived sources."""
        batches: list[DerivedBatch] = []
        for (kind, agent), lines in self._lines.items():
            source = SourceId(f"derived/{kind}/{agent.id}")
            seq, chain = self._ends.get(source, (0, GENESIS))
            for part in cut(lines):
                data = pack(part)
                chain = link(chain, data)
                batch = Batch(epoch=self._derived_epoch, first_seq=seq + 1, count=len(part), chain=chain, data=data)
                batches.append(DerivedBatch(source, agent, batch))
                seq += len(part)
            self._ends[source] = (seq, chain)
        self._lines.clear()
        return batches

    def _keep_house(self) -> None:
        now_ms = self._believed.now_ms()
        more = self._store.expire(now_ms - WINDOW_LIFE_MS) > 0
        more |= self._store.trim_history(now_ms - self._history_ms, self._history_rows) > 0
        dropped = self._store.trim_state(self._stored_keys)
        if dropped is not None:
            more = True
            self._tell_dropped(*dropped, now_ms)
        gone = self._store.trim_outbox(self._outbox_bytes, now_ms - OUTBOX_LIFE_MS)
        if gone is not None:
            self._tell(f"alerts dropped: {gone[0]} to {gone[1]}: an output is too far behind")
        self._watch_wal()
        self._housekeeping = self.later(MORE_S if more else HOUSEKEEPING_S, Housekeeping())

    def _tell_dropped(self, count: int, until_ms: int, now_ms: int) -> None:
        """Count windows that are gone before their time; one word a minute."""
        where = (DROPPED_SOURCE, "windows dropped")
        self._group.counts[where] = self._group.counts.get(where, 0) + count
        self._dropped += count
        if now_ms - self._told_dropped_ms < 1000 * HOUSEKEEPING_S:
            return
        until = datetime.datetime.fromtimestamp(until_ms / 1000, tz=datetime.UTC)
        self._tell(
            f"windows dropped: {self._dropped}, which mattered up to {until:%Y-%m-%dT%H:%M:%SZ}: "
            f"more than {self._stored_keys} keys"
        )
        self._dropped, self._told_dropped_ms = 0, now_ms

    def _watch_wal(self) -> None:
        """Say once that the write-ahead log has grown out of bounds, and again when it does after it was cut."""
        size = self._store.wal_bytes()
        if size > WAL_ALERT_BYTES and not self._wal_told:
            self._tell(f"ledger log: {size // 1024**2} MiB are not folded back: a reader holds it, or the disk is slow")
        self._wal_told = size > WAL_ALERT_BYTES
