import resource
import signal
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from hids.adapters.outbox import Outbox, OutboxRow
from hids.adapters.search import Search
from hids.adapters.search_index import SearchIndex
from hids.adapters.search_query import Query
from hids.errors import StoreError

ALL = 100_000
AT_MS = 1_795_490_503_123
"""The time in `make_alert`."""


@pytest.fixture
def path(tmp_path: Path):
    return tmp_path / "search.db"


@pytest.fixture
def stack():
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def index(path: Path, stack: ExitStack):
    return stack.enter_context(closing(SearchIndex(path, ALL)))


@pytest.fixture
def row(make_lines: Callable[..., bytes]):
    def make(first: int, count: int = 1, **members: object) -> OutboxRow:
        return OutboxRow(first=first, count=count, lines=make_lines(first, count, **members))

    return make


@pytest.fixture
def find(index: SearchIndex, stack: ExitStack):
    """Numbers that a query finds, in its order; oldest first where it does not say."""
    search = stack.enter_context(closing(Search(index._path)))

    def find(**query: object) -> list[int]:
        return [number for number, _ in search.find(Query(**{"newest_first": False} | query))]

    return find


def rule(level: int, rule_id: int, *groups: str) -> dict[str, object]:
    return {"level": level, "description": f"rule {rule_id}", "id": str(rule_id), "groups": groups}


def test_gives_the_lines_back_as_they_were(
    index: SearchIndex, path: Path, row: Callable[..., OutboxRow], make_lines: Callable[..., bytes]
):
    index.add([row(1, 300), row(301)])
    assert index.number == 301
    with closing(Search(path)) as search:
        found = list(search.find(Query(limit=1000, newest_first=False)))
        assert search.newest() == 301
    assert [number for number, _ in found] == list(range(1, 302))
    assert b"".join(line + b"\n" for _, line in found) == make_lines(1, 301)


def test_newest_first_and_limit(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add([row(1, 200)])
    assert find(newest_first=True, limit=3) == [200, 199, 198]
    assert find(limit=3) == [1, 2, 3]


def test_order_is_that_of_event_time(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add([row(1), row(2, timestamp="2026-11-23T00:00:00.000+0000"), row(3)])
    assert find() == [2, 1, 3]
    assert find(after_number=1) == [2, 3]
    assert find(after_number=1, newest_first=True) == [3, 2]
    assert find(upto_number=2) == [2, 1]


def test_time_includes_both_ends(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add(
        [
            row(1, timestamp="2026-11-24T03:21:43.122+0000"),
            row(2),
            row(3, timestamp="2026-11-24T04:21:43.124+0100"),
        ]
    )
    assert find(since_ms=AT_MS) == [2, 3]
    assert find(until_ms=AT_MS) == [1, 2]
    assert find(since_ms=AT_MS, until_ms=AT_MS) == [2]
    assert find(since_ms=AT_MS, text="sshd") == [2, 3]
    assert find(since_ms=AT_MS + 9999, text="sshd") == []


def test_level_rule_and_group(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add([row(1, rule=rule(3, 200101, "a", "b")), row(2, rule=rule(7, 200102, "b", "bb"))])
    assert find(level_min=3) == [1, 2]
    assert find(level_min=4) == [2]
    assert find(rule=200101) == [1]
    assert find(group="b") == [1, 2]
    assert find(group="bb") == [2]
    assert find(group="B") == find(group="%") == find(group="") == []
    assert find(group="b", rule=200101, level_min=4) == []


def test_agent_by_id_or_name(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add(
        [
            row(1, agent={"id": "001", "name": "web"}),
            row(2, agent={"id": "002", "name": "db"}),
            row(3, agent={"id": "001", "name": "web-new"}),
        ]
    )
    assert find(agent="001") == find(agent="web") == find(agent="web-new") == [1, 3]
    assert find(agent="db") == [2]
    assert find(agent="we") == []


@pytest.mark.parametrize(
    "text",
    [
        "failed",
        "FAILED password",
        "192.0.2.7",
        '"failed password" joe',
        "authenticat*",
        "web1",
        "auth.log",
        "secret-value",
        "deep",
        "42",
        "earlier",
        "007-1-1",
        'unclosed "',
        "  sshd  ",
        "sshd !!!",
    ],
)
def test_text_is_found(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow], text: str):
    data = {"srcip": "192.0.2.7", "a": {"b": "secret-value", "c": ["deep"], "n": 42}}
    index.add([row(1, full_log="unclosed Failed password joe", previous_output="an earlier one", data=data)])
    assert find(text=text) == [1]


@pytest.mark.parametrize(
    "text", ['"password failed"', "fail", "nothing", "failed nothing", "", "!!!", '""', "192.0.2.70"]
)
def test_text_is_not_found(
    index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow], text: str
):
    index.add([row(1)])
    assert find(text=text) == []


@given(text=st.text(st.sampled_from('"*^:(){}+-\0\ud800 aNEAROT,\n')) | st.text())
def test_no_text_is_a_syntax_error(
    tmp_path_factory: pytest.TempPathFactory, make_lines: Callable[..., bytes], text: str
):
    path = tmp_path_factory.getbasetemp() / "syntax" / "search.db"
    if not path.exists():
        path.parent.mkdir()
        with closing(SearchIndex(path, ALL)) as index:
            index.add([OutboxRow(first=1, count=1, lines=make_lines(1))])
    with closing(Search(path)) as search:
        assert len(list(search.find(Query(text=text)))) <= 1
        assert list(search.find(Query(agent=text, group=text))) == []


def test_alerts_that_it_has_are_left_out(
    index: SearchIndex, path: Path, find: Callable[..., list[int]], row: Callable[..., OutboxRow]
):
    index.add([row(1, 3)])
    index.add([row(1, 3), row(2, 4)])
    index.close()
    with closing(SearchIndex(path, ALL)) as again:
        assert again.number == 5
        again.add([row(4, 3)])
    assert find(text="sshd") == find() == [1, 2, 3, 4, 5, 6]


def test_numbers_that_are_missing(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add([row(1, 2), row(10, 2)])
    index.add([row(20)])
    assert find() == [1, 2, 10, 11, 20]


def test_alert_that_cannot_be_indexed_is_kept_and_said(
    index: SearchIndex, path: Path, find: Callable[..., list[int]], row: Callable[..., OutboxRow]
):
    odd = OutboxRow(first=2, count=2, lines=b'{"odd":1}\n\xff\n')
    with structlog.testing.capture_logs() as logs:
        index.add([row(1), odd, row(4)])
    assert [entry["number"] for entry in logs] == [2, 3]
    assert find() == [1, 4]
    with closing(Search(path)) as search:
        assert search._line(2) == b'{"odd":1}'


def test_block_of_large_alerts(index: SearchIndex, path: Path, row: Callable[..., OutboxRow]):
    index.add([row(1, 9, full_log="x" * 100_000)])
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT first, count FROM blocks").fetchall() == [
            (1, 2),
            (3, 2),
            (5, 2),
            (7, 2),
            (9, 1),
        ]


# -- the file ------------------------------------------------------------------------------------------------


def test_damaged_file_is_put_aside(path: Path, row: Callable[..., OutboxRow]):
    path.write_bytes(b"nonsense" * 1000)
    with structlog.testing.capture_logs() as logs, closing(SearchIndex(path, ALL)) as index:
        assert index.number == 0
        index.add([row(1)])
        assert index.number == 1
    assert logs[0]["event"] == "search index is built anew"
    assert path.with_name("search.db.old").read_bytes() == b"nonsense" * 1000


@pytest.mark.fault
def test_file_of_which_only_the_first_page_is_left(path: Path, row: Callable[..., OutboxRow], index: SearchIndex):
    index.add([row(1, 500)])
    index.close()
    whole = path.read_bytes()
    path.write_bytes(whole[:4096] + b"\xff" * (len(whole) - 4096))
    with structlog.testing.capture_logs() as logs, closing(SearchIndex(path, ALL)) as again:
        assert again.number == 0
    assert [entry["event"] for entry in logs] == ["search index is built anew"]


@pytest.mark.fault
def test_damage_below_the_cursor(path: Path, row: Callable[..., OutboxRow], index: SearchIndex):
    """The cursor can be read, a page of the alerts is broken."""
    index.add([row(1, 500)])
    page = index._db.conn.execute("SELECT rootpage FROM sqlite_master WHERE name = 'alerts'").fetchone()[0]
    index.close()
    with path.open("r+b") as file:
        file.seek((page - 1) * 4096)
        file.write(b"\xff" * 4096)
    with closing(SearchIndex(path, ALL)) as damaged, structlog.testing.capture_logs():
        assert damaged.number == 500
        with pytest.raises(StoreError, match="damaged, read again after 0"):
            damaged.add([row(501)])
        assert damaged.number == 0
        damaged.add([row(1, 501)])
        assert damaged.number == 501


def test_other_version_is_put_aside(path: Path, index: SearchIndex, row: Callable[..., OutboxRow]):
    index.add([row(1)])
    index._db.conn.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="of version 99, this program reads 2"):
        Search(path)
    index.close()
    with structlog.testing.capture_logs(), closing(SearchIndex(path, ALL)) as again:
        assert again.number == 0


def test_index_of_a_ledger_that_is_gone(path: Path, index: SearchIndex, row: Callable[..., OutboxRow]):
    index.add([row(1, 9)])
    index.close()
    with structlog.testing.capture_logs() as logs, closing(SearchIndex(path, 8)) as again:
        assert again.number == 0
    assert logs[0]["reason"] == "it knows 9 alerts, the ledger 8"


def test_folder_that_is_not_there(tmp_path: Path):
    with pytest.raises(StoreError, match="the search index cannot be written"):
        SearchIndex(tmp_path / "nowhere" / "search.db", ALL)


@pytest.mark.fault
def test_disk_that_is_full(index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]):
    index.add([row(1)])
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (70_000, old[1]))
        with pytest.raises(StoreError, match="the search index cannot be written"):
            index.add([row(2, 2000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    assert (index.number, find()) == (1, [1])
    index.add([row(2, 2000)])
    assert len(find(text="sshd", limit=9999)) == 2001


KILLED = """
import sys
from pathlib import Path
from hids.adapters.outbox import Outbox
from hids.adapters.search_index import SearchIndex
folder = Path(sys.argv[1])
outbox, index = Outbox(folder / "ledger.db"), SearchIndex(folder / "search.db", 4000)
while rows := outbox.read(index.number, limit=1):
    index.add(rows)
    print(index.number, flush=True)
"""


@pytest.mark.slow
@pytest.mark.fault
def test_killed_process(tmp_path: Path, path: Path, fill_outbox: Callable[..., None], make_lines: Callable[..., bytes]):
    fill_outbox(tmp_path / "ledger.db", [make_lines(first, 20) for first in range(1, 4000, 20)])
    argv = [sys.executable, "-c", KILLED, str(tmp_path)]
    for lives in (3, 40, 90):
        with subprocess.Popen(argv, stdout=subprocess.PIPE) as process:
            assert process.stdout
            for _ in range(lives):
                process.stdout.readline()
            process.kill()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
    with closing(Search(path)) as search:
        for query in (
            Query(limit=9999, newest_first=False),
            Query(limit=9999, newest_first=False, text="sshd"),
        ):
            assert b"".join(line + b"\n" for _, line in search.find(query)) == make_lines(1, 4000)


# -- reading -------------------------------------------------------------------------------------------------


def test_no_index_yet(path: Path):
    with pytest.raises(StoreError, match="no search index yet"):
        Search(path)


def test_no_database(path: Path):
    path.write_bytes(b"nonsense" * 1000)
    with pytest.raises(StoreError, match="cannot be read"):
        Search(path)


def test_closed_index_can_be_read(index: SearchIndex, path: Path, row: Callable[..., OutboxRow]):
    index.add([row(1)])
    index.close()
    with closing(Search(path)) as search:
        assert len(list(search.find(Query()))) == 1


READER = """
import os, sys
from pathlib import Path
from hids.adapters.search import Search
from hids.adapters.search_query import Query
if os.geteuid() == 0:
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
print(len(list(Search(Path(sys.argv[1])).find(Query()))))
"""


@pytest.mark.slow
@pytest.mark.parametrize("running", [True, False], ids=["running", "stopped"])
def test_reader_that_may_not_write_the_folder(row: Callable[..., OutboxRow], *, running: bool):
    """Read-only members of the group; reading a write-ahead log usually takes files of one's own."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "search.db")
        index = SearchIndex(path, ALL)
        index.add([row(1)])
        if not running:
            index.close()
        path.parent.chmod(0o555)
        shown = subprocess.run([sys.executable, "-c", READER, str(path)], check=True, capture_output=True, text=True)
        path.parent.chmod(0o755)
        index.close()
    assert shown.stdout == "1\n"


def test_reader_keeps_no_transaction_open(index: SearchIndex, path: Path, row: Callable[..., OutboxRow]):
    index.add([row(1, 300)])
    with closing(Search(path)) as search:
        found = search.find(Query(limit=300))
        next(found)
        index.add([row(301)])
        blocked, _, _ = index._db.conn.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        assert not blocked
        assert len(list(found)) == 299


def test_alert_that_is_deleted_while_it_is_read(index: SearchIndex, path: Path, row: Callable[..., OutboxRow]):
    index.add([row(1, 128)])
    index.add([row(129, 128)])
    with closing(Search(path)) as search:
        found = search.find(Query(limit=300))
        next(found)
        index._db.conn.execute("DELETE FROM blocks WHERE first = 1")
        assert len(list(found)) == 127


def test_tells_of_changes_and_replacement(index: SearchIndex, path: Path, row: Callable[..., OutboxRow]):
    with closing(Search(path)) as search:
        before = search.data_version()
        assert search.data_version() == before
        index.add([row(1)])
        assert search.data_version() != before
        assert not search.replaced()
        path.rename(path.with_suffix(".moved"))
        assert search.replaced()


def test_plans_walk_an_order_instead_of_sorting(index: SearchIndex):
    """What must not get slow with ten million alerts."""
    from hids.adapters.search_query import select  # noqa: PLC0415 - only this test is about it

    for query in (
        Query(),
        Query(level_min=7, agent="007", rule=5, group="x", since_ms=1, until_ms=2),
        Query(after_number=5, level_min=7),
        Query(text="sshd", since_ms=1, level_min=7),
    ):
        sql, values = select(query)
        plan = "\n".join(step[3] for step in index._db.conn.execute(f"EXPLAIN QUERY PLAN {sql}", values))
        assert "SCAN alerts\n" not in plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan


def test_follows_a_real_outbox(
    tmp_path: Path,
    index: SearchIndex,
    find: Callable[..., list[int]],
    fill_outbox: Callable[..., None],
    make_lines: Callable[..., bytes],
):
    fill_outbox(tmp_path / "ledger.db", [make_lines(1, 3), make_lines(4, 2)])
    with closing(Outbox(tmp_path / "ledger.db")) as outbox:
        index.add(outbox.read(index.number))
        assert outbox.read(index.number) == []
    assert find() == [1, 2, 3, 4, 5]


def incident(name: str, news: str = "", **key: str) -> dict[str, object]:
    return {"id": name, "key": key, "news": news}


def part_of(number: int, what: dict[str, object]) -> dict[str, object]:
    return {"number": number, "source": "agent/007", "seq": number, "epoch": 1, "incident": what}


class TestIncidents:
    @pytest.fixture
    def search(self, index: SearchIndex, row: Callable[..., OutboxRow], stack: ExitStack) -> Search:
        """One incident over two agents, one of another address, and alerts that belong to none."""
        about = incident("007-1-1", "first", srcip="192.0.2.7")
        index.add([row(1, hids=part_of(1, about), rule=rule(8, 200150)), row(2)])
        index.add(
            [
                row(3, hids=part_of(3, incident("007-1-3", srcip="192.0.2.9")), rule=rule(10, 200151)),
                row(
                    4,
                    hids=part_of(4, about),
                    rule=rule(12, 200155),
                    agent={"id": "008", "name": "web2", "ip": "any"},
                    timestamp="2026-11-24T03:25:43.123+0000",
                ),
                row(5, hids=part_of(5, about), rule=rule(8, 200150), timestamp="2026-11-24T03:20:43.123+0000"),
            ]
        )
        return stack.enter_context(closing(Search(index._path)))

    def test_one_tells_its_first_last_count_level_agents_and_rules(self, search: Search):
        found = search.incident("007-1-1")
        assert found is not None
        assert (found.first_ms, found.last_ms) == (AT_MS - 60_000, AT_MS + 240_000)
        assert (found.count, found.level, found.key) == (3, 12, {"srcip": "192.0.2.7"})
        assert (found.agents, found.rules) == (("007", "008"), (200150, 200155))
        assert [number for number, _ in search.alerts_of("007-1-1", 10)] == [1, 4, 5]
        assert [number for number, _ in search.alerts_of("007-1-1", 2)] == [1, 4]
        assert search.incident("007-1-2") is None

    def test_the_list_has_the_latest_first_and_can_be_narrowed(self, search: Search):
        assert [found.id for found in search.incidents()] == ["007-1-1", "007-1-3"]
        assert [found.id for found in search.incidents(since_ms=AT_MS + 1)] == ["007-1-1"]
        assert [found.id for found in search.incidents(level_min=11)] == ["007-1-1"]
        assert [found.id for found in search.incidents(agent="web2")] == ["007-1-1"]
        assert [found.id for found in search.incidents(agent="009")] == []
        assert len(search.incidents(limit=1)) == 1

    def test_an_index_that_is_filled_anew_tells_the_same(self, search: Search, index: SearchIndex, path: Path):
        before = search.incidents()
        lines = [line for _, line in search.find(Query(newest_first=False, after_number=0))]
        with closing(SearchIndex(path.with_name("again.db"), ALL)) as again, ExitStack() as stack:
            again.add([OutboxRow(number, 1, line + b"\n") for number, line in enumerate(lines, 1)])
            assert stack.enter_context(closing(Search(again._path))).incidents() == before


# -- forgetting ----------------------------------------------------------------------------------------------


def at(second: int) -> str:
    return f"2026-11-24T03:21:{second:02d}.000+0000"


def test_the_oldest_are_forgotten_with_their_words_and_incidents(
    index: SearchIndex, path: Path, find: Callable[..., list[int]], row: Callable[..., OutboxRow]
):
    about = {"id": "1", "key": {}, "news": "first"}
    index.add([row(1, 128, timestamp=at(1), location="/old", hids={"number": 1, "incident": about})])
    index.add([row(129, 128, timestamp=at(2), location="/new")])
    before_ms = AT_MS - AT_MS % 60_000 + 2_000
    assert index.trim(before_ms, 0)
    assert not index.trim(before_ms, 0)
    assert find(limit=1000) == list(range(129, 257))
    assert (find(text="old"), len(find(text="new", limit=1000))) == ([], 128)
    with closing(Search(path)) as search:
        assert search.incidents() == []
    with closing(sqlite3.connect(path)) as db:
        db.execute("INSERT INTO alerts_text(alerts_text) VALUES ('integrity-check')")
        assert db.execute("SELECT count(*) FROM alerts_text WHERE alerts_text MATCH 'old'").fetchone() == (0,)


def test_an_index_that_is_too_large_forgets_until_it_is_not(
    index: SearchIndex, find: Callable[..., list[int]], row: Callable[..., OutboxRow]
):
    index.add([row(1, 8000)])
    size = index._used_bytes()
    for _ in range(1000):
        if not index.trim(0, size // 2):
            break
    forgotten = find(limit=1)[0] - 1
    assert 2000 < forgotten < 6000
    assert index._used_bytes() <= size // 2
    assert find(limit=10_000) == list(range(forgotten + 1, 8001))
    index.add([row(8001)])
    assert find(limit=10_000)[-1] == 8001


def test_what_cannot_be_indexed_is_forgotten_all_the_same(index: SearchIndex, row: Callable[..., OutboxRow]):
    index.add([OutboxRow(first=1, count=2, lines=b"{}\nnonsense\n"), row(3)])
    assert index.trim(2**60, 0)
    assert not index.trim(2**60, 0)
