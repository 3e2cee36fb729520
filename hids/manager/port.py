"""A port of the manager, bound before anything runs, so that whoever starts it hears at once what is wrong with it."""

import socket
from collections.abc import Callable

from hids.adapters.listening import listen
from hids.manager.config import address_of


class Port:
    """The first life of its listener takes the socket of the start; later ones bind the same port again."""

    def __init__(self, where: str, address: str, bind: Callable[[str, int, str], socket.socket] = listen) -> None:
        """Bind it.

        Args:
            where: the setting's name, for errors: "[listen] agents".
            address: what it says: "address:port"; port 0 is any free one.
            bind: makes the socket (hids.adapters.listening).

        Raises:
            ConfigError: not of that form, or the port cannot be had.
        """
        self._where = where
        self._bind = bind
        self._host, wanted = address_of(address, where)
        self._first: socket.socket | None = bind(self._host, wanted, where)
        self.number: int = self._first.getsockname()[1]

    def open(self) -> socket.socket:
        """A socket that listens.

        Raises:
            ConfigError: somebody else has taken the port meanwhile.
        """
        first, self._first = self._first, None
        return first if first is not None else self._bind(self._host, self.number, self._where)
