"""A baseline as a file that proves itself: one JSON object a line, the last one with the manager's signature (Ed25519).

{"format": "hids baseline 1", "agent": "007", "name": "web1", "manager": "boss", "made_ms": ..., "path": ""}
{"fact": {"path": "/etc/passwd", ...}, "changes": 0}
...
{"entries": 1, "sha256": "of all bytes before this line", "key": "hex", "signature": "hex"}
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from hids.adapters.evidence.key import EvidenceKey, is_signed
from hids.errors import StoreError
from hids.messages.baseline import Baseline

FORMAT = "hids baseline 1"
MAX_LINE = 256 * 1024
"""Bytes; the longest entry has about 100 KiB."""

_encode = msgspec.json.Encoder().encode


class Header(msgspec.Struct, frozen=True):
    """First line."""

    format: str
    agent: str
    name: str
    manager: str
    made_ms: int
    path: str = ""
    """The baseline of this path and what is below it; empty: all."""


class _Seal(msgspec.Struct, frozen=True):
    entries: int
    sha256: str
    key: str
    signature: str


class Verified(msgspec.Struct, frozen=True):
    """What a sound file says of itself."""

    header: Header
    entries: int
    key: str
    """Public key, hex."""


def write(file: BinaryIO, header: Header, entries: Iterable[Baseline], key: EvidenceKey) -> int:
    """Write an export; returns the number of entries."""
    digest = hashlib.sha256()
    count = 0
    for line in _lines(header, entries):
        digest.update(line)
        file.write(line)
        count += 1
    count -= 1
    signature = key.sign(_signed(digest.hexdigest(), count)).hex()
    file.write(_encode(_Seal(count, digest.hexdigest(), key.public, signature)) + b"\n")
    return count


def verify(path: Path) -> Verified:
    """Read an export through; whose key it is has to be judged by the caller.

    Raises:
        StoreError: it is no export, was cut or altered; says in which line where that can be told.
    """
    digest = hashlib.sha256()
    header: Header | None = None
    last = b""
    number = 0
    try:
        with path.open("rb") as file:
            while line := file.readline(MAX_LINE + 1):
                if len(line) > MAX_LINE or not line.endswith(b"\n"):
                    raise StoreError(f"{path}:{number + 1}: the line is cut or too long; this export is not whole")
                if number == 0:
                    header = _decoded(line, Header, f"{path}:1")
                digest.update(last)
                last = line
                number += 1
    except OSError as error:
        raise StoreError(f"{path}: cannot be read: {error.strerror}") from error
    if header is None or header.format != FORMAT:
        raise StoreError(f'{path}: not an export of a baseline; the first line should say "{FORMAT}"')
    seal = _decoded(last, _Seal, f"{path}:{number}")
    found = digest.hexdigest()
    if found != seal.sha256 or number - 2 != seal.entries:
        raise StoreError(f"{path}: altered: {number - 2} entries with SHA-256 {found}, signed were {seal.entries}")
    try:
        signature = bytes.fromhex(seal.signature)
    except ValueError as error:
        raise StoreError(f"{path}:{number}: the signature is not hexadecimal") from error
    if not is_signed(seal.key, _signed(found, seal.entries), signature):
        raise StoreError(f"{path}: the signature is not of the key that the file names")
    return Verified(header, seal.entries, seal.key)


def _lines(header: Header, entries: Iterable[Baseline]) -> Iterable[bytes]:
    yield _encode(header) + b"\n"
    for entry in entries:
        yield _encode({"fact": entry.fact, "changes": entry.changes}) + b"\n"


def _signed(digest: str, entries: int) -> bytes:
    """What is signed: under the same key heads of evidence are, which do not look like this."""
    return f"{FORMAT} {digest} {entries}".encode()


def _decoded(line: bytes, kind: type[Any], where: str) -> Any:
    try:
        return msgspec.json.decode(line, type=kind)
    except msgspec.MsgspecError as error:
        raise StoreError(f"{where}: not a line of an export: {error}") from error
