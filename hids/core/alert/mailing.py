"""Mailing: when what was gathered becomes mails, and how many. Thought only; hids.adapters.outputs.mailqueue remembers."""

from typing import Literal

HOUR_MS = 3_600_000

Mode = Literal["single", "grouped", "digest"]


def wait_ms(now_ms: int, since_ms: int, gather_s: float, made_ms: list[int], max_per_hour: int) -> int:
    """Milliseconds until what was gathered shall be mailed; 0: now.

    Args:
        now_ms: the time.
        since_ms: when the first of it came. Later than now: the clock was set back, and it has waited long enough.
        gather_s: how long to gather.
        made_ms: when the mails of the last hour were made, the oldest first. Urgent ones do not count.
        max_per_hour: so many mails within any hour; 0: no limit.
    """
    gathers = since_ms + int(gather_s * 1000) - now_ms if since_ms <= now_ms else 0
    made = [moment for moment in made_ms if now_ms - HOUR_MS < moment <= now_ms]
    limited = made[-max_per_hour] + HOUR_MS - now_ms if 0 < max_per_hour <= len(made) else 0
    return max(0, gathers, limited)


def parts(count: int, budget: int | None) -> int:
    """How many mails `count` things that would each be one become: each its own, or all one where the budget is smaller."""
    return count if budget is None or count <= budget else 1
