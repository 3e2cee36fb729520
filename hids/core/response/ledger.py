"""What the manager keeps of each order: the row that people see, and what is needed to send it again."""

import msgspec

from hids.core.response.decide import Verdict
from hids.core.response.order import target_of
from hids.messages.response import Respond
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


class Kept(msgspec.Struct, frozen=True):
    """A row with what goes to the agent; None for what is never sent."""

    row: OrderRow
    respond: Respond | None = None


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
