"""Sheet: what a scan has to say, gathered, so that it is written in large strokes."""

from collections.abc import Callable, Iterable

from hids.agent.filecache import Positions
from hids.messages.syscheck import FileFact

SHEET_FACTS = 1_024
"""Facts that are stored together, so that a first scan is written in large strokes."""


class Sheet:
    """Facts and positions that are stored together."""

    def __init__(self, put: Callable[[list[FileFact], Positions], None]) -> None:
        """`put` hands them over, and waits while too much is under way."""
        self._put = put
        self._facts: list[FileFact] = []
        self._positions: Positions = {}

    def add(self, facts: Iterable[FileFact], positions: Positions) -> None:
        """Write down; hand over when it is full."""
        self._facts += facts
        self._positions |= positions
        if len(self._facts) >= SHEET_FACTS or len(self._positions) >= SHEET_FACTS:
            self.flush()

    def flush(self) -> None:
        """Hand over what is there."""
        if self._facts or self._positions:
            facts, positions = self._facts, self._positions
            self._facts, self._positions = [], {}
            self._put(facts, positions)
