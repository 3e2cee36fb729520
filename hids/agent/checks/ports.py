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
MAX_PORT = 65_535
MAX_FINDINGS = 100


class Way(NamedTuple):
    """A protocol over a family of addresses."""

    name: str
    """As OSSEC calls it, and as its file in /proc/net."""
    file: str
    family: int
    protocol: int
    type: int


WAYS = (
    Way("tcp", "tcp", socket.AF_INET, socket.IPPROTO_TCP, socket.SOCK_STREAM),
    Way("udp", "udp", socket.AF_INET, socket.IPPROTO_UDP, socket.SOCK_DGRAM),
    Way("tcp6", "tcp6", socket.AF_INET6, socket.IPPROTO_TCP, socket.SOCK_STREAM),
    Way("udp6", "udp6", socket.AF_INET6, socket.IPPROTO_UDP, socket.SOCK_DGRAM),
)


class Lists(NamedTuple):
    """What the lists say of one protocol: a socket for IPv6 may take IPv4's port, too."""

    proc: set[int]
    netlink: set[int]
    bound: set[int]
    """Bound only: in netlink's list alone, by nature."""


def check(_host: Host, proc: str = "/proc") -> Steps:
    """Compare the views of all ports."""
    count = 0
    tells_bound = _tells_bound()
    for way in WAYS:
        taken: set[int] = set()
        for start in range(1, MAX_PORT + 1, SLICE_PORTS):
            taken |= {port for port in range(start, min(start + SLICE_PORTS, MAX_PORT + 1)) if is_taken(way, port)}
            yield None
        lists = _lists(way.protocol, proc)
        suspects = (taken - (lists.proc & lists.netlink)) | (lists.proc ^ lists.netlink)
        for port in sorted(suspects - lists.bound):
            words = _verdict(way, port, proc, tells_bound=tells_bound)
            yield None
            if words and count < MAX_FINDINGS:
                count += 1
                yield finding(CHECK, words)


def is_taken(way: Way, port: int) -> bool:
    """Whether the kernel refuses to bind it because somebody has it."""
    try:
        with socket.socket(way.family, way.type) as sock:
            if way.family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.bind(("::" if way.family == socket.AF_INET6 else "0.0.0.0", port))  # noqa: S104 - nobody listens
    except OSError as error:
        return error.errno == errno.EADDRINUSE
    return False


def _verdict(way: Way, port: int, proc: str, *, tells_bound: bool) -> str:
    """What is told of a suspect; empty when it was no more than a race."""
    views: dict[str, bool] = {}
    for _ in range(TRIES):
        time.sleep(PAUSE_S)
        lists = _lists(way.protocol, proc)
        now = {"bind": is_taken(way, port), "/proc/net": port in lists.proc, "netlink": port in lists.netlink}
        listed = now["/proc/net"] and now["netlink"]
        if listed or port in lists.bound or not any(now.values()) or (views and views != now):
            return ""
        views = now
    answers = way.type == socket.SOCK_STREAM and _answers(way, port)
    if way.type == socket.SOCK_STREAM and not (tells_bound or answers or views["/proc/net"] or views["netlink"]):
        return ""
    seen = " and ".join(name for name, sees in views.items() if sees)
    hidden = " and ".join(name for name, sees in views.items() if not sees and name != "bind")
    more = " It answers connections." if answers else ""
    return f"Port '{port}'({way.name}) hidden from {hidden}. It is in use according to {seen}.{more}"


def _lists(protocol: int, proc: str) -> Lists:
    lists = Lists(set(), set(), set())
    for way in WAYS:
        if way.protocol == protocol:
            used, bound = local_ports(way.family, way.protocol)
            lists.proc.update(_ports_of(os.path.join(proc, "net", way.file)))
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


def _answers(way: Way, port: int) -> bool:
    try:
        with socket.socket(way.family, way.type) as sock:
            sock.settimeout(0.5)
            sock.connect(("::1" if way.family == socket.AF_INET6 else "127.0.0.1", port))
    except OSError:
        return False
    return True
