"""Binds the manager's ports, with words for a person when that fails."""

import errno
import socket

from hids.errors import ConfigError

BACKLOG = 512
RECEIVE_BYTES = 8 * 1024 * 1024
"""A burst of datagrams waits in the kernel; net.core.rmem_max may allow less."""


def listen(host: str, port: int, what: str) -> socket.socket:
    """Bind a TCP port; "" is every address, port 0 any free one.

    Raises:
        ConfigError: in use, not permitted, or no address of this machine.
    """
    everywhere, dual, family = _family(host)
    try:
        sock = socket.create_server(
            ("" if everywhere else host, port), family=family, backlog=BACKLOG, dualstack_ipv6=dual
        )
    except OSError as error:
        raise _explained(error, host, port, what if what.startswith("[") else f"[listen] {what}", "-ltnp") from error
    sock.setblocking(False)
    return sock


def bind_datagrams(host: str, port: int, what: str, buffer_bytes: int) -> socket.socket:
    """Bind a UDP port; "" is every address, port 0 any free one.

    Args:
        host: address.
        port: number.
        what: the setting's name, for the error.
        buffer_bytes: what the kernel is asked to keep while we are busy.

    Raises:
        ConfigError: in use, not permitted, or no address of this machine.
    """
    everywhere, dual, family = _family(host)
    sock = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        sock.bind(("" if everywhere else host, port))
    except OSError as error:
        sock.close()
        raise _explained(error, host, port, what, "-lunp") from error
    sock.setblocking(False)
    return sock


def listen_udp(host: str, port: int, what: str) -> socket.socket:
    """Bind a UDP port, with as much room for bursts as the system gives.

    Raises:
        ConfigError: as `listen`.
    """
    return bind_datagrams(host, port, what, RECEIVE_BYTES)


def _family(host: str) -> tuple[bool, bool, socket.AddressFamily]:
    """(every address, both IPv4 and IPv6, family)."""
    everywhere = host in ("", "::", "0.0.0.0")  # noqa: S104 - agents come from anywhere; keys say who may
    dual = everywhere and host != "0.0.0.0" and socket.has_dualstack_ipv6()  # noqa: S104
    return everywhere, dual, socket.AF_INET6 if dual or ":" in host else socket.AF_INET


def _explained(error: OSError, host: str, port: int, what: str, option: str) -> ConfigError:
    advice = {
        errno.EADDRINUSE: f"another program has it: see `ss {option} 'sport = :{port}'`",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, error.strerror or "unknown")
    return ConfigError(f"{what}: cannot listen on {host or '*'}:{port}: {advice}")
