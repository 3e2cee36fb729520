r"""Evidence: a chain of hashes over what is written, so that nobody changes the past unseen.

What a file gains is sealed, piece by piece. A seal is a line of JSON beside the file:

    {"n":17,"start":0,"end":900,"records":2,"first":5,"last":6,"at_ms":...,"sha256":"...","marks":"...","chain":"..."}

`chain` is SHA-256 over the chain value before it and the line up to `,"chain":`. So it covers every byte sealed before.
Seals are numbered through all files of a stream: the first line beside a file says with which it goes on. `marks` has
eight bytes of the SHA-256 of each record: they say which record was changed, once `sha256` says that one was.

Heads are chain values that were signed. Copies of seals and heads outside of this machine are anchors: whoever owns the
machine can seal and sign anew, but he cannot change those.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

import msgspec

GENESIS = bytes(32).hex()
"""The chain value before the first seal."""

MARK_BYTES = 8

_CHAIN = b',"chain":"'
_END = b'"}'
_CHAIN_LENGTH = 64

_encode = msgspec.json.Encoder().encode


class Damaged(Exception):  # noqa: N818 - what a line is
    """A line that is no seal, no beginning and no head."""


class Seal(msgspec.Struct, frozen=True):
    """Consecutive records of one file."""

    n: int
    """Counts the seals of a stream from 1, through all its files."""
    start: int
    end: int
    """Bytes of the file."""
    records: int
    first: int
    last: int
    """Numbers of the first and last alert; 0 where the records say none."""
    at_ms: int
    sha256: str
    marks: str
    """Base64 of `MARK_BYTES` a record."""


class Begin(msgspec.Struct, frozen=True):
    """The first line beside each file: what it goes on from."""

    begin: str
    """The stream."""
    n: int
    """Seals before it."""
    chain: str
    at_ms: int


class Sealed(msgspec.Struct, frozen=True):
    """A seal with the chain value behind it, as it was read."""

    seal: Seal
    chain: str
    body: bytes
    """What the chain value covers of the line."""


Why = Literal["time", "rotated", "stopped", "retired"]


class Head(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chain value that is signed."""

    stream: str
    n: int
    chain: str
    last: int
    """Number of the last alert that it covers."""
    at_ms: int
    why: Why
    """"retired": the file was removed since its time was over."""
    file: str = ""
    """Where the file went, or where it was, below the stream's folder."""
    after: int = 0
    """"retired": the seals from the one behind this went."""


class _Signed(msgspec.Struct, frozen=True):
    head: msgspec.Raw
    signature: str


_seal_decoder = msgspec.json.Decoder(Seal)
_begin_decoder = msgspec.json.Decoder(Begin)
_head_decoder = msgspec.json.Decoder(Head)
_signed_decoder = msgspec.json.Decoder(_Signed)


def marks_of(records: Iterable[bytes]) -> bytes:
    """Eight bytes a record."""
    return b"".join(hashlib.sha256(record).digest()[:MARK_BYTES] for record in records)


def seal_line(seal: Seal, before: str) -> tuple[bytes, str]:
    """The line of a seal, with its newline, and the chain value behind it."""
    body = _encode(seal)[:-1]
    chain = link(before, body)
    return body + _CHAIN + chain.encode() + _END + b"\n", chain


def link(before: str, body: bytes) -> str:
    """The chain value behind a seal."""
    return hashlib.sha256(bytes.fromhex(before) + body).hexdigest()


def begin_line(begin: Begin) -> bytes:
    """The first line beside a file, with its newline."""
    return _encode(begin) + b"\n"


def read_line(line: bytes) -> Sealed | Begin:
    """One line (without newline) of those beside a file.

    Raises:
        Damaged: it is neither.
    """
    try:
        if line.startswith(b'{"begin":'):
            begin = _begin_decoder.decode(line)
            bytes.fromhex(begin.chain)
            return begin
        place = len(line) - len(_END) - _CHAIN_LENGTH
        chain = line[place : -len(_END)].decode("ascii")
        bytes.fromhex(chain)
        if line[place - len(_CHAIN) : place] != _CHAIN or not line.endswith(_END):
            raise Damaged("not a seal")
        body = line[: place - len(_CHAIN)]
        return Sealed(_seal_decoder.decode(body + b"}"), chain, body)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(f"not a seal: {error}") from error


def head_bytes(head: Head) -> bytes:
    """What is signed."""
    return _encode(head)


def head_line(head: bytes, signature: bytes) -> bytes:
    """A signed head as a line, with its newline."""
    return b'{"head":%b,"signature":"%b"}\n' % (head, base64.b64encode(signature))


def read_head(line: bytes) -> tuple[Head, bytes, bytes]:
    """A signed head: what it says, the bytes that are signed, the signature.

    Raises:
        Damaged: it is none.
    """
    try:
        signed = _signed_decoder.decode(line)
        raw = bytes(signed.head)
        return _head_decoder.decode(raw), raw, base64.b64decode(signed.signature, validate=True)
    except (msgspec.MsgspecError, ValueError) as error:
        raise Damaged(f"not a signed head: {error}") from error


def split(data: bytes, end: bytes) -> list[bytes]:
    """The records of a piece of a file, each with its `end`; what follows the last end is a record, too."""
    parts = data.split(end)
    tail = parts.pop()
    records = [part + end for part in parts]
    return [*records, tail] if tail else records


def first_altered(seal: Seal, records: Sequence[bytes]) -> int | None:
    """Index of the first record that is not what was sealed; None: all that are there are, in so far as marks tell."""
    marks = base64.b64decode(seal.marks)
    for index, record in enumerate(records[: seal.records]):
        if marks[index * MARK_BYTES : (index + 1) * MARK_BYTES] != hashlib.sha256(record).digest()[:MARK_BYTES]:
            return index
    return min(len(records), seal.records) if len(records) != seal.records else None


def read_chain(lines: Iterable[bytes]) -> Iterator[Sealed | Begin]:
    """All lines beside a file, each of which must go on from the one before.

    Raises:
        Damaged: one does not; the text says which.
    """
    n, chain = -1, ""
    for number, line in enumerate(lines, 1):
        try:
            read = read_line(line)
        except Damaged as error:
            raise Damaged(f"line {number}: {error}") from error
        if isinstance(read, Begin):
            if n >= 0:
                raise Damaged(f"line {number}: a second beginning")
            n, chain = read.n, read.chain
        else:
            if n < 0:
                raise Damaged(f"line {number}: a seal before the beginning")
            if read.seal.n != n + 1 or link(chain, read.body) != read.chain:
                raise Damaged(f"line {number}: seal {read.seal.n} does not go on from seal {n}")
            n, chain = read.seal.n, read.chain
        yield read
