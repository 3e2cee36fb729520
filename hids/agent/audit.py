"""The kernel's audit subsystem, over netlink: its state, rules that watch directories, and the records they make. Linux.

The structures are in linux/audit.h. Records are read from the multicast group, beside whoever else reads them: an auditd
keeps all that it has, and no process ever waits for us.
"""

import errno
import os
import socket
import struct
from collections.abc import Iterator
from typing import NamedTuple

from hids.agent.authors import AuthorsError

QUEUE_BYTES = 8 << 20
"""Asked of the kernel for records that are not read yet."""
READ_MOST = 4_096
"""Records taken at a time."""
BACKLOG = 8_192
"""Records that the kernel may hold for its readers, where no auditd says otherwise; its own default is 64."""

_NETLINK_AUDIT, _READLOG = 9, 1
_GET, _SET, _ADD_RULE, _DEL_RULE, _LIST_RULES = 1000, 1001, 1011, 1012, 1013
_REQUEST, _ACK = 1, 4
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_CODE = struct.Struct("=i")
_STATUS = struct.Struct("=10I")
_SET_ENABLED, _SET_BACKLOG = 0x1, 0x10
_RULE = struct.Struct("=3I64I64I64I64II")
_FIELDS = 64
_EXIT, _ALWAYS = 4, 2
_PERM, _DIR, _KEY, _EQUAL = 106, 107, 210, 0x4000_0000
_WRITE_OR_ATTRIBUTES = 2 | 8
_OURS = (_DIR, _PERM, _KEY)
"""Fields of our rules, in the kernel's order."""
_MOST_BYTES = 16_384
_MOST_ANSWERS = 100_000
_PATIENCE_S = 5.0
_SO_RCVBUFFORCE = 33


class AuditError(AuthorsError):
    """The kernel's audit cannot be used; the text says why."""


class Status(NamedTuple):
    """State of the subsystem."""

    enabled: int
    """0: off; 1: on; 2: on, and locked until the next boot."""
    daemon: int
    """Process of auditd; 0: none runs."""
    backlog_limit: int
    lost: int
    """Records since the boot that were lost in the kernel."""


class Record(NamedTuple):
    """One record."""

    kind: int
    text: bytes


class Control:
    """Asks and sets. Needs CAP_AUDIT_CONTROL, and the host's own process and user namespaces."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            AuditError: there is no audit here.
        """
        self._socket = _socket(0)
        self._socket.settimeout(_PATIENCE_S)
        self._number = 0

    def status(self) -> Status:
        """The state.

        Raises:
            AuditError: refused.
        """
        *_, (_, body) = self._ask(_GET, last=_GET)
        if len(body) < _STATUS.size:
            raise AuditError(f"the kernel's audit: a state of {_STATUS.size} bytes expected, got {len(body)}")
        _, enabled, _, daemon, _, limit, lost, *_ = _STATUS.unpack_from(body)
        return Status(enabled, daemon, limit, lost)

    def set_enabled(self, *, on: bool) -> None:
        """Switch it on or off.

        Raises:
            AuditError: refused.
        """
        self._ask(_SET, _STATUS.pack(_SET_ENABLED, int(on), 0, 0, 0, 0, 0, 0, 0, 0))

    def set_backlog(self, limit: int) -> None:
        """How many records may wait in the kernel.

        Raises:
            AuditError: refused.
        """
        self._ask(_SET, _STATUS.pack(_SET_BACKLOG, 0, 0, 0, 0, limit, 0, 0, 0, 0))

    def watch(self, directory: bytes, key: bytes) -> None:
        """Have changes in a directory and below it recorded; fine when they are already.

        Raises:
            AuditError: refused.
        """
        self._ask(_ADD_RULE, _rule(directory, key), fine=(errno.EEXIST,))

    def unwatch_all(self, key: bytes) -> tuple[int, int]:
        """Remove the rules with a key; returns how many there were, and how many others there are.

        Raises:
            AuditError: refused.
        """
        rules = [body for kind, body in self._ask(_LIST_RULES, last=_DONE) if kind == _LIST_RULES]
        ours = [rule for rule in rules if _is_ours(rule, key)]
        for rule in ours:
            self._ask(_DEL_RULE, rule, fine=(errno.ENOENT,))
        return len(ours), len(rules) - len(ours)

    def close(self) -> None:
        """Close it; what was set stays."""
        self._socket.close()

    def _ask(
        self, kind: int, body: bytes = b"", *, fine: tuple[int, ...] = (), last: int = _ERROR
    ) -> list[tuple[int, bytes]]:
        """A request's answers, up to one of the kind that is the last."""
        self._number += 1
        header = _HEADER.pack(_HEADER.size + len(body), kind, _REQUEST | _ACK, self._number, 0)
        try:
            self._socket.send(header + body)
            return list(self._answers(fine, last))
        except OSError as error:
            raise AuditError(f"no audit: {error.strerror or 'the kernel does not answer'}{_hint(error)}") from error

    def _answers(self, fine: tuple[int, ...], last: int) -> Iterator[tuple[int, bytes]]:
        for _ in range(_MOST_ANSWERS):
            data, sender = self._socket.recvfrom(_MOST_BYTES)
            if sender[0] != 0 or len(data) < _HEADER.size:  # 0: the kernel
                continue
            _, kind, _, number, _ = _HEADER.unpack_from(data)
            if number != self._number:
                continue  # of a request before, whose end was not waited for
            if kind == _ERROR:
                _raise(data, fine)
            yield kind, data[_HEADER.size :]
            if kind == last:
                return
        raise TimeoutError


class Reader:
    """Reads records. Needs CAP_AUDIT_READ."""

    def __init__(self) -> None:
        """Open it.

        Raises:
            AuditError: there is no audit here.
        """
        self._socket = _socket(_READLOG)
        self._socket.setblocking(False)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, QUEUE_BYTES)
        except PermissionError:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, QUEUE_BYTES)

    def fileno(self) -> int:
        """For select and poll."""
        return self._socket.fileno()

    def read(self) -> Iterator[Record]:
        """What there is, `READ_MOST` records at most. Does not wait.

        Raises:
            OverflowError: records were lost, because the queue was full.
            AuditError: it cannot be read.
        """
        receive = self._socket.recvfrom
        try:
            for _ in range(READ_MOST):
                data, sender = receive(_MOST_BYTES)
                if sender[0] == 0 and len(data) >= _HEADER.size:
                    yield Record(_HEADER.unpack_from(data)[1], data[_HEADER.size :])
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno == errno.ENOBUFS:
                raise OverflowError from error
            raise AuditError(f"audit cannot be read: {error.strerror}") from error

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


def _socket(groups: int) -> socket.socket:
    try:
        made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, _NETLINK_AUDIT)
    except (OSError, AttributeError) as error:
        raise AuditError(f"no audit: {error}") from error
    try:
        made.bind((0, groups))
    except OSError as error:
        made.close()
        raise AuditError(f"no audit: {error.strerror}{_hint(error)}") from error
    return made


def _raise(data: bytes, fine: tuple[int, ...]) -> None:
    """The error in an answer, if it is one."""
    code = -_CODE.unpack_from(data, _HEADER.size)[0] if len(data) >= _HEADER.size + _CODE.size else errno.EBADMSG
    if code and code not in fine:
        raise OSError(code, os.strerror(code))


def _hint(error: OSError) -> str:
    refused = error.errno in (errno.EPERM, errno.ECONNREFUSED)
    return "; it needs CAP_AUDIT_CONTROL and CAP_AUDIT_READ, and containers have none" if refused else ""


def _rule(directory: bytes, key: bytes) -> bytes:
    """A rule as `auditctl -w DIRECTORY -p wa -k KEY` makes it."""
    rest = [0] * (_FIELDS - len(_OURS))
    return (
        _RULE.pack(
            _EXIT,
            _ALWAYS,
            len(_OURS),
            *[0xFFFF_FFFF] * _FIELDS,
            *_OURS,
            *rest,
            len(directory),
            _WRITE_OR_ATTRIBUTES,
            len(key),
            *rest,
            *[_EQUAL] * len(_OURS),
            *rest,
            len(directory) + len(key),
        )
        + directory
        + key
    )


def _is_ours(rule: bytes, key: bytes) -> bool:
    if len(rule) < _RULE.size:
        return False
    numbers = _RULE.unpack_from(rule)
    fields = numbers[3 + _FIELDS : 3 + _FIELDS + numbers[2]]
    return fields == _OURS and rule[_RULE.size : _RULE.size + numbers[-1]].endswith(key)
