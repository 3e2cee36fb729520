import os
from pathlib import Path

import pytest

from hids.adapters.files import MAX_SMALL_FILE, private_folder, read_private, write_atomically
from hids.errors import StoreError


def mode_of(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_mode_is_exact_whatever_the_umask(tmp_path: Path, mode: int):
    old = os.umask(0o077 if mode == 0o644 else 0)
    try:
        write_atomically(tmp_path / "f", b"x", mode)
    finally:
        os.umask(old)
    assert mode_of(tmp_path / "f") == mode


def test_replaces_and_leaves_no_draft(tmp_path: Path):
    path = tmp_path / "f"
    write_atomically(path, b"old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_failed_write_keeps_the_old_file_and_no_draft(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "f"
    write_atomically(path, b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match=r"f: cannot write: No space left on device; check free space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["f"]


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(StoreError, match="No such file"):
        write_atomically(tmp_path / "none" / "f", b"x")


def test_read_private(tmp_path: Path):
    path = tmp_path / "f"
    assert read_private(path) is None
    write_atomically(path, b"x")
    assert read_private(path) == b"x"
    path.chmod(0o640)
    with pytest.raises(StoreError, match=r"mode 640.*chmod 600"):
        read_private(path)


def test_read_private_refuses_what_is_not_ours(tmp_path: Path):
    path = tmp_path / "f"
    write_atomically(path, bytes(MAX_SMALL_FILE + 1))
    with pytest.raises(StoreError, match="at most"):
        read_private(path)
    with pytest.raises(StoreError, match="cannot read"):
        read_private(tmp_path)


def test_private_folder(tmp_path: Path):
    private_folder(tmp_path / "a" / "b")
    assert mode_of(tmp_path / "a" / "b") == 0o700
    private_folder(tmp_path / "a" / "b")
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="cannot make this folder"):
        private_folder(tmp_path / "file")
