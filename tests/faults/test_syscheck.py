"""Kill -9 in the middle of a first scan and of changes: the baseline is whole, every change is told once."""

import os
import signal
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from stand import Stand, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]

FILES = 3_000
SHARE = 12
"""Files that are changed, deleted and moved in each round: fewer deletions than rule 206050 counts (40), for that rule's
`ignore` also silences the deletions by which it would fire again."""


def _killed(pid: int) -> bool:
    """Kill a process; False: status still named the one that was killed before."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def kill(stand: Stand, victim: str, config: str) -> None:
    """Kill, and start again what nobody else starts."""
    match victim:
        case "manager":
            assert stand.manager is not None
            stand.manager.kill()
            stand.start_manager()
        case "agent":
            stand.agents["web1"].kill()
            stand.start_agent("web1", config)
        case _:
            wait_for(lambda: _killed(stand.pid_of(victim)), f"{victim} is killed")


def rest(stand: Stand) -> bool:
    """Whether the agent has scanned, and the manager has all that it told."""
    if "syscheck: scan finished" not in stand.agents["web1"].output():
        return False
    spool = stand.agent_folder("web1") / "state" / "spool.db"
    with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
        oldest, following = db.execute("SELECT oldest, next FROM numbers").fetchone()
    return bool(oldest == following)


def told(stand: Stand) -> Counter[tuple[str, str]]:
    return Counter(
        (alert["syscheck"]["event"], Path(alert["syscheck"]["path"]).name)
        for alert in stand.alerts()
        if "syscheck" in alert
    )


def change(watched: Path, round_: int) -> set[tuple[str, str]]:
    """Change some of the files, each once; returns what is to be told."""
    first = round_ * SHARE * 3
    names = [f"file{number}" for number in range(first, first + SHARE * 3)]
    paths = {name: watched / f"d{int(name[4:]) % 10}" / name for name in names}
    expected: set[tuple[str, str]] = set()
    for number, (name, path) in enumerate(paths.items()):
        match number % 3:
            case 0:
                path.write_text(f"changed in round {round_}")
                expected.add(("modified", name))
            case 1:
                path.unlink()
                expected.add(("deleted", name))
            case _:
                path.rename(path.parent.parent / "other" / f"{name}-moved")
                expected.add(("moved", f"{name}-moved"))
        new = watched / "other" / f"new{round_}-{number}"
        new.write_text(str(new))
        expected.add(("added", new.name))
    return expected


@pytest.mark.parametrize("victim", ["agent", "lane", "manager"])
def test_every_change_exactly_once(stand: Stand, victim: str):
    watched = stand.folder / "watched"
    (watched / "other").mkdir(parents=True)
    for number in range(FILES):
        folder = watched / f"d{number % 10}"
        folder.mkdir(exist_ok=True)
        (folder / f"file{number}").write_text(f"content of {number}")
    stand.start_manager()
    stand.join("web1")
    config = f'[syscheck]\ndirectories = ["{watched}"]\n'
    stand.start_agent("web1", config)
    spool = stand.agent_folder("web1") / "state" / "spool.db"
    wait_for(lambda: _has_begun(spool), "the scan has begun")
    kill(stand, victim, config)
    there = {str(path) for path in (watched, *watched.rglob("*"))}
    # The end of a scan is said when all is handed on; what the spool gathers meanwhile is not yet in its file.
    wait_for(lambda: rest(stand) and _baseline(stand) >= there, "the first scan is through")
    wait_for(stand.whole, "the tree is whole")
    assert _baseline(stand) == there
    expected: set[tuple[str, str]] = set()
    for round_ in range(3):
        expected |= change(watched, round_)
        if round_ == 1:
            wait_for(lambda: len(told(stand)) > SHARE, "some are told")
        kill(stand, victim, config)
    wait_for(lambda: set(told(stand)) >= expected or _lost(stand, expected), "all changes are told", 60)
    wait_for(lambda: rest(stand), "nothing is under way")
    assert stand.agents["web1"].stop() == 0
    assert stand.manager is not None
    assert stand.manager.stop() == 0
    counts = told(stand)
    # A move that is seen half before and half after a death is told as what it is made of.
    halves = {
        name.removesuffix("-moved")
        for event, name in expected - set(counts)
        if event == "moved" and counts["added", name] == 1 and counts["deleted", name.removesuffix("-moved")] == 1
    }
    assert {name for event, name in expected - set(counts)} == {f"{name}-moved" for name in halves}
    assert {name for event, name in set(counts) - expected if not name.startswith("d")} <= halves | {
        f"{name}-moved" for name in halves
    }
    assert set(counts.values()) == {1}
    there = {str(path) for path in (watched, *watched.rglob("*"))}
    assert _baseline(stand) == there


def _lost(stand: Stand, expected: set[tuple[str, str]]) -> Any:
    """All but moves that were told in halves."""
    missing = {name for _, name in expected - set(told(stand))}
    return missing and all(name.endswith("-moved") and told(stand)["added", name] for name in missing)


def _has_begun(spool: Path) -> bool:
    try:
        with closing(sqlite3.connect(f"file:{spool}?mode=ro", uri=True)) as db:
            return bool(db.execute("SELECT count(*) FROM position").fetchone()[0])
    except sqlite3.OperationalError:
        return False


def _baseline(stand: Stand) -> set[str]:
    with closing(sqlite3.connect(f"file:{stand.paths.ledger}?mode=ro", uri=True)) as db:
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_master")}
        what = "folder || name FROM baseline" if "baseline" in tables else "path FROM syscheck"
        return {path for (path,) in db.execute(f"SELECT {what}")}
