"""`hidsctl outputs`, without a manager: what was set aside, a table of an ossec.conf, and mistakes with their status."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from sample_alerts import alert
from typer.testing import CliRunner, Result
from waiting import SetClock

from hids.adapters.outputs.store import DeadLetters
from hids.cli.hidsctl import app

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda *argv: CliRunner().invoke(app, ["--state", str(tmp_path), "outputs", *argv])


def test_dead_letters_are_shown_without_what_a_terminal_obeys(tmp_path: Path, run: Run):
    letters = DeadLetters(tmp_path / "email-soc.dead.jsonl", SetClock())
    letters.add(alert(1), "554 \x1b[31mspam")
    letters.add(b"[]", "not an alert")
    assert run("dead-letters").stdout.splitlines()[0].endswith("email:soc alert 007-1-1: 554 \\x1b[31mspam")
    rows = json.loads(run("dead-letters", "email:soc", "--json").stdout)
    assert [row["alert"]["id"] for row in rows] == ["007-1-1", "?"]
    assert run("dead-letters", "email:other").exit_code == 1


def test_none_is_said(run: Run):
    assert run("dead-letters").stdout == "there are no dead letters\n"


def test_an_ossec_conf_is_printed_as_tables(tmp_path: Path, run: Run):
    conf = tmp_path / "ossec.conf"
    conf.write_text("<ossec_config><syslog_output><server>10.1.1.1</server></syslog_output></ossec_config>")
    assert '[[output]]\ntype = "syslog"' in run("import", str(conf)).stdout
    assert json.loads(run("import", str(conf), "--json").stdout)["outputs"][0]["server"] == "10.1.1.1:514"
    conf.write_text("<ossec_config>")
    assert run("import", str(conf)).exit_code == 1
    assert run("import", str(tmp_path / "none")).exit_code == 1


def test_an_output_that_is_not_there_is_named(tmp_path: Path, run: Run):
    (tmp_path / "manager.toml").write_text("")
    tested = run("test", "email")
    assert tested.exit_code == 1
    assert "there is no [[output]] of the name 'email'" in tested.stderr
    assert run("list").exit_code == 3
