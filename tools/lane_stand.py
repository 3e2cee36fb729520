"""A lane in this process, step by step: the real actors of worker and lane over a real ledger.db, without timers.

Agents are simulated; what they log becomes batches, outcomes and commits by the same code as in the manager. The lane may be
killed between any two steps, and a new one goes on with what is committed.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec

from hids.actors.correlation_window import CorrelationWindow, Recalled, Settled
from hids.actors.decoder import Decoder, Recognition
from hids.actors.ledger import Due, Housekeeping, Ledger
from hids.actors.rule_shard import RuleShard
from hids.actors.stage import Mailbox
from hids.actors.syscheck_store import Baselined, Memory, SyscheckStore
from hids.adapters.ledger import Ledger as LedgerFile
from hids.adapters.outbox import Outbox
from hids.core.rules.plan import Plan
from hids.core.wire.lines import GENESIS, link, pack
from hids.messages.evaluation import Job, Outcome
from hids.messages.lane import Committed, ReadThrough
from hids.messages.lines import Batch, LogLine
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import Clock, Group

MANAGER = Agent(AgentId("000"), "boss", "")
MIB = 1024 * 1024


class Host:
    """One agent: numbers its lines."""

    def __init__(self, number: int) -> None:
        self.agent = Agent(AgentId(f"{number:03d}"), f"web{number}", f"10.{number >> 8}.{number & 255}.1")
        self.source = SourceId(f"agent/{self.agent.id}")
        self.seq = 0
        self._chain = GENESIS

    def job(self, lines: Sequence[LogLine], received_ms: int, clock_offset_ms: int = 0) -> Job:
        """Its next batch, as its session hands it on."""
        data = pack(lines)
        self._chain = link(self._chain, data)
        batch = Batch(epoch=1, first_seq=self.seq + 1, count=len(lines), chain=self._chain, data=data)
        self.seq += len(lines)
        return Job(self.source, self.agent, batch, received_ms, clock_offset_ms)

    def through(self, at_ms: int) -> ReadThrough:
        """Its word that all it logged up to a time is in what it sent."""
        return ReadThrough(self.source, self.agent, 1, self.seq, at_ms)


class Worker:
    """Evaluates batches, as a worker's process does."""

    def __init__(self, plans: Sequence[Plan]) -> None:
        self._recognitions: list[Recognition] = []
        self._outcomes: list[Outcome] = []
        self._decoder = Decoder(Mailbox("decoder", 4), plans, _unmarked, self._recognitions.append)
        self._shard = RuleShard(
            Mailbox("rule_shard", 4), plans, _unmarked, self._outcomes.append, worker=1, manager=MANAGER.name
        )

    def outcome(self, job: Job) -> Outcome:
        """What the lane gets of one batch."""
        self._decoder.on_receive(job)
        self._shard.on_receive(self._recognitions.pop())
        return self._outcomes.pop()


class Lane:
    """Correlation window, syscheck store and ledger over one file. Call everything within a running loop."""

    def __init__(
        self,
        path: Path,
        plans: Iterable[Plan],
        clock: Clock,
        *,
        window_bytes: int = 256 * MIB,
        stored_keys: int = 4_000_000,
        tells_all: bool = False,
    ) -> None:
        self._path = path
        self._tables = {plan.hash: plan.table for plan in plans}
        self._clock = clock
        self._options: Mapping[str, Any] = {"budget_bytes": window_bytes, "tells_all": tells_all}
        self._stored_keys = stored_keys
        self.committed: list[Committed] = []
        self.start()

    def start(self) -> None:
        """A new lane: it knows what is committed."""
        store = self.store = LedgerFile(self._path)
        self.ledger = Ledger(
            Mailbox("ledger"),
            store,
            "boot",
            MANAGER,
            store.next_alert(),
            store.derived_ends(),
            ("alerts.json",),
            self._clock,
            self.committed.append,
            self._settled,
            outbox_bytes=2048 * MIB,
            stored_keys=self._stored_keys,
            history_days=365,
            history_rows=1_000_000,
        )
        memory = Memory(store.baseline, store.changes, store.below, store.entries, ())
        self._files = SyscheckStore(Mailbox("syscheck_store"), memory, MANAGER, self._clock, self.ledger.on_receive)
        self.window = CorrelationWindow(
            Mailbox("correlation_window"),
            Recalled(store.progress(), store.fired(), store.next_alert(), {}),
            store.window,
            self._tables.__getitem__,
            store.knows,
            self._clock,
            self._files.on_receive,
            log_level=1,
            **self._options,
        )

    def give(self, *messages: Outcome | ReadThrough) -> None:
        """Apply messages; nothing is committed by itself."""
        for message in messages:
            self.window.on_receive(message)

    def commit(self) -> None:
        """Close the group: what was given is on disk."""
        self.ledger.on_receive(Due())

    def kill(self) -> None:
        """Forget all that is not committed, as kill -9 does, and start anew."""
        self.stop()
        self.start()

    def stop(self) -> None:
        """End without a commit."""
        self.ledger.closing()
        self._files.closing()
        self.store.close()

    def keep_house(self) -> None:
        """What the ledger's timer does each minute."""
        self.ledger.closing()
        self.ledger.on_receive(Housekeeping())
        self.commit()

    def alerts(self) -> Iterator[dict[str, Any]]:
        """All that is committed, in order."""
        with closing(Outbox(self._path)) as outbox:
            after = 0
            while rows := outbox.read(after):
                yield from (msgspec.json.decode(line) for row in rows for line in row.lines.splitlines())
                after = rows[-1].last

    def counts(self) -> dict[str, int]:
        """Totals over all sources."""
        totals: dict[str, int] = {}
        for (_, what), n in self.store.counts().items():
            totals[what] = totals.get(what, 0) + n
        return totals

    def _settled(self, group: Group) -> None:
        self._files.on_receive(Baselined(group.baselines))
        self.window.on_receive(Settled(group.state))


def on_a_loop(work: Callable[[], Any]) -> Any:
    """Run something that needs a loop, but never waits."""

    async def main() -> Any:
        return work()

    return asyncio.run(main())


def _unmarked(number: int, offset: int) -> None:
    del number, offset
