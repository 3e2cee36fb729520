"""State that is lost or restored from an old copy, on either side: said, counted, and everything goes on."""

import shutil
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]

LINES_LOST = "206107"
EPOCH_CHANGED = "206115"


def append(log: Path, *users: str) -> None:
    with log.open("a") as file:
        file.writelines(failed_login(user, "192.0.2.7") for user in users)


def told(stand: Stand, user: str) -> int:
    return sum(f"user {user} from" in alert["full_log"] for alert in stand.alerts())


@pytest.fixture
def running(stand: Stand) -> Path:
    """A manager and an agent that have delivered a line; returns the log."""
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", config(log))
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    append(log, "first")
    wait_for(lambda: told(stand, "first"), "the first alert")
    return log


def config(log: Path) -> str:
    return f'[[source]]\npath = "{log}"\n'


def test_a_manager_that_lost_its_ledger_says_what_is_missing(stand: Stand, running: Path):
    assert stand.manager is not None
    assert stand.manager.stop() == 0
    for file in stand.paths.lib.glob("ledger.db*"):
        file.unlink()
    stand.start_manager()
    append(running, "second")
    wait_for(lambda: told(stand, "second"), "the second line's alert")
    wait_for(lambda: stand.rules()[LINES_LOST], "the hole is an alert")
    hole = next(alert for alert in stand.alerts() if alert["rule"]["id"] == LINES_LOST)
    assert hole["full_log"].startswith("lines lost: 1 to ")
    assert hole["agent"]["name"] == "web1"
    assert told(stand, "second") == 1


def test_an_agent_restored_from_an_old_copy_begins_a_new_epoch(stand: Stand, running: Path):
    state = stand.agent_folder("web1") / "state"
    assert stand.agents["web1"].stop() == 0
    copy = stand.folder / "copy"
    shutil.copytree(state, copy)
    stand.start_agent("web1", config(running))
    append(running, "second")
    wait_for(lambda: told(stand, "second"), "the second line's alert")
    stand.agents["web1"].kill()
    shutil.rmtree(state)
    shutil.copytree(copy, state)
    stand.start_agent("web1", config(running))
    append(running, "third")
    wait_for(lambda: told(stand, "third"), "the third line's alert")
    wait_for(lambda: stand.rules()[EPOCH_CHANGED], "the new epoch is an alert")
    assert told(stand, "first") == 1
    assert told(stand, "third") == 1


def test_an_agent_that_lost_its_spool_goes_on(stand: Stand, running: Path):
    assert stand.agents["web1"].stop() == 0
    for file in (stand.agent_folder("web1") / "state").glob("spool*"):
        file.unlink()
    stand.start_agent("web1", config(running))
    wait_for(lambda: stand.ask("agents")[0]["state"] == "connected", "it is back")
    wait_for(lambda: "started" in stand.agents["web1"].output(), "it runs")
    append(running, "later")
    wait_for(lambda: told(stand, "later"), "the alert of a line after it")
    assert told(stand, "first") == 1


@pytest.mark.usefixtures("running")
def test_a_damaged_ledger_is_named_and_the_rest_lives(stand: Stand):
    assert stand.manager is not None
    assert stand.manager.stop() == 0
    ledger = stand.paths.ledger
    for file in stand.paths.lib.glob("ledger.db-*"):
        file.unlink()
    size = ledger.stat().st_size
    with ledger.open("r+b") as file:
        file.seek(100)
        file.write(b"\xff" * (size // 2))
    stand.start_manager()
    manager = stand.manager
    wait_for(lambda: "move the file away" in manager.output(), "clear words in the log")
    assert stand.ask("agents")[0]["name"] == "web1"
