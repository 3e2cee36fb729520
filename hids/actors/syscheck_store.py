"""SyscheckStore: what agents see of files in, changes as derived lines out.

    correlation window --Applied--> syscheck store --Applied--> ledger

State    the baseline is in ledger.db; here only what the open group changes in it.
A bug    ends the lane's process, like all in the lane.
"""

from collections.abc import Callable, Mapping

import msgspec

from hids.actors.stage import Control, LoopActor, Mailbox
from hids.core.syscheck.change import Change, compare, remembered
from hids.core.wire.facts import unpack
from hids.messages import Applied, FileFact, Kind, LogLine
from hids.ports import Emit, Mark, NoMark


class Baselined(Control):
    """ledger -> syscheck store: these baselines are on disk."""

    def __init__(self, baselines: Mapping[tuple[str, str], FileFact | None]) -> None:
        self.baselines = baselines


class SyscheckStore(LoopActor):
    """Compare facts with the baseline, in the order in which they came."""

    def __init__(
        self,
        mailbox: Mailbox,
        baseline: Callable[[str, str], FileFact | None],
        emit: Emit[Applied],
        mark: Mark | None = None,
    ) -> None:
        super().__init__(mailbox)
        self._mark = mark or NoMark()
        self._baseline = baseline
        self._emit = emit
        self._pending: dict[tuple[str, str], FileFact | None] = {}
        self._seen = 0

    def on_receive(self, message: Applied | Baselined) -> None:
        """Add what the facts of one outcome mean, and hand on; or forget what is on disk by now."""
        match message:
            case Applied():
                self._emit(self._compare(message) if message.facts else message)
            case Baselined():
                for where, fact in message.baselines.items():
                    if where in self._pending and self._pending[where] is fact:
                        del self._pending[where]

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"facts": self._seen, "pending": len(self._pending)}

    def _compare(self, applied: Applied) -> Applied:
        lines: list[tuple[Kind, LogLine]] = []
        baselines: dict[tuple[str, str], FileFact | None] = {}
        malformed = 0
        if applied.progress is not None:
            self._mark.begin(applied.source, applied.progress.epoch)
        for offset, at_ms, packed in applied.facts:
            self._mark.at(applied.first + offset)
            try:
                facts = unpack(packed)
            except msgspec.MsgspecError:
                malformed += 1
                continue
            self._seen += len(facts)
            for fact in facts:
                change = self._take(applied.agent.id, fact, baselines)
                if change is not None:
                    text = change.text.encode(errors="replace")
                    line = LogLine("syscheck", text, at_ms, at_ms, "syscheck", change.facts)
                    lines.append(("syscheck", line))
        self._mark.done()
        counts = dict(applied.counts)
        counts["facts"] = len(applied.facts)
        if malformed:
            counts["dropped:malformed fact"] = malformed
            counts["evaluated"] = counts.get("evaluated", 0) - malformed
        return msgspec.structs.replace(
            applied, facts=(), lines=applied.lines + tuple(lines), baselines=baselines, counts=counts
        )

    def _take(self, agent: str, fact: FileFact, baselines: dict[tuple[str, str], FileFact | None]) -> Change | None:
        """Put a fact into the baselines; what it is to tell."""
        where = (agent, fact.path)
        before, origin = self._known(where), None
        if fact.moved_from:
            left = (agent, fact.moved_from)
            origin = self._known(left)
            self._pending[left] = baselines[left] = None
        self._pending[where] = baselines[where] = remembered(before, fact)
        return compare(before, fact, origin)

    def _known(self, where: tuple[str, str]) -> FileFact | None:
        return self._pending[where] if where in self._pending else self._baseline(*where)
