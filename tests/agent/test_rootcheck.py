"""Rootcheck as an actor: each finding once, again when it came back, what is resolved, exceptions, failures, restarts."""

import asyncio
import datetime
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hids.agent import rootcheck
from hids.agent.checks import files
from hids.agent.config import RootcheckConfig
from hids.agent.paths import Excluded
from hids.agent.rootcheck import Rootcheck
from hids.agent.syscheck import ScanNow
from hids.core.collect.rootcheck import RootcheckException
from hids.core.rootcheck.report import Ending, understand

Scene = Callable[..., None]
QUIET = dict.fromkeys(
    [f"check_{name}" for name in ("pids", "ports", "if", "deleted", "preload", "modules", "trojans", "sys")], False
)


def config(root: Path, **keys: Any) -> RootcheckConfig:
    (root / "tmp").mkdir(parents=True, exist_ok=True)
    return RootcheckConfig(**{"disabled": False, "max_rest_s": 0.0, "base_directory": str(root), **QUIET, **keys})


def start(yard: Any, configured: RootcheckConfig) -> Any:
    return yard.start(Rootcheck, "rootcheck", configured, Excluded(()))


def ends(yard: Any) -> list[Ending]:
    said = [understand(line.text) for line in yard.lines if line.kind == "rootcheck"]
    return [each.ending for each in said if each.what == "ending"]


def findings(yard: Any) -> list[str]:
    said = [understand(line.text) for line in yard.lines if line.kind == "rootcheck"]
    return [each.text for each in said if each.what == "finding"]


async def scanned(yard: Any, until: Any, times: int) -> None:
    await until(lambda: len(ends(yard)) >= times, f"scan {times}")


async def scan(yard: Any, until: Any) -> None:
    times = len(ends(yard))
    yard.desk.routes["rootcheck"].tell(ScanNow())
    await scanned(yard, until, times + 1)


def test_a_finding_is_told_once_and_again_when_it_came_back(in_yard: Scene, tmp_path: Path):
    root = tmp_path / "root"
    kinsing = root / "tmp/kinsing"

    async def scene(yard: Any, until: Any) -> None:
        configured = config(root)
        kinsing.touch()
        start(yard, configured)
        await scanned(yard, until, 1)
        text = f"Rootkit 'Kinsing' detected by the presence of file '{kinsing}'."
        (first,) = findings(yard)
        assert first.startswith(text)
        assert ends(yard)[0] == Ending(seen=(first,))
        await scan(yard, until)
        assert findings(yard) == [first]
        assert ends(yard)[1].seen == (first,), "it is there still, and that is said without an alert"
        kinsing.unlink()
        await scan(yard, until)
        assert ends(yard)[2].seen == ()
        kinsing.touch()
        await scan(yard, until)
        assert findings(yard) == [first, first]
        assert {line.location for line in yard.lines} == {"rootcheck"}

    in_yard(scene)


def test_a_restart_tells_nothing_twice_and_forgets_nothing(in_yard: Scene, tmp_path: Path):
    root = tmp_path / "root"

    async def first(yard: Any, until: Any) -> None:
        configured = config(root)
        (root / "tmp/kinsing").touch()
        start(yard, configured)
        await scanned(yard, until, 1)

    async def second(yard: Any, until: Any) -> None:
        (root / "tmp/kdevtmpfsi").touch()
        start(yard, config(root))
        await scanned(yard, until, 2)
        assert [text.split("'")[3].rpartition("/")[2] for text in findings(yard)] == ["kinsing", "kdevtmpfsi"]
        (root / "tmp/kinsing").unlink()

    async def third(yard: Any, until: Any) -> None:
        start(yard, config(root))
        await scanned(yard, until, 3)
        assert len(findings(yard)) == 2
        assert len(ends(yard)[-1].seen) == 1

    in_yard(first)
    in_yard(second)
    in_yard(third)


def test_one_that_was_ended_in_the_middle_goes_on_as_if_it_had_not(
    in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The first life tells a finding and is gone before its scan ends; what is told is a position beside the line."""
    root = tmp_path / "root"
    monkeypatch.setattr(rootcheck.Rootcheck, "_end", lambda self, scan, plan: asyncio.Event().wait())

    async def first(yard: Any, until: Any) -> None:
        configured = config(root)
        (root / "tmp/kinsing").touch()
        start(yard, configured)
        await until(lambda: findings(yard))
        assert not ends(yard)

    in_yard(first)
    monkeypatch.undo()

    async def second(yard: Any, until: Any) -> None:
        start(yard, config(root))
        await scanned(yard, until, 1)
        assert len(findings(yard)) == 1
        assert ends(yard)[0].seen == tuple(findings(yard))

    in_yard(second)


def test_when_it_scans(in_yard: Scene, tmp_path: Path):
    async def first(yard: Any, until: Any) -> None:
        state = start(yard, config(tmp_path / "root", scan_on_start=False))
        await scanned(yard, until, 1)  # it never has
        await until(lambda: state.idle)

    async def again(yard: Any, until: Any) -> None:
        state = start(yard, config(tmp_path / "root", scan_on_start=False))
        await until(lambda: state.idle)
        assert len(ends(yard)) == 1, "the last scan was a moment ago"
        await scan(yard, until)

    in_yard(first)
    in_yard(again)


def test_exceptions_hold_until_they_run_out(in_yard: Scene, tmp_path: Path):
    root = tmp_path / "root"

    def excepted(until_day: datetime.date | None) -> RootcheckConfig:
        exception = RootcheckException(finding="Rootkit 'Kinsing' *", reason="a miner of ours", until=until_day)
        return config(root, exception=(exception,))

    async def valid(yard: Any, until: Any) -> None:
        configured = excepted(datetime.date(2999, 1, 1))
        (root / "tmp/kinsing").touch()
        start(yard, configured)
        await scanned(yard, until, 1)
        assert findings(yard) == []
        assert ends(yard) == [Ending(excepted=1)]

    async def expired(yard: Any, until: Any) -> None:
        start(yard, excepted(datetime.date(2020, 1, 1)))
        await scanned(yard, until, 2)
        assert len(findings(yard)) == 1
        await scan(yard, until)
        assert yard.said == ["rootcheck exception expired: 2020-01-01: Rootkit 'Kinsing' * (a miner of ours)"]

    async def expired_still(yard: Any, until: Any) -> None:
        start(yard, excepted(datetime.date(2020, 1, 1)))
        await scanned(yard, until, 4)
        assert yard.said == []

    in_yard(valid)
    in_yard(expired)
    in_yard(expired_still)


def test_a_check_that_fails_resolves_nothing(in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "root"
    (root / "dev").mkdir(parents=True)
    (root / "dev/x").touch()

    def broken(host: Any) -> Any:
        raise OSError("out of order")
        yield

    async def scene(yard: Any, until: Any) -> None:
        start(yard, config(root))
        await scanned(yard, until, 1)
        monkeypatch.setattr(files, "check_dev", broken)
        (root / "dev/x").unlink()
        await scan(yard, until)
        assert ends(yard)[1].unfinished == ("dev",)
        assert ends(yard)[1].seen == tuple(findings(yard)) != ()
        monkeypatch.undo()
        await scan(yard, until)
        assert ends(yard)[2] == Ending()

    in_yard(scene)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: a setuid program must be root's")
def test_new_setuid_programs_are_told_over_restarts(in_yard: Scene, tmp_path: Path):
    root = tmp_path / "root"

    def program(name: str) -> None:
        (root / "usr").mkdir(exist_ok=True)
        (root / "usr" / name).touch()
        (root / "usr" / name).chmod(0o4755)

    async def first(yard: Any, until: Any) -> None:
        configured = config(root)
        program("old")
        start(yard, configured)
        await scanned(yard, until, 1)
        assert findings(yard) == []

    async def second(yard: Any, until: Any) -> None:
        program("new")
        start(yard, config(root))
        await scanned(yard, until, 2)
        await scan(yard, until)
        assert findings(yard) == [
            f"New setuid program: it runs as user 0 for whoever starts it, file '{root}/usr/new'."
        ]
        (root / "usr/new").unlink()
        await scan(yard, until)
        assert ends(yard)[-1].seen == ()

    in_yard(first)
    in_yard(second)


def test_more_findings_than_are_told(in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    root = tmp_path / "root"
    monkeypatch.setattr(rootcheck, "MAX_FINDINGS", 10)
    (root / "dev").mkdir(parents=True)
    for number in range(300):
        (root / "dev" / f"x{number:03}").touch()

    async def scene(yard: Any, until: Any) -> None:
        start(yard, config(root))
        await scanned(yard, until, 1)
        assert len(findings(yard)) == len(ends(yard)[0].seen) == 10

    in_yard(scene)


def test_databases_that_cannot_be_read_are_said(in_yard: Scene, tmp_path: Path):
    async def scene(yard: Any, until: Any) -> None:
        start(yard, config(tmp_path / "root", system_audit=("/nowhere/x.txt",)))
        await scanned(yard, until, 1)
        assert yard.said == [
            "source unreadable: /nowhere/x.txt: [rootcheck] system_audit: cannot be read: No such file or directory"
        ]

    in_yard(scene)
