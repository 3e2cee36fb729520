"""The lines of one session, from the agent's HELLO to their commit: what may come next, and what is committed of it."""

import hmac
from collections import deque
from typing import NamedTuple

from hids.core.wire.lines import GENESIS, link
from hids.core.wire.session import Fork, GoOn, Missing, judge
from hids.errors import RemoteProtocolError
from hids.messages.agent_link import Hello
from hids.messages.lane import Progress
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, Batch


class _Out(NamedTuple):
    last: int
    """Its last sequence."""
    size: int
    chain: bytes


class Passage:
    """Knows the chain, the next sequence, and which batches are out. A session has one from its HELLO on."""

    def __init__(self, hello: Hello) -> None:
        self.epoch = hello.epoch
        self.is_open = False
        """Batches may come."""
        self.acked = 0
        """All through this sequence is committed."""
        self.bytes_out = 0
        """Of batches that are not known to be committed."""
        self._hello = hello
        self._next: int = 0
        self._chain = GENESIS
        self._out: deque[_Out] = deque()

    def open(self, progress: Progress | None) -> GoOn | Missing | Fork:
        """Judge the HELLO by what is committed now; `GoOn` opens."""
        verdict = judge(self._hello, progress)
        if isinstance(verdict, GoOn):
            self._chain = progress.chain if progress is not None and progress.epoch == self.epoch else GENESIS
            self._next = verdict.from_seq
            self.acked = verdict.from_seq - 1
            self.is_open = True
        return verdict

    def take(self, batch: Batch) -> Fork | None:
        """Accept the next batch.

        Raises:
            RemoteProtocolError: it is not the next one, or it is too large.
        """
        if (
            batch.epoch != self.epoch
            or batch.first_seq != self._next
            or not 0 < batch.count <= MAX_BATCH_LINES
            or len(batch.data) > MAX_BATCH_PACKED
        ):
            raise RemoteProtocolError(
                f"expected a batch of epoch {self.epoch} from line {self._next} on, "
                f"got epoch {batch.epoch}, {batch.count} lines from {batch.first_seq}, {len(batch.data)} bytes"
            )
        chain = link(self._chain, batch.data)
        if not hmac.compare_digest(chain, batch.chain):
            return Fork(f"the chain differs at line {batch.first_seq}: another history", self.epoch)
        self._chain = chain
        self._next += batch.count
        self._out.append(_Out(self.last, len(batch.data), chain))
        self.bytes_out += len(batch.data)
        return None

    @property
    def last(self) -> int:
        """The last sequence that came."""
        return self._next - 1

    def settle(self, progress: Progress | None) -> bool | Fork:
        """Note what is committed; True: there is more to acknowledge. It must be what came here, and the chain tells."""
        if progress is None or progress.epoch != self.epoch or progress.seq <= self.acked:
            return False
        while self._out and self._out[0].last < progress.seq:
            self.bytes_out -= self._out.popleft().size
        if not self._out or self._out[0].last != progress.seq or self._out[0].chain != progress.chain:
            return Fork(f"what is committed at line {progress.seq} is not what came: another history", self.epoch)
        self.bytes_out -= self._out.popleft().size
        self.acked = progress.seq
        return True

    def is_over(self, share: int) -> bool:
        """Whether more is out than `share` bytes of credit allow; one batch always may be."""
        return len(self._out) > 1 and self.bytes_out > 2 * share
