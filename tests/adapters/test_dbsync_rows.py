import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from hids.adapters.dbsync_rows import DbSyncRows
from hids.core.wire.ossec.dbsync import Row
from hids.errors import StoreError
from hids.messages.terms import AgentId

ONE, TWO = AgentId("001"), AgentId("002")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "dbsync.db"


@pytest.fixture
def rows(path: Path) -> Iterator[DbSyncRows]:
    rows = DbSyncRows(path)
    yield rows
    rows.close()


def row(key: str, checksum: str = "c") -> Row:
    return Row(key.encode(), checksum, key)


def fill(rows: DbSyncRows, *keys: str, agent: AgentId = ONE) -> None:
    for key in keys:
        assert rows.put(agent, "f", row(key, f"c{key}"), 100)


def test_a_range_is_in_byte_order_and_has_both_ends(rows: DbSyncRows):
    fill(rows, "/é", "/z", "/a", "/B")
    fill(rows, "/b", agent=TWO)
    assert list(rows.checksums(ONE, "f", b"/B", b"/z")) == ["c/B", "c/a", "c/z"]
    assert list(rows.checksums(ONE, "f", b"/a", "/é".encode())) == ["c/a", "c/z", "c/é"]
    assert list(rows.checksums(ONE, "g", b"", b"\xff")) == []


def test_rows_are_replaced_removed_and_limited(rows: DbSyncRows):
    fill(rows, "/a", "/b")
    assert rows.put(ONE, "f", row("/a", "new"), 2)
    assert not rows.put(ONE, "f", row("/c"), 2)
    assert rows.put(TWO, "f", row("/c"), 2)
    rows.remove(ONE, "f", b"/b")
    rows.remove(ONE, "f", b"/b")
    assert rows.put(ONE, "f", row("/c"), 2)
    assert not rows.put(ONE, "f", row("/d"), 2)
    assert list(rows.checksums(ONE, "f", b"", b"\xff")) == ["new", "c"]


@pytest.mark.parametrize(
    ("above", "below", "limit", "gone"),
    [
        (None, b"/b", 9, ("/a",)),
        (b"/b", None, 9, ("/c", "/d")),
        (b"/a", b"/d", 9, ("/b", "/c")),
        (None, None, 3, ("/a", "/b", "/c")),
        (b"/d", b"/a", 9, ()),
    ],
)
def test_dropping_leaves_the_bounds(
    rows: DbSyncRows, above: bytes | None, below: bytes | None, limit: int, gone: tuple[str, ...]
):
    fill(rows, "/a", "/b", "/c", "/d")
    assert rows.drop(ONE, "f", above, below, limit) == gone
    left = [f"c{key}" for key in ("/a", "/b", "/c", "/d") if key not in gone]
    assert list(rows.checksums(ONE, "f", b"", b"\xff")) == left


def test_what_is_not_committed_did_not_happen(rows: DbSyncRows, path: Path):
    fill(rows, "/a")
    rows.commit()
    rows.commit()
    fill(rows, "/b")
    rows.close()
    again = DbSyncRows(path)
    assert list(again.checksums(ONE, "f", b"", b"\xff")) == ["c/a"]
    assert again.put(ONE, "f", row("/b"), 2)
    assert not again.put(ONE, "f", row("/c"), 2), "counted when it was opened"
    again.close()


def test_other_agents_are_forgotten(rows: DbSyncRows):
    fill(rows, "/a")
    fill(rows, "/b", agent=TWO)
    rows.keep_only({TWO})
    assert list(rows.checksums(ONE, "f", b"", b"\xff")) == []
    assert list(rows.checksums(TWO, "f", b"", b"\xff")) == ["c/b"]


def test_a_damaged_file_is_made_anew(path: Path):
    path.write_bytes(b"no database at all" * 1000)
    rows = DbSyncRows(path)
    fill(rows, "/a")
    rows.commit()
    rows.close()
    assert sqlite3.connect(path).execute("SELECT count(*) FROM row").fetchone() == (1,)


def test_a_file_that_cannot_be_opened_is_tried_again(tmp_path: Path):
    path = tmp_path / "folder" / "dbsync.db"
    rows = DbSyncRows(path)
    with pytest.raises(StoreError):
        fill(rows, "/a")
    path.parent.mkdir()
    fill(rows, "/a")
    rows.close()


def test_what_breaks_while_it_is_used_is_said(rows: DbSyncRows, path: Path):
    fill(rows, "/a")
    rows.commit()
    with sqlite3.connect(path) as other:
        other.execute("DROP TABLE row")
    with pytest.raises(StoreError):
        fill(rows, "/b")
