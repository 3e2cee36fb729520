"""`hidsctl alerts compliance`: alerts by requirement."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from hids.adapters.outbox import OutboxRow
from hids.adapters.paths import ManagerPaths
from hids.adapters.search_index import SearchIndex
from hids.cli.hidsctl import app


def alert(number: int, rule: int, level: int, agent: str, at: str, **compliance: list[str]) -> bytes:
    said: dict[str, Any] = {
        "timestamp": at,
        "rule": {"id": str(rule), "level": level, "description": "d", "groups": ["a"]},
    }
    said["rule"] |= compliance
    return msgspec.json.encode(said | {"agent": {"id": agent, "name": f"web{agent}"}, "id": str(number)})


ALERTS = [
    alert(1, 5, 3, "1", "2026-11-24T03:00:00.000+0000", pci_dss=["10.2.4", "2.2"], nist_800_53=["AU.14"]),
    alert(2, 5, 3, "2", "2026-11-24T04:00:00.000+0000", pci_dss=["10.2.4", "2.2"], nist_800_53=["AU.14"]),
    alert(3, 6, 9, "1", "2026-11-24T05:00:00.000+0000", pci_dss=["10.2.4"], gdpr=["IV_35.7.d"]),
    alert(4, 7, 3, "1", "2026-11-24T06:00:00.000+0000"),
    alert(5, 5, 3, "1", "2020-01-01T00:00:00.000+0000", pci_dss=["10.2.4", "2.2"]),
]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    index = SearchIndex(ManagerPaths.of(tmp_path).search, len(ALERTS))
    index.add([OutboxRow(1, len(ALERTS), b"".join(line + b"\n" for line in ALERTS))])
    index.close()
    return tmp_path


def ctl(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--state", str(state), *arguments], env={"COLUMNS": "200"})


def told(state: Path, *arguments: str) -> list[tuple[Any, ...]]:
    done = ctl(state, "alerts", "compliance", "--since", "2026-11-01", *arguments, "--json")
    assert done.exit_code == 0, done.output
    return [(r["requirement"], r["alerts"], r["level"], r["agents"], r["rules"]) for r in json.loads(done.stdout)]


def test_alerts_are_counted_by_requirement_in_their_order(state: Path):
    assert told(state) == [("2.2", 2, 3, ["1", "2"], [5]), ("10.2.4", 3, 9, ["1", "2"], [5, 6])]


def test_what_is_asked_for_counts(state: Path):
    assert told(state, "--agent", "web2") == [("2.2", 1, 3, ["2"], [5]), ("10.2.4", 1, 3, ["2"], [5])]
    assert told(state, "--level", "9") == [("10.2.4", 1, 9, ["1"], [6])]
    assert told(state, "--framework", "gdpr") == [("IV_35.7.d", 1, 9, ["1"], [6])]
    assert [row[0] for row in told(state, "--framework", "all")] == ["2.2", "10.2.4", "IV_35.7.d", "AU.14"]


def test_people_get_a_table(state: Path):
    shown = ctl(state, "alerts", "compliance", "--since", "2026-11-01").stdout.splitlines()
    assert shown[0].split() == ["framework", "requirement", "alerts", "level", "agents", "last", "rules"]
    assert shown[1].split()[:4] == ["PCI", "DSS", "2.2", "2"]


def test_the_alerts_themselves_are_found_by_that_group(state: Path):
    done = ctl(state, "alerts", "--group", "pci_dss_2.2", "--since", "2026-11-01", "--json")
    assert len(done.stdout.splitlines()) == 2
    assert ctl(state, "alerts", "--group", "pci_dss_9.9", "--json").exit_code == 1


def test_exit_codes(state: Path, tmp_path: Path):
    assert ctl(state, "alerts", "compliance", "--framework", "hipaa").exit_code == 1
    assert ctl(state, "alerts", "compliance", "--framework", "iso").exit_code == 2
    assert ctl(tmp_path / "none", "alerts", "compliance").exit_code == 3
