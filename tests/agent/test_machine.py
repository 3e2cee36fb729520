from pathlib import Path

import pytest

from hids.agent.machine import machine_id
from hids.errors import StoreError

SYSTEM_ID = "0123456789abcdef0123456789abcdef"


def test_the_systems_id_is_used_but_not_shown(tmp_path: Path):
    (tmp_path / "etc").write_text(SYSTEM_ID + "\n")
    one = machine_id(tmp_path / "one", tmp_path / "etc")
    assert one == machine_id(tmp_path / "two", tmp_path / "etc")
    assert len(one) == 32
    assert one != SYSTEM_ID
    (tmp_path / "etc").write_text(SYSTEM_ID[::-1] + "\n")
    assert machine_id(tmp_path / "one", tmp_path / "etc") != one


@pytest.mark.parametrize("text", [None, "", "uninitialized\n", "0123"])
def test_without_one_an_id_is_made_and_kept(tmp_path: Path, text: str | None):
    system_file = tmp_path / "etc"
    if text is not None:
        system_file.write_text(text)
    one = machine_id(tmp_path / "one", system_file)
    assert one == machine_id(tmp_path / "one", system_file)
    assert one != machine_id(tmp_path / "two", system_file)


def test_a_damaged_id_says_what_to_do(tmp_path: Path):
    path = tmp_path / "machine-id"
    path.write_text("half")
    path.chmod(0o600)
    with pytest.raises(StoreError, match=r"machine-id: expected 32 hex digits; remove the file"):
        machine_id(tmp_path, tmp_path / "none")
