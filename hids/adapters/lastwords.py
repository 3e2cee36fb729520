"""Last words: how the manager ended, left on disk for its next life to tell."""

from pathlib import Path

import structlog

from hids.adapters.files import write_atomically
from hids.errors import StoreError

log = structlog.get_logger()

_RUNNING = "running"
_STOPPED = "stopped"
_MAX = 1000
"""Characters of a reason."""


class LastWords:
    """A small file. What cannot be written is logged, and nothing else: nobody shall end for want of last words."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def before(self) -> str:
        """How the life before ended, in words for an alert; empty when it stopped in order, or there was none."""
        try:
            said = self._path.read_text(encoding="utf-8", errors="replace")[:_MAX].strip()
        except OSError:
            return ""
        if said == _STOPPED:
            return ""
        return (
            "manager ended: without a word, killed or crashed" if said in ("", _RUNNING) else f"manager ended: {said}"
        )

    def running(self) -> None:
        """From now on an end without a word is one."""
        self._write(_RUNNING)

    def stopped(self) -> None:
        """It ends on purpose."""
        self._write(_STOPPED)

    def failed(self, reason: str) -> None:
        """It ends because it must."""
        self._write(f"it gave up: {reason}"[:_MAX])

    def _write(self, text: str) -> None:
        try:
            write_atomically(self._path, text.encode())
        except StoreError as error:
            log.warning("how this life ends cannot be noted", reason=str(error))
