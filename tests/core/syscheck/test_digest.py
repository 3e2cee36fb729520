"""Digests do not depend on order, and depend on everything else."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core.syscheck.digest import directory_digest, entry_digest
from hids.messages.syscheck import FileFact

FACT = FileFact(path="/etc/hosts", seen="scan", size=7, mode=0o644, sha256="ab" * 32, inode=9, mtime_ns=1)


@given(st.lists(st.binary(min_size=32, max_size=32)), st.randoms())
def test_the_order_of_entries_does_not_matter(entries, random):
    shuffled = entries[:]
    random.shuffle(shuffled)
    assert directory_digest(shuffled) == directory_digest(iter(entries))


def test_an_entry_more_is_another_digest():
    entries = [entry_digest(FACT)]
    assert directory_digest(entries) != directory_digest(entries * 2)
    assert directory_digest([]) != directory_digest(entries)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("path", "/etc/host"),
        ("kind", "link"),
        ("size", 8),
        ("mode", 0o4644),
        ("uid", 1),
        ("gid", 1),
        ("mtime_ns", 2),
        ("inode", 10),
        ("sha256", "cd" * 32),
        ("md5", "cd"),
        ("sha1", "cd"),
        ("target", "x"),
        ("acl", "user::rw-"),
        ("capabilities", "cap_net_raw=ep"),
        ("label", "system_u:object_r:etc_t:s0"),
        ("xattrs", {"user.a": "b"}),
    ],
)
def test_each_attribute_counts(field, value):
    assert entry_digest(msgspec.structs.replace(FACT, **{field: value})) != entry_digest(FACT)


@pytest.mark.parametrize(
    ("field", "value"), [("seen", "live"), ("user", "eve"), ("group", "eve"), ("diff", "-a"), ("moved_from", "/a")]
)
def test_how_it_was_seen_does_not_count(field, value):
    assert entry_digest(msgspec.structs.replace(FACT, **{field: value})) == entry_digest(FACT)
