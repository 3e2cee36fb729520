"""What is read of baselines, beside what the store's tests and those from the outside ask."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from hids.adapters.baselines import Baselines, Known
from hids.adapters.ledger import Ledger
from hids.errors import StoreError
from hids.messages.baseline import Baseline, FileChange
from hids.messages.syscheck import FileFact
from hids.messages.terms import AgentId
from hids.ports import Group

REGISTRY = (r"HKEY_LOCAL_MACHINE\Software\x", r"[x64] HKEY_USERS\y", "HKEY_USERS")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path / "ledger.db")
    yield opened
    opened.close()


@pytest.fixture
def baselines(tmp_path: Path) -> Baselines:
    return Baselines(tmp_path / "ledger.db")


def put(ledger: Ledger, *paths: str, agent: str = "007", at_ms: int = 1, verdict: str = "") -> None:
    ledger.commit(
        Group(
            at_ms=at_ms,
            baselines={(agent, path): Baseline(FileFact(path=path, seen="scan")) for path in paths},
            changes=[FileChange(AgentId(agent), path, at_ms, "added", b"{}", 1, verdict) for path in paths],
        ),
        1,
    )


def test_each_agent_has_its_own(ledger: Ledger, baselines: Baselines):
    put(ledger, "/a", "/b", at_ms=5)
    put(ledger, "/a", agent="008", at_ms=7, verdict="package")
    assert baselines.agents() == [Known("007", 2, 2, 5), Known("008", 1, 0, 7)]
    assert set(baselines.at("/a")) == {"007", "008"}
    assert set(baselines.at("/a", "008")) == {"008"}
    assert [entry.agent for entry in baselines.history("/a", limit=9)] == ["007", "008"]
    assert [entry.agent for entry in baselines.history("/a", "008", limit=9)] == ["008"]


def test_changes_can_be_narrowed(ledger: Ledger, baselines: Baselines):
    put(ledger, "/etc", "/etc/a", "/etcetera", *REGISTRY, at_ms=5)
    put(ledger, "/etc/b", at_ms=6)
    assert [entry.path for entry in baselines.changes("007", "/etc", limit=9)] == ["/etc/b", "/etc/a", "/etc"]
    assert [entry.path for entry in baselines.changes("007", "/etc", limit=1)] == ["/etc/b"]
    assert [entry.path for entry in baselines.changes("007", since_ms=6, limit=9)] == ["/etc/b"]
    assert {entry.path for entry in baselines.changes("007", registry=True, limit=9)} == set(REGISTRY)
    assert [each.fact.path for each in baselines.below("007", "/etc")] == ["/etc", "/etc/a", "/etc/b"]
    assert len(list(baselines.below("007", ""))) == 7


def test_the_history_has_an_end(ledger: Ledger, baselines: Baselines):
    for at_ms in range(1, 11):
        put(ledger, f"/{at_ms}", at_ms=at_ms)
    assert ledger.trim_history(3, 100) == 2
    assert ledger.trim_history(3, 100) == 0
    assert ledger.trim_history(0, 5, at_once=2) == 2
    assert ledger.trim_history(0, 5) == 1
    assert [entry.path for entry in baselines.changes("007", limit=99)] == ["/10", "/9", "/8", "/7", "/6"]
    assert ledger.trim_history(99, 0) == 5
    put(ledger, "/new")
    assert baselines.last_change() == 11  # a number is never used again
    assert len(baselines.at("/1")) == 1


def test_a_ledger_that_is_not_there_is_said(tmp_path: Path):
    with pytest.raises(StoreError, match="no ledger yet"):
        Baselines(tmp_path / "no").agents()
