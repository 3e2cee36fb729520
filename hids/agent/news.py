"""What a look or a scan found: entries that changed, came and left. A path that left here and came there has moved.

    came  /b/new   inode 7, hash h  ┐
    left  /a/old   inode 7, hash h  ┘ -> one fact: /b/new, moved from /a/old

What came and left waits, in bounded number, until all has been looked at. Nothing of it is stored before: after a crash
it is found again.
"""

import os
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

from hids.agent.observe import Known, Seen
from hids.messages.syscheck import FileFact

MAX_WAITING = 16_384
"""Paths; beyond, they are told as they are found: as added and deleted."""


class Change(NamedTuple):
    """One entry of a directory: what is known of it now, and what to tell."""

    directory: str
    """As shown, like `name`."""
    name: str
    known: Known | None
    """None: it is gone."""
    fact: FileFact | None
    """None: nothing to tell."""


class News:
    """Changes that wait to be stored."""

    def __init__(self, seen: Seen, *, tells_new: bool = True) -> None:
        """`tells_new`: what came is worth an alert."""
        self.seen: Seen = seen
        self._tells_new = tells_new
        self._changed: list[Change] = []
        self._came: dict[tuple[str, str], Known] = {}
        self._left: dict[tuple[str, str], Known] = {}

    def __len__(self) -> int:
        return len(self._changed) + len(self._came) + len(self._left)

    def has_room(self, number: int = 1) -> bool:
        """Whether so many more may wait."""
        return len(self) + number <= MAX_WAITING

    def changed(self, change: Change) -> None:
        """An entry is there as before, and differs."""
        self._changed.append(change)

    def came(self, directory: str, name: str, known: Known) -> None:
        """An entry is there that was not known."""
        self._came[directory, name] = known

    def left(self, directory: str, name: str, known: Known) -> None:
        """An entry that was known is there no more."""
        self._left[directory, name] = known

    def changes(self) -> Iterator[list[Change]]:
        """All, with what moved told as moved. Changes that must be stored together come together."""
        yield from ([change] for change in self._changed)
        origins = self._origins()
        moved = {path_of(*origin): path_of(*entry) for entry, origin in origins.items()}
        for entry, known in self._came.items():
            if entry not in origins:
                yield [Change(*entry, known, known.fact if self._tells_new else _quietly(known.fact))]
        followers = {origin: entry for entry, origin in origins.items()}
        # What is below goes first: a directory that is gone is how a next scan would find the rest.
        for origin in sorted(self._left, key=lambda entry: path_of(*entry), reverse=True):
            follower = followers.get(origin)
            if follower is None:
                yield [Change(*origin, None, gone(self._left[origin].fact, self.seen))]
                continue
            known = self._came[follower]
            fact = msgspec.structs.replace(known.fact, moved_from=path_of(*origin))
            is_carried = moved.get(origin[0]) == follower[0] and origin[1] == follower[1]
            yield [Change(*follower, known, _quietly(fact) if is_carried else fact), Change(*origin, None, None)]

    def gone_directories(self) -> list[str]:
        """Paths, as shown, of directories that left."""
        return [path_of(*entry) for entry, known in self._left.items() if known.fact.kind == "dir"]

    def _origins(self) -> dict[tuple[str, str], tuple[str, str]]:
        """Entry that came -> the one that left, where they are the same file."""
        by_inode: dict[tuple[str, int], list[tuple[str, str]]] = {}
        for entry, known in self._left.items():
            if known.fact.inode:
                by_inode.setdefault((known.fact.kind, known.fact.inode), []).append(entry)
        origins: dict[tuple[str, str], tuple[str, str]] = {}
        for entry, known in self._came.items():
            fact = known.fact
            candidates = by_inode.get((fact.kind, fact.inode), [])
            for origin in candidates:
                if _is_the_same(self._left[origin].fact, fact):
                    origins[entry] = origin
                    candidates.remove(origin)
                    break
        return origins


def path_of(directory: str, name: str) -> str:
    """A path as shown."""
    return os.path.join(directory, name)


def gone(before: FileFact, seen: Seen) -> FileFact:
    """The fact that a path is there no more."""
    return msgspec.structs.replace(before, seen=seen, gone=True)


def _is_the_same(before: FileFact, now: FileFact) -> bool:
    """Inodes are used again: the content must be the same, too."""
    if now.kind == "dir":
        return True
    if before.sha256 and now.sha256:
        return before.sha256 == now.sha256
    return (before.size, before.mtime_ns, before.target) == (now.size, now.mtime_ns, now.target)


def _quietly(fact: FileFact) -> FileFact:
    return msgspec.structs.replace(fact, seen="baseline")
