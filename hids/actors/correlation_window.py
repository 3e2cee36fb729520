"""CorrelationWindow: outcomes in, alerts and changed state out.

    main --Outcome|Hole|Notice|ReadThrough--> correlation window --Applied--> syscheck store --Applied--> ledger

State    windows in memory; all that a batch touches leaves with it and is committed by the ledger.
Order    per source by sequence; what comes too early is parked, what comes again is refused.
A bug    ends the lane's process: the next lane loads the committed state and main sends again.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

from hids.actors.stage import Control, LoopActor, Mailbox
from hids.actors.timestamp import timestamp
from hids.core.correlate.applier import Applier
from hids.core.correlate.correlator import FIRST_SEEN_DAYS, IGNORED_DAYS
from hids.core.correlate.sequence import Sequencer
from hids.core.correlate.windows import WindowKey
from hids.core.correlate.words import lost, noticed
from hids.messages.evaluation import Outcome
from hids.messages.lane import Applied, Hole, Notice, Progress, ReadThrough
from hids.messages.rule_table import RuleTable
from hids.ports import Clock, Emit, Mark, NoMark


class Settled(Control):
    """ledger -> correlation window: the state of these windows is on disk."""

    def __init__(self, state: Mapping[WindowKey, tuple[bytes, int]]) -> None:
        self.state = state


class Recalled(NamedTuple):
    """What the ledger remembers when the lane starts."""

    progress: dict[str, Progress]
    fired: dict[str, int]
    next_alert: int
    notices: dict[str, int]
    """Highest committed notice by boot."""


class CorrelationWindow(LoopActor):
    """Apply outcomes one after another."""

    def __init__(
        self,
        mailbox: Mailbox,
        recalled: Recalled,
        load_window: Callable[[WindowKey], bytes | None],
        table_of: Callable[[str], RuleTable],
        knows: Callable[[str, bytes, int], bool],
        clock: Clock,
        emit: Emit[Applied],
        *,
        log_level: int,
        budget_bytes: int,
        first_seen_days: int = FIRST_SEEN_DAYS,
        ignored_days: int = IGNORED_DAYS,
        tells_all: bool = False,
        mark: Mark | None = None,
    ) -> None:
        super().__init__(mailbox)
        self._sequencer = Sequencer(recalled.progress)
        self._notices = dict(recalled.notices)
        self._applier = Applier(
            load_window,
            table_of,
            knows,
            timestamp,
            recalled.fired,
            recalled.next_alert,
            recalled.progress,
            log_level=log_level,
            budget_bytes=budget_bytes,
            first_seen_days=first_seen_days,
            ignored_days=ignored_days,
            tells_all=tells_all,
        )
        self._through: dict[str, ReadThrough] = {}
        """The last report of each source, if it is not yet dealt with."""
        self._clock = clock
        self._emit = emit
        self._mark = mark or NoMark()

    def on_receive(self, message: Outcome | Hole | Notice | ReadThrough | Settled) -> None:
        """Apply one message, and what was parked behind it."""
        match message:
            case Outcome():
                ready = self._sequencer.offer(message)
            case ReadThrough():
                ready = []
                self._through[message.source] = message
                self._look_through(message.source)
            case Hole():
                ready = self._sequencer.skip(message)
            case Notice():
                ready = []
                self._notice(message)
            case Settled():
                ready = []
                self._applier.committed(message.state)
        for each in ready:
            if isinstance(each, Hole):
                self._emit(lost(each, self._clock.now_ms()))
            else:
                self._emit(self._apply(each))
                self._look_through(each.source)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return self._applier.facts() | {
            "parked": self._sequencer.parked,
            "repeated": self._sequencer.repeated,
        }

    def _notice(self, notice: Notice) -> None:
        if notice.number <= self._notices.get(notice.boot, 0):
            return
        self._notices[notice.boot] = notice.number
        self._emit(noticed(notice))

    def _apply(self, outcome: Outcome) -> Applied:
        clock, mark = self._clock, self._mark
        mark.begin(outcome.source, outcome.epoch)
        applied = self._applier.apply(outcome, clock.now_ms(), clock.monotonic_s(), mark.at)
        mark.done()
        return applied

    def _look_through(self, source: str) -> None:
        """When all is applied that a report is about, see whose time is up."""
        report, progress = self._through.get(source), self._sequencer.progress(source)
        if report is None:
            return
        reached = (0, 0) if progress is None else (progress.epoch, progress.seq)
        if reached < (report.epoch, report.seq):
            return
        del self._through[source]
        applied = self._applier.missed(report, self._clock.now_ms(), self._clock.monotonic_s())
        if applied is not None:
            self._emit(applied)
