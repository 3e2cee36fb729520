"""A ledger that is locked by another program, or damaged: nothing is acknowledged that is not kept, and it is said."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

from hids.adapters.ledgercopy import copy_of, make_copy

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]


@pytest.fixture
def log(stand: Stand) -> Path:
    """A manager with an agent; the log that it reads."""
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    return log


def write(log: Path, *users: str) -> None:
    with log.open("a") as file:
        file.writelines(failed_login(user, f"192.0.2.{number}") for number, user in enumerate(users))


def told(stand: Stand, user: str) -> int:
    return sum(f"user {user} from" in alert["full_log"] for alert in stand.alerts())


def test_a_ledger_that_another_program_locks(stand: Stand, log: Path):
    with closing(sqlite3.connect(stand.paths.ledger, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        write(log, *(f"u{number}" for number in range(50)))
        wait_for(lambda: stand.nodes()["lane"]["restarts"], "the lane gives up waiting")
        assert stand.manager is not None
        assert "database is locked" in stand.manager.output()
        assert told(stand, "u1") == 0
        db.execute("ROLLBACK")
    wait_for(lambda: told(stand, "u49"), "all goes on")
    assert [told(stand, f"u{number}") for number in range(50)] == [1] * 50
    assert stand.ctl("ledger", "verify")["balances"]


def test_a_damaged_ledger_is_replaced_by_its_copy_and_what_is_missing_is_said(stand: Stand, log: Path):
    write(log, "first")
    wait_for(lambda: told(stand, "first"), "the first alert")
    assert make_copy(stand.paths.ledger)
    write(log, "second")
    wait_for(lambda: told(stand, "second"), "the second alert")
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= 2, "it is committed")
    assert stand.manager is not None
    assert stand.manager.stop() == 0
    for file in stand.paths.lib.glob("ledger.db-*"):
        file.unlink()
    with stand.paths.ledger.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (stand.paths.ledger.stat().st_size // 2))
    stand.start_manager()
    wait_for(lambda: stand.rules()["206119"], "it is an alert")
    write(log, "third")
    wait_for(lambda: told(stand, "third"), "the third alert")
    logs = [alert["full_log"] for alert in stand.alerts()]
    assert [log for log in logs if log.startswith("ledger restored: it was damaged; what was committed after ")]
    wait_for(lambda: stand.rules()["206107"], "the hole is an alert")
    assert len(list(stand.paths.lib.glob("ledger.db.damaged-*"))) == 1
    assert copy_of(stand.paths.ledger).exists()
    assert (told(stand, "first"), told(stand, "second"), told(stand, "third")) == (1, 1, 1)
    verdict = stand.ctl("ledger", "verify")
    assert verdict["balances"]
    assert verdict["lost"] > 0
