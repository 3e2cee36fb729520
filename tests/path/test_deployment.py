"""The examples for many machines, carried out: Ansible's playbook against a real manager, cloud-init's data as far as one machine goes."""

import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml
from stand import ROOT, Stand, wait_for
from typer.testing import CliRunner

from hids.agent.config import load
from hids.cli.agent import app

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]

PLAYBOOK = ROOT / "conf" / "ansible" / "agents.yml"
USER_DATA = ROOT / "conf" / "cloud-init" / "agent.yaml"
ANSIBLE = shutil.which("ansible-playbook")
CLOUD_INIT = shutil.which("cloud-init")


@pytest.mark.skipif(ANSIBLE is None, reason="ansible-playbook is not installed here")
def test_ansible_joins_all_hosts_with_one_token_and_nobody_twice(stand: Stand):
    stand.start_manager()
    (stand.folder / "agent.toml").write_text('[[source]]\npath = "/var/log/auth.log"\n')
    first = play(stand, ["web1", "web2"])
    assert first["web1"]["failed"] == first["web2"]["failed"] == 0
    agents = {row["name"]: row for row in stand.ask("agents")}
    assert set(agents) == {"web1", "web2"}
    assert "web" in agents["web1"]["groups"]
    assert tokens(stand) == [0], "one token, as many uses as hosts, none left"

    second = play(stand, ["web1", "web2"])
    assert [second[name]["changed"] for name in ("web1", "web2")] == [0, 0]
    assert len(tokens(stand)) == 1, "no token that nobody needs"

    stand.start_agent("web1", (stand.folder / "web1" / "etc" / "agent.toml").read_text())
    wait_for(lambda: stand.rules()["206101"], "an agent that joined this way reports")


def tokens(stand: Stand) -> list[int]:
    """Uses that each token has left."""
    with closing(sqlite3.connect(f"file:{stand.paths.lib}/agents.db?mode=ro", uri=True)) as db:
        return [left for (left,) in db.execute("SELECT uses_left FROM tokens")]


def play(stand: Stand, names: list[str]) -> dict[str, dict[str, int]]:
    """Run the playbook on hosts that are all this one; what it did, by host."""
    assert ANSIBLE is not None
    hosts: dict[str, Any] = {name: {} for name in names}
    inventory = {
        "all": {"hosts": hosts, "vars": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}}
    }
    (stand.folder / "inventory.json").write_text(json.dumps(inventory))
    variables = {
        "ansible_become": False,
        "hids_service": False,
        "hids_manager": "127.0.0.1",
        "hids_package": "not installed here",
        "hids_group": ["web"],
        "hids_agent_toml": str(stand.folder / "agent.toml"),
        "hids_config": f"{stand.folder}/{{{{ inventory_hostname }}}}/etc/agent.toml",
        "hids_state": f"{stand.folder}/{{{{ inventory_hostname }}}}/state",
        "hids_agent": [sys.executable, "-m", "hids.cli.agent"],
        "hids_ctl": [sys.executable, "-m", "hids.cli.hidsctl", "--state", str(stand.paths.lib)],
    }
    done = subprocess.run(
        [
            *(ANSIBLE, "-i", str(stand.folder / "inventory.json"), "--skip-tags", "install"),
            *("-e", json.dumps(variables), str(PLAYBOOK)),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        cwd=stand.folder,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_HOME": str(stand.folder / "ansible"),
            "ANSIBLE_LOCAL_TEMP": str(stand.folder / "ansible" / "tmp"),
            "ANSIBLE_REMOTE_TMP": str(stand.folder / "ansible" / "remote"),
            "LC_ALL": "C.UTF-8",
        },
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    recap = done.stdout[done.stdout.index("PLAY RECAP") :]
    return {
        name: {word: int(count) for word, count in re.findall(r"(\w+)=(\d+)", counts)}
        for name, counts in re.findall(r"^(\S+)\s*: (ok=.+)$", recap, re.MULTILINE)
    }


def user_data() -> dict[str, Any]:
    data: dict[str, Any] = yaml.safe_load(USER_DATA.read_text())
    return data


def test_cloud_init_writes_a_configuration_that_the_agent_takes(tmp_path: Path):
    (file,) = user_data()["write_files"]
    (tmp_path / "agent.toml").write_text(file["content"])
    assert load(tmp_path / "agent.toml").syscheck.is_on


def test_cloud_init_joins_as_the_command_line_has_it(tmp_path: Path):
    join = next(command for command in user_data()["runcmd"] if "join" in command)
    assert "hids-agent" in join[0]
    pin = ["sha256:" + "0" * 64 if word == "sha256:PIN" else word for word in join[1:]]
    nowhere = ["127.0.0.1:1" if word.startswith("hids.example.org") else word for word in pin]
    done = CliRunner().invoke(app, [*nowhere, "--state", str(tmp_path)])
    assert done.exit_code == 1, done.output
    assert "127.0.0.1" in done.output, "it got as far as the network"


@pytest.mark.skipif(CLOUD_INIT is None, reason="cloud-init is not installed here")
def test_cloud_init_finds_its_data_valid():
    assert CLOUD_INIT is not None
    done = subprocess.run(
        [CLOUD_INIT, "schema", "--config-file", str(USER_DATA)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
