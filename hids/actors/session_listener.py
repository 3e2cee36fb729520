"""SessionListener: the port where agents report; makes a session of every connection.

    agent ==TLS==> session listener --StartChild--> sessions

State    the listening socket; a new life binds it again, agents try again meanwhile.
"""

from collections.abc import Callable
from typing import Protocol

from hids.actors.stage import LoopActor, Mailbox
from hids.ports import Wire


class Port(Protocol):
    """A listening port (hids.adapters.session_port)."""

    def close(self) -> None:
        """Accept no more."""
        ...


class SessionListener(LoopActor):
    """Hold the port open."""

    def __init__(
        self,
        mailbox: Mailbox,
        open_port: Callable[[Callable[[Wire], None]], Port],
        begin: Callable[[Wire], None],
    ) -> None:
        super().__init__(mailbox)
        self._accepted = 0
        self._begin = begin
        self._port = open_port(self._accept)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"accepted": self._accepted}

    def closing(self) -> None:
        """Close the port."""
        self._port.close()

    def _accept(self, wire: Wire) -> None:
        self._accepted += 1
        self._begin(wire)
