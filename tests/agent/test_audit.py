"""The kernel's audit over netlink: the real one."""

import itertools
import os
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hids.agent import audit as module
from hids.agent.audit import AuditError, Control, Reader, Record
from tests.agent.audits import audit_alone
from tests.agent.conftest import wait_until

KEY = b"hids-test-key"


@pytest.fixture
def control() -> Iterator[Control]:
    with audit_alone():
        made = Control()
        was = made.status()
        yield made
        made.unwatch_all(KEY)
        made.set_enabled(on=bool(was.enabled))
        made.set_backlog(was.backlog_limit)
        made.close()


def test_a_rule_is_added_once_makes_records_and_goes(control: Control, tmp_path: Path):
    reader = Reader()
    folder = os.fsencode(tmp_path)
    control.watch(folder, KEY)
    control.watch(folder, KEY)
    control.set_enabled(on=True)
    assert control.status().enabled == 1
    subprocess.run(["touch", str(tmp_path / "a b")], check=True)  # noqa: S607
    records: list[Record] = []

    def is_told() -> bool:
        select.select([reader], [], [], 0.01)
        records.extend(reader.read())
        return any(b"a b".hex().upper().encode() + b" " in record.text for record in records)

    wait_until(is_told)
    assert any(record.kind == 1300 and b'key="hids-test-key"' in record.text for record in records)
    reader.close()
    count, others = control.unwatch_all(KEY)
    assert (count, control.unwatch_all(KEY)) == (1, (0, others))


def test_what_cannot_be_watched_is_refused(control: Control, tmp_path: Path):
    with pytest.raises(AuditError, match="no audit: No such file or directory"):
        control.watch(os.fsencode(tmp_path / "none"), KEY)


def test_the_backlog_is_set(control: Control):
    control.set_backlog(1234)
    assert control.status().backlog_limit == 1234


def test_what_is_lost_is_told(control: Control, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The queue, made small, overflows."""
    monkeypatch.setattr(module, "QUEUE_BYTES", 4_096)
    reader = Reader()
    control.watch(os.fsencode(tmp_path), KEY)
    control.set_enabled(on=True)
    subprocess.run(["sh", "-c", f"for i in $(seq 99); do : > {tmp_path}/$i; done"], check=True)  # noqa: S607

    poll = select.poll()
    poll.register(reader, select.POLLERR)
    wait_until(lambda: poll.poll(0), "the queue is full")
    with pytest.raises(OverflowError):
        list(itertools.chain.from_iterable(reader.read() for _ in range(2)))
    reader.close()
