from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import structlog

from hids.adapters.archive import rows_after
from hids.adapters.outbox import Outbox
from hids.adapters.search import Search
from hids.adapters.search_index import SearchIndex
from hids.adapters.search_query import Query


@pytest.fixture
def alerts_json(tmp_path: Path, make_lines: Callable[..., bytes]):
    path = tmp_path / "alerts.json"
    path.write_bytes(make_lines(1, 8))
    return path


@pytest.fixture
def read(tmp_path: Path, alerts_json: Path):
    def read(after: int, newest: int) -> list[bytes]:
        with closing(Outbox(tmp_path / "ledger.db")) as outbox:
            pieces = [rows for rows in rows_after(outbox, alerts_json, after, newest) if rows]
        for rows in pieces:
            assert all(row.lines.count(b"\n") == row.count for row in rows)
        return [row.after(after) for rows in pieces for row in rows]

    return read


@pytest.fixture
def outbox_from_7(tmp_path: Path, fill_outbox: Callable[..., None], make_lines: Callable[..., bytes]):
    fill_outbox(tmp_path / "ledger.db", [make_lines(7, 2), make_lines(9, 2)], 7)


@pytest.mark.usefixtures("outbox_from_7")
def test_outbox_alone_where_it_reaches_back(read: Callable[[int, int], list[bytes]], make_lines: Callable[..., bytes]):
    assert read(6, 10) == [make_lines(7, 2), make_lines(9, 2)]
    assert read(9, 10) == [make_lines(10)]
    assert read(10, 10) == []


@pytest.mark.usefixtures("outbox_from_7")
def test_file_gives_what_the_outbox_no_longer_has(
    read: Callable[[int, int], list[bytes]], make_lines: Callable[..., bytes]
):
    assert read(0, 10) == [make_lines(1, 6), make_lines(7, 2), make_lines(9, 2)]
    assert read(4, 10) == [make_lines(5, 2), make_lines(7, 2), make_lines(9, 2)]


def test_empty_outbox(read: Callable[[int, int], list[bytes]], make_lines: Callable[..., bytes]):
    assert read(0, 8) == [make_lines(1, 8)]
    assert read(0, 5) == [make_lines(1, 5)]
    assert read(8, 8) == []


@pytest.mark.usefixtures("outbox_from_7")
def test_no_file(
    read: Callable[[int, int], list[bytes]],
    alerts_json: Path,
    make_lines: Callable[..., bytes],
):
    alerts_json.unlink()
    assert read(0, 10) == [make_lines(7, 2), make_lines(9, 2)]


def test_other_lines_repeats_and_torn_ones_are_passed_over(
    read: Callable[[int, int], list[bytes]], alerts_json: Path, make_lines: Callable[..., bytes]
):
    alerts_json.write_bytes(
        make_lines(1, 2) + b"junk\n\xff\n" + make_lines(2) + make_lines(5) + make_lines(3) + make_lines(6)[:-1]
    )
    assert read(0, 8) == [make_lines(1, 2), make_lines(5)]


def test_pieces_are_bounded(
    read: Callable[[int, int], list[bytes]],
    make_lines: Callable[..., bytes],
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr("hids.adapters.archive._ROW_LINES", 3)
    assert read(0, 8) == [make_lines(1, 3), make_lines(4, 3), make_lines(7, 2)]


def test_damaged_index_is_filled_anew(
    tmp_path: Path,
    alerts_json: Path,
    fill_outbox: Callable[..., None],
    make_lines: Callable[..., bytes],
):
    """Alerts 1 to 6 are only in the file, 7 and 8 in both, 9 only in the outbox."""
    fill_outbox(tmp_path / "ledger.db", [make_lines(7, 3)], 7)
    (tmp_path / "search.db").write_bytes(b"nonsense" * 1000)
    with structlog.testing.capture_logs():
        index = SearchIndex(tmp_path / "search.db", newest=9)
    with closing(index), closing(Outbox(tmp_path / "ledger.db")) as outbox:
        for rows in rows_after(outbox, alerts_json, index.number, newest=9):
            index.add(rows)
    with closing(Search(tmp_path / "search.db")) as search:
        found = search.find(Query(text="sshd", newest_first=False))
        assert b"".join(line + b"\n" for _, line in found) == make_lines(1, 9)
