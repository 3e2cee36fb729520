import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hids.adapters.sqlite import is_busy, is_damage


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
