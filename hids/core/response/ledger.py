"""What the manager keeps of each order: the row that people see, and what is needed to send it again."""

from collections.abc import Sequence
from typing import Protocol

import msgspec

from hids.core.response.blocks import Blocks, Key
from hids.core.response.decide import Verdict
from hids.core.response.order import target_of
from hids.core.response.target import address_of
from hids.messages.response import Respond, ResponseOrder
from hids.messages.terms import AgentId


class OrderRow(msgspec.Struct, frozen=True, kw_only=True):
    """One order and what has become of it."""

    id: str
    at_ms: int
    agent: AgentId
    agent_name: str
    response: str
    command: str
    action: str
    target: str
    alert: str
    rule: str
    why: str
    until_ms: int
    """0: it has no end."""
    state: str
    """open (given, not answered), done, ran (done, and nothing to undo), failed, refused, undoing, undone, shadow, stale or
    dropped."""
    reason: str = ""
    changed_ms: int = 0
    legacy: bool = False
    once: bool = False
    renews: bool = False
    """It was in force already: neither a new target nor another offence."""

    @property
    def key(self) -> Key:
        """What it does, where, against whom."""
        return self.command, self.agent, self.target


class Kept(msgspec.Struct, frozen=True):
    """A row with what goes to the agent; None for what is never sent."""

    row: OrderRow
    respond: Respond | None = None


class OrderStore(Protocol):
    """Where orders are kept (hids.adapters.responses). Any method may raise `StoreError`."""

    @property
    def cursor(self) -> int:
        """The last alert that was judged."""
        ...

    def commit(self, kept: Sequence[Kept], cursor: int | None = None) -> frozenset[str]:
        """Store orders and the cursor at once; returns the ids that were new."""
        ...

    def settle(self, id_: str, state: str, text: str, at_ms: int, respond: Respond | None = None) -> None:
        """Note what became of an order."""
        ...

    def row(self, id_: str) -> OrderRow | None:
        """One order."""
        ...

    def unanswered(self) -> list[Kept]:
        """What agents must still be told."""
        ...

    def live(self, now_ms: int) -> list[OrderRow]:
        """What may be in force."""
        ...

    def late(self, now_ms: int) -> list[OrderRow]:
        """What no agent took before its end."""
        ...

    def restore(self, blocks: Blocks, now_ms: int) -> None:
        """Fill what the budget needs to know."""
        ...


def row_of(verdict: Verdict) -> OrderRow:
    """The row of a fresh verdict."""
    order, agent = verdict.order, verdict.agent
    return OrderRow(
        id=order.id,
        at_ms=order.issued_ms,
        agent=agent.id,
        agent_name=agent.name,
        response=order.response,
        command=order.command,
        action=order.action,
        target=target_of(order),
        alert=order.alert,
        rule=order.rule,
        why=order.why,
        until_ms=order.until_ms,
        state=verdict.state,
        reason=verdict.reason,
        changed_ms=order.issued_ms,
        legacy=agent.legacy,
        once=order.once,
        renews=verdict.renews,
    )


def undo_of(row: OrderRow, now_ms: int, by: str) -> ResponseOrder:
    """The order that undoes what this row is about."""
    is_address = address_of(row.target) is not None
    return ResponseOrder(
        id=row.id,
        agent=row.agent,
        response=row.response,
        command=row.command,
        action=row.action,
        undo=True,
        address=row.target if is_address else "",
        user="" if is_address else row.target,
        issued_ms=now_ms,
        alert=row.alert,
        rule=row.rule,
        why=f"undone by {by}"[:1024],
    )


def next_state(row: OrderRow, said: str) -> str | None:
    """The state after an agent's word; None when the word is old news."""
    if said == row.state:
        return None
    if row.state == "undoing":
        return {"undone": "undone", "failed": "failed", "refused": "failed"}.get(said)
    if row.state == "open":
        return "ran" if said == "done" and row.once else said
    if row.state in ("done", "failed", "dropped") and said in ("undone", "failed", "done"):
        return said
    return None
