"""Credit: bytes that may be under way, shared by all sessions of main."""

POOL_BYTES = 64 * 1024 * 1024
"""All batches that are received and not committed, over all agents."""

WINDOW_BYTES = 4 * 1024 * 1024
"""One agent alone gets no more: enough to keep two workers busy."""


class CreditPool:
    """Shares the pool evenly. An agent may always have one batch under way, so nobody starves."""

    def __init__(self, pool_bytes: int = POOL_BYTES, window_bytes: int = WINDOW_BYTES) -> None:
        self._pool = pool_bytes
        self._window = window_bytes
        self._sessions = 0

    def join(self) -> None:
        """A session begins."""
        self._sessions += 1

    def leave(self) -> None:
        """A session has ended."""
        self._sessions -= 1

    def share(self) -> int:
        """Bytes that each session may have under way."""
        return min(self._window, self._pool // max(1, self._sessions))
