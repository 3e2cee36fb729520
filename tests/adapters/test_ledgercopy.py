"""A copy is whole or not there; a ledger that is restored is the copy, and the damaged one is kept."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from hids.adapters.ledger import Ledger
from hids.adapters.ledgercopy import copy_of, make_copy, restore
from hids.core.wire.lines import GENESIS, link, pack
from hids.errors import StoreDamaged, StoreError
from hids.messages.lane import DerivedBatch, Progress
from hids.messages.lines import Batch, LogLine
from hids.messages.terms import Agent, AgentId, SourceId
from hids.ports import Group


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def commit(ledger: Ledger, seq: int) -> None:
    ledger.commit(Group(progress={"agent/007": Progress(1, seq, bytes(32))}), 1)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[100:] = b"\xff" * (len(data) - 100)
    path.write_bytes(data)


def test_a_copy_is_one_moment_and_takes_the_place_of_a_damaged_ledger(path: Path):
    ledger = Ledger(path)
    commit(ledger, 5)
    assert make_copy(path)
    commit(ledger, 9)
    ledger.close()
    damage(path)
    with pytest.raises(StoreDamaged):
        Ledger(path)
    made_ms = restore(path, 1_700_000_000_000)
    assert made_ms == copy_of(path).stat().st_mtime_ns // 1_000_000
    again = Ledger(path)
    assert again.progress()["agent/007"].seq == 5
    again.close()
    assert path.with_name("ledger.db.damaged-1700000000").exists()
    assert copy_of(path).stat().st_mode & 0o777 == 0o600


def derive(ledger: Ledger, first: int, epoch: int, *texts: bytes) -> None:
    data = pack([LogLine("hids-agent", text, 1, 1, "agent") for text in texts])
    batch = Batch(epoch=epoch, first_seq=first, count=len(texts), chain=link(GENESIS, data), data=data)
    source = SourceId("derived/agent/007")
    ledger.commit(Group(derived=[DerivedBatch(source, Agent(AgentId("007"), "web1", ""), batch)]), 1)


def test_derived_lines_of_a_restored_ledger_are_others_than_those_that_came_after_the_copy(path: Path):
    ledger = Ledger(path)
    derive(ledger, 1, 1, b"evaluated")
    done = Progress(1, 1, bytes(32))
    ledger.commit(Group(progress={"derived/agent/007": done}), 1)
    derive(ledger, 2, 1, b"waits", b"too")
    derive(ledger, 4, 1, b"and this")
    make_copy(path)
    derive(ledger, 5, 1, b"after the copy")
    ledger.close()
    damage(path)
    restore(path, 1_700_000_000_000)
    again = Ledger(path)
    epoch = 1_700_000_000
    assert again.derived_epoch == epoch
    waiting = [derived.batch for derived in again.derived()]
    assert [(one.epoch, one.first_seq, one.count) for one in waiting] == [(epoch, 1, 2), (epoch, 3, 1)]
    assert waiting[0].chain == link(GENESIS, waiting[0].data)
    assert waiting[1].chain == link(waiting[0].chain, waiting[1].data)
    assert again.derived_ends() == {"derived/agent/007": (3, waiting[1].chain)}
    # What main still had of before, and then the new ones.
    again.commit(Group(progress={"derived/agent/007": Progress(1, 5, bytes(32))}), 1)
    assert len(again.derived()) == 2
    again.commit(Group(progress={"derived/agent/007": Progress(epoch, 2, bytes(32))}), 1)
    assert [derived.batch.first_seq for derived in again.derived()] == [3]
    again.close()


def test_a_copy_of_a_copy_has_a_larger_epoch_even_when_the_clock_went_back(path: Path):
    ledger = Ledger(path, 1_700_000_000_000)
    assert ledger.derived_epoch == 1_700_000_000
    make_copy(path)
    ledger.close()
    damage(path)
    restore(path, 5_000)
    again = Ledger(path, 6_000)
    assert again.derived_epoch == 1_700_000_001
    again.close()


def test_without_a_copy_nothing_is_touched(path: Path):
    Ledger(path).close()
    damage(path)
    before = path.read_bytes()
    assert restore(path, 5) is None
    assert path.read_bytes() == before


def test_a_damaged_ledger_is_not_copied_over_a_good_copy(path: Path):
    ledger = Ledger(path)
    commit(ledger, 5)
    make_copy(path)
    ledger.close()
    good = copy_of(path).read_bytes()
    damage(path)
    with pytest.raises(StoreError, match="cannot be copied"):
        make_copy(path)
    assert copy_of(path).read_bytes() == good
    assert sorted(file.name for file in path.parent.iterdir() if "draft" in file.name) == []


def test_a_disk_without_room_for_it_gets_no_copy(path: Path, monkeypatch: pytest.MonkeyPatch):
    Ledger(path).close()
    monkeypatch.setattr("hids.adapters.ledgercopy.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    assert not make_copy(path)
    assert not copy_of(path).exists()
