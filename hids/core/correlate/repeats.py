"""OSSEC drops a log that equals one of the last three different ones, whoever sent them (rule language 5.1)."""

from hashlib import blake2b
from typing import Final

from hids.core.correlate.cells import Cells

KEPT: Final = 3
DIGEST: Final = 16
"""Bytes that stand for a log."""

NO_LOG: Final = bytes(DIGEST)
"""Stands for what is not compared: only events of type syslog are."""


def log_digest(log: bytes) -> bytes:
    """What stands for a log."""
    return blake2b(log, digest_size=DIGEST).digest()


class Repeats:
    """The last different logs of each ruleset."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells

    def offsets(self, ruleset: str, digests: bytes, at_ms: int) -> frozenset[int]:
        """Which lines of a batch are dropped.

        Args:
            ruleset: its name.
            digests: `DIGEST` bytes for each line, in order.
            at_ms: when they came.
        """
        where = (f"repeats:{ruleset}", b"")
        last = self._cells.get(where) or b""
        known = [last[place : place + DIGEST] for place in range(0, len(last), DIGEST)]
        dropped: set[int] = set()
        for offset in range(len(digests) // DIGEST):
            digest = digests[offset * DIGEST : (offset + 1) * DIGEST]
            if digest in known:
                dropped.add(offset)
            elif digest != NO_LOG:
                known = [*known, digest][-KEPT:]
        self._cells.put(where, b"".join(known), at_ms)
        return frozenset(dropped)
