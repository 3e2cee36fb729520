"""The spool on real SQLite files: numbers, chain, budgets, damage, and the loss of power in between."""

import os
import signal
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.agent.spool import Spool
from hids.core.wire.lines import GENESIS, link, unpack
from hids.errors import StoreError
from hids.messages.lines import MAX_BATCH_LINES, MAX_BATCH_PACKED, LogLine

NOW_MS = 1_795_500_000_000


def line(text: bytes) -> LogLine:
    return LogLine(location="/var/log/x", text=text, at_ms=NOW_MS, read_ms=NOW_MS)


def texts(spool: Spool) -> list[bytes]:
    numbers = spool.numbers
    return [line.text for batch in spool.batches(numbers.oldest, 1 << 40) for line in unpack(batch.data, batch.count)]


def check(spool: Spool) -> None:
    """Sequences have no gap, the chain holds, and the numbers agree with the rows."""
    numbers = spool.numbers
    seq, chain, size = numbers.oldest, numbers.oldest_chain, 0
    for batch in spool.batches(numbers.oldest, 1 << 40):
        assert batch.first_seq == seq
        assert batch.epoch == numbers.epoch
        assert batch.count <= MAX_BATCH_LINES
        assert len(batch.data) <= MAX_BATCH_PACKED
        chain = link(chain, batch.data)
        assert batch.chain == chain
        seq += batch.count
        size += len(batch.data)
    assert (numbers.next, numbers.chain) == (seq, chain)
    assert spool.packed_bytes == size


def test_a_new_spool_is_empty_and_its_epoch_is_the_time(tmp_path: Path):
    spool = Spool.open(tmp_path / "s.db", NOW_MS)
    numbers = spool.numbers
    assert (numbers.epoch, numbers.oldest, numbers.next) == (NOW_MS // 1000, 1, 1)
    assert numbers.oldest_chain == numbers.chain == GENESIS
    assert spool.batches(1, 1000) == ()
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o600
    spool.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(0, 1200)),
            st.tuples(st.just("trim"), st.integers(0, 3000)),
            st.tuples(st.just("epoch"), st.integers(0, 3_000_000_000)),
            st.tuples(st.just("reopen"), st.just(0)),
        ),
        max_size=12,
    )
)
def test_whatever_happens_lines_keep_their_order_and_only_committed_ones_go(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
):
    path = tmp_path_factory.mktemp("spool") / "s.db"
    spool = Spool.open(path, NOW_MS)
    waiting: list[bytes] = []
    written = 0
    for step, number in steps:
        if step == "append":
            new = [b"line %d" % (written + i) for i in range(number)]
            spool.append([line(text) for text in new], {})
            waiting += new
            written += number
        elif step == "trim":
            before = spool.numbers
            spool.trim(before.oldest + number)
            gone = spool.numbers.oldest - before.oldest
            assert spool.numbers.oldest <= before.oldest + number + 1
            del waiting[:gone]
        elif step == "epoch":
            old = spool.numbers
            data = [batch.data for batch in spool.batches(old.oldest, 1 << 40)]
            spool.new_epoch(number, NOW_MS)
            numbers = spool.numbers
            assert numbers.epoch > max(old.epoch, number)
            assert (numbers.previous_epoch, numbers.oldest, numbers.oldest_chain) == (old.epoch, 1, GENESIS)
            assert [batch.data for batch in spool.batches(1, 1 << 40)] == data
        else:
            spool.close()
            spool = Spool.open(path, NOW_MS)
        check(spool)
        assert texts(spool) == waiting
    spool.close()


def test_incompressible_lines_are_halved_until_a_batch_fits(tmp_path: Path):
    spool = Spool.open(tmp_path / "s.db", NOW_MS)
    noise = [os.urandom(60_000) for _ in range(33)]
    spool.append([line(text) for text in noise], {})
    check(spool)
    assert texts(spool) == noise
    spool.close()


def test_batches_gives_one_at_least_and_then_keeps_to_the_limit(tmp_path: Path):
    spool = Spool.open(tmp_path / "s.db", NOW_MS)
    for number in range(5):
        spool.append([line(b"%d" % number)], {})
    size = len(spool.batches(1, 0)[0].data)
    assert len(spool.batches(1, 0)) == 1
    assert len(spool.batches(2, 3 * size + 5)) == 3
    assert spool.batches(6, 1000) == ()
    spool.close()


def test_nothing_begins_in_the_middle_of_a_batch(tmp_path: Path):
    spool = Spool.open(tmp_path / "s.db", NOW_MS)
    spool.append([line(b"a"), line(b"b")], {})
    spool.append([line(b"c")], {})
    assert spool.batches(2, 1000) == ()
    spool.close()


def test_positions_are_kept_replaced_forgotten_and_found_by_prefix(tmp_path: Path):
    spool = Spool.open(tmp_path / "s.db", NOW_MS)
    spool.append([], {"tail:/a//1": b"x", "tail:/a//2": b"y", "tail:/ab//1": b"z"})
    spool.append([], {"tail:/a//1": b"xx", "tail:/a//2": None, "tail:/none": None})
    assert spool.positions("tail:/a//") == {"tail:/a//1": b"xx"}
    spool.close()


def test_a_failed_transaction_leaves_nothing(tmp_path: Path):
    spool = Spool.open(tmp_path / "s.db", NOW_MS)
    spool.append([line(b"a")], {"k": b"1"})
    with pytest.raises(sqlite3.Error):
        spool.append([line(b"b")], {"k": b"2", "bad": object()})  # type: ignore[dict-item]
    assert texts(spool) == [b"a"]
    assert spool.positions("k") == {"k": b"1"}
    check(spool)
    spool.append([line(b"c")], {})
    assert texts(spool) == [b"a", b"c"]
    spool.close()


@pytest.mark.fault
def test_a_damaged_spool_is_moved_aside_and_its_epoch_is_not_used_again(tmp_path: Path):
    path = tmp_path / "s.db"
    spool = Spool.open(path, NOW_MS)
    spool.append([line(os.urandom(5000)) for _ in range(200)], {})
    spool.close()
    content = bytearray(path.read_bytes())
    content[40_000:120_000] = os.urandom(80_000)
    path.write_bytes(content)

    again = Spool.open(path, NOW_MS)
    assert again.numbers.epoch > NOW_MS // 1000
    assert again.numbers.previous_epoch == NOW_MS // 1000
    assert texts(again) == []
    assert [p for p in tmp_path.iterdir() if ".damaged-" in p.name]
    again.append([line(b"on")], {})
    check(again)
    again.close()


def test_a_file_that_is_no_database_is_moved_aside(tmp_path: Path):
    path = tmp_path / "s.db"
    path.write_bytes(b"this is not SQLite, whatever its name says" * 100)
    spool = Spool.open(path, NOW_MS)
    assert spool.numbers.next == 1
    spool.close()


def test_a_newer_schema_is_left_alone(tmp_path: Path):
    path = tmp_path / "s.db"
    Spool.open(path, NOW_MS).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="newer hids"):
        Spool.open(path, NOW_MS)
    assert path.exists()


def test_a_folder_in_its_place_is_one_clear_error(tmp_path: Path):
    (tmp_path / "s.db").mkdir()
    with pytest.raises(StoreError, match="cannot open the spool"):
        Spool.open(tmp_path / "s.db", NOW_MS)


@pytest.mark.slow
@pytest.mark.fault
def test_kill_in_the_middle_of_appends_leaves_lines_and_position_in_step(tmp_path: Path):
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from hids.agent.spool import Spool
        from hids.messages.lines import LogLine
        spool = Spool.open(Path(sys.argv[1]), 1_000_000)
        number = int(spool.positions("n").get("n", b"0"))
        while True:
            lines = [LogLine(location="x", text=b"%d" % (number + i), at_ms=0, read_ms=0) for i in range(7)]
            number += 7
            spool.append(lines, {"n": b"%d" % number})
            print(number, flush=True)
        """
    )
    path = tmp_path / "s.db"
    said = 0
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-c", program, str(path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path.cwd())},
        )
        assert process.stdout is not None
        for _ in range(20):
            said = int(process.stdout.readline())
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    spool = Spool.open(path, NOW_MS)
    check(spool)
    assert texts(spool) == [b"%d" % i for i in range(spool.numbers.next - 1)]
    assert spool.positions("n") == {"n": b"%d" % (spool.numbers.next - 1)}
    assert spool.numbers.next > said, "what was confirmed is there"
    spool.close()
