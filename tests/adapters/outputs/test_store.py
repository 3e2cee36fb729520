"""Dead letters are durable, bounded, and one that a crash tore takes no other with it."""

from pathlib import Path

import pytest
from sample_alerts import alert
from waiting import SetClock

from hids.adapters.outputs import store
from hids.adapters.outputs.store import DeadLetters
from hids.errors import StoreError


def test_they_are_read_back_in_order_and_a_torn_one_is_left_out(tmp_path: Path):
    path = tmp_path / "syslog-siem.dead.jsonl"
    letters = DeadLetters(path, SetClock())
    letters.add(alert(1), "too odd")
    with path.open("ab") as file:
        file.write(b'{"at_ms":17')
    letters.add(alert(2), "x" * 5000)
    found = list(DeadLetters.of_all(tmp_path, SetClock())["syslog:siem"].read())
    assert [bytes(letter.alert) for letter in found] == [alert(1), alert(2)]
    assert (found[0].reason, len(found[1].reason)) == ("too odd", 1000)
    assert path.stat().st_mode & 0o777 == 0o600


def test_the_oldest_go_when_there_are_too_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "DEAD_BYTES", 3000)
    letters = DeadLetters(tmp_path / "webhook-a.dead.jsonl", SetClock())
    for number in range(1, 41):
        letters.add(alert(number), "no")
    found = [bytes(letter.alert) for letter in letters.read()]
    assert found == [alert(number) for number in range(41 - len(found), 41)]
    assert len(found) < 20
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 9000


def test_a_disk_that_does_not_take_it_is_told(tmp_path: Path):
    with pytest.raises(StoreError, match="cannot write"):
        DeadLetters(tmp_path / "gone" / "webhook-a.dead.jsonl", SetClock()).add(alert(1), "no")
