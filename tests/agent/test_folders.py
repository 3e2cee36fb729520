"""Which options hold where."""

from pathlib import Path
from typing import Any

import pytest

from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.folders import Folders, outermost
from hids.agent.paths import Excluded


def folders(*paths: str, exclude: tuple[str, ...] = (), **settings: Any) -> Folders:
    directory = tuple(DirectoryConfig(path=path, recursion=len(path)) for path in paths)
    return Folders(SyscheckConfig(directory=directory, **settings), Excluded(exclude))


def test_the_nearest_folder_above_says_so(tmp_path: Path):
    top = str(tmp_path)
    found = folders(top, f"{top}/a/b")
    assert found.roots == [top]
    assert found.of(f"{top}/a").path == top
    assert found.of(f"{top}/a/b").path == f"{top}/a/b"
    assert found.of(f"{top}/a/b/c/d").path == f"{top}/a/b"
    assert found.of(f"{top}/a/bc").path == top
    assert found.of(f"{top}/a/b/c").depth(f"{top}/a/b/c") == 1
    assert found.has(f"{top}/x")
    assert not found.has(f"{top}x")
    with pytest.raises(KeyError):
        found.of("/nowhere")


def test_roots_in_which_anything_is_watched(tmp_path: Path):
    live, still, mixed = (str(tmp_path / name) for name in ("live", "still", "mixed"))
    directory = (
        DirectoryConfig(path=live, realtime=True),
        DirectoryConfig(path=still),
        DirectoryConfig(path=mixed),
        DirectoryConfig(path=f"{mixed}/below", whodata=True),
    )
    assert Folders(SyscheckConfig(directory=directory, realtime=False), Excluded(())).live_roots == [live, mixed]


def test_all_of_a_machine():
    found = folders("/")
    assert found.of("/usr/bin").path == "/"
    assert found.of("/").depth("/usr/bin") == 2
    assert found.has("/x")


def test_patterns_and_expressions(tmp_path: Path):
    top = str(tmp_path)
    options = DirectoryConfig(
        path=top, restrict=(r"(?i)\.conf$",), growing=("*.log",), ignore=("*/cache",), report_changes=True
    )
    config = SyscheckConfig(
        directory=(options,), ignore=(f"{top}/own",), ignore_regex=(r"\.\d+$",), nodiff=("*/secret*",)
    )
    found = Folders(config, Excluded((f"{top}/state",)))
    folder = found.of(top)

    def left_out(name: str, *, is_dir: bool = False) -> bool:
        return found.leaves_out(folder, f"{top}/{name}", is_dir=is_dir)

    assert [left_out(name) for name in ("a.conf", "A.CONF", "a.txt", "own", "a.conf.1")] == [
        False,
        False,
        True,
        True,
        True,
    ]
    assert [left_out(name, is_dir=True) for name in ("d", "cache", "state", "own")] == [False, True, True, True]
    assert folder.is_growing(f"{top}/x.log")
    assert folder.may_show(f"{top}/a.conf")
    assert not folder.may_show(f"{top}/secret.conf")
    assert not folder.takes_all
    assert folders(top).of(top).takes_all


def test_another_way_of_looking_has_another_stamp(tmp_path: Path):
    def stamp(**settings: Any) -> bytes:
        options = DirectoryConfig(path=str(tmp_path), **settings.pop("options", {}))
        config = SyscheckConfig(directory=(options,), **settings)
        return Folders(config, Excluded(())).of(str(tmp_path)).stamp

    stamps = [stamp(), stamp(options={"check": ("size",)}), stamp(ignore=("x",)), stamp(max_file_bytes=5)]
    assert len(set(stamps)) == 4
    assert stamp(scan_interval_s=7) == stamp()


def test_real_time_is_each_folder_s_own(tmp_path: Path):
    (tmp_path / "b").mkdir()
    config = SyscheckConfig(
        realtime=False,
        directories=(str(tmp_path),),
        directory=(DirectoryConfig(path=str(tmp_path / "b"), realtime=True),),
    )
    found = Folders(config, Excluded(()))
    assert found.watches
    assert not found.of(str(tmp_path)).realtime
    assert found.of(str(tmp_path / "b")).realtime


def test_nested_and_linked_directories_are_checked_once(tmp_path: Path):
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "usr2").mkdir()
    names = ("usr", "usr/bin", "bin", "usr2")
    assert outermost(tuple(f"{tmp_path}/{name}" for name in names)) == [f"{tmp_path}/usr", f"{tmp_path}/usr2"]
