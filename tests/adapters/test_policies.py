"""policy.db: what agents told, as rows."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.adapters import policies
from hids.adapters.policies import PolicyReader, PolicyStore
from hids.errors import StoreError
from hids.messages.terms import Agent, AgentId

WEB1, WEB2 = Agent(AgentId("001"), "web1", "10.0.0.1"), Agent(AgentId("002"), "web2", "10.0.0.2")
_json = msgspec.json.encode


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "policy.db"


@pytest.fixture
def store(path: Path) -> Iterator[PolicyStore]:
    made = PolicyStore(path)
    yield made
    made.close()


@pytest.fixture
def read(path: Path) -> Iterator[Callable[[], PolicyReader]]:
    readers: list[PolicyReader] = []

    def open_() -> PolicyReader:
        readers.append(PolicyReader(path))
        return readers[-1]

    yield open_
    for reader in readers:
        reader.close()


def check(id_: int = 1, result: str = "failed", policy: str = "p", previous: str = "", **body: Any) -> bytes:
    said: dict[str, Any] = {"type": "check", "id": 9, "policy": "P", "policy_id": policy}
    said["check"] = {"id": id_, "title": f"title {id_}", **body}
    said["check"] |= {"status": "Not applicable"} if result == "not applicable" else {"result": result}
    return _json(said | ({"previous_result": previous} if previous else {}))


def summary(passed: int = 1, failed: int = 1, policy: str = "p", **more: Any) -> bytes:
    said = {"type": "summary", "name": "Mine", "policy_id": policy, "passed": passed, "failed": failed, "invalid": 0}
    return _json(said | {"total_checks": passed + failed, "file": "p.yml", **more})


def record(store: PolicyStore, *lines: bytes, agent: Agent = WEB1, at_ms: int = 1_000) -> None:
    store.record([(agent, at_ms, line) for line in lines])


def test_results_keep_what_was_before_and_since_when(store: PolicyStore, read: Callable[[], PolicyReader]):
    record(store, check(1, "passed"), check(2, "failed"), summary())
    record(store, check(1, "failed", previous="passed"), summary(0, 2), at_ms=2_000)
    record(store, check(1, "failed", title="other words"), at_ms=3_000)
    reader = read()
    one, two = reader.results()
    assert (one.result, one.previous, one.since_ms, one.text.title) == ("failed", "passed", 2_000, "other words")
    assert (two.result, two.previous, two.since_ms) == ("failed", "", 1_000)
    (row,) = reader.policies()
    assert (row.agent, row.agent_name, row.policy, row.name, row.score, row.total) == ("001", "web1", "p", "Mine", 0, 2)
    assert [(point.at_ms, point.score) for point in reader.history()] == [(1_000, 50), (2_000, 0)]


def test_what_comes_again_after_a_crash_changes_nothing(store: PolicyStore, read: Callable[[], PolicyReader]):
    lines = (check(1, "passed"), summary(1, 0))
    changes = (check(1, "failed", previous="passed"), summary(0, 1))
    record(store, *lines)
    record(store, *changes, at_ms=2_000)
    reader = read()
    before = (reader.policies(), reader.results(), reader.history())
    record(store, *lines)
    record(store, *changes, at_ms=2_000)
    assert (reader.policies(), reader.results(), reader.history()) == before


def test_old_agents_do_not_say_what_was_before(store: PolicyStore, read: Callable[[], PolicyReader]):
    record(store, check(1, "passed"))
    record(store, check(1, "failed"), at_ms=2_000)
    (row,) = read().results()
    assert (row.result, row.previous) == ("failed", "passed")


def test_checks_and_policies_that_are_gone_are_forgotten_but_not_their_history(
    store: PolicyStore, read: Callable[[], PolicyReader]
):
    record(store, check(1), check(2), summary(0, 2, checks=[1, 2]), check(1, policy="q"), summary(0, 1, "q"))
    record(store, summary(0, 1, checks=[2]), at_ms=2_000)
    reader = read()
    assert [(row.policy, row.id) for row in reader.results()] == [("p", 2), ("q", 1)]
    record(store, _json({"type": "policies", "policies": ["q"]}), at_ms=3_000)
    assert [row.policy for row in reader.policies()] == ["q"]
    assert [row.policy for row in reader.results()] == ["q"]
    assert len(reader.history(policy="p")) == 2


def test_a_scan_without_news_moves_its_time(store: PolicyStore, read: Callable[[], PolicyReader]):
    record(store, summary())
    record(store, _json({"type": "scanned", "policy_id": "p"}), at_ms=5_000)
    (row,) = read().policies()
    assert (row.scanned_ms, row.changed_ms) == (5_000, 1_000)


def test_hosts_are_apart_and_share_texts(store: PolicyStore, path: Path, read: Callable[[], PolicyReader]):
    for agent in (WEB1, WEB2):
        record(store, check(1, "passed"), check(2, "failed"), summary(), agent=agent)
    reader = read()
    assert len(reader.results()) == 4
    assert [row.agent for row in reader.results(agent="web2")] == ["002", "002"]
    assert [row.id for row in reader.results(agent="001", result="failed")] == [2]
    assert [row.agent for row in reader.results(check=1)] == ["001", "002"]
    assert reader.policies(agent="web3") == []
    assert reader.results(agent="\udcff") == []
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM text").fetchone() == (2,)


def test_an_agent_cannot_fill_the_disk(
    store: PolicyStore, read: Callable[[], PolicyReader], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(policies, "MAX_CHECKS", 3)
    monkeypatch.setattr(policies, "MAX_POLICIES", 2)
    monkeypatch.setattr(policies, "MAX_HISTORY", 4)
    record(store, *(check(number, policy=policy) for policy in "pqr" for number in range(9)))
    record(store, *(summary(policy=policy) for policy in "pqr"))
    for at_ms in range(20):
        record(store, summary(), at_ms=at_ms)
    record(store, check(1, description="x" * 200_000))
    record(store, check(1, "reason" * 20_000, policy="p"))
    reader = read()
    assert [(row.policy, row.id) for row in reader.results()] == [(p, n) for p in "pq" for n in range(3)]
    assert [row.policy for row in reader.policies()] == ["p", "q"]
    assert len(reader.history(policy="p")) <= 4
    assert reader.results(policy="p", check=1)[0].text.description == "(too long to keep)"


@given(st.binary(max_size=200) | st.text(max_size=50).map(lambda text: check(1, text, text, text, reason=text)))
def test_hostile_lines_do_no_harm(line: bytes):
    store = PolicyStore(Path(":memory:"))
    record(store, line, summary(policy="é" * 1_000))
    store.close()


def test_texts_that_nobody_refers_to_go_when_it_is_opened(store: PolicyStore, path: Path):
    record(store, check(1, title="old"))
    record(store, check(1, title="new"))
    store.close()
    again = PolicyStore(path)
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM text").fetchone() == (1,)
    again.close()


def test_a_damaged_file_is_put_aside(path: Path, read: Callable[[], PolicyReader]):
    path.write_bytes(b"no database, whatever it says " * 1_000)
    store = PolicyStore(path)
    record(store, summary())
    store.close()
    assert path.with_name("policy.db.old").exists()
    assert len(read().policies()) == 1


def test_damage_inside_is_found_when_it_is_written_to(path: Path, read: Callable[[], PolicyReader]):
    store = PolicyStore(path)
    record(store, *(check(number, description="x" * 500) for number in range(500)), summary())
    store.close()
    data = bytearray(path.read_bytes())
    data[4096 * 2 :] = b"\xff" * (len(data) - 4096 * 2)
    path.write_bytes(data)
    store = PolicyStore(path)
    record(store, check(1), summary())
    store.close()
    assert [row.id for row in read().results()] == [1]
    assert path.with_name("policy.db.old").exists()


def test_a_file_of_version_1_goes_on(path: Path, read: Callable[[], PolicyReader]):
    before = PolicyStore(path)
    record(before, check(1, "passed"), summary(1, 0, origin="x"))
    before.close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("ALTER TABLE policy DROP COLUMN origin")
        db.execute("PRAGMA user_version = 1")
    after = PolicyStore(path)
    assert [(row.policy, row.origin) for row in read().policies()] == [("p", "")]
    record(after, summary(1, 0, origin="the manager, signed"), summary(1, 0, policy="q", origin="o" * 9_999))
    assert [(row.policy, row.origin) for row in read().policies()] == [("p", "the manager, signed"), ("q", "o" * 4_096)]
    after.close()


def test_another_version_is_put_aside_and_not_read(path: Path, read: Callable[[], PolicyReader]):
    PolicyStore(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version = 99")
    with pytest.raises(StoreError, match="of version 99, this program reads 2"):
        PolicyReader(path)
    PolicyStore(path).close()
    assert read().policies() == []


def test_without_a_file_the_reader_says_so(path: Path):
    with pytest.raises(StoreError, match="no results of policies yet"):
        PolicyReader(path)


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot be written"):
        PolicyStore(tmp_path / "no" / "policy.db")
