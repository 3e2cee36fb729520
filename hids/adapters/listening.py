"""Binds the manager's TCP ports, with words for a person when that fails."""

import errno
import socket

from hids.errors import ConfigError

BACKLOG = 512


def listen(host: str, port: int, what: str) -> socket.socket:
    """Bind a TCP port; "" is every address, port 0 any free one.

    Raises:
        ConfigError: in use, not permitted, or no address of this machine.
    """
    everywhere = host in ("", "::", "0.0.0.0")  # noqa: S104 - agents come from anywhere; TLS says who may
    dual = everywhere and host != "0.0.0.0" and socket.has_dualstack_ipv6()  # noqa: S104
    try:
        sock = socket.create_server(
            ("" if everywhere else host, port),
            family=socket.AF_INET6 if dual or ":" in host else socket.AF_INET,
            backlog=BACKLOG,
            dualstack_ipv6=dual,
        )
    except OSError as error:
        advice = {
            errno.EADDRINUSE: f"another program has it: see `ss -ltnp 'sport = :{port}'`",
            errno.EACCES: "ports below 1024 need root or CAP_NET_BIND_SERVICE",
            errno.EADDRNOTAVAIL: "this machine has no such address",
        }.get(error.errno or 0, error.strerror or "unknown")
        raise ConfigError(f"[listen] {what}: cannot listen on {host or '*'}:{port}: {advice}") from error
    sock.setblocking(False)
    return sock
