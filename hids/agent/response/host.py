"""What is done with the host's own means besides its firewall: hosts.deny, a route to nowhere, a locked account."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path

from hids.adapters.files import write_atomically
from hids.agent.response.firewall import aim
from hids.agent.response.program import ActionFailed, run
from hids.core.response.target import Address, user_of
from hids.errors import StoreError
from hids.messages.response import ResponseOrder

MARK = "# hids"
"""Ends each of our lines in hosts.deny; others are never touched."""
_MAX_BYTES = 4 * 1024 * 1024


class HostDeny:
    """A line in /etc/hosts.deny, for services that ask TCP wrappers."""

    repeatable = True

    def __init__(self, path: Path = Path("/etc/hosts.deny")) -> None:
        self._path = path

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Add the line, unless it is there."""
        line = _line(aim(order))
        self._change(lambda lines: lines if line in lines else [*lines, line])

    async def delete(self, order: ResponseOrder) -> None:
        """Remove it."""
        line = _line(aim(order))
        self._change(lambda lines: [other for other in lines if other != line])

    def _change(self, change: Callable[[list[str]], list[str]]) -> None:
        try:
            lock = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                lines = self._read()
                changed = change(lines)
                if changed != lines:
                    write_atomically(self._path, "".join(f"{line}\n" for line in changed).encode(), mode=0o644)
            finally:
                os.close(lock)
        except (OSError, StoreError, UnicodeDecodeError) as error:
            raise ActionFailed(f"{self._path}: cannot be changed: {error}") from error

    def _read(self) -> list[str]:
        if not self._path.exists():
            return []
        if self._path.stat().st_size > _MAX_BYTES:
            raise ActionFailed(f"{self._path}: larger than {_MAX_BYTES} bytes; this is no hosts.deny")
        return self._path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _line(address: Address) -> str:
    return f"ALL: {address if address.version == 4 else f'[{address}]'} {MARK}"  # noqa: PLR2004 - IPv4


class RouteNull:
    """A blackhole route: answers to the address go nowhere."""

    repeatable = True

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Add the route, unless it is there. Another route to this very host is not replaced."""
        address = aim(order)
        try:
            await run("ip", *_family(address), "route", "add", "blackhole", str(address))
        except ActionFailed:
            if not await self._is_there(address):
                raise

    async def delete(self, order: ResponseOrder) -> None:
        """Delete the route, if it is there."""
        address = aim(order)
        if await self._is_there(address):
            await run("ip", *_family(address), "route", "del", "blackhole", str(address))

    async def _is_there(self, address: Address) -> bool:
        found = await run("ip", *_family(address), "route", "show", "type", "blackhole")
        return str(address) in found.decode(errors="replace").replace("/", " ").split()


def _family(address: Address) -> tuple[str, ...]:
    return ("-4",) if address.version == 4 else ("-6",)  # noqa: PLR2004 - IPv4


class DisableAccount:
    """A password that fits nothing. Whoever is logged in stays so, and keys still work: as OSSEC's script does it."""

    repeatable = True

    async def add(self, order: ResponseOrder, left_s: float) -> None:
        """Lock it."""
        await run("passwd", "-l", _user(order))

    async def delete(self, order: ResponseOrder) -> None:
        """Unlock it."""
        await run("passwd", "-u", _user(order))


def _user(order: ResponseOrder) -> str:
    user = user_of(order.user)
    if not user or user == "root":
        raise ActionFailed(f"expected a user other than root, got {order.user!r}")
    return user
