"""A set of byte strings that are remembered for a while: first-time-seen keys, and what `<ignore>` wrote down.

Bounded by construction: strings are spread over buckets, one stored row each, and a full bucket forgets what was
noted first. A flood of made-up keys makes old ones new again; it fills neither memory nor disk.
"""

from hashlib import blake2b

from hids.core.correlate.cells import Cells

BUCKETS = 4_096
BUCKET_SIZE = 64
"""262,144 strings in all; 3 MiB on disk."""

_HASH_BYTES = 16
_TIME_BYTES = 4
_ROUND_MS = 60_000
"""Times are kept in minutes."""


class Seen:
    """The set `name` in `cells`. Strings noted longer ago than `life_ms` count as new."""

    def __init__(self, cells: Cells, name: str, life_ms: int) -> None:
        self._cells = cells
        self._name = name
        self._life_ms = life_ms

    def has(self, text: bytes, at_ms: int) -> bool:
        """Whether it was noted. What is asked for again and again does not grow old."""
        key, digest = _place(text)
        entries = _unpack(self._cells.get((self._name, key)))
        noted = entries.get(digest)
        if noted is None or at_ms - noted * _ROUND_MS > self._life_ms:
            return False
        if at_ms - noted * _ROUND_MS > self._life_ms // 4:
            self._put(key, entries, digest, at_ms)
        return True

    def add(self, text: bytes, at_ms: int) -> None:
        """Note it."""
        key, digest = _place(text)
        self._put(key, _unpack(self._cells.get((self._name, key))), digest, at_ms)

    def _put(self, key: bytes, entries: dict[bytes, int], digest: bytes, at_ms: int) -> None:
        entries.pop(digest, None)
        entries[digest] = max(0, at_ms) // _ROUND_MS
        while len(entries) > BUCKET_SIZE:
            del entries[next(iter(entries))]
        self._cells.put((self._name, key), _pack(entries), at_ms, self._life_ms)


def _place(text: bytes) -> tuple[bytes, bytes]:
    """The bucket of a string, and what stands for it there."""
    digest = blake2b(text, digest_size=_HASH_BYTES + 2).digest()
    bucket = int.from_bytes(digest[:2], "big") % BUCKETS
    return bucket.to_bytes(2, "big"), digest[2:]


def _pack(entries: dict[bytes, int]) -> bytes:
    return b"".join(digest + noted.to_bytes(_TIME_BYTES, "big") for digest, noted in entries.items())


def _unpack(data: bytes | None) -> dict[bytes, int]:
    """Hash -> minute, in the order in which they were noted."""
    step = _HASH_BYTES + _TIME_BYTES
    data = data or b""
    return {
        data[place : place + _HASH_BYTES]: int.from_bytes(data[place + _HASH_BYTES : place + step], "big")
        for place in range(0, len(data), step)
    }
