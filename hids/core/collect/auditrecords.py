"""Records of the kernel's audit subsystem -> one event a system call. Pure text work.

    type=SYSCALL audit(1700000000.123:456): ... pid=7 auid=1000 uid=0 exe="/usr/bin/sh" key="k"   ┐
    type=CWD     audit(1700000000.123:456): cwd="/root"                                            │ one `AuditEvent`
    type=PATH    audit(1700000000.123:456): item=0 name="f" inode=9 dev=08:01 nametype=CREATE      │
    type=EOE     audit(1700000000.123:456):                                                        ┘

Numbers of types are in linux/audit.h. What processes choose (names, command lines) comes in quotes, or in hex where it
holds a quote, a space or bytes that are not printable.
"""

import re
from typing import NamedTuple

import msgspec

SYSCALL, PATH, CWD, EXECVE, EOE, PROCTITLE = 1300, 1302, 1307, 1309, 1320, 1327
MAX_PENDING = 256
"""Events whose end has not come; of more, the oldest are told without what is missing."""
MAX_PATHS = 64
"""Of one event."""
NOBODY = 0xFFFF_FFFF
"""A login uid that was never set."""

_MAX_DIGITS = 18
"""Of a number, so that it is one of 64 bits."""
_MAX_ARGUMENTS = 4_096
_HEAD = re.compile(rb"audit\((\d{1,12}\.\d{1,3}:\d{1,20})\): ?")
_FIELD = re.compile(rb'([A-Za-z0-9_-]{1,32})=("[^"]*"|[^ ]*)')
_HEX = re.compile(rb"(?:[0-9A-Fa-f]{2})+")
_DEVICE = re.compile(rb"([0-9a-fA-F]{1,8}):([0-9a-fA-F]{1,8})")

Fields = dict[bytes, bytes]


class Item(NamedTuple):
    """A file that a system call was about."""

    name: bytes
    """As the process spelled it; empty when it had none (a descriptor)."""
    inode: int
    device: tuple[int, int]
    """Major, minor."""
    kind: str
    """NORMAL, CREATE, DELETE, PARENT or UNKNOWN."""


class AuditEvent(msgspec.Struct):
    """One system call that a rule of ours matched."""

    serial: bytes
    """Time and number: the same in all records of an event."""
    pid: int
    ppid: int
    login_uid: int
    """-1: no login."""
    uid: int
    effective_uid: int
    gid: int
    program: bytes
    """Path of it."""
    name: bytes
    """Of the process; 15 bytes at most."""
    first: int
    """The call's first argument."""
    succeeded: bool
    cwd: bytes = b""
    command: bytes = b""
    """Arguments separated by spaces, as far as the kernel keeps them."""
    items: list[Item] = []


class Assembler:
    """Puts records together."""

    def __init__(self, key: bytes) -> None:
        """`key` is what marks our rules: events of others are passed over."""
        self._key = key
        self._pending: dict[bytes, AuditEvent] = {}

    def take(self, kind: int, text: bytes) -> AuditEvent | None:
        """One record. Gives the event that it ends, or one that must wait no longer; None: there is none yet."""
        head = _HEAD.match(text)
        if head is None:
            return None
        serial = head[1]
        if kind == SYSCALL:
            return self._begin(serial, text[head.end() :])
        event = self._pending.get(serial)
        if event is None:
            return None
        if kind == EOE:
            return self._pending.pop(serial)
        _add(event, kind, text[head.end() :])
        return None

    def _begin(self, serial: bytes, text: bytes) -> AuditEvent | None:
        fields = fields_of(text)
        if self._key not in untrusted(fields.get(b"key", b"")).split(b"\x01"):
            return None
        oldest = None
        if len(self._pending) >= MAX_PENDING:
            oldest = self._pending.pop(next(iter(self._pending)))
        self._pending[serial] = _event(serial, fields)
        return oldest


def fields_of(text: bytes) -> Fields:
    """The fields of a record; the last of several of one name."""
    return {found[1]: found[2] for found in _FIELD.finditer(text)}


def untrusted(value: bytes) -> bytes:
    """What a process chose, out of quotes or hex; empty for none."""
    if value[:1] == b'"':
        return value.strip(b'"')
    return bytes.fromhex(value.decode()) if _HEX.fullmatch(value) else b""


def _event(serial: bytes, fields: Fields) -> AuditEvent:
    login_uid = _number(fields, b"auid", NOBODY)
    return AuditEvent(
        serial=serial,
        pid=_number(fields, b"pid"),
        ppid=_number(fields, b"ppid"),
        login_uid=-1 if login_uid == NOBODY else login_uid,
        uid=_number(fields, b"uid", -1),
        effective_uid=_number(fields, b"euid", -1),
        gid=_number(fields, b"gid", -1),
        program=untrusted(fields.get(b"exe", b"")),
        name=untrusted(fields.get(b"comm", b"")),
        first=_number(fields, b"a0", base=16),
        succeeded=fields.get(b"success") == b"yes",
        items=[],
    )


def _add(event: AuditEvent, kind: int, text: bytes) -> None:
    if kind == CWD:
        event.cwd = untrusted(fields_of(text).get(b"cwd", b""))
    elif kind == PROCTITLE:
        event.command = event.command or _command(untrusted(fields_of(text).get(b"proctitle", b"")))
    elif kind == PATH and len(event.items) < MAX_PATHS:
        event.items.append(_item(fields_of(text)))
    elif kind == EXECVE:
        fields = fields_of(text)
        arguments = (
            untrusted(fields.get(b"a%d" % number, b"")) for number in range(_number(fields, b"argc") % _MAX_ARGUMENTS)
        )
        event.command = b" ".join(arguments)


def _command(title: bytes) -> bytes:
    return title.rstrip(b"\0").replace(b"\0", b" ")


def _item(fields: Fields) -> Item:
    device = _DEVICE.fullmatch(fields.get(b"dev", b""))
    return Item(
        name=untrusted(fields.get(b"name", b"")),
        inode=_number(fields, b"inode"),
        device=(int(device[1], 16), int(device[2], 16)) if device else (0, 0),
        kind=fields.get(b"nametype", b"UNKNOWN").decode("ascii", "replace"),
    )


def _number(fields: Fields, name: bytes, default: int = 0, base: int = 10) -> int:
    """A number; the default when it is none."""
    text = fields.get(name, b"")
    if len(text) > _MAX_DIGITS:
        return default
    try:
        return int(text, base)
    except ValueError:
        return default
