"""What a person edits for agents, and its versions."""

from pathlib import Path

import pytest

from hids.adapters import shared_configs
from hids.adapters.shared_configs import SharedConfigs, read_files
from hids.errors import ConfigError


def test_files_and_the_policies_beside_them_are_read_and_kept(tmp_path: Path):
    folder = tmp_path / "agents.d"
    folder.mkdir()
    texts = {"web.toml": '[policy]\nfiles = ["web.yml"]\n', "web.yml": "w: 1", "other.yaml": "o: 1"}
    for name, text in {**texts, "README": "x", ".web.yml.swp": "x", "web.yml~": "x"}.items():
        (folder / name).write_text(text)
    assert read_files(folder) == texts
    configs = SharedConfigs(tmp_path / "versions")
    version = configs.add(texts, "alice", 1)
    assert SharedConfigs(tmp_path / "versions").get(version.number).files == texts
    (file,) = configs.files(version.number).values()
    assert [each.file for each in file.policies] == ["web.yml"]


def test_what_is_too_much_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="no such folder"):
        read_files(tmp_path / "none")
    monkeypatch.setattr(shared_configs, "MAX_BYTES", 10)
    (tmp_path / "a.yml").write_text("x" * 11)
    with pytest.raises(ConfigError, match="a.yml: expected at most 10 bytes"):
        read_files(tmp_path)
    (tmp_path / "a.yml").write_text("x" * 6)
    (tmp_path / "b.yml").write_text("x" * 6)
    with pytest.raises(ConfigError, match="at most 256 files and 10 bytes"):
        read_files(tmp_path)
    (tmp_path / "b.yml").write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="b.yml: cannot be read"):
        read_files(tmp_path)
