"""The ledger read beside its writer: whole moments, bounded transactions, and clear words when it cannot be read."""

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from hids.adapters.ledger import Ledger
from hids.adapters.proof import Lost, Proof
from hids.core.proof import Interval
from hids.errors import StoreError
from hids.messages.evaluation import Dropped
from hids.messages.lane import Hole, Progress
from hids.messages.lines import LogLine
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import Group, Stretch

AGENT = Agent(AgentId("007"), "web1", "")
SOURCE = SourceId("agent/007")
HOUR_MS = 3_600_000
LINE = LogLine("/var/log/x", b"line", 1, 2)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    ledger = Ledger(path)
    yield ledger
    ledger.close()


def group(first: int, last: int, at_ms: int, **more: object) -> Group:
    counts = {"evaluated": last - first + 1}
    return Group(
        at_ms=at_ms,
        progress={SOURCE: Progress(1, last, bytes(32))},
        stretches={(SOURCE, 1): Stretch(first, last, counts)},
        counts={(SOURCE, what): n for what, n in counts.items()} | {(SOURCE, "alerts"): 1},
        **more,  # type: ignore[arg-type]
    )


def test_what_was_committed_in_which_hour(ledger: Ledger, path: Path):
    ledger.commit(group(1, 10, 5), 1)
    ledger.commit(group(11, 15, HOUR_MS, holes=[Hole(SOURCE, AGENT, 1, 3, 4, bytes(32), "gone")]), 1)
    account = Proof(path).account()
    assert account.intervals == (
        Interval(SOURCE, 1, 0, ((1, 10),), {"evaluated": 10}),
        Interval(SOURCE, 1, 1, ((11, 15),), {"evaluated": 5}),
    )
    assert (account.alerts, account.holes) == (2, (Lost(SOURCE, 1, 3, 4, "gone"),))
    assert account.gaps() == []
    assert [interval.hour for interval in Proof(path).account(HOUR_MS + 5).intervals] == [1]
    assert Proof(path).totals() == {(SOURCE, "evaluated"): 15, (SOURCE, "alerts"): 2}


def test_dead_letters(ledger: Ledger, path: Path):
    packed = msgspec.msgpack.encode(LINE)
    ledger.commit(Group(dead=[(SOURCE, 1, 3, Dropped(2, "poison", b"line", packed), AGENT)], at_ms=9), 1)
    ledger.commit(Group(dead=[(SOURCE, 1, 4, Dropped(3, "malformed", b"words"), AGENT)], settled={1: "dropped"}), 1)
    proof = Proof(path)
    assert [letter.number for letter in proof.letters()] == [2]
    assert [(letter.number, letter.state, letter.line) for letter in proof.letters(settled=True)] == [
        (1, "dropped", LINE),
        (2, "kept", None),
    ]
    letter = proof.letter(1)
    assert letter is not None
    assert (letter.agent, letter.text, letter.at_ms) == (AGENT, b"line", 9)
    assert proof.letter(3) is None


def test_a_reader_sees_one_moment_and_keeps_no_transaction(ledger: Ledger, path: Path):
    proof = Proof(path)
    for number in range(1, 30):
        ledger.commit(group(number, number, 5), 1)
        account = proof.account()
        assert account.gaps() == []
        assert account.progress[SOURCE].seq == number
    with sqlite3.connect(path) as db:
        busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    db.close()
    assert busy == 0


def test_what_cannot_be_read_is_named(path: Path):
    with pytest.raises(StoreError, match="there is no ledger yet"):
        Proof(path).account()
    path.write_bytes(b"no database, but long enough to look at" * 100)
    with pytest.raises(StoreError, match="cannot be read: file is not a database"):
        Proof(path).letters()
    path.unlink()
    Ledger(path).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    with pytest.raises(StoreError, match="schema 99"):
        Proof(path).account()
