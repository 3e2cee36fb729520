"""`hidsctl policy`: what people see, what scripts read, and the exit status."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from typer.testing import CliRunner, Result

from hids.adapters.paths import ManagerPaths
from hids.adapters.policies import PolicyStore
from hids.cli.hidsctl import app
from hids.messages.terms import Agent, AgentId

EVIL = "<script>alert(1)</script>\x1b[31m\"'&"
FORMULA = '=HYPERLINK("http://x")'
WEB1 = Agent(AgentId("001"), "web1", "")


def line(**said: Any) -> bytes:
    return msgspec.json.encode(said)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    store = PolicyStore(ManagerPaths.of(tmp_path).policies)
    body = {"id": 1, "title": EVIL, "rationale": EVIL, "remediation": FORMULA, "compliance": {"pci_dss": "2.2"}}
    other = {"id": 2, "title": "fine", "result": "passed", "rules": ["f:/x"], "condition": "all"}
    store.record(
        [
            (WEB1, 1_000, line(type="check", policy_id="p", policy=EVIL, check=body | {"result": "passed"})),
            (WEB1, 1_000, line(type="check", policy_id="p", policy=EVIL, check=other)),
            (WEB1, 1_000, line(type="summary", policy_id="p", name=EVIL, passed=2, total_checks=2, score=100)),
            (
                WEB1,
                2_000,
                line(type="check", policy_id="p", check=body | {"result": "failed"}, previous_result="passed"),
            ),
            (
                WEB1,
                2_000,
                line(
                    type="summary", policy_id="p", name=EVIL, origin=EVIL, passed=1, failed=1, total_checks=2, score=50
                ),
            ),
            (
                Agent(AgentId("002"), EVIL, ""),
                1,
                line(type="summary", policy_id="q", name="Q", passed=1, total_checks=1),
            ),
        ]
    )
    store.close()
    return tmp_path


def ctl(state: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--state", str(state), *arguments], env={"COLUMNS": "200"})


def told(state: Path, *arguments: str) -> Any:
    done = ctl(state, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_lists_scores(state: Path):
    rows = told(state, "policy", "list")
    assert [(row["agent"], row["policy"], row["score"]) for row in rows] == [("001", "p", 50), ("002", "q", 100)]
    shown = ctl(state, "policy", "list", "--agent", "web1")
    assert "50 %" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert ctl(state, "policy", "list", "--agent", "nobody").exit_code == 1


def test_shows_checks(state: Path):
    (row,) = told(state, "policy", "show", "--result", "failed")
    assert (row["id"], row["result"], row["previous"], row["since_ms"]) == (1, "failed", "passed", 2_000)
    shown = ctl(state, "policy", "show", "--policy", "p", "--check", "1")
    assert "before: passed" in shown.stdout
    assert "compliance: pci_dss 2.2" in shown.stdout
    assert "\x1b" not in shown.stdout
    assert ctl(state, "policy", "show", "--check", "99").exit_code == 1
    assert ctl(state, "policy", "show", "--result", "other").exit_code == 2
    assert "fine" in ctl(state, "policy", "show").stdout


def test_shows_history(state: Path):
    assert [row["score"] for row in told(state, "policy", "history", "--policy", "p")] == [100, 50]
    assert "100 %" in ctl(state, "policy", "history").stdout


def test_an_html_report_escapes_what_comes_from_outside(state: Path):
    text = ctl(state, "policy", "report").stdout
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;\\x1b[31m&quot;&#x27;&amp;" in text
    assert "\x1b" not in text
    assert "default-src 'none'" in text
    assert "100 % <small>" in text


def test_a_csv_report_has_no_formulas(state: Path):
    rows = list(csv.DictReader(io.StringIO(ctl(state, "policy", "report", "--format", "csv").stdout)))
    assert [(row["id"], row["result"]) for row in rows] == [("1", "failed"), ("2", "passed")]
    assert rows[0]["remediation"] == "'" + FORMULA
    assert rows[0]["compliance"] == "pci_dss 2.2"


def test_a_json_report_is_whole(state: Path, tmp_path: Path):
    file = tmp_path / "report.json"
    assert ctl(state, "policy", "report", "--format", "json", "--agent", "web1", "-o", str(file)).exit_code == 0
    report = json.loads(file.read_text())
    assert [row["policy"] for row in report["policies"]] == ["p"]
    assert [row["text"]["title"] for row in report["results"]] == [EVIL, "fine"]
    assert len(report["history"]) == 2
    assert ctl(state, "policy", "report", "-o", "/no/such/folder/x").exit_code == 1
    assert ctl(state, "policy", "report", "--agent", "nobody").exit_code == 1


def test_without_results_it_says_so(tmp_path: Path):
    done = ctl(tmp_path, "policy", "list")
    assert done.exit_code == 3
    assert "no results of policies yet" in done.stderr


def test_files_are_checked(state: Path, tmp_path: Path):
    good = tmp_path / "good.yml"
    good.write_text(
        "policy: {id: g, name: G}\nchecks: [{id: 1, title: t, condition: all, rules: ['f:/etc/passwd']}]\n", "utf-8"
    )
    bad = tmp_path / "bad.yml"
    bad.write_text(good.read_text("utf-8").replace("f:/etc/passwd", "f:/x -> n:(\\d+) compare => 5"), "utf-8")
    assert told(state, "policy", "check", str(good)) == [
        {"file": str(good), "policy": "g", "checks": 1, "problems": []}
    ]
    done = ctl(state, "policy", "check", str(good), str(bad), str(tmp_path / "none.yml"))
    assert done.exit_code == 1
    assert f"{good}: 1 checks, 0 problems" in done.stdout
    assert "check 1: 'n:(\\\\d+) compare => 5': expected n:PATTERN compare" in done.stdout
    assert "none.yml: cannot be read: No such file or directory" in done.stdout
