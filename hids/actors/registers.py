"""Registers: what one actor writes and many read, with a wake-up instead of a message each.

All on main's event loop, so no lock. Acknowledgements and credit go this way: a slow reader never fills a mailbox.
"""

from collections.abc import Callable

from hids.messages.lane import Progress


class ProgressRegister:
    """Committed progress by source. The dispatcher writes, sessions read."""

    def __init__(self) -> None:
        self._progress: dict[str, Progress] = {}
        self._watchers: dict[str, list[Callable[[], None]]] = {}
        self.known = False
        """False until the lane has said what is committed."""
        self.under_way: dict[str, int] = {}
        """Batches by source that are received and not committed; sources without any are not there."""
        self.canaries: dict[str, bytes] = {}
        """The last canary that was evaluated, by source. `silence` takes them out."""
        self.outbox_next = 1
        """The number that the next alert gets."""

    def get(self, source: str) -> Progress | None:
        """Where a source stands; None when nothing of it was ever committed."""
        return self._progress.get(source)

    def sources(self) -> dict[str, Progress]:
        """All of them."""
        return dict(self._progress)

    def update(self, progress: dict[str, Progress]) -> None:
        """Note progress and wake who watches it."""
        first, self.known = not self.known, True
        self._progress.update(progress)
        for source in self._watchers if first else progress:
            for wake in tuple(self._watchers.get(source, ())):
                wake()

    def watch(self, source: str, wake: Callable[[], None]) -> None:
        """Call `wake` whenever this source moves."""
        self._watchers.setdefault(source, []).append(wake)

    def unwatch(self, source: str, wake: Callable[[], None]) -> None:
        """Undo `watch`."""
        watchers = self._watchers.get(source, [])
        if wake in watchers:
            watchers.remove(wake)
        if not watchers:
            self._watchers.pop(source, None)
