"""The kernel's process connector: it tells at once which process begins, runs another program, and ends. Linux, root.

The structures are in linux/netlink.h, linux/connector.h and linux/cn_proc.h. A filter in the kernel keeps threads and
what nobody asked for away.
"""

import ctypes
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hids.errors import HidsError

FORK, EXEC, UID, GID, EXIT = 0x1, 0x2, 0x4, 0x40, 0x8000_0000
ACK = 0x0
"""The kernel's answer to our wish to listen."""
QUEUE_BYTES = 4 << 20
"""For what is not read yet: some 5,000 events, as the kernel counts."""
READ_MOST = 8_192
"""Events taken at a time: more than the queue holds, so that there is an end in any storm."""

_NETLINK_CONNECTOR = 11
_PROCESSES = 1
"""Id of the connector for processes, and its multicast group."""
_LISTEN = 1
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_DONE = 3
_HEADER = struct.Struct("=IHHII")
_CN_MSG = struct.Struct("=IIIIHH")
_EVENT = struct.Struct("=36xI4xQ4I")
_WHAT, _PID, _TGID, _CHILD_PID, _CHILD_TGID = 36, 52, 56, 60, 64
"""Where the parts are in a message; the last two are of FORK."""
_MOST_BYTES = 128


class ConnectorError(HidsError):
    """The kernel does not tell of processes here, or what it told is lost; the text says why."""


class ProcessEvent(NamedTuple):
    """What happened to a process."""

    what: int
    """FORK, EXEC, UID, GID, EXIT or ACK."""
    at_ns: int
    """By CLOCK_MONOTONIC."""
    pid: int
    """FORK: the parent."""
    real: int
    """UID and GID: the real one."""
    last: int
    """FORK: the child; UID and GID: the effective one."""


def subscribe() -> socket.socket:
    """A socket on which the kernel tells. Needs CAP_NET_ADMIN, and the host's own process and network namespaces.

    Raises:
        ConnectorError: not on this system, or not with these rights.
    """
    try:
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        made = socket.socket(socket.AF_NETLINK, kind, _NETLINK_CONNECTOR)
    except (OSError, AttributeError) as error:
        raise ConnectorError(f"no process connector: {error}") from error
    try:
        _attach_filter(made)
        _enlarge_queue(made)
        made.bind((0, _PROCESSES))
        made.send(_order(_LISTEN))
    except OSError as error:
        made.close()
        raise ConnectorError(
            f"no process connector: {error.strerror}; it needs CAP_NET_ADMIN, and containers have none"
        ) from error
    return made


class Connector:
    """Reads what the kernel tells."""

    def __init__(self, subscription: socket.socket) -> None:
        """`subscription` is from `subscribe`, here or in the process that started this one."""
        self._socket = subscription

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    def read(self) -> Iterator[ProcessEvent]:
        """What has happened, `READ_MOST` events at most; nothing if nothing has. Does not wait.

        Raises:
            ConnectorError: events were lost, because the queue was full.
        """
        receive = self._socket.recvfrom
        try:
            for _ in range(READ_MOST):
                data, sender = receive(_MOST_BYTES)
                if sender[0] == 0 and (event := parse(data)) is not None:  # 0: the kernel
                    yield event
        except BlockingIOError:
            return
        except OSError as error:
            raise ConnectorError(f"process connector: {error.strerror}") from error

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def parse(data: bytes) -> ProcessEvent | None:
    """One message of the kernel; None when it is none of those that matter."""
    if len(data) < _EVENT.size:
        return None
    what, at_ns, pid, tgid, real, last = _EVENT.unpack_from(data)
    if what not in (FORK, EXEC, EXIT, UID, GID, ACK):
        return None
    return ProcessEvent(what, at_ns, pid if what == ACK else tgid, real, last)


def _order(operation: int) -> bytes:
    """A request to the connector."""
    body = struct.pack("=I", operation)
    message = _CN_MSG.pack(_PROCESSES, _PROCESSES, 0, 0, len(body), 0) + body
    return _HEADER.pack(_HEADER.size + len(message), _DONE, 0, 0, 0) + message


def _enlarge_queue(of: socket.socket) -> None:
    try:
        of.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, QUEUE_BYTES)
    except PermissionError:
        of.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)


def _attach_filter(of: socket.socket) -> None:
    """Have the kernel drop what `_FILTER` refuses."""
    program = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *step) for step in _FILTER))
    of.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, struct.pack("@HP", len(_FILTER), ctypes.addressof(program)))


_LOAD, _JUMP, _IF, _IF_X, _TO_X, _RETURN = 0x20, 0x05, 0x15, 0x1D, 0x07, 0x06
"""Classic BPF, linux/bpf_common.h. A jump's numbers are the steps to leave out: if so, if not."""
_ntohl = socket.ntohl
"""Loads are big-endian, and what the connector writes is the machine's."""
_FILTER = (
    (_LOAD, 0, 0, _WHAT),
    (_IF, 8, 0, _ntohl(FORK)),
    (_IF, 3, 0, _ntohl(EXEC)),
    (_IF, 2, 0, _ntohl(UID)),
    (_IF, 1, 0, _ntohl(GID)),
    (_IF, 0, 9, _ntohl(EXIT)),
    (_LOAD, 0, 0, _PID),  # both numbers are the same: a process, or the thread that began it
    (_TO_X, 0, 0, 0),
    (_LOAD, 0, 0, _TGID),
    (_JUMP, 0, 0, 3),
    (_LOAD, 0, 0, _CHILD_PID),
    (_TO_X, 0, 0, 0),
    (_LOAD, 0, 0, _CHILD_TGID),
    (_IF_X, 0, 3, 0),
    (_RETURN, 0, 0, 0xFFFF_FFFF),
    (_IF, 0, 1, _ntohl(ACK)),
    (_RETURN, 0, 0, 0xFFFF_FFFF),
    (_RETURN, 0, 0, 0),
)
