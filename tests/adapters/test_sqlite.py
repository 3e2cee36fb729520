import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hids.adapters.sqlite import is_busy, is_damage, put_aside, transaction


def test_lock_is_busy(tmp_path: Path):
    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as one:
        one.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(tmp_path / "x.db", timeout=0)) as other:
            with pytest.raises(sqlite3.OperationalError) as caught:
                other.execute("BEGIN EXCLUSIVE")
            assert (is_busy(caught.value), is_damage(caught.value)) == (True, False)


def test_no_database_is_damage(tmp_path: Path):
    (tmp_path / "x.db").write_bytes(b"nonsense" * 512)
    with closing(sqlite3.connect(tmp_path / "x.db")) as db:
        with pytest.raises(sqlite3.DatabaseError) as caught:
            db.execute("SELECT * FROM sqlite_master")
        assert (is_busy(caught.value), is_damage(caught.value)) == (False, True)


def test_pythons_own_errors_are_neither():
    error = sqlite3.ProgrammingError("closed")
    assert (is_busy(error), is_damage(error)) == (False, False)


@pytest.mark.parametrize(
    "then",
    ["INSERT INTO t VALUES (10)", "nonsense", "ROLLBACK"],  # the last as a full disk does
)
def test_a_transaction_is_all_or_nothing(tmp_path: Path, then: str):
    def write(db: sqlite3.Connection) -> None:
        with transaction(db) as same:
            same.execute("INSERT INTO t VALUES (2)")
            same.execute(then)
            raise LookupError

    with closing(sqlite3.connect(tmp_path / "x.db", isolation_level=None)) as db:
        db.execute("CREATE TABLE t(n INTEGER CHECK (n < 10))")
        with transaction(db):
            db.execute("INSERT INTO t VALUES (1)")
        with pytest.raises((sqlite3.Error, LookupError)):
            write(db)
        assert not db.in_transaction
        assert db.execute("SELECT n FROM t").fetchall() == [(1,)]


def test_a_file_is_put_aside_without_its_log(tmp_path: Path):
    path = tmp_path / "x.db"
    for name in ("x.db", "x.db-wal", "x.db-shm"):
        (tmp_path / name).write_text(name)
    aside = put_aside(path, ".damaged-7")
    assert aside == tmp_path / "x.db.damaged-7"
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("x.db.damaged-7", "x.db")]
