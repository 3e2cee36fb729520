"""Control: answers `hidsctl`.

    hidsctl ==unix socket==> control --> tree, fleet, registrar --> answer

State    the socket.
"""

from collections.abc import Awaitable, Callable
from typing import Any, Protocol

from hids.actors.stage import LoopActor, Mailbox

Handler = Callable[[str, dict[str, Any], str], Awaitable[Any]]
"""(command, arguments, who asks) -> answer."""


class Socket(Protocol):
    """The control socket (hids.adapters.control)."""

    def close(self) -> None:
        """Stop and remove its file."""
        ...


class Control(LoopActor):
    """Hold the socket open."""

    def __init__(self, mailbox: Mailbox, open_socket: Callable[[Handler], Socket], handler: Handler) -> None:
        super().__init__(mailbox)
        self._handler = handler
        self._asked = 0
        self._socket = open_socket(self._answer)

    def facts(self) -> dict[str, int]:
        """Figures for `hidsctl status`."""
        return {"asked": self._asked}

    def closing(self) -> None:
        """Close the socket."""
        self._socket.close()

    async def _answer(self, command: str, arguments: dict[str, Any], who: str) -> Any:
        self._asked += 1
        return await self._handler(command, arguments, who)
