"""What syscheck has seen, as positions in the spool: stored in the transaction that stores the facts it was told in.

    dir:<directory>//              `Summary`: so many entries, and a fingerprint of the whole listing
    part:<directory>//<8 digits>   up to some hundred entries: those whose hash of the name is from these digits on

An unchanged directory is recognised by its fingerprint alone. A change rewrites one part. The parts of a directory are
the leaves of a tree over hashes of names, so that one of a million entries needs no more memory than one of some
hundred. No path has two slashes in a row, so what is in a directory and what is below it never share a prefix.
"""

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

import msgspec
import zstandard

from hids.agent.observe import Known
from hids.agent.spooler import RecallKeys, RecallLast, RecallRange

PART_ENTRIES = 256
SPLIT_ABOVE = 512
"""A part with more entries becomes several of `PART_ENTRIES`."""
PAGE_PARTS = 16
LOWEST, HIGHEST = "00000000", "g"
"""Before and after all hashes of names."""
MAX_PART_BYTES = 64 * 1024**2

Positions = dict[str, bytes | None]


class Summary(msgspec.Struct, frozen=True, array_like=True):
    """A directory as a whole."""

    entries: int
    fingerprint: bytes


class Part(msgspec.Struct, array_like=True):
    """Some entries of a directory. `low` is the hash that it begins with, by which it is stored."""

    stamp: bytes
    """Of the `Folder` by whose options they were looked at."""
    entries: dict[str, Known]
    """By shown name."""
    low: str = LOWEST


_encode = msgspec.msgpack.Encoder().encode
_summary_decoder = msgspec.msgpack.Decoder(Summary)
_part_decoder = msgspec.msgpack.Decoder(Part)


def name_hash(name: str) -> str:
    """Where a shown name belongs: eight hexadecimal digits that nobody can choose for a million names."""
    return hashlib.blake2b(name.encode(), digest_size=4).hexdigest()


class FileCache:
    """Reads positions; what is to be written is handed back, to go with the facts. Blocks."""

    def __init__(self, ask: Callable[[object], Any]) -> None:
        """`ask` puts a question to the spooler and waits for the answer."""
        self._ask = ask
        self._compress = zstandard.ZstdCompressor(level=1).compress
        self._decompress = zstandard.ZstdDecompressor().decompress

    def summaries(self, directories: Iterable[str]) -> dict[str, Summary]:
        """Those of these directories (as shown) that are known."""
        keys = {_summary_key(directory): directory for directory in directories}
        found: dict[str, bytes] = self._ask(RecallKeys(tuple(keys)))
        return {keys[key]: _summary_decoder.decode(value) for key, value in found.items()}

    def part_of(self, directory: str, name: str) -> tuple[Part, str]:
        """The part in which an entry is, or would be, and the hash before which it ends; empty when there is none yet."""
        prefix = _part_prefix(directory)
        key, value, following = self._last(prefix, name_hash(name))
        end = following[len(prefix) :] if following else HIGHEST
        return (self._part(prefix, key, value) if key else Part(b"", {})), end

    def parts(self, directory: str, low: str = LOWEST, high: str = HIGHEST) -> Iterator[Part]:
        """The parts that begin from `low` on and before `high`, in order."""
        prefix = _part_prefix(directory)
        for key, value in self._pages(prefix, prefix + low, prefix + high):
            yield self._part(prefix, key, value)

    def is_known(self, directory: str) -> bool:
        """Whether there is any entry of a directory."""
        prefix = _part_prefix(directory)
        return next(self._pages(prefix, prefix + LOWEST, prefix + HIGHEST, 1), None) is not None

    def below(self, top: str) -> Iterator[tuple[str, Part]]:
        """All parts in a directory and below it, with the directory that each belongs to."""
        beginning = f"part:{top.rstrip('/')}/"
        for key, value in self._pages(beginning, beginning, beginning + "\U0010ffff"):
            directory = key[len("part:") : key.rindex("//")] or "/"
            yield directory, self._part(_part_prefix(directory), key, value)

    def directories(self, top: str) -> Iterator[str]:
        """All directories from one on downwards whose entries are known."""
        last = ""
        for directory, _ in self.below(top):
            if directory != last:
                last = directory
                yield directory

    def split(self, directory: str, at: str) -> Positions:
        """What to write so that a part begins at a hash, if one lies across it."""
        prefix = _part_prefix(directory)
        key, value, _ = self._last(prefix, at)
        if key in {"", prefix + at}:
            return {}
        part = self._part(prefix, key, value)
        beyond = {name: known for name, known in part.entries.items() if name_hash(name) >= at}
        if not beyond:
            return {}
        here = {name: known for name, known in part.entries.items() if name not in beyond}
        return {
            **self._written(prefix, Part(part.stamp, here, part.low)),
            **self._written(prefix, Part(part.stamp, beyond, at)),
        }

    def written(self, directory: str, part: Part) -> Positions:
        """What to write for a part that has changed; an empty one is forgotten."""
        prefix = _part_prefix(directory)
        if len(part.entries) <= SPLIT_ABOVE:
            return self._written(prefix, part)
        positions: Positions = {}
        for low, entries in _cut(part.entries):
            positions |= self._written(prefix, Part(part.stamp, entries, low if positions else part.low))
        return positions

    def _written(self, prefix: str, part: Part) -> Positions:
        return {prefix + part.low: self._compress(_encode(part)) if part.entries else None}

    def _part(self, prefix: str, key: str, value: bytes) -> Part:
        part = _part_decoder.decode(self._decompress(value, max_output_size=MAX_PART_BYTES))
        part.low = key[len(prefix) :]
        return part

    def _last(self, prefix: str, low: str) -> tuple[str, bytes, str]:
        answer: tuple[str, bytes, str] = self._ask(RecallLast(prefix, prefix + low))
        return answer

    def _pages(self, prefix: str, first: str, end: str, limit: int = PAGE_PARTS) -> Iterator[tuple[str, bytes]]:
        """Positions from a key on and before another, some at a time; they may be written meanwhile."""
        while True:
            page: list[tuple[str, bytes]] = self._ask(RecallRange(first, end, limit))
            yield from page
            if len(page) < limit:
                return
            first = page[-1][0] + "\0"


def summarised(directory: str, summary: Summary | None) -> Positions:
    """What to write about a directory as a whole; None forgets it."""
    return {_summary_key(directory): None if summary is None else _encode(summary)}


def _summary_key(directory: str) -> str:
    return f"dir:{directory.rstrip('/')}//"


def _part_prefix(directory: str) -> str:
    return f"part:{directory.rstrip('/')}//"


def _cut(entries: Mapping[str, Known]) -> Iterator[tuple[str, dict[str, Known]]]:
    """Entries in the order of their names' hashes, some at a time; equal hashes stay together."""
    ordered = iter(sorted((name_hash(name), name) for name in entries))
    waiting: list[tuple[str, str]] = []
    while part := waiting + list(islice(ordered, PART_ENTRIES - len(waiting))):
        following = next(ordered, None)
        while following is not None and following[0] == part[-1][0]:
            part.append(following)
            following = next(ordered, None)
        waiting = [following] if following is not None else []
        yield part[0][0], {name: entries[name] for _, name in part}


class OpenParts:
    """Parts that changes are written into, each read once."""

    def __init__(self, cache: FileCache) -> None:
        self._cache = cache
        self._open: dict[str, list[tuple[Part, str]]] = {}

    def entries(self, directory: str, name: str) -> dict[str, Known]:
        """The entries of the part in which this one is, or will be."""
        place = name_hash(name)
        known = self._open.setdefault(directory, [])
        for part, end in known:
            if part.low <= place < end:
                return part.entries
        part, end = self._cache.part_of(directory, name)
        known.append((part, end))
        return part.entries

    def written(self) -> Positions:
        """All of them, as they are to be stored."""
        positions: Positions = {}
        for directory, parts in self._open.items():
            for part, _ in parts:
                positions |= self._cache.written(directory, part)
        return positions
