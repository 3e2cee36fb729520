"""What the rules are told of orders that are not carried out, and why; no flood of alerts becomes a flood of these."""

from hids.core.response.decide import Verdict
from hids.core.response.ledger import OrderRow
from hids.core.response.order import target_of
from hids.messages.response import ResponseOrder

SILENT_MS = 3_600_000
"""The same refusal of the same target is said once in so long."""
MAX_SAID = 10_000


class Words:
    """Remembers what it has said."""

    def __init__(self) -> None:
        self._said: dict[tuple[str, str, str], int] = {}

    def is_new(self, verdict: Verdict, now_ms: int) -> bool:
        """A refusal is recorded once an hour for each target: who forges addresses must not fill our disk."""
        if verdict.state == "open":
            return True
        order = verdict.order
        return not self._is_silent((f"{order.response} {order.agent}", verdict.state, target_of(order)), now_ms)

    def about(self, verdict: Verdict, now_ms: int) -> str:
        """What was not done, and why; empty when there is nothing to say: what is done the agent tells."""
        what, reason = _order(verdict.order, verdict.agent.name), verdict.reason
        match verdict.state:
            case _ if verdict.over_budget:
                silent = self._is_silent(("", "budget", reason), now_ms)
                return "" if silent else f"response budget: {what}: {reason}; see `hidsctl response list`"
            case "stale":
                silent = self._is_silent(("", "stale", verdict.order.response), now_ms)
                return "" if silent else f"response stale: {what}: {reason}"
            case "refused" | "shadow":
                return f"response {verdict.state}: {what}: {reason}"
            case "open":
                return ""

    def _is_silent(self, key: tuple[str, str, str], now_ms: int) -> bool:
        """Whether this was said within the hour; from now on it was."""
        before_ms = self._said.pop(key, 0)
        if len(self._said) >= MAX_SAID:
            del self._said[next(iter(self._said))]
        silent = now_ms - before_ms < SILENT_MS
        self._said[key] = before_ms if silent else now_ms
        return silent


def about_dropped(row: OrderRow, reason: str) -> str:
    """What no agent took before its end."""
    return f"response dropped: {row.response}: {row.action} {row.target or '-'} on {row.agent_name}, rule {row.rule}: {reason}"


def _order(order: ResponseOrder, agent: str) -> str:
    return f"{order.response}: {order.action} {target_of(order) or '-'} on {agent}, rule {order.rule}"
