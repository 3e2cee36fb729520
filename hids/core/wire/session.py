"""What the manager answers to a HELLO: go on, record a hole, or ask for a new epoch; and how it takes what is said in one.

The table of architecture section 4, point 2, as one pure function.
"""

from collections.abc import Mapping

import msgspec

from hids.core.wire.lines import GENESIS
from hids.messages.agent_link import Hello
from hids.messages.lane import Progress

PROTOCOL_VERSION = 1

OFFSET_MAX_MS = 100 * 365 * 86_400_000
"""A clock that stands at its epoch is still put right; a number that is no time is not."""


class GoOn(msgspec.Struct, frozen=True):
    """Agent and manager agree; the next line is `from_seq`."""

    from_seq: int


class Missing(msgspec.Struct, frozen=True):
    """Lines `first`..`last` are in nobody's hands: record a hole, then go on at `last + 1`."""

    first: int
    last: int
    chain: bytes
    """Chain value after the hole, as the agent knows it."""


class Fork(msgspec.Struct, frozen=True):
    """The epoch cannot be continued: the agent opens a new one larger than `after`."""

    reason: str
    after: int


def judge(hello: Hello, progress: Progress | None) -> GoOn | Missing | Fork:
    """Compare what the agent has with what is committed for it."""
    if progress is None or hello.epoch > progress.epoch:
        if progress is None or hello.previous_epoch == progress.epoch or hello.oldest == 1:
            progress = Progress(epoch=hello.epoch, seq=0, chain=GENESIS)
        else:
            return Fork(f"epoch {hello.epoch} does not name its predecessor {progress.epoch}", progress.epoch)
    if hello.epoch < progress.epoch:
        return Fork(f"epoch {hello.epoch} is older than the committed {progress.epoch}", progress.epoch)
    expected = progress.seq + 1
    if expected > hello.next:
        return Fork(f"line {progress.seq} is committed, the agent is only at {hello.next - 1}", progress.epoch)
    if expected < hello.oldest:
        return Missing(first=expected, last=hello.oldest - 1, chain=hello.chain)
    if expected == hello.oldest and hello.chain != progress.chain:
        return Fork(f"the chain differs at line {progress.seq}: another history", progress.epoch)
    return GoOn(from_seq=expected)


def clock_offset_ms(ours_ms: int, theirs_ms: int) -> int:
    """What to add to an agent's times to get ours, within reason."""
    return max(-OFFSET_MAX_MS, min(ours_ms - theirs_ms, OFFSET_MAX_MS))


def labels_of(labels: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """An agent's labels as alerts carry them; names that could act on a terminal are left out."""
    return tuple(sorted((name, value) for name, value in labels.items() if name.isprintable()))
