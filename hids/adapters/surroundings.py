"""Surroundings: the addresses that this machine must not be cut off from, as it knows them itself."""

import re
import socket
import struct
from collections.abc import Iterator
from pathlib import Path

import psutil

from hids.core.response.guard import Surroundings

_MAX_BYTES = 1024 * 1024
_MAX_SESSIONS = 4_096
_RTF_GATEWAY = 0x2


def surroundings(manager: tuple[str, ...] = (), root: Path = Path("/")) -> Surroundings:
    """Look around.

    Args:
        manager: addresses of the manager.
        root: where /proc and /etc are.
    """
    return Surroundings(
        own=own_addresses(root),
        manager=manager,
        gateways=(*_gateways4(_read(root / "proc/net/route")), *_gateways6(_read(root / "proc/net/ipv6_route"))),
        resolvers=tuple(re.findall(r"^\s*nameserver\s+(\S+)", _read(root / "etc/resolv.conf"), re.MULTILINE)),
        sessions=(*_logged_in(), *_sessions(root / "run/systemd/sessions")),
    )


def own_addresses(root: Path = Path("/")) -> tuple[str, ...]:
    """Of all interfaces. A service that may not ask the kernel (AF_NETLINK) reads them from /proc."""
    families = (socket.AF_INET, socket.AF_INET6)
    try:
        return tuple(
            str(address.address).partition("%")[0]
            for addresses in psutil.net_if_addrs().values()
            for address in addresses
            if address.family in families
        )
    except (OSError, psutil.Error):
        return (*_own4(_read(root / "proc/net/fib_trie")), *_own6(_read(root / "proc/net/if_inet6")))


def _own4(text: str) -> list[str]:
    return list(dict.fromkeys(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text)))


def _own6(text: str) -> list[str]:
    words = [line.split()[0] for line in text.splitlines() if line.split()]
    return [socket.inet_ntop(socket.AF_INET6, bytes.fromhex(word)) for word in words]


def _logged_in() -> tuple[str, ...]:
    """From where people are logged in, by utmp. A name instead of an address is passed over, as everywhere here."""
    try:
        return tuple(user.host for user in psutil.users() if user.host)
    except (OSError, psutil.Error):
        return ()


def _sessions(folder: Path) -> Iterator[str]:
    """The same by systemd, where utmp is gone (Debian 13)."""
    try:
        files = sorted(folder.iterdir())[:_MAX_SESSIONS]
    except OSError:
        return
    for file in files:
        yield from re.findall(r"^REMOTE_HOST=(\S+)$", _read(file), re.MULTILINE)


def _gateways4(text: str) -> Iterator[str]:
    """Routes of IPv4: interface, destination, gateway, flags, ... in hexadecimal, the machine's byte order."""
    for line in text.splitlines()[1:]:
        words = line.split()
        if len(words) > 3 and int(words[3], 16) & _RTF_GATEWAY:  # noqa: PLR2004 - its column
            yield socket.inet_ntoa(struct.pack("=I", int(words[2], 16)))


def _gateways6(text: str) -> Iterator[str]:
    """Routes of IPv6: destination, length, source, length, next hop, ... in hexadecimal."""
    for line in text.splitlines():
        words = line.split()
        if len(words) > 4 and words[4].strip("0"):  # noqa: PLR2004 - its column
            yield socket.inet_ntop(socket.AF_INET6, bytes.fromhex(words[4]))


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode(errors="replace")
    except OSError:
        return ""
