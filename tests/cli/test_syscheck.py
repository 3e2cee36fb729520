"""`hidsctl syscheck` and `maintenance` without a manager: what is read of the ledger, and how it is shown."""

import csv
import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hids.adapters.ledger import Ledger
from hids.cli import hidsctl
from hids.messages.baseline import Baseline, FileChange, Maintenance
from hids.messages.syscheck import FileFact
from hids.messages.terms import AgentId
from hids.ports import Group

EVIL = "/srv/\x1b[31m=1+1"
TOLD = b'{"changed_attributes":["size"],"package":{"name":"x","version":"1","content":"other"}}'


@pytest.fixture
def state(tmp_path: Path) -> Path:
    ledger = Ledger(tmp_path / "ledger.db")
    fact = FileFact(path=EVIL, seen="scan", mode=0o4755, size=5, mtime_ns=1_700_000_000_000_000_000)
    ledger.commit(
        Group(
            baselines={("007", EVIL): Baseline(fact, 2)},
            changes=[FileChange(AgentId("007"), path, 5, "modified", TOLD, 2) for path in (EVIL, "/etc/x")],
            maintenance=[Maintenance("abcdef0123", (AgentId("007"),), "web1", "=alice", "disks", 1, 2)],
        ),
        1,
    )
    ledger.close()
    return tmp_path


def run(state: Path, *arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(hidsctl.app, ["--state", str(state), *arguments])
    assert done.exit_code == status, done.output
    return done.stdout if status == 0 else done.output


def test_a_list_for_people_has_no_escapes(state: Path):
    shown = run(state, "syscheck", "list", "7")
    assert "\x1b" not in shown
    assert shown.splitlines()[0].split() == [
        *["number", "agent", "time", "event", "changes"],
        "accepted",
        "by",
        *["path", "changed", "answer"],
    ]
    assert "x 1: other" in shown
    assert "007    1      2" in run(state, "syscheck", "list")
    assert "nothing has changed" in run(state, "syscheck", "list", "008")
    assert "no change is kept" in run(state, "syscheck", "list", "008", "--all")


def test_a_list_for_spreadsheets_has_no_formulas(state: Path):
    rows = list(csv.DictReader(io.StringIO(run(state, "syscheck", "list", "007", "--csv"))))
    assert [row["path"] for row in rows] == ["/etc/x", "/srv/\\x1b[31m=1+1"]
    assert rows[0]["changed"] == "size"


def test_json_goes_first(state: Path):
    rows = json.loads(run(state, "syscheck", "history", "/etc/x", "--json", "--csv"))
    assert [(row["agent"], row["event"], row["changes"]) for row in rows] == [("007", "modified", 2)]


def test_a_path_is_shown_as_it_is(state: Path):
    shown = run(state, "syscheck", "show", EVIL)
    assert "permissions: rwsr-xr-x" in shown
    assert "\x1b" not in shown
    assert "nothing is known" in run(state, "syscheck", "show", "/no", status=1)


def test_maintenances_are_shown_with_and_without_end(state: Path):
    assert json.loads(run(state, "maintenance", "status", "--json"))[0]["owner"] == "=alice"
    assert "abcdef01" in run(state, "maintenance", "status")
    assert "no such maintenance" in run(state, "maintenance", "end", "zz", status=1)


def test_without_a_ledger_or_a_manager_it_ends_with_3(tmp_path: Path, state: Path):
    assert "no ledger yet" in run(tmp_path / "empty", "syscheck", "list", "007", status=3)
    run(state, "syscheck", "accept", "007", status=3)
    run(state, "maintenance", "start", "--agent", "007", "--reason", "x", status=3)


def test_clear_wants_to_know_whose(state: Path):
    run(state, "syscheck", "clear", status=2)
    run(state, "syscheck", "clear", "007", "--all", status=2)
