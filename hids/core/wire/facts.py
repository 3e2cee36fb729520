"""Facts of files <-> the texts of lines. A first scan has many that nobody is told of: those share lines."""

from collections.abc import Iterable, Iterator

import msgspec

from hids.messages.lines import MAX_LINE_BYTES
from hids.messages.syscheck import DirectoryDigests, DirectoryListing, FileFact

_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(FileFact | tuple[FileFact, ...])
_word_decoder = msgspec.msgpack.Decoder(DirectoryDigests | DirectoryListing)
_HEADER_BYTES = 5
"""What msgpack puts before an array."""


def pack(facts: Iterable[FileFact]) -> Iterator[bytes]:
    """The texts of lines: news alone, each with its place in sequence; facts of a baseline together, as many as fit."""
    waiting: list[msgspec.Raw] = []
    size = _HEADER_BYTES
    for fact in facts:
        packed = _one(fact)
        if waiting and (fact.seen != "baseline" or size + len(packed) > MAX_LINE_BYTES):
            yield _encode(waiting)
            waiting, size = [], _HEADER_BYTES
        if fact.seen != "baseline" or len(packed) + _HEADER_BYTES > MAX_LINE_BYTES:
            yield packed
        else:
            waiting.append(msgspec.Raw(packed))
            size += len(packed)
    if waiting:
        yield _encode(waiting)


def unpack(text: bytes) -> tuple[FileFact, ...] | DirectoryDigests | DirectoryListing:
    """The facts of one line, or what it says of directories.

    Raises:
        msgspec.MsgspecError: it holds neither.
    """
    try:
        facts = _decoder.decode(text)
    except msgspec.ValidationError:
        word: DirectoryDigests | DirectoryListing = _word_decoder.decode(text)
        return word
    return (facts,) if isinstance(facts, FileFact) else facts


def facts_of(text: bytes) -> tuple[FileFact, ...]:
    """The facts of one line; none where it speaks of directories.

    Raises:
        msgspec.MsgspecError: it holds nothing that we know.
    """
    said = unpack(text)
    return said if isinstance(said, tuple) else ()


def _one(fact: FileFact) -> bytes:
    """One fact; what makes it too long for a line is left out."""
    packed = _encode(fact)
    if len(packed) > MAX_LINE_BYTES:
        packed = _encode(msgspec.structs.replace(fact, diff="", xattrs={}))
    if len(packed) > MAX_LINE_BYTES:
        packed = _encode(msgspec.structs.replace(fact, diff="", xattrs={}, acl=""))
    return packed
