"""responses.db: orders and cursor move together, a replay changes nothing, and a restart knows what was in force."""

import sqlite3
from pathlib import Path

import msgspec
import pytest

from hids.adapters import responses
from hids.adapters.responses import ResponseBook, ResponseStore
from hids.core.response.blocks import Blocks
from hids.core.response.ledger import Kept, OrderRow
from hids.errors import StoreError
from hids.messages.response import Respond
from hids.messages.terms import AgentId

NOW_MS = 1_795_490_502_000
ROW = OrderRow(
    id="007-1-1:drop:001",
    at_ms=NOW_MS,
    agent=AgentId("001"),
    agent_name="web1",
    response="drop",
    command="firewall-drop",
    action="firewall-drop",
    target="192.0.2.7",
    alert="007-1-1",
    rule="201250",
    why="brute force",
    until_ms=NOW_MS + 600_000,
    state="open",
    changed_ms=NOW_MS,
)
RESPOND = Respond(b"body", b"signature", b"certificate")


def other(number: int, **changes: object) -> OrderRow:
    return msgspec.structs.replace(ROW, id=f"x{number}", target=f"192.0.2.{number}", **changes)


@pytest.fixture
def store(tmp_path: Path) -> ResponseStore:
    return ResponseStore(tmp_path / "responses.db")


def test_a_replay_changes_nothing(store: ResponseStore, tmp_path: Path):
    assert store.cursor == -1
    store.commit([Kept(ROW, RESPOND)], 5)
    store.settle(ROW.id, "done", "", NOW_MS + 1)
    store.commit([Kept(ROW, RESPOND)], 5)
    store.close()
    again = ResponseStore(tmp_path / "responses.db")
    assert (again.cursor, again.row(ROW.id)) == (5, msgspec.structs.replace(ROW, state="done", changed_ms=NOW_MS + 1))
    assert again.unanswered() == []


def test_nothing_of_a_step_that_fails_is_there(store: ResponseStore):
    class Unpackable:
        pass

    bad = msgspec.structs.replace(ROW, why=Unpackable())
    with pytest.raises(StoreError, match="cannot be written"):
        store.commit([Kept(other(1)), Kept(bad)], 9)
    assert (store.cursor, store.row("x1")) == (-1, None)


def test_what_is_open_is_given_again_and_what_is_late_is_known(store: ResponseStore):
    store.commit([Kept(ROW, RESPOND), Kept(other(1, until_ms=NOW_MS + 1)), Kept(other(2, state="refused"))])
    assert [(kept.row.id, kept.respond) for kept in store.unanswered()] == [(ROW.id, RESPOND), ("x1", None)]
    assert [row.id for row in store.late(NOW_MS + 1)] == ["x1"]
    assert [row.id for row in store.live(NOW_MS + 1)] == [ROW.id]


def test_a_restart_knows_what_is_in_force_how_often_and_how_fast(store: ResponseStore):
    rows = [
        ROW,
        other(1, state="done", until_ms=0, alert="a1"),
        other(2, state="undone", alert="a2"),
        other(3, state="refused"),
        msgspec.structs.replace(other(2, state="done", alert="a2"), id="another agent", agent=AgentId("002")),
        msgspec.structs.replace(other(2, state="done", alert="a3", renews=True), id="a renewal"),
    ]
    store.commit([Kept(row) for row in rows])
    blocks = Blocks()
    store.restore(blocks, NOW_MS + 1000)
    assert blocks.targets(NOW_MS + 1000) == 3
    assert blocks.in_last_minute(NOW_MS + 1000) == 3
    assert blocks.times("firewall-drop", "192.0.2.2", NOW_MS) == 1
    assert blocks.times("firewall-drop", "192.0.2.3", NOW_MS) == 0
    assert blocks.active_until(("firewall-drop", "001", "192.0.2.1"), NOW_MS) == 0


def test_people_read_it_while_it_is_written(store: ResponseStore, tmp_path: Path):
    book = ResponseBook(tmp_path / "responses.db")
    store.commit([Kept(ROW, RESPOND), Kept(other(1, state="refused", until_ms=0))])
    store.settle(ROW.id, "failed", "nft is not installed", NOW_MS + 5)
    assert [row.id for row in book.rows()] == [ROW.id, "x1"]
    assert book.rows(live_at_ms=NOW_MS) == []
    assert [row.id for row in book.rows(text="192.0.2.7")] == [ROW.id]
    assert book.history(ROW.id) == [(NOW_MS, "open", ""), (NOW_MS + 5, "failed", "nft is not installed")]
    assert book.respond(ROW.id) == RESPOND
    assert ResponseBook(tmp_path / "none.db").rows() == []


def test_files_that_cannot_be_used_are_named(tmp_path: Path):
    path = tmp_path / "responses.db"
    path.write_bytes(b"x" * 4096)
    with pytest.raises(StoreError, match="cannot be read"):
        ResponseBook(path).rows()
    ResponseStore(path).close()  # agents know what is in force
    assert (tmp_path / "responses.db.damaged").read_bytes() == b"x" * 4096
    assert ResponseBook(path).rows() == []
    with pytest.raises(StoreError, match="cannot be used"):
        ResponseStore(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer hids"):
        ResponseStore(path)


def test_old_rows_go_but_never_what_is_in_force(store: ResponseStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setattr(responses, "MAX_ROWS", 5)
    monkeypatch.setattr(responses, "_KEEP_EVERY", 1)
    store.commit([Kept(other(1, state="done", until_ms=0)), Kept(other(2, state="done", until_ms=NOW_MS + 10**9))])
    store.commit([Kept(other(3, state="done", until_ms=NOW_MS - 1)), Kept(ROW, RESPOND)])
    for number in range(10, 40):
        store.commit([Kept(other(number, state="refused"))])
    ids = {row.id for row in ResponseBook(tmp_path / "responses.db").rows()}
    assert {"x1", "x2", ROW.id} < ids
    assert "x3" not in ids
    assert len(ids) == 8
    assert ResponseBook(tmp_path / "responses.db").history("x3") == []
