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
    everywhere, dual = _everywhere(host)
    try:
        sock = socket.create_server(
            ("" if everywhere else host, port),
            family=socket.AF_INET6 if dual or ":" in host else socket.AF_INET,
            backlog=BACKLOG,
            dualstack_ipv6=dual,
        )
    except OSError as error:
        raise _refused(host, port, what if what.startswith("[") else f"[listen] {what}", error) from error
    sock.setblocking(False)
    return sock


def listen_udp(host: str, port: int, what: str) -> socket.socket:
    """Bind a UDP port, with as much room for bursts as the system gives.

    Raises:
        ConfigError: as `listen`.
    """
    everywhere, dual = _everywhere(host)
    sock = socket.socket(socket.AF_INET6 if dual or ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    try:
        if sock.family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, int(not dual))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BYTES)
        sock.bind(("" if everywhere else host, port))
    except OSError as error:
        sock.close()
        raise _refused(host, port, what, error) from error
    sock.setblocking(False)
    return sock


def _everywhere(host: str) -> tuple[bool, bool]:
    """Whether that is every address, and whether of both families."""
    everywhere = host in ("", "::", "0.0.0.0")  # noqa: S104 - peers come from anywhere; TLS or a list says who may
    return everywhere, everywhere and host != "0.0.0.0" and socket.has_dualstack_ipv6()  # noqa: S104


def _refused(host: str, port: int, what: str, error: OSError) -> ConfigError:
    advice = {
        errno.EADDRINUSE: f"another program has it: see `ss -lntup 'sport = :{port}'`",
        errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
        errno.EADDRNOTAVAIL: "this machine has no such address",
    }.get(error.errno or 0, error.strerror or "unknown")
    return ConfigError(f"{what}: cannot listen on {host or '*'}:{port}: {advice}")
