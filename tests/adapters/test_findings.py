"""rootcheck.db: what is outstanding, what is resolved, and that writing twice changes nothing."""

import itertools
import os
import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.adapters import findings
from hids.adapters.findings import Findings, FindingsReader
from hids.core.rootcheck.report import ENDING, STARTING, Said, endings, understand
from hids.errors import StoreError
from hids.messages.lane import Place


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "rootcheck.db"


def said(*lines: tuple[int, bytes]) -> list[tuple[int, Said]]:
    return [(at_ms, understand(text)) for at_ms, text in lines]


def place(numbers: "itertools.count[int]" = itertools.count(1)) -> Place:  # noqa: B008 - one for all
    return Place("agent/001", 1, next(numbers))


def states(path: Path, agent: str | None = None) -> dict[str, bool]:
    return {row.text: row.outstanding for row in FindingsReader(path).findings(agent)}


def test_an_old_agent_tells_each_finding_at_each_scan(path: Path):
    with closing(Findings(path)) as file:
        file.note("001", "web1", place(), said((10, STARTING), (11, b"a"), (12, b"b"), (13, ENDING)))
        assert states(path) == {"a": True, "b": True}
        file.note("001", "web1", place(), said((20, STARTING), (21, b"b"), (22, b"c")))
        assert states(path) == {"a": True, "b": True, "c": True}, "the scan is not over"
        file.note("001", "web1", place(), said((23, ENDING)))
        assert states(path) == {"a": False, "b": True, "c": True}
    row = FindingsReader(path).findings()[1]
    assert (row.agent, row.name, row.text, row.first_ms, row.last_ms) == ("001", "web1", "b", 12, 21)
    (scan,) = FindingsReader(path).scans()
    assert (scan.started_ms, scan.ended_ms, scan.outstanding, scan.resolved) == (20, 23, 2, 1)


def test_our_agents_name_at_the_end_what_is_there(path: Path):
    with closing(Findings(path)) as file:
        file.note(
            "001",
            "web1",
            place(),
            said((10, STARTING), (11, b"a"), (12, b"b"), *((13, line) for line in endings(["a", "b"], 0, ()))),
        )
        file.note("001", "web1", place(), said((20, STARTING), *((23, line) for line in endings(["b"], 2, ["ports"]))))
    assert states(path) == {"a": False, "b": True}
    (scan,) = FindingsReader(path).scans("web1")
    assert (scan.excepted, scan.unfinished) == (2, "ports")


def test_an_end_in_several_parts_ends_with_the_last(path: Path):
    first, *_, last = endings(["x" * 4_000 + str(number) for number in range(30)], 0, ())
    with closing(Findings(path)) as file:
        file.note("001", "web1", place(), said((1, STARTING), (2, b"a"), (3, ENDING), (10, STARTING), (11, first)))
        assert states(path)["a"]
        file.note("001", "web1", place(), said((12, last)))
        assert not states(path)["a"]


def test_agents_are_apart_and_can_be_cleared(path: Path):
    with closing(Findings(path)) as file:
        file.note("001", "web1", place(), said((1, b"a")))
        file.note("002", "web2", place(), said((1, b"a"), (2, b"b")))
        reader = FindingsReader(path)
        assert states(path, "001") == states(path, "web1") == {"a": True}
        assert reader.clear("web2") == 2
        assert states(path) == {"a": True}
        assert reader.clear() == 1
        file.note("002", "web2", place(), said((3, STARTING), *((4, line) for line in endings(["b"], 0, ()))))
        assert states(path) == {"b": True}, "what is there comes back"


def test_a_clock_that_went_back_does_not_resolve_what_was_just_found(path: Path):
    with closing(Findings(path)) as file:
        file.note("001", "web1", place(), said((100, STARTING), (5, b"a"), (6, ENDING)))
    assert states(path) == {"a": True}


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.lists(st.sampled_from([STARTING, ENDING, b"a", b"b", *endings(["a"], 0, ())]), min_size=1), max_size=4),
    st.integers(0, 4),
)
def test_what_comes_again_after_a_crash_changes_nothing(batches: list[list[bytes]], crash: int):
    """Batches come in order; behind a crash those that were not committed come again from one of them on."""

    def rows(order: list[int]) -> list[object]:
        with tempfile.TemporaryDirectory() as folder, closing(Findings(Path(folder) / "x.db")) as file:
            for number in order:
                lines = said(*((number * 100 + n, line) for n, line in enumerate(batches[number])))
                file.note("001", "web1", Place("agent/001", 7, number + 1), lines)
            return [*file._db.execute("SELECT * FROM finding"), *file._db.execute("SELECT * FROM scan")]

    order = list(range(len(batches)))
    assert rows([*order, *order[crash:]]) == rows(order)


def test_there_are_not_more_than_so_many(path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(findings, "MAX_FINDINGS", 10)
    with closing(Findings(path)) as file:
        file.note("001", "web1", place(), said(*((number, b"%03d" % number) for number in range(50))))
        file.note("002", "web2", place(), said((1, b"a")))
    assert list(states(path, "001")) == [f"{number:03}" for number in range(40, 50)]
    assert states(path, "002") == {"a": True}


def test_hostile_texts(path: Path):
    ending = ENDING + b' {"seen": ["\\u0000\\u001b", "' + b"x" * 60_000 + b'"], "part": 1, "parts": 0}'
    with closing(Findings(path)) as file:
        file.note("001", "we'b1", place(), said((1, b"'; DROP TABLE finding;--\xff"), (2, b"\0"), (3, ending)))
    assert all(len(text) <= 4_096 for text in states(path))
    assert len(states(path)) == 4


def test_a_damaged_file_is_put_aside(path: Path):
    path.write_bytes(b"no database at all, and long enough to be looked at" * 100)
    with closing(Findings(path)) as file:
        file.note("001", "web1", place(), said((1, b"a")))
    assert states(path) == {"a": True}
    assert path.with_name("rootcheck.db.damaged").exists()
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_newer_file_and_none_are_refused(path: Path):
    with pytest.raises(StoreError, match="no agent has told"):
        FindingsReader(path).findings()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 9")
    with pytest.raises(StoreError, match="schema 9"):
        Findings(path)
    with pytest.raises(StoreError, match="schema 9"):
        FindingsReader(path).scans()


@pytest.mark.skipif(os.geteuid() == 0, reason="root may open everything")
def test_one_that_may_not_be_opened(path: Path):
    path.touch(mode=0)
    with pytest.raises(StoreError):
        Findings(path)
