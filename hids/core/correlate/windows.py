"""All windows of the lane: bounded memory over the stored state.

Every key that a batch touches is committed with it, so a window may leave memory at any time: the next event of its
key loads it again. `load` is asked only on a miss.
"""

from collections import OrderedDict
from collections.abc import Callable, Mapping

from hids.core.correlate.window import Window

WindowKey = tuple[str, bytes]
"""(rule identity, key)."""

IDLE_S = 600.0
"""A window that nobody touched for so long leaves memory; seconds of the lane's own running time."""

_OVERHEAD = 400
"""Bytes that a window costs beside its texts (measured with sys.getsizeof over its lists and keys)."""
_ENTRY_OVERHEAD = 150


class Windows:
    """Windows by key, least recently used out first."""

    def __init__(self, load: Callable[[WindowKey], bytes | None], budget_bytes: int) -> None:
        self._load = load
        self._budget = budget_bytes
        self._held: OrderedDict[WindowKey, Window] = OrderedDict()
        self._uncommitted: dict[WindowKey, tuple[bytes, int]] = {}
        """State that was handed over and is not yet known to be in the store."""
        self._now_s = 0.0
        self._touched: set[WindowKey] = set()
        self._bytes = 0
        self.spilled = 0
        """Windows that left memory for lack of room; they are in the store."""

    @property
    def bytes_held(self) -> int:
        """Estimate of the memory in use."""
        return self._bytes

    def __len__(self) -> int:
        return len(self._held)

    def get(self, key: WindowKey) -> Window:
        """The window of a key, from memory or the store; a new one when neither knows it."""
        window = self.find(key)
        return self._hold(key, Window()) if window is None else window

    def find(self, key: WindowKey) -> Window | None:
        """The window of a key, from memory or the store; None when neither knows it."""
        window = self._held.get(key)
        if window is not None:
            self._held.move_to_end(key)
            window.used_s = self._now_s
            return window
        taken = self._uncommitted.get(key)
        data = self._load(key) if taken is None else taken[0]
        return None if data is None else self._hold(key, Window.load(data))

    def _hold(self, key: WindowKey, window: Window) -> Window:
        window.used_s = self._now_s
        self._held[key] = window
        self._bytes += _cost(window)
        return window

    def changed(self, key: WindowKey, before: int) -> None:
        """Note that a window got from `get` was changed; `before` is its `cost` from before."""
        self._touched.add(key)
        self._bytes += _cost(self._held[key]) - before

    @staticmethod
    def cost(window: Window) -> int:
        """Estimated bytes of a window."""
        return _cost(window)

    def take_touched(self, now_s: float) -> dict[WindowKey, tuple[bytes, int]]:
        """State to commit, key -> (bytes, time until which its events matter); then let go of what is idle or over the budget.

        Args:
            now_s: the lane's own running time.
        """
        self._now_s = now_s
        taken = {
            key: (self._held[key].dump(), self._held[key].newest_ms + self._held[key].kept_ms) for key in self._touched
        }
        self._uncommitted.update(taken)
        self._touched.clear()
        while self._held:
            key, window = next(iter(self._held.items()))
            over = self._bytes > self._budget
            if not over and window.used_s > now_s - IDLE_S:
                break
            del self._held[key]
            self._bytes -= _cost(window)
            self.spilled += over
        return taken

    def committed(self, state: Mapping[WindowKey, tuple[bytes, int]]) -> None:
        """The store has this state now."""
        for key, pair in state.items():
            if self._uncommitted.get(key) is pair:
                del self._uncommitted[key]


def _cost(window: Window) -> int:
    return _OVERHEAD + window.size + _ENTRY_OVERHEAD * len(window)
