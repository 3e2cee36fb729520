import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from hids.adapters.outbox import Outbox, OutboxRow, alert_number
from hids.errors import StoreError


@pytest.fixture
def ledger(tmp_path: Path, make_lines: Callable[..., bytes], fill_outbox: Callable[..., None]):
    path = tmp_path / "ledger.db"
    fill_outbox(path, [make_lines(1, 3), make_lines(4), make_lines(5, 2)])
    return path


@pytest.fixture
def outbox(ledger: Path):
    with closing(Outbox(ledger)) as outbox:
        yield outbox


@pytest.mark.parametrize(
    ("after", "firsts"), [(0, [1, 4, 5]), (1, [1, 4, 5]), (3, [4, 5]), (5, [5]), (6, []), (99, [])]
)
def test_rows_above_a_number(outbox: Outbox, after: int, firsts: list[int]):
    assert [row.first for row in outbox.read(after)] == firsts


def test_row_is_what_was_committed(outbox: Outbox, make_lines: Callable[..., bytes]):
    row = outbox.read(0, limit=1)[0]
    assert row == OutboxRow(first=1, count=3, lines=make_lines(1, 3))
    assert (row.last, row.after(0), row.after(1), row.after(2)) == (
        3,
        make_lines(1, 3),
        make_lines(2, 2),
        make_lines(3),
    )
    assert row.after(3) == b""


def test_limit_is_in_rows(outbox: Outbox):
    assert [row.first for row in outbox.read(0, limit=2)] == [1, 4]


def test_reading_stops_at_its_size(outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.adapters.outbox.READ_BYTES", 1)
    assert [row.first for row in outbox.read(0)] == [1]


def test_oldest_rows_may_be_gone(ledger: Path, outbox: Outbox):
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute("DELETE FROM outbox WHERE first = 1")
    assert [row.first for row in outbox.read(0)] == [4, 5]


def test_newest_is_committed_whether_or_not_its_row_is_still_there(ledger: Path, outbox: Outbox):
    assert outbox.newest() == 6
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute("DELETE FROM outbox")
        db.execute("INSERT OR REPLACE INTO meta VALUES ('next_alert', '', 10)")
    assert outbox.newest() == 9


def test_nothing_is_newest_without_a_ledger(tmp_path: Path):
    with closing(Outbox(tmp_path / "ledger.db")) as outbox:
        assert outbox.newest() == 0


def test_no_ledger_yet(tmp_path: Path, fill_outbox: Callable[..., None], make_lines: Callable[..., bytes]):
    outbox = Outbox(tmp_path / "ledger.db")
    assert outbox.read(0) == []
    sqlite3.connect(tmp_path / "ledger.db").close()
    assert outbox.read(0) == []
    fill_outbox(tmp_path / "ledger.db", [make_lines(1)])
    assert [row.first for row in outbox.read(0)] == [1]
    outbox.close()


def test_locked_ledger_is_read_later(ledger: Path, outbox: Outbox, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.adapters.outbox._BUSY_WAIT_S", 0.01)
    with closing(sqlite3.connect(ledger, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")
        with structlog.testing.capture_logs() as logs:
            assert outbox.read(0) == []
        assert [entry["event"] for entry in logs] == ["ledger is locked, reading later"]
        db.execute("ROLLBACK")
    assert len(outbox.read(0)) == 3


def test_reader_cannot_write(outbox: Outbox):
    outbox.read(0)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        outbox._db.execute("DELETE FROM outbox")


def test_no_database(tmp_path: Path):
    (tmp_path / "ledger.db").write_bytes(b"x" * 4096)
    with (
        closing(Outbox(tmp_path / "ledger.db")) as outbox,
        pytest.raises(StoreError, match=r"ledger\.db: the outbox"),
    ):
        outbox.read(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [("count = 7", "7 alerts expected, got 3"), ("data = x'00'", "row 1 is damaged: it does not unpack")],
)
def test_damaged_row(ledger: Path, outbox: Outbox, change: str, message: str):
    with closing(sqlite3.connect(ledger)) as db, db:
        db.execute(f"UPDATE outbox SET {change} WHERE first = 1")  # noqa: S608
    with pytest.raises(StoreError, match=message):
        outbox.read(0)


@pytest.mark.parametrize("line", [b"", b"{}", b"[1]", b'{"hids":{"number":"1"}}', b"\xff", b'{"hids":1}'])
def test_line_without_a_number(line: bytes):
    assert alert_number(line) is None


def test_number_is_not_taken_from_a_log(make_lines: Callable[..., bytes]):
    assert alert_number(make_lines(4, full_log='"hids":{"number":9}')) == 4
