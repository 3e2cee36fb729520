"""`hids-manager check`: what is wrong is said, and nothing is touched."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from hids.cli.manager import app


def check(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["check", *map(str, arguments)])


def test_a_file_that_can_be_used(tmp_path: Path) -> None:
    (tmp_path / "manager.toml").write_text("[alerts]\nlevel = 5\n")
    told = check("--state", tmp_path)
    assert (told.exit_code, told.stdout) == (0, f"{tmp_path}/manager.toml can be used\n")
    assert [path.name for path in tmp_path.iterdir()] == ["manager.toml"]


def test_no_file_is_all_defaults(tmp_path: Path) -> None:
    told = check("--state", tmp_path / "none")
    assert (told.exit_code, "defaults" in told.stdout) == (0, True)
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [("[alerts]\nlevle = 5\n", "levle"), ("[alerts\n", "manager.toml"), ("[alerts]\nlevel = 99\n", "alerts.level")],
)
def test_what_is_wrong_is_said_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "manager.toml"
    path.write_text(text)
    told = check("--config", path)
    assert told.exit_code == 2
    assert str(path) in told.stderr
    assert words in told.stderr


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert check("--config", tmp_path / "gone.toml").exit_code == 2
