"""Digests over what is known of files, so that agent and manager can compare a million of them without naming each.

A directory's digest is the SHA-256 over the digests of its entries in ascending order: the order in which they are
given does not matter, and neither side needs all facts at once, 32 bytes for each entry. Both sides compute it from
the last fact that was told of each path (`hids.core.syscheck.change.remembered` says what stays of a fact).
"""

import hashlib
from collections.abc import Iterable

import msgspec

from hids.messages.syscheck import FileFact

_encode = msgspec.msgpack.Encoder(order="sorted").encode


def entry_digest(fact: FileFact) -> bytes:
    """SHA-256 (32 bytes) over what a path is: all attributes, but not how and when they were seen.

    Names of users and groups are left out: they change without any change of the file.
    """
    return hashlib.sha256(
        _encode(
            (
                fact.path,
                fact.kind,
                (fact.size, fact.mode, fact.uid, fact.gid, fact.mtime_ns, fact.inode),
                (fact.sha256, fact.sha1, fact.md5, fact.target),
                (fact.acl, fact.capabilities, fact.label, fact.xattrs, fact.links),
            )
        )
    ).digest()


def directory_digest(entries: Iterable[bytes]) -> bytes:
    """SHA-256 (32 bytes) over the digests of a directory's entries, in whatever order they come.

    The entries are those right below it; what is below them is in their own directories' digests.
    """
    return hashlib.sha256(b"".join(sorted(entries))).digest()
