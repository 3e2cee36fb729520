"""Hidden ports: who says that a port is taken?

    bind      the kernel refuses a port that is taken, whatever it lists
    /proc/net and netlink (sock_diag)      lists of sockets, from two places in the kernel

A port that is taken and in neither list is hidden from both; one that is in one list only is hidden from the other. Ports
come and go, so each suspicion is looked at again. Ports below 1024 answer to bind only with the right to bind them
(CAP_NET_BIND_SERVICE). A TCP socket that is bound and neither listens nor is connected is in no list of a Linux before 6.8, and is
no sign of anything: there a port in no list must answer connections to be told.
"""

import errno
import os
import socket
import time
from typing import NamedTuple

from hids.agent.checks.host import Host, Steps
from hids.agent.checks.netlink import local_ports
from hids.core.rootcheck.finding import finding

CHECK = "ports"
TRIES = 4
PAUSE_S = 0.05
SLICE_PORTS = 512
MAX_FINDINGS = 100


FAMILIES = ((socket.AF_INET, "0.0.0.0", ""), (socket.AF_INET6, "::", "6"))  # noqa: S104 - asked for, not listened on
"""Family, its address of all, and what its files in /proc/net are called behind the protocol's name."""
ALL = range(1, 65_536)


class Protocol(NamedTuple):
    """Over IPv4 and IPv6 alike: a socket of the latter may take the former's port, too."""

    name: str
    """As OSSEC calls it, and as its files in /proc/net."""
    number: int
    type: int


PROTOCOLS = (
    Protocol("tcp", socket.IPPROTO_TCP, socket.SOCK_STREAM),
    Protocol("udp", socket.IPPROTO_UDP, socket.SOCK_DGRAM),
)


class Lists(NamedTuple):
    """What the lists say of one protocol."""

    proc: set[int]
    netlink: set[int]
    bound: set[int]
    """Bound only: in netlink's list alone, by nature."""


def check(_host: Host, proc: str = "/proc", span: range = ALL) -> Steps:
    """Compare the views of all ports."""
    count = 0
    tells_bound = _tells_bound()
    for protocol in PROTOCOLS:
        taken: set[int] = set()
        for start in range(0, len(span), SLICE_PORTS):
            taken |= {port for port in span[start : start + SLICE_PORTS] if is_taken(protocol, port)}
            yield None
        lists = _lists(protocol, proc)
        suspects = (taken - (lists.proc & lists.netlink)) | (lists.proc ^ lists.netlink)
        for port in sorted(suspects - lists.bound):
            words = _verdict(protocol, port, proc, tells_bound=tells_bound)
            yield None
            if words and count < MAX_FINDINGS:
                count += 1
                yield finding(CHECK, words)


def is_taken(protocol: Protocol, port: int) -> bool:
    """Whether the kernel refuses to bind it because somebody has it."""
    return any(_refuses(protocol, family, address, port) for family, address, _ in FAMILIES)


def _refuses(protocol: Protocol, family: int, address: str, port: int) -> bool:
    try:
        with socket.socket(family, protocol.type) as sock:
            if family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind((address, port))
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _verdict(protocol: Protocol, port: int, proc: str, *, tells_bound: bool) -> str:
    """What is told of a suspect; empty when it was no more than a race."""
    views: dict[str, bool] = {}
    for _ in range(TRIES):
        time.sleep(PAUSE_S)
        lists = _lists(protocol, proc)
        now = {"bind": is_taken(protocol, port), "/proc/net": port in lists.proc, "netlink": port in lists.netlink}
        listed = now["/proc/net"] and now["netlink"]
        if listed or port in lists.bound or not any(now.values()) or (views and views != now):
            return ""
        views = now
    is_tcp = protocol.type == socket.SOCK_STREAM
    answers = is_tcp and any(_answers(family, address, port) for family, address in _LOOPBACK)
    if is_tcp and not (tells_bound or answers or views["/proc/net"] or views["netlink"]):
        return ""
    seen = " and ".join(name for name, sees in views.items() if sees)
    hidden = " and ".join(name for name, sees in views.items() if not sees and name != "bind")
    more = " It answers connections." if answers else ""
    return f"Port '{port}'({protocol.name}) hidden from {hidden}. It is in use according to {seen}.{more}"


_LOOPBACK = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))


def _lists(protocol: Protocol, proc: str) -> Lists:
    lists = Lists(set(), set(), set())
    for family, _, suffix in FAMILIES:
        used, bound = local_ports(family, protocol.number)
        lists.proc.update(_ports_of(os.path.join(proc, "net", protocol.name + suffix)))
        lists.netlink.update(used)
        lists.bound.update(bound)
    return lists


def _tells_bound() -> bool:
    """Whether this kernel lists sockets that are bound only: ask it about one of ours."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1] in local_ports(socket.AF_INET, socket.IPPROTO_TCP)[1]


def _ports_of(path: str) -> set[int]:
    """Local ports of a file in /proc/net: `sl local_address:PORT ...`, in hexadecimal."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            rows = [line.split() for line in file]
    except OSError:
        return set()
    return {int(row[1].rpartition(":")[2], 16) for row in rows[1:] if len(row) > 1} - {0}


def _answers(family: int, address: str, port: int) -> bool:
    try:
        with socket.socket(family, socket.SOCK_STREAM) as sock:
            sock.settimeout(0.5)
            sock.connect((address, port))
    except OSError:
        return False
    return True
