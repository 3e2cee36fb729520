"""Small durable values by key, for all that the lane remembers beside its windows.

What a batch puts is committed with it, like windows (`Windows`); so a value may leave memory at any time and is
loaded again when somebody asks.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

CellKey = tuple[str, bytes]
"""(what it is and of which ruleset or rule, key)."""

ROW_LIFE_MS = 24 * 3600 * 1000
"""The store forgets a row so long after its time. What shall live longer is given a later time."""

DAY_MS = 24 * 3600 * 1000

BUDGET_BYTES = 32 * 1024 * 1024
_OVERHEAD = 300
"""Bytes that a value costs beside its own (measured with sys.getsizeof over key, tuple and dictionary entry)."""


def nothing(_key: CellKey) -> bytes | None:
    """The store of a throwaway state."""
    return None


class Cells:
    """Values by key, least recently used out first."""

    def __init__(self, load: Callable[[CellKey], bytes | None] = nothing, budget_bytes: int = BUDGET_BYTES) -> None:
        self._load = load
        self._budget = budget_bytes
        self._held: OrderedDict[CellKey, bytes] = OrderedDict()
        self._bytes = 0
        self._touched: dict[CellKey, tuple[bytes, int]] = {}
        self._uncommitted: dict[CellKey, tuple[bytes, int]] = {}
        """Taken, not yet in the store. Told apart by the pair itself: two short values may be one object."""

    def __len__(self) -> int:
        return len(self._held)

    @property
    def bytes_held(self) -> int:
        """Estimate of the memory in use."""
        return self._bytes

    def get(self, key: CellKey) -> bytes | None:
        """A value from memory or the store; None when neither has it."""
        data = self._held.get(key)
        if data is not None:
            self._held.move_to_end(key)
            return data
        taken = self._touched.get(key) or self._uncommitted.get(key)
        data = self._load(key) if taken is None else taken[0]
        if data is not None:
            self._hold(key, data)
        return data

    def put(self, key: CellKey, data: bytes, at_ms: int, life_ms: int = ROW_LIFE_MS, *, hold: bool = True) -> None:
        """Remember a value for `life_ms` after `at_ms`. Without `hold` it does not stay in memory (the caller has it)."""
        self._let_go(key)
        if hold:
            self._hold(key, data)
        self._touched[key] = (data, at_ms + life_ms - ROW_LIFE_MS)

    def take_touched(self) -> dict[CellKey, tuple[bytes, int]]:
        """Values to commit, key -> (bytes, time); then let go of what is over the budget."""
        taken, self._touched = self._touched, {}
        self._uncommitted.update(taken)
        while self._bytes > self._budget:
            key, data = self._held.popitem(last=False)
            self._bytes -= _cost(key, data)
        return taken

    def committed(self, state: Mapping[CellKey, tuple[bytes, int]]) -> None:
        """The store has these values now."""
        for key, taken in state.items():
            if self._uncommitted.get(key) is taken:
                del self._uncommitted[key]

    def _hold(self, key: CellKey, data: bytes) -> None:
        self._held[key] = data
        self._bytes += _cost(key, data)

    def _let_go(self, key: CellKey) -> None:
        data = self._held.pop(key, None)
        if data is not None:
            self._bytes -= _cost(key, data)


def _cost(key: CellKey, data: bytes) -> int:
    return _OVERHEAD + len(key[1]) + len(data)
