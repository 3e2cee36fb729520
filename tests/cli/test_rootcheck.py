"""`hidsctl rootcheck` on a file, and `hids-agent import-ossec-conf`."""

import csv
import io
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hids.adapters.findings import Findings
from hids.cli.agent import app as agent_app
from hids.cli.hidsctl import app
from hids.core.rootcheck.report import understand
from hids.messages.lane import Place


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with closing(Findings(tmp_path / "rootcheck.db")) as file:
        for agent, name in (("001", "web1"), ("002", "web2")):
            lines = [
                b"Starting rootcheck scan.",
                b"old \x1b[2J",
                b"Ending rootcheck scan.",
                b"Starting rootcheck scan.",
            ]
            lines += [b"=new", b"Ending rootcheck scan."]
            file.note(
                agent,
                name,
                Place(f"agent/{agent}", 1, 1),
                [(1_795_490_502_000 + n, understand(line)) for n, line in enumerate(lines)],
            )
    return tmp_path


def ctl(state: Path, *arguments: str, status: int = 0) -> str:
    done = CliRunner().invoke(app, ["--state", str(state), "rootcheck", *arguments])
    assert done.exit_code == status, done.output
    return done.output


def rows(state: Path, *arguments: str) -> list[dict[str, Any]]:
    answer: list[dict[str, Any]] = json.loads(ctl(state, *arguments, "--json"))
    return answer


def test_what_is_outstanding_and_what_is_resolved(state: Path):
    assert [row["text"] for row in rows(state, "outstanding")] == ["=new", "=new"]
    assert [row["text"] for row in rows(state, "resolved", "--agent", "web2")] == ["old \x1b[2J"]
    assert len(rows(state, "list", "--agent", "001")) == 2
    assert [(row["outstanding"], row["resolved"]) for row in rows(state, "last")] == [(1, 1), (1, 1)]


@pytest.mark.parametrize("command", ["list", "outstanding", "resolved", "last"])
def test_what_an_intruder_wrote_does_not_reach_the_terminal(state: Path, command: str):
    shown = ctl(state, command)
    assert "web1" in shown
    assert "\x1b" not in shown + ctl(state, command, "--csv")


def test_csv(state: Path):
    read = list(csv.DictReader(io.StringIO(ctl(state, "list", "--csv"))))
    assert [row["text"] for row in read[:2]] == ["old \\x1b[2J", "'=new"]
    assert read[0]["outstanding"] == "False"


def test_clear(state: Path):
    ctl(state, "clear", status=2)
    ctl(state, "clear", "--all", "--agent", "001", status=2)
    assert ctl(state, "clear", "--agent", "web1") == "2 findings forgotten\n"
    assert {row["agent"] for row in rows(state, "list")} == {"002"}
    assert json.loads(ctl(state, "clear", "--all", "--json")) == {"cleared": 2}
    ctl(state, "list", status=1)


def test_nothing_was_ever_told(tmp_path: Path):
    assert "no agent has told" in ctl(tmp_path, "outstanding", status=3)


def test_an_ossec_conf_is_printed_as_agent_toml(tmp_path: Path):
    conf = tmp_path / "ossec.conf"
    conf.write_text("<ossec_config><rootcheck><rootkit_files>f.txt</rootkit_files></rootcheck></ossec_config>")
    done = CliRunner().invoke(agent_app, ["import-ossec-conf", str(conf), "--home", "/opt/ossec"])
    assert (done.exit_code, done.output) == (0, '[rootcheck]\ndisabled = false\nrootkit_files = ["/opt/ossec/f.txt"]\n')
    conf.write_text("<ossec_config></ossec_config>")
    for path in (conf, tmp_path / "none"):
        assert CliRunner().invoke(agent_app, ["import-ossec-conf", str(path)]).exit_code == 2
