"""The mark outlives its writer, and says nothing when nothing was in work."""

from pathlib import Path

from hids.adapters.lanemark import LaneMark
from hids.messages.lane import Place


def test_the_line_in_work_is_there_for_the_next(tmp_path: Path):
    path = tmp_path / "ledger.db.mark"
    mark = LaneMark(path)
    assert mark.last() is None
    mark.begin("agent/007", 3)
    assert mark.last() is None
    mark.at(2**40)
    again = LaneMark(path)
    assert again.last() == Place("agent/007", 3, 2**40)
    mark.done()
    assert again.last() is None
    mark.begin("derived/syscheck/007", 1)
    mark.at(5)
    assert again.last() == Place("derived/syscheck/007", 1, 5)
    assert path.stat().st_mode & 0o777 == 0o600
    again.close()
    mark.close()


def test_what_is_no_mark_names_no_line(tmp_path: Path):
    path = tmp_path / "ledger.db.mark"
    path.write_bytes(b"\xff" * 4096)
    assert LaneMark(path).last() is None
