"""ledger.db: a group is there as a whole or not at all, and all of it is there again after opening."""

import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hids.adapters.ledger import FORGOTTEN_TOGETHER, HOUR_MS, KNOWN_BATCHES, PROOF_HOURS, Ledger
from hids.adapters.outbox import Outbox
from hids.errors import StoreError
from hids.messages.baseline import Baseline
from hids.messages.evaluation import Dropped
from hids.messages.lane import DerivedBatch, Hole, Place, Progress
from hids.messages.lines import Batch, LogLine
from hids.messages.syscheck import FileFact
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import DeadLetter, Group, Stretch

AGENT = Agent(AgentId("007"), "web1", "10.0.0.1")
SOURCE = SourceId("agent/007")
CHAIN = b"c" * 32
LINE = LogLine("/var/log/x", b"line", 1, 2)
FACT = FileFact(path="/etc/passwd", seen="scan", size=5, sha256="ab")
KNOWN = Baseline(FACT, 2, b"d" * 32)
LATER = ("baseline", "history", "digest_check", "differing", "baseline_order", "maintenance")
"""Tables that the first schema has not."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def reopened(ledger: Ledger, path: Path) -> Ledger:
    ledger.close()
    return Ledger(path)


def alerts(*numbers: int) -> list[bytes]:
    return [b'{"n":%d}\n' % number for number in numbers]


def everything() -> Group:
    derived = SourceId("derived/agent/007")
    return Group(
        alerts=alerts(1, 2),
        state={("rule", b"key"): (b"window", 50)},
        fired={"rule": 3},
        baselines={("007", "/etc/passwd"): KNOWN},
        derived=[DerivedBatch(derived, AGENT, Batch(1, 1, 2, CHAIN, b"lines"))],
        holes=[Hole(SOURCE, AGENT, 1, 5, 9, CHAIN, "gone")],
        dead=[(SOURCE, 1, 3, Dropped(2, "poison", b"line", msgspec.msgpack.encode(LINE)), AGENT)],
        stretches={(SOURCE, 1): Stretch(1, 10, {"evaluated": 9, "dropped:poison": 1})},
        progress={"agent/007": Progress(1, 10, CHAIN)},
        digests=[("agent/007", 1, b"d" * 16)],
        counts={("agent/007", "evaluated"): 10},
        notices=("boot", 4),
        cursors={"alerts.json": 0, "search.db": 0},
    )


def test_a_new_ledger_knows_nothing(ledger: Ledger, path: Path):
    assert (ledger.progress(), ledger.fired(), ledger.derived(), ledger.derived_ends(), ledger.counts()) == (
        {},
        {},
        (),
        {},
        {},
    )
    assert ledger.next_alert() == 1
    assert ledger.window(("rule", b"key")) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_all_of_a_group_is_there_after_opening_again(ledger: Ledger, path: Path):
    group = everything()
    ledger.commit(group, 1)
    again = reopened(ledger, path)
    assert again.next_alert() == 3
    assert again.window(("rule", b"key")) == b"window"
    assert again.window(("rule", b"other")) is None
    assert again.fired() == {"rule": 3}
    assert again.baseline("007", "/etc/passwd") == KNOWN
    assert again.baseline("008", "/etc/passwd") is None
    assert again.derived() == tuple(group.derived)
    assert again.derived_ends() == {"derived/agent/007": (2, CHAIN)}
    assert again.progress() == group.progress
    assert again.counts() == group.counts
    assert (again.notices("boot"), again.notices("another")) == (4, 0)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT epoch, first, last, reason FROM hole").fetchall() == [(1, 5, 9, "gone")]
        assert db.execute("SELECT * FROM stretch").fetchall() == [("agent/007", 1, 0, 1, 10)]
        assert set(db.execute("SELECT what, n FROM tally")) == {("evaluated", 9), ("dropped:poison", 1)}
    db.close()
    assert [(row.first, row.count, row.lines) for row in Outbox(path).read(0)] == [(1, 2, b"".join(group.alerts))]
    assert again.dead_letters((1, 2)) == [
        DeadLetter(1, SOURCE, 1, 3, "poison", b"line", 0, "kept", agent=AGENT, line=LINE)
    ]
    again.close()


def test_lines_of_an_hour_are_one_stretch_unless_some_between_are_missing(ledger: Ledger, path: Path):
    for at_ms, first, last in ((5, 1, 10), (6, 11, 20), (7, 31, 40), (3_600_000, 41, 50)):
        counts = {"evaluated": last - first + 1}
        ledger.commit(Group(at_ms=at_ms, stretches={(SOURCE, 1): Stretch(first, last, counts)}), 1)
    with sqlite3.connect(path) as db:
        stretches = db.execute("SELECT hour, first, last FROM stretch ORDER BY hour, first").fetchall()
        assert stretches == [(0, 1, 20), (0, 31, 40), (1, 41, 50)]
        assert db.execute("SELECT hour, what, n FROM tally ORDER BY hour").fetchall() == [
            (0, "evaluated", 30),
            (1, "evaluated", 10),
        ]
    db.close()
    ledger.expire((PROOF_HOURS + 1) * 3_600_000)
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT hour, first, last FROM stretch").fetchall() == [(1, 41, 50)]
    db.close()


def test_a_dead_letter_is_settled_once(ledger: Ledger):
    ledger.commit(everything(), 1)
    ledger.commit(Group(at_ms=7, settled={1: "replayed"}), 3)
    ledger.commit(Group(at_ms=9, settled={1: "dropped"}), 3)
    (letter,) = ledger.dead_letters((1,))
    assert (letter.state, letter.settled_ms) == ("replayed", 7)


def test_the_quarantine_is_bounded_and_settled_letters_go_first(ledger: Ledger, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.adapters.ledger.QUARANTINE_MAX", 3)
    for seq in range(1, 6):
        ledger.commit(Group(dead=[(SOURCE, 1, seq, Dropped(0, "poison", b"line"), AGENT)], settled={2: "dropped"}), 1)
    assert [letter.number for letter in ledger.dead_letters(range(1, 10))] == [3, 4, 5]


def test_a_line_at_which_the_lane_died_twice_is_named_until_it_is_committed(ledger: Ledger):
    place = Place("agent/007", 1, 5)
    assert ledger.suspect(None) == ()
    assert ledger.suspect(place) == ()
    assert ledger.suspect(Place("agent/007", 1, 6)) == ()
    assert ledger.suspect(place) == (place,)
    assert ledger.suspect(None) == (place,)
    ledger.commit(Group(progress={"agent/007": Progress(1, 5, CHAIN)}), 1)
    assert ledger.suspect(None) == ()


def test_a_ledger_of_the_first_schema_is_taken_over(ledger: Ledger, path: Path):
    ledger.commit(everything(), 1)
    ledger.close()
    with sqlite3.connect(path) as db:
        for table in (*("quarantine", "stretch", "tally", "suspect"), *LATER):
            db.execute(f"DROP TABLE {table}")
        db.execute("CREATE TABLE dead (source TEXT, epoch INTEGER, seq INTEGER, reason TEXT, line BLOB)")
        db.execute("INSERT INTO dead VALUES ('agent/007', 1, 3, 'poison', 'line')")
        db.execute("CREATE TABLE syscheck (agent TEXT, path TEXT, fact BLOB)")
        for name in ("/", "/etc/passwd", r"HKEY_LOCAL_MACHINE\a\b", r"c:\windows/system32/x"):
            fact = FileFact(path=name, seen="scan")
            db.execute("INSERT INTO syscheck VALUES ('007', ?, ?)", (name, msgspec.msgpack.encode(fact)))
        db.execute("PRAGMA user_version=1")
    db.close()
    again = Ledger(path)
    assert again.progress() == {"agent/007": Progress(1, 10, CHAIN)}
    (letter,) = again.dead_letters((1,))
    assert (letter.seq, letter.state, letter.line) == (3, "kept", None)
    for name in ("/", "/etc/passwd", r"HKEY_LOCAL_MACHINE\a\b", r"c:\windows/system32/x"):
        assert again.baseline("007", name) == Baseline(FileFact(path=name, seen="scan"))
    again.close()


def test_a_group_that_cannot_be_written_leaves_no_trace(ledger: Ledger):
    ledger.commit(everything(), 1)
    before = (ledger.progress(), ledger.counts(), ledger.fired(), ledger.next_alert(), ledger.baseline("007", "/x"))
    bad = Group(
        alerts=alerts(1),
        fired={"rule": 99},
        progress={"agent/007": Progress(1, 99, CHAIN)},
        counts={("agent/007", "evaluated"): 1},
        baselines={("007", "/x"): KNOWN},
    )
    with pytest.raises(sqlite3.IntegrityError):
        ledger.commit(bad, 1)  # the number is taken
    assert (
        ledger.progress(),
        ledger.counts(),
        ledger.fired(),
        ledger.next_alert(),
        ledger.baseline("007", "/x"),
    ) == before
    ledger.commit(Group(alerts=alerts(3)), 3)
    assert ledger.next_alert() == 4


def test_counts_add_up_and_state_is_replaced(ledger: Ledger):
    for n in (1, 2, 3):
        ledger.commit(
            Group(
                state={("rule", b"key"): (b"window %d" % n, n)},
                counts={("agent/007", "evaluated"): n},
                fired={"rule": n},
            ),
            1,
        )
    assert ledger.window(("rule", b"key")) == b"window 3"
    assert ledger.counts() == {("agent/007", "evaluated"): 6}
    assert ledger.fired() == {"rule": 3}


def test_a_file_that_is_gone_leaves_the_baseline(ledger: Ledger):
    ledger.commit(Group(baselines={("007", "/a"): KNOWN}), 1)
    ledger.commit(Group(baselines={("007", "/a"): None}), 1)
    assert ledger.baseline("007", "/a") is None


def test_derived_lines_go_when_they_are_evaluated_and_their_numbers_go_on(ledger: Ledger, path: Path):
    ledger.commit(everything(), 1)
    ledger.commit(Group(progress={"derived/agent/007": Progress(1, 2, CHAIN)}), 3)
    assert ledger.derived() == ()
    again = reopened(ledger, path)
    assert again.derived_ends() == {"derived/agent/007": (2, CHAIN)}
    again.close()


def test_alerts_go_when_every_output_has_them_and_their_numbers_never_come_again(ledger: Ledger, path: Path):
    ledger.commit(Group(alerts=alerts(1, 2)), 1)
    ledger.commit(Group(alerts=alerts(3)), 3)
    ledger.commit(Group(cursors={"a": 3, "b": 1}), 4)
    assert [row.first for row in Outbox(path).read(0)] == [1, 3]
    ledger.commit(Group(cursors={"a": 3, "b": 2}), 4)
    assert [row.first for row in Outbox(path).read(0)] == [3]
    ledger.commit(Group(cursors={"a": 3, "b": 3}), 4)
    assert list(Outbox(path).read(0)) == []
    again = reopened(ledger, path)
    assert again.next_alert() == 4
    again.close()


def test_an_outbox_over_its_budget_loses_its_oldest_and_says_which(ledger: Ledger, path: Path):
    for number in range(1, 11):
        ledger.commit(Group(alerts=[os.urandom(1000).hex().encode() + b"\n"]), number)
    assert ledger.trim_outbox(100_000_000, 0) is None
    gone = ledger.trim_outbox(4_500, 0)
    assert gone is not None
    first, last = gone
    assert first == 1
    left = [row.first for row in Outbox(path).read(0)]
    assert left == list(range(last + 1, 11))
    assert 0 < len(left) < 6
    assert ledger.trim_outbox(0, 0) == (last + 1, 10)
    again = reopened(ledger, path)
    assert again.next_alert() == 11
    again.close()


def test_alerts_that_no_output_took_in_time_are_dropped(ledger: Ledger, path: Path):
    for number, at_ms in ((1, 100), (2, 200), (3, 300)):
        ledger.commit(Group(alerts=alerts(number), at_ms=at_ms), number)
    assert ledger.trim_outbox(1 << 30, 100) is None
    assert ledger.trim_outbox(1 << 30, 300) == (1, 2)
    assert [row.first for row in Outbox(path).read(0)] == [3]


def test_windows_that_are_long_past_are_forgotten_a_piece_at_a_time(ledger: Ledger):
    ledger.commit(Group(state={("rule", b"%d" % at): (b"w", at) for at in range(10)}), 1)
    assert ledger.expire(6, limit=4) == 4
    assert ledger.expire(6, limit=4) == 2
    assert ledger.expire(6) == 0
    assert [ledger.window(("rule", b"%d" % at)) is not None for at in range(10)] == [False] * 6 + [True] * 4


def test_a_batch_is_known_in_later_epochs_only(ledger: Ledger):
    ledger.commit(Group(digests=[("agent/007", 5, b"one")]), 1)
    assert not ledger.knows("agent/007", b"one", 5)
    assert ledger.knows("agent/007", b"one", 6)
    assert not ledger.knows("agent/008", b"one", 6)
    assert not ledger.knows("agent/007", b"two", 6)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("agent/007", "agent/008")),
            st.integers(1, 3),  # epoch
            st.integers(0, 2),  # hour
            st.integers(0, 1),  # lines missing before these
            st.sampled_from(("goes on", "is opened anew", "fails first")),
        ),
        max_size=20,
    )
)
@settings(max_examples=40, deadline=None)
def test_stretches_are_those_of_all_groups_whatever_happens_between(steps: list[tuple[str, int, int, int, str]]):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger.db"
        ledger = Ledger(path)
        ends: dict[tuple[str, int], int] = {}
        expected: list[tuple[str, int, int, int, int]] = []
        for source, epoch, hour, missing, then in steps:
            first = ends.get((source, epoch), 0) + 1 + missing
            last, at_ms = first + 1, hour * HOUR_MS
            ends[source, epoch] = last
            stretches = {(source, epoch): Stretch(first, last, {"evaluated": 2})}
            if then == "is opened anew":
                ledger.close()
                ledger = Ledger(path)
            elif then == "fails first":
                unwritable: Any = object()
                with pytest.raises(sqlite3.Error):
                    ledger.commit(Group(at_ms=at_ms, stretches=stretches, notices=("boot", unwritable)), 1)
            ledger.commit(Group(at_ms=at_ms, stretches=stretches), 1)
            before = next((row for row in expected if row[:3] == (source, epoch, hour) and row[4] == first - 1), None)
            if before is not None:
                expected.remove(before)
            expected.append((source, epoch, hour, before[3] if before else first, last))
        ledger.close()
        with closing(sqlite3.connect(path)) as db:
            assert sorted(db.execute("SELECT source, epoch, hour, first, last FROM stretch")) == sorted(expected)


def test_only_the_last_batches_of_a_source_are_known(ledger: Ledger):
    ledger.commit(Group(digests=[("agent/008", 1, b"theirs")]), 1)
    ledger.commit(Group(digests=[("agent/007", 1, b"%d" % n) for n in range(1, KNOWN_BATCHES + 2)]), 1)
    assert ledger.knows("agent/007", b"1", 2)  # those that are too old go together
    ledger.commit(Group(digests=[("agent/007", 1, b"more %d" % n) for n in range(2 * FORGOTTEN_TOGETHER)]), 1)
    oldest = next(n for n in range(1, KNOWN_BATCHES) if ledger.knows("agent/007", b"%d" % n, 2))
    assert FORGOTTEN_TOGETHER < oldest <= 2 * FORGOTTEN_TOGETHER + 1
    assert ledger.knows("agent/008", b"theirs", 2)


def test_a_file_that_is_no_database_is_refused_with_what_to_do(path: Path):
    path.write_bytes(b"not a database, for sure" * 500)
    with pytest.raises(StoreError, match=r"ledger\.db: .*move the file away and start again"):
        Ledger(path)


def test_a_newer_schema_is_refused(ledger: Ledger, path: Path):
    ledger.close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="schema 99 is newer than 3"):
        Ledger(path)


def test_a_damaged_page_is_found_at_the_start(ledger: Ledger, path: Path):
    for number in range(1, 200):
        ledger.commit(Group(alerts=[os.urandom(2000).hex().encode() + b"\n"]), number)
    ledger.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(size // 2)
        file.write(b"\xff" * 8192)
    with pytest.raises(StoreError, match="ledger"):
        Ledger(path)


@pytest.mark.slow
@pytest.mark.fault
def test_groups_survive_kill_9_whole(path: Path, tmp_path: Path):
    """A writer is killed in the middle of commits; alerts, progress and counts still tell one story."""
    writer = tmp_path / "writer.py"
    writer.write_text(
        textwrap.dedent(
            """
            import sys
            from pathlib import Path
            from hids.adapters.ledger import Ledger
            from hids.messages.lane import Progress
            from hids.ports import Group

            ledger = Ledger(Path(sys.argv[1]))
            number = ledger.next_alert()
            while True:
                ledger.commit(
                    Group(
                        alerts=[b"%d\\n" % number],
                        progress={"agent/007": Progress(1, number, bytes(32))},
                        counts={("agent/007", "evaluated"): 1},
                        state={("rule", b"key"): (b"%d" % number, number)},
                    ),
                    number,
                )
                print(number, flush=True)
                number += 1
            """
        )
    )
    said = 0
    for _ in range(3):
        process = subprocess.Popen([sys.executable, str(writer), str(path)], stdout=subprocess.PIPE)
        assert process.stdout is not None
        for line in process.stdout:
            said = int(line)
            if said % 20 == 0:
                break
        process.send_signal(signal.SIGKILL)
        rest = process.stdout.read().splitlines()
        process.stdout.close()
        process.wait()
        said = max([said, *(int(line) for line in rest if line)])
    ledger = Ledger(path)
    done = ledger.progress()["agent/007"].seq
    assert done >= said
    assert ledger.next_alert() == done + 1
    assert ledger.counts() == {("agent/007", "evaluated"): done}
    assert ledger.window(("rule", b"key")) == b"%d" % done
    lines = b"".join(row.lines for row in Outbox(path).read(0))
    assert lines == b"".join(b"%d\n" % number for number in range(1, done + 1))
    ledger.close()


def test_windows_over_the_bound_go_the_oldest_first(ledger: Ledger, path: Path):
    keys = {("rule", b"%d" % number): (b"data", 1_000 + number) for number in range(10)}
    ledger.commit(Group(state=keys), 1)
    assert ledger.trim_state(10) is None
    assert ledger.trim_state(7, at_once=2) == (2, 1_001)
    assert ledger.trim_state(7, at_once=2) == (1, 1_002)
    assert ledger.trim_state(7) is None
    again = reopened(ledger, path)
    assert [again.window(where) for where in keys] == [None] * 3 + [b"data"] * 7
    again.close()


def test_stored_windows_are_found_whether_all_are_known_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for known in (0, 2, 100):
        monkeypatch.setattr("hids.adapters.ledger.STORED_KNOWN", known)
        path = tmp_path / f"ledger-{known}.db"
        ledger = Ledger(path)
        for number in range(4):
            ledger.commit(Group(at_ms=1, state={("rule", b"%d" % number): (b"x", 1000 + number)}), 1)
            assert ledger.window(("rule", b"%d" % number)) == b"x"
            assert ledger.window(("rule", b"other")) is None
        ledger.close()
        again = Ledger(path)
        assert again.window(("rule", b"3")) == b"x"
        assert again.expire(1002) == 2
        assert [again.window(("rule", b"%d" % number)) for number in range(4)] == [None, None, b"x", b"x"]
        again.close()
