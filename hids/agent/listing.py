"""A directory's listing: read once for its fingerprint, and by pieces where it is too long to be held."""

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from itertools import islice
from operator import attrgetter
from typing import NamedTuple

import msgspec

from hids.agent.filecache import name_hash
from hids.agent.paths import shown

KEPT_INFOS = 4_096
"""Entries of a directory whose status is taken only once."""
_CHUNK = 1_024
_signature = attrgetter("st_mode", "st_ino", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_ctime_ns", "st_nlink")
_encode = msgspec.msgpack.Encoder().encode
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class Survey(NamedTuple):
    """A directory's listing."""

    entries: int
    fingerprint: bytes
    subdirectories: list[str]
    """Names."""
    found: "list[Found] | None"
    """None: too many to be held."""


Found = tuple[str, os.stat_result | None]
"""(name, status if it was taken)"""


@contextmanager
def opened(directory: str, unreadable: Callable[[str], None]) -> Generator[int | None]:
    """A descriptor of a directory; None when it is none, or cannot be read, which is told with the reason."""
    try:
        descriptor = os.open(directory, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        yield None
        return
    except OSError as error:
        if error.errno != errno.ELOOP:  # a link in its place: what was there is told as gone
            unreadable(error.strerror or str(error))
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def survey(descriptor: int, stamp: bytes, away: Collection[str]) -> Survey:
    """Read a directory once, but for the names that are `away`; `stamp` is what else the fingerprint is of.

    Raises:
        OSError: it cannot be read.
    """
    fingerprint = hashlib.blake2b(stamp, digest_size=16)
    count, found, subdirectories = 0, list[Found](), list[str]()
    with os.scandir(descriptor) as listing:
        while chunk := list(islice(listing, _CHUNK)):
            infos = [(entry.name, _status(entry)) for entry in chunk if entry.name not in away]
            pairs = [pair for pair in infos if pair[1] is not None]
            fingerprint.update(_encode([(os.fsencode(name), *_signature(info)) for name, info in pairs]))
            count += len(pairs)
            subdirectories += [name for name, info in pairs if info is not None and stat.S_ISDIR(info.st_mode)]
            if count <= KEPT_INFOS:
                found += pairs
    return Survey(count, fingerprint.digest(), subdirectories, found if count <= KEPT_INFOS else None)


def names_between(descriptor: int, low: str, high: str, away: Collection[str]) -> Iterator[Found]:
    """The names whose hashes are from `low` up to `high`, but for those that are `away`."""
    with os.scandir(descriptor) as listing:
        for entry in listing:
            if low <= name_hash(shown(entry.name)) < high and entry.name not in away:
                yield entry.name, None


def status_at(descriptor: int, name: str) -> os.stat_result | None:
    """Of a name in a directory; None where there is nothing any more."""
    try:
        return os.stat(name, dir_fd=descriptor, follow_symlinks=False)
    except OSError:
        return None


def _status(entry: "os.DirEntry[str]") -> os.stat_result | None:
    try:
        return entry.stat(follow_symlinks=False)
    except OSError:
        return None
