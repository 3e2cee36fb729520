"""What syscheck remembers, told to the manager: digests of directories, and names of what was looked at anew."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import msgspec

from hids.agent.filecache import FileCache
from hids.core.syscheck.digest import directory_digest, entry_digest
from hids.core.syscheck.paths import folder_of
from hids.messages.lines import MAX_LINE_BYTES
from hids.messages.syscheck import DirectoryDigests, DirectoryListing

LINE_BYTES = MAX_LINE_BYTES // 2
"""Of names in one line: msgpack adds some bytes to each."""
_DIGEST_BYTES = 40
_encode = msgspec.msgpack.Encoder().encode


def digest_lines(cache: FileCache, check: str, top: str) -> Iterator[bytes]:
    """The texts of lines that tell the digests of all directories from one on downwards; empty: of all there are.

    All names of directories are held at once, and the digests of one directory's entries.
    """
    digests: dict[str, bytes] = {}
    entries: defaultdict[str, list[bytes]] = defaultdict(list)
    for directory, part in cache.below(top or "/"):
        if directory not in entries:
            _fold(entries, digests)
        entries[directory] += [entry_digest(known.fact) for known in part.entries.values()]
    _fold(entries, digests)
    rows = sorted(digests.items())
    after = ""
    for number, part_of in parts([folder for folder, _ in rows], _DIGEST_BYTES):
        last = part_of == len(rows)
        told = tuple(rows[number:part_of])
        through = "" if last else told[-1][0]
        yield _encode(DirectoryDigests(check, top, after, through, told))
        after = through


def listing_lines(cache: FileCache, top: str) -> Iterator[bytes]:
    """The texts of lines that name all entries from a directory on downwards."""
    names: dict[str, list[str]] = {}
    for directory, part in cache.below(top):
        if directory not in names:
            yield from _listings(names)
            names.clear()
        names.setdefault(directory, []).extend(part.entries)
    yield from _listings(names)


def parts(names: Sequence[str], each_bytes: int = 8) -> Iterator[tuple[int, int]]:
    """(first, end) of stretches that fit into a line; one that is empty when there is nothing at all."""
    first = size = 0
    for number, name in enumerate(names):
        length = len(name.encode()) + each_bytes
        if size and size + length > LINE_BYTES:
            yield first, number
            first, size = number, 0
        size += length
    yield first, len(names)


def _fold(entries: defaultdict[str, list[bytes]], digests: dict[str, bytes]) -> None:
    for directory, found in entries.items():
        digests[folder_of(directory)] = directory_digest(found)
    entries.clear()


def _listings(names: dict[str, list[str]]) -> Iterable[bytes]:
    for directory, found in names.items():
        ordered = sorted(found)
        after = ""
        for first, end in parts(ordered):
            through = "" if end == len(ordered) else ordered[end - 1]
            yield _encode(DirectoryListing(folder_of(directory), after, through, tuple(ordered[first:end])))
            after = through
