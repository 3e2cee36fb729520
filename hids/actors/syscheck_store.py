"""SyscheckStore: what agents see of files in, changes as derived lines out.

    correlation window --Applied--> syscheck store --Applied--> ledger
    main --BaselineOrder|Maintain--> syscheck store

State    the baseline is in ledger.db; here only what the open group changes in it, and the maintenances of the last days.
A bug    ends the lane's process, like all in the lane.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import msgspec

from hids.actors.stage import Control, LoopActor, Mailbox, OneLife
from hids.core.syscheck.agreement import differing, is_in, speaks_of
from hids.core.syscheck.change import IGNORED, Change, compare, one_line, remembered
from hids.core.syscheck.digest import entry_digest
from hids.core.syscheck.paths import is_below, split
from hids.core.syscheck.verdict import judge, tell
from hids.core.wire.facts import unpack
from hids.messages.baseline import Baseline, BaselineOrder, DigestCheck, FileChange, Maintain, Maintenance
from hids.messages.lane import Applied, DerivedKind
from hids.messages.lines import LogLine
from hids.messages.syscheck import DirectoryDigests, DirectoryListing, FileFact
from hids.messages.terms import Agent, SourceId
from hids.ports import Clock, Emit, Mark, NoMark

IGNORED_AFTER = 3
"""Changes of a path; with `auto_ignore` further ones are recorded only, as OSSEC has it."""

LOOK_BACK_MS = 7 * 24 * 3600 * 1000
"""A change that comes so late is still told with the maintenance in which it was made."""

LOOK_S = 1.0
"""How often to see whether a maintenance is over."""

_ORDERED = {"accept": "accepted", "zero": "counts set to zero", "ignore": "ignored", "clear": "cleared"}

NAMED = 1_000
"""Differing directories that a check keeps by name."""

Where = tuple[str, str]
"""(agent, path)"""


class Memory(NamedTuple):
    """What the ledger knows; see hids.adapters.ledger."""

    baseline: Callable[[str, str], Baseline | None]
    changes: Callable[[str, str], int | None]
    """How often a path had changed when it changed last; None: it never did."""
    below: Callable[[str, DirectoryDigests], Iterable[tuple[str, Baseline]]]
    entries: Callable[[str, DirectoryListing], Iterable[str]]
    """Paths that are known in the stretch of a directory that a listing is about."""
    maintenance: Sequence[Maintenance]


class Baselined(Control):
    """ledger -> syscheck store: these baselines are on disk."""

    def __init__(self, baselines: Mapping[Where, Baseline | None]) -> None:
        self.baselines = baselines


class Look(OneLife):
    """timer -> syscheck store: is a maintenance over?"""


class _Work:
    """What becomes of the facts of one outcome."""

    def __init__(self, applied: Applied) -> None:
        self.agent = applied.agent
        self.lines: list[tuple[DerivedKind, LogLine]] = list(applied.lines)
        self.baselines: dict[Where, Baseline | None] = {}
        self.changes: list[FileChange] = []
        self.checks: list[DigestCheck] = []


class SyscheckStore(LoopActor):
    """Compare facts with the baseline, in the order in which they came."""

    def __init__(
        self,
        mailbox: Mailbox,
        memory: Memory,
        manager: Agent,
        clock: Clock,
        emit: Emit[Applied],
        mark: Mark | None = None,
        *,
        auto_ignore: bool = False,
    ) -> None:
        super().__init__(mailbox)
        self._mark = mark or NoMark()
        self._memory = memory
        self._manager = manager
        self._clock = clock
        self._emit = emit
        self._auto_ignore = auto_ignore
        self._pending: dict[Where, Baseline | None] = {}
        self._counts: dict[Where, int] = {}
        """Of what is gone, and not yet so on disk."""
        self._maintenance = {each.id: each for each in memory.maintenance}
        self._seen = 0
        self._timer = self.later(LOOK_S, Look())

    def on_receive(self, message: Applied | Baselined | BaselineOrder | Maintain | Look) -> None:
        """Add what the facts of one outcome mean, and hand on; or forget what is on disk by now."""
        match message:
            case Applied():
                self._emit(self._compare(message) if message.facts else message)
            case Baselined():
                self._forget(message)
            case BaselineOrder():
                self._obey(message)
            case Maintain():
                self._maintain(message)
            case Look():
                self._end_maintenance()
                self._timer = self.later(LOOK_S, Look())

    def closing(self) -> None:
        """No timer outlives this life."""
        self._timer.cancel()

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        going_on = sum(not each.ended_ms for each in self._maintenance.values())
        return {"facts": self._seen, "pending": len(self._pending), "maintenance": going_on}

    def _forget(self, stored: Baselined) -> None:
        for where, baseline in stored.baselines.items():
            if where in self._pending and self._pending[where] is baseline:
                del self._pending[where]
                self._counts.pop(where, None)

    # -- facts

    def _compare(self, applied: Applied) -> Applied:
        work = _Work(applied)
        malformed = 0
        if applied.progress is not None:
            self._mark.begin(applied.source, applied.progress.epoch)
        for offset, at_ms, packed in applied.facts:
            self._mark.at(applied.first + offset)
            try:
                news = unpack(packed)
            except msgspec.MsgspecError:
                malformed += 1
                continue
            match news:
                case DirectoryDigests():
                    self._check(work, news)
                case DirectoryListing():
                    self._miss(work, news, at_ms)
                case _:
                    self._seen += len(news)
                    for fact in news:
                        self._take(work, fact, at_ms)
        self._mark.done()
        counts = dict(applied.counts)
        counts["facts"] = len(applied.facts)
        if malformed:
            counts["dropped:malformed fact"] = malformed
            counts["evaluated"] = counts.get("evaluated", 0) - malformed
        return msgspec.structs.replace(
            applied,
            facts=(),
            lines=tuple(work.lines),
            baselines=work.baselines,
            changes=tuple(work.changes),
            checks=tuple(work.checks),
            counts=counts,
        )

    def _take(self, work: _Work, fact: FileFact, at_ms: int) -> None:
        where = (work.agent.id, fact.path)
        before = origin = self._known(where)
        if fact.moved_from:
            left = (work.agent.id, fact.moved_from)
            origin = self._known(left)
            self._pending[left] = work.baselines[left] = None
        known = before.fact if before is not None else None
        change = compare(known, fact, origin.fact if origin is not None else None)
        changes = before.changes if before is not None else 0
        if change is not None:
            changes = self._tell(work, change, known, fact, at_ms, before or origin)
        now = remembered(known, fact)
        if now is None:
            self._counts[where] = changes
        told = entry_digest(fact) if now is not None and _hashes(now) != _hashes(fact) else b""
        baseline = None if now is None else Baseline(now, changes, told)
        self._pending[where] = work.baselines[where] = baseline

    def _tell(
        self, work: _Work, change: Change, known: FileFact | None, fact: FileFact, at_ms: int, before: Baseline | None
    ) -> int:
        """Make a line and a row of history; returns how often the path has changed."""
        agent = work.agent.id
        maintenance = self._maintenance_of(agent, at_ms)
        verdict = judge(change, known, fact, maintenance)
        past = before.changes if before is not None else self._count((agent, fact.path))
        changes = 0 if past is None else past if verdict in ("package", "maintenance") else past + 1
        told = tell(change, verdict, fact.package, maintenance, changes)
        member = told.facts.partition(b":")[2]
        work.changes.append(FileChange(agent, fact.path, at_ms, told.event, member, changes, verdict))
        if verdict or changes <= (IGNORED_AFTER if self._auto_ignore else IGNORED):
            text = told.text.encode(errors="replace")
            work.lines.append(("syscheck", LogLine("syscheck", text, at_ms, at_ms, "syscheck", told.facts)))
        return changes

    def _known(self, where: Where) -> Baseline | None:
        return self._pending[where] if where in self._pending else self._memory.baseline(*where)

    def _count(self, where: Where) -> int | None:
        """How often a path that is not there had changed; None: it was never there."""
        return self._counts[where] if where in self._counts else self._memory.changes(*where)

    # -- agreement

    def _check(self, work: _Work, said: DirectoryDigests) -> None:
        """Compare what an agent remembers with what it told."""
        agent = work.agent.id
        names = differing(said, self._below(agent, said))
        work.checks.append(
            DigestCheck(said.check, agent, len(said.digests), tuple(names[:NAMED]), done=not said.through)
        )
        if names:
            more = f" and {len(names) - 1} more" if len(names) > 1 else ""
            text = f"baseline differs: {one_line(names[0])}{more}: what the agent remembers is not what it told"
            work.lines.append(("agent", _line(text, self._clock.now_ms())))

    def _miss(self, work: _Work, listing: DirectoryListing, at_ms: int) -> None:
        """What the agent does not find where it has looked anew is gone, whatever it remembered."""
        agent = work.agent.id
        there = set(listing.names)
        known = dict.fromkeys(self._memory.entries(agent, listing))
        known |= dict.fromkeys(path for whose, path in self._pending if whose == agent and is_in(listing, path))
        for path in known:
            if split(path)[1] not in there and self._known((agent, path)) is not None:
                self._take(work, FileFact(path=path, seen="scan", gone=True), at_ms)

    def _below(self, agent: str, said: DirectoryDigests) -> Iterator[tuple[str, Baseline]]:
        for path, baseline in self._memory.below(agent, said):
            if (agent, path) not in self._pending:
                yield path, baseline
        for (whose, path), pending in self._pending.items():
            if pending is not None and whose == agent and speaks_of(said, split(path)[0]):
                yield path, pending

    # -- orders

    def _obey(self, order: BaselineOrder) -> None:
        """Hand an order on to the ledger, and do the same with what is not yet there."""
        baselines: dict[Where, Baseline | None] = {}
        changes = IGNORED if order.what == "ignore" else 0
        for (agent, path), pending in self._pending.items():
            if agent == order.agent.id and is_below(path, order.path) and pending is not None:
                cleared = order.what == "clear"
                baselines[agent, path] = None if cleared else msgspec.structs.replace(pending, changes=changes)
        self._pending |= baselines
        self._counts |= {
            (agent, path): changes
            for agent, path in self._counts
            if agent == order.agent.id and is_below(path, order.path)
        }
        words = _ORDERED[order.what]
        text = f"baseline {words}: {one_line(order.path) or 'everything'}: by {one_line(order.by)}"
        self._emit(
            Applied(
                source=_source(order.agent),
                agent=order.agent,
                baselines=baselines,
                order=order,
                lines=(("agent", _line(text, self._clock.now_ms())),),
            )
        )

    # -- maintenance

    def _maintenance_of(self, agent: str, at_ms: int) -> Maintenance | None:
        """What was going on at an agent at a time; of several what began last."""
        going_on = (
            each
            for each in self._maintenance.values()
            if agent in each.agents and each.start_ms <= at_ms < (each.ended_ms or each.end_ms)
        )
        return max(going_on, key=lambda each: each.start_ms, default=None)

    def _maintain(self, order: Maintain) -> None:
        new = order.maintenance
        known = self._maintenance.get(new.id)
        if known is None:
            minutes = max(1, (new.end_ms - new.start_ms) // 60_000)
            self._store_maintenance(new, f"started: {minutes} min on {one_line(new.scope)}")
        elif new.ended_ms and not known.ended_ms:
            self._store_maintenance(new, f"ended: on {one_line(new.scope)}")

    def _end_maintenance(self) -> None:
        """End those whose time is up, and forget those that ended long ago."""
        now_ms = self._clock.now_ms()
        for each in tuple(self._maintenance.values()):
            if not each.ended_ms and each.end_ms <= now_ms:
                ended = msgspec.structs.replace(each, ended_ms=each.end_ms)
                self._store_maintenance(ended, f"ended: on {one_line(each.scope)}")
            elif each.ended_ms and each.ended_ms < now_ms - LOOK_BACK_MS:
                del self._maintenance[each.id]

    def _store_maintenance(self, maintenance: Maintenance, what: str) -> None:
        self._maintenance[maintenance.id] = maintenance
        text = f"maintenance {what}: {one_line(maintenance.owner)}: {one_line(maintenance.reason)}"
        self._emit(
            Applied(
                source=_source(self._manager),
                agent=self._manager,
                maintenance=(maintenance,),
                lines=(("agent", _line(text, self._clock.now_ms())),),
            )
        )


def _hashes(fact: FileFact) -> tuple[str, ...]:
    return fact.sha256, fact.sha1, fact.md5


def _source(agent: Agent) -> SourceId:
    return SourceId(f"derived/agent/{agent.id}")


def _line(text: str, at_ms: int) -> LogLine:
    return LogLine("hids-manager", text.encode(errors="replace"), at_ms, at_ms, "agent")
