"""Orders, from the verdict to the last word about it: what is stored, what goes to agents, what the rules are told.

Whatever is given is on disk before. The store and the signature are handed in, and what is to be said is handed on.
"""

from collections.abc import Callable, Sequence

import msgspec

from hids.core.response.blocks import Blocks
from hids.core.response.decide import PAUSE_MS, Decider, Verdict, alert_decoder
from hids.core.response.guard import Guard, Surroundings
from hids.core.response.ledger import Kept, OrderRow, OrderStore, next_state, row_of, undo_of
from hids.core.response.policy import Policy
from hids.core.response.target import Network
from hids.core.response.words import Words, about_dropped
from hids.errors import StoreError
from hids.messages.responder import (
    Enlisted,
    Ordered,
    ResponseAnswer,
    ResponseAsk,
    ResponseHeard,
    ResponseNoted,
    ResponseTold,
)
from hids.messages.response import Noted, Respond, ResponseOrder

GUARD_MS = 30_000
"""How long addresses of this machine and of the agents are taken to be as they were seen: looking costs milliseconds."""


class Orders:
    """One policy and what came of it. Any method may raise `StoreError`: then nothing was decided."""

    def __init__(
        self,
        policy: Policy,
        allow: Sequence[Network],
        store: OrderStore,
        sign: Callable[[ResponseOrder], Respond],
        surroundings: Callable[[], Surroundings],
        emit: Callable[[Ordered | ResponseNoted | ResponseTold | ResponseAnswer], None],
        now_ms: int,
    ) -> None:
        self._policy = policy
        self._allow = tuple(allow)
        self._store = store
        self._sign = sign
        self._surroundings = surroundings
        self._emit = emit
        self._decider = Decider(policy, Blocks())
        self._words = Words()
        self._guard = Guard(Surroundings())
        self._guarded_ms = 0
        self.counts = dict.fromkeys(("ordered", "refused", "shadow", "stale", "failed"), 0)
        self._remember(now_ms)

    def active(self, now_ms: int) -> int:
        """How many targets are acted against."""
        return self._decider.blocks.targets(now_ms)

    def enlist(self, agents: Sequence[Enlisted]) -> None:
        """These agents there are."""
        self._decider.agents = agents
        self._guarded_ms = 0

    # -- alerts

    def look_around(self, now_ms: int) -> None:
        """Before alerts are decided about: see, now and then, what is never acted against."""
        if not self._guarded_ms or now_ms - self._guarded_ms > GUARD_MS:
            self._guarded_ms = now_ms
            agents = tuple((address, agent.name) for agent in self._decider.agents for address in agent.addresses)
            around = msgspec.structs.replace(self._surroundings(), agents=agents)
            self._guard = Guard(around, self._allow, self._policy.limits.allow_users)

    def decide(self, line: bytes, now_ms: int) -> list[Verdict]:
        """What shall become of an alert. Whatever is raised is a bug, or no alert."""
        return self._decider.decide(alert_decoder.decode(line), line, self._guard, now_ms)

    def carry_out(self, verdicts: Sequence[Verdict], cursor: int, now_ms: int) -> bool:
        """Store verdicts about the alerts up to `cursor`, all at once, and give the orders. False: none is worth it."""
        fresh = [verdict for verdict in verdicts if self._words.is_new(verdict, now_ms)]
        if fresh:
            self._order(fresh, cursor, now_ms)
        return bool(fresh)

    def give_unanswered(self) -> None:
        """Give again what agents must still be told."""
        for kept in self._store.unanswered():
            self._give(kept)

    # -- agents' words

    def hear(self, heard: ResponseHeard, now_ms: int) -> None:
        """What became of an order, as its agent says."""
        said = heard.said
        row = self._store.row(said.order)
        if row is not None and row.agent == heard.agent:
            state = next_state(row, said.state)
            if state is not None:
                self._store.settle(row.id, state, said.text, now_ms)
                if state == "undone":
                    self._decider.blocks.end(row.key)
                elif state in ("refused", "failed"):  # not again for each alert of a flood
                    self._decider.blocks.pause(row.key, now_ms + PAUSE_MS)
        self._emit(ResponseNoted(heard.agent, Noted(said.order, said.state)))

    def drop_late(self, now_ms: int) -> None:
        """What no agent took before its end is over."""
        for row in self._store.late(now_ms):
            if row.state == "undoing":
                self._store.settle(row.id, "undone", "it ended by itself before the agent came", now_ms)
            else:
                reason = "its end came before the agent did"
                self._store.settle(row.id, "dropped", reason, now_ms)
                self._emit(ResponseTold(about_dropped(row, reason)))

    # -- people

    def answer(self, ask: ResponseAsk, now_ms: int) -> None:
        """Do what a person wants, and say what came of it."""
        problem, ids = self._run(ask, now_ms) if ask.what == "run" else self._undo(ask, now_ms)
        if ids:
            what = f"{ask.action} {ask.target or '-'}" if ask.what == "run" else f"undo {ask.target or 'everything'}"
            self._emit(ResponseTold(f"response ordered: {what} by {ask.by}"))
        self._emit(ResponseAnswer(ask.number, problem, ids))

    def _run(self, ask: ResponseAsk, now_ms: int) -> tuple[str, tuple[str, ...]]:
        """(why not, ids of the orders)."""
        command = self._policy.command(ask.action)
        if command is None:
            return f"there is no command {ask.action!r}; see `hidsctl response commands`", ()
        agents = self._decider.named(ask.agent) if ask.agent else self._decider.agents
        if not agents:
            return f"there is no agent {ask.agent!r}; see `hidsctl agent list`", ()
        self.look_around(now_ms)
        verdicts = self._decider.by_hand(command, ask.target, agents, ask.by, ask.timeout_s, self._guard, now_ms)
        self._order(verdicts, None, now_ms)
        given = tuple(verdict.order.id for verdict in verdicts if verdict.state == "open")
        return "" if given else f"refused: {verdicts[0].reason}", given

    def _undo(self, ask: ResponseAsk, now_ms: int) -> tuple[str, tuple[str, ...]]:
        """(why not, ids of the orders)."""
        rows = [row for row in self._store.live(now_ms) if _is_meant(row, ask)]
        old = {agent.id for agent in self._decider.agents if agent.legacy}
        ours = [row for row in rows if not row.legacy and row.agent not in old]
        if not rows and ask.what == "undo":
            return f"nothing is in force for {ask.target!r}; see `hidsctl response list`", ()
        if rows and not ours:
            return "an old agent undoes its responses when their time is over, and on no order", ()
        for row in ours:
            order = undo_of(row, now_ms, ask.by)
            respond = self._sign(order)
            self._store.settle(row.id, "undoing", order.why, now_ms, respond)
            self._decider.blocks.end(row.key)
            self._emit(Ordered(row.agent, row.id, 0, undo=True, respond=respond))
        return "", tuple(row.id for row in ours)

    # -- what both come to

    def _order(self, verdicts: Sequence[Verdict], cursor: int | None, now_ms: int) -> None:
        kept = [
            Kept(row_of(verdict), self._sign(verdict.order) if verdict.state == "open" else None)
            for verdict in verdicts
        ]
        try:
            fresh = self._store.commit(kept, cursor)
        except StoreError:
            self._remember(now_ms)  # what was decided just now is not in force
            raise
        for verdict, one in zip(verdicts, kept, strict=True):
            if one.row.id not in fresh:
                continue  # judged before: what was decided then holds
            self.counts["ordered" if verdict.state == "open" else verdict.state] += 1
            self._give(one)
            text = self._words.about(verdict, now_ms)
            if text:
                self._emit(ResponseTold(text))

    def _give(self, kept: Kept) -> None:
        row = kept.row
        if kept.respond is not None:
            undo = row.state == "undoing"
            self._emit(Ordered(row.agent, row.id, row.until_ms, undo, kept.respond, row.legacy))

    def _remember(self, now_ms: int) -> None:
        """Know of what is in force what is on disk, and nothing else."""
        self._decider.blocks = Blocks()
        self._store.restore(self._decider.blocks, now_ms)


def _is_meant(row: OrderRow, ask: ResponseAsk) -> bool:
    if ask.agent and ask.agent not in (row.agent, row.agent_name):
        return False
    return ask.what == "undo_all" or ask.target in (row.id, row.target, row.alert)
