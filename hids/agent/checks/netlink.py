"""The kernel's own word about sockets and interfaces, over netlink: a rootkit that hooks /proc/net is not in that way.

Requests and answers as in linux/sock_diag.h, inet_diag.h and rtnetlink.h.
"""

import socket
import struct
from collections.abc import Iterator

_SOCK_DIAG, _ROUTE = 4, 0
"""NETLINK_SOCK_DIAG, NETLINK_ROUTE."""
_SOCK_DIAG_BY_FAMILY = 20
_GETLINK, _NEWLINK = 18, 16
_REQUEST_DUMP = 0x1 | 0x300
_ERROR, _DONE = 2, 3
_BOUND_ONLY = (7, 13)
"""TCP_CLOSE, TCP_BOUND_INACTIVE. A UDP socket that is in use is in the former, too."""
_IFNAME, _PROMISCUITY = 3, 30
_HEADER = struct.Struct("=IHHII")
_TIMEOUT_S = 5.0
MAX_ANSWER = 64 * 1024 * 1024
"""Bytes in all; a million sockets need about so much."""


class NetlinkError(OSError):
    """The kernel gives no answer of this kind."""


def local_ports(family: int, protocol: int) -> tuple[set[int], set[int]]:
    """Ports that sockets of a family (AF_INET, AF_INET6) and protocol (IPPROTO_TCP, IPPROTO_UDP) have.

    Returns:
        Those that listen or are connected, and those that are bound only, which Linux tells since 6.8.

    Raises:
        OSError: the kernel does not answer.
    """
    request = struct.pack("=BBBBI48x", family, protocol, 0, 0, 0xFFFFFFFF)
    used, bound = set[int](), set[int]()
    for _, body in _dump(_SOCK_DIAG, _SOCK_DIAG_BY_FAMILY, request):
        # struct inet_diag_msg: family, state, timer, retrans, then the local port in network order
        _, state, _, _, port = struct.unpack_from("!BBBBH", body)
        is_bound_only = protocol == socket.IPPROTO_TCP and state in _BOUND_ONLY
        (bound if is_bound_only else used).add(port)
    return used - {0}, bound - {0}


def promiscuous() -> dict[str, int]:
    """Interfaces by name, and how many listeners want all their packets; only those that have any.

    Raises:
        OSError: the kernel does not answer.
    """
    found: dict[str, int] = {}
    for kind, body in _dump(_ROUTE, _GETLINK, struct.pack("=BxHiII", 0, 0, 0, 0, 0)):
        if kind == _NEWLINK:
            attributes = dict(_attributes(body[16:]))  # behind struct ifinfomsg
            (count,) = struct.unpack("=I", attributes.get(_PROMISCUITY, b"\0\0\0\0")[:4])
            if count:
                found[attributes.get(_IFNAME, b"?").rstrip(b"\0").decode("utf-8", "backslashreplace")] = count
    return found


def _dump(netlink: int, kind: int, request: bytes) -> Iterator[tuple[int, bytes]]:
    """Ask for a list; (kind, body) of each answer."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, netlink) as sock:
        sock.settimeout(_TIMEOUT_S)
        sock.bind((0, 0))
        sock.sendto(_HEADER.pack(_HEADER.size + len(request), kind, _REQUEST_DUMP, 1, 0) + request, (0, 0))
        taken = 0
        while taken < MAX_ANSWER:
            data, sender = sock.recvfrom(256 * 1024)
            if sender[0] != 0:
                continue  # not from the kernel
            taken += len(data)
            while len(data) >= _HEADER.size:
                length, answer, _, _, _ = _HEADER.unpack_from(data)
                body = data[_HEADER.size : length]
                if answer == _DONE or length < _HEADER.size:
                    return
                if answer == _ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", body)[0], "netlink refuses")
                yield answer, body
                data = data[_aligned(length) :]
    raise NetlinkError("more answers than expected")


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= 4:  # noqa: PLR2004 - struct rtattr
        length, kind = struct.unpack_from("=HH", data)
        if length < 4:  # noqa: PLR2004 - itself
            return
        yield kind, data[4:length]
        data = data[_aligned(length) :]


def _aligned(length: int) -> int:
    return (length + 3) & ~3
