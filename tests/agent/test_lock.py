"""One agent a state folder."""

import os
from pathlib import Path

import pytest

from hids.agent.lock import is_locked, lock
from hids.errors import StoreError


def test_only_one_holds_it_until_it_ends(tmp_path: Path):
    folder = tmp_path / "state"
    assert not is_locked(folder)
    held = lock(folder)
    assert is_locked(folder)
    with pytest.raises(StoreError, match="another hids-agent runs with this state folder"):
        lock(folder)
    os.close(held)
    assert not is_locked(folder)
    os.close(lock(folder))


def test_a_folder_that_cannot_be_made(tmp_path: Path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot make this folder"):
        lock(tmp_path / "file" / "state")
