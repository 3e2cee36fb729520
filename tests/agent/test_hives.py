"""Real hives of Windows, and what is made to harm."""

import lzma
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hids.agent.hives import HiveView
from hids.agent.registrykeys import Key, RegistryError

SAMPLES = os.environ.get("HIDS_SAMPLES")
needs_samples = pytest.mark.skipif(not SAMPLES, reason="needs HIDS_SAMPLES, a folder with real hives")
TOP = "HKEY_LOCAL_MACHINE\\X"


def unpacked(name: str, folder: Path) -> Path:
    path = folder / name
    path.write_bytes(lzma.decompress((Path(SAMPLES or "") / "registry" / f"{name}.xz").read_bytes()))
    return path


def keys(path: Path, *below: str, recursion: int = 512) -> dict[str, Key]:
    found = list(HiveView(path, TOP, below, recursion).keys())
    by_path = {key.path: key for key in found}
    assert len(by_path) == len(found)
    return by_path


@needs_samples
def test_a_whole_hive(tmp_path: Path):
    found = keys(unpacked("NTUSER.DAT", tmp_path))
    assert len(found) == 1812
    assert sum(len(key.values) for key in found.values()) == 4094
    desktop = {value.name: value for value in found[TOP + "\\Control Panel\\Desktop"].values}
    assert (desktop["DragFullWindows"].type, desktop["DragFullWindows"].size) == ("REG_SZ", 2)
    assert all(key.mtime_ns > 1_000_000_000 * 10**9 for key in found.values() if key.path != TOP)


@needs_samples
def test_some_keys_of_a_hive(tmp_path: Path):
    path = unpacked("NTUSER.DAT", tmp_path)
    found = keys(path, "control panel\\Desktop", "Not\\There")
    assert next(iter(found)) == TOP + "\\control panel\\Desktop"
    assert all(key.startswith(TOP + "\\control panel\\Desktop") for key in found)
    assert list(keys(path, recursion=0)) == [TOP]


@needs_samples
def test_a_damaged_hive_is_said_and_read_as_far_as_it_goes(tmp_path: Path):
    path = unpacked("corrupted_system_hive", tmp_path)
    found: list[Key] = []
    with pytest.raises(RegistryError, match="corrupted_system_hive: damaged, or no hive"):
        found += HiveView(path, TOP).keys()


@pytest.mark.parametrize("content", [b"", b"regf", b"regf" + bytes(5000), os.urandom(8192), b"x" * 4096])
def test_what_is_no_hive(tmp_path: Path, content: bytes):
    path = tmp_path / "hive"
    path.write_bytes(content)
    with pytest.raises(RegistryError, match="hive: damaged, or no hive"):
        list(HiveView(path, TOP).keys())


def test_what_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(RegistryError, match="No such file"):
        list(HiveView(tmp_path / "none", TOP).keys())
    (tmp_path / "big").write_bytes(bytes(10))
    monkeypatch.setattr("hids.agent.hives.MAX_HIVE_BYTES", 9)
    with pytest.raises(RegistryError, match="at most 9"):
        list(HiveView(tmp_path / "big", TOP).keys())


@needs_samples
@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_hive_with_changed_bytes_ends_in_keys_or_in_words(tmp_path: Path, data: st.DataObject):
    path = tmp_path / "hive"
    if not path.exists():
        path.write_bytes(unpacked("SECURITY", tmp_path).read_bytes())
    broken = bytearray((tmp_path / "SECURITY").read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(broken)
    try:
        found = list(HiveView(path, TOP).keys())
    except RegistryError:
        return
    assert len(found) <= len(broken) // 80 + 1
