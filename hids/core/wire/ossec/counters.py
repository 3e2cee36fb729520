"""Numbers against replay: what was sent, and what was seen.

Agents never send a number twice, so a window of past numbers lets overtaken datagrams in without letting any in twice.
"""

import msgspec

from hids.core.wire.ossec.message import Counters

LAST_LOCAL = 9_997
"""Local counters go from 1 to this; then the global one moves."""
WINDOW = 64
"""Numbers behind the newest that may still come, each once."""


def following(last: Counters) -> Counters:
    """The number after this one; the first of all is (0, 1)."""
    global_, local = last.global_, last.local
    if local >= LAST_LOCAL:
        global_, local = global_ + 1, 0
    return Counters(global_, local + 1)


def first_sent(stored: int, now_s: int) -> Counters:
    """Where a process begins to count: above all it may have sent, and above what a manager before us may have.

    Agents take only numbers above the last they saw. `stored` is a global counter that was made durable before use.
    """
    return Counters(max(stored + 1, now_s), 0)


class Seen(msgspec.Struct, frozen=True, array_like=True):
    """What has been accepted from one agent."""

    newest: Counters = Counters(0, 0)
    bits: int = 0
    """Bit n: the number n before the newest was accepted. Bit 0 is the newest itself."""

    def accept(self, number: Counters) -> "Seen | None":
        """What has been seen once this number is accepted; None: it was before, is too old, or is no number."""
        if not 0 < number.local <= LAST_LOCAL:
            return None
        ahead = _place(number) - _place(self.newest)
        if ahead > 0:
            kept = self.bits << ahead if ahead < WINDOW else 0
            return Seen(number, (kept | 1) & ((1 << WINDOW) - 1))
        if -ahead >= WINDOW or self.bits >> -ahead & 1:
            return None
        return Seen(self.newest, self.bits | 1 << -ahead)

    def missed(self, number: Counters) -> int:
        """How many numbers were passed over if this one is the next: messages lost, or still to come.

        Zero for the first one ever, and where the global counter was moved on by hand or by a restart.
        """
        if self.newest == Counters(0, 0) or number.global_ - self.newest.global_ > 1:
            return 0
        return max(0, _place(number) - _place(self.newest) - 1)


def _place(number: Counters) -> int:
    """Numbers on one line."""
    return number.global_ * LAST_LOCAL + number.local
