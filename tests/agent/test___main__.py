"""The agent's own process: what it ends with, and what it does without."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def start(*options: str, config: Path, state: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *options, "-m", "hids.agent", str(config), str(state)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.slow
def test_it_has_neither_command_line_nor_terminal_library_in_memory(tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text("")
    ended = start("-X", "importtime", config=config, state=tmp_path)
    lines = ended.stderr.splitlines()
    imported = {line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")}
    assert {"hids.agent.run", "structlog"} <= imported
    assert not {"typer", "rich.console", "lxml", "sqlite_utils"} & imported
    assert ended.returncode == 3, "not joined"
    assert "has not joined a manager" in lines[-1]


@pytest.mark.slow
def test_a_wrong_configuration_is_said_in_one_line(tmp_path: Path):
    config = tmp_path / "agent.toml"
    config.write_text("[nonsense]\n")
    ended = start(config=config, state=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"hids-agent: {config}")
    assert "Traceback" not in ended.stderr
