"""Syscheck on real files with real notifications."""

import asyncio
import hashlib
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hids.agent import spooler as spooler_module
from hids.agent.config import SyscheckConfig
from hids.agent.mounts import Mounts
from hids.agent.paths import Excluded
from hids.agent.syscheck import Syscheck
from hids.messages.syscheck import FileFact

Scene = Callable[..., None]
QUEUE = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
"""Notifications that the kernel keeps for us; what comes after is lost."""


@pytest.fixture
def watched(tmp_path: Path) -> Path:
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "a").write_text("alpha")
    return folder


def syscheck(yard: Any, *directories: Path, exclude: tuple[Path, ...] = (), **settings: Any) -> Any:
    config = SyscheckConfig(directories=tuple(map(str, directories)), **settings)
    return yard.start(Syscheck, "syscheck", config, Excluded(exclude), yard.path.parent)


def told(yard: Any, folder: Path) -> list[tuple[str, str, bool]]:
    """(path below the folder, seen, gone) of each fact, in order."""
    return [(os.path.relpath(fact.path, folder), fact.seen, fact.gone) for fact in yard.facts]


def by_path(yard: Any, folder: Path) -> dict[str, FileFact]:
    return {os.path.relpath(fact.path, folder): fact for fact in yard.facts}


def test_the_first_scan_is_the_baseline(in_yard: Scene, watched: Path):
    (watched / "sub").mkdir()
    (watched / "sub" / "b").write_text("beta")
    (watched / "link").symlink_to("nowhere")
    os.mkfifo(watched / "pipe")
    (watched / "a").chmod(0o640)

    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        assert all(fact.seen == "baseline" and not fact.gone for fact in yard.facts)
        facts = by_path(yard, watched)
        assert set(facts) == {".", "a", "sub", "sub/b", "link", "pipe"}
        a = facts["a"]
        info = (watched / "a").stat()
        assert a.sha256 == hashlib.sha256(b"alpha").hexdigest()
        assert (a.kind, a.size, a.mode, a.uid, a.gid) == ("file", 5, 0o640, info.st_uid, info.st_gid)
        assert (a.mtime_ns, a.inode) == (info.st_mtime_ns, info.st_ino)
        assert (facts["link"].kind, facts["link"].target, facts["link"].sha256) == ("link", "nowhere", "")
        assert (facts["pipe"].kind, facts["sub"].kind) == ("other", "dir")
        assert {line.kind for line in yard.lines} == {"syscheck"}

    in_yard(scene)


def test_a_scan_that_is_finished_is_on_the_disk(in_yard: Scene, watched: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(spooler_module, "HOLD_S", 3600.0)

    async def scene(yard: Any, until: Any) -> None:
        yard.desk.hurry = False  # nobody asks the spooler to store what it gathers
        state = syscheck(yard, watched)
        await until(lambda: state.state.startswith("watching"))
        assert set(by_path(yard, watched)) == {".", "a"}

    in_yard(scene)


def test_a_second_start_tells_only_what_changed_meanwhile(in_yard: Scene, watched: Path):
    (watched / "gone").write_text("x")
    (watched / "tree").mkdir()
    (watched / "tree" / "leaf").write_text("x")
    (watched / "moded").write_text("x")

    async def baseline(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)

    async def later(yard: Any, until: Any) -> None:
        before = len(yard.facts)
        state = syscheck(yard, watched, realtime=False)
        await until(lambda: state.idle)
        assert sorted(told(yard, watched)[before:]) == [
            ("a", "scan", False),
            ("gone", "scan", True),
            ("moded", "scan", False),
            ("new", "scan", False),
            ("tree", "scan", True),
            ("tree/leaf", "scan", True),
        ]

    async def unchanged(yard: Any, until: Any) -> None:
        before = len(yard.facts)
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        assert len(yard.facts) == before

    in_yard(baseline)
    (watched / "a").write_text("changed")
    (watched / "gone").unlink()
    (watched / "tree" / "leaf").unlink()
    (watched / "tree").rmdir()
    (watched / "moded").chmod(0o4755)
    (watched / "new").write_text("n")
    in_yard(later)
    in_yard(unchanged)


def test_a_change_that_hides_behind_size_and_time_is_seen(in_yard: Scene, watched: Path):
    info = (watched / "a").stat()

    async def baseline(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)

    async def later(yard: Any, until: Any) -> None:
        before = len(yard.facts)
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        assert told(yard, watched)[before:] == [("a", "scan", False)]
        assert yard.facts[-1].sha256 == hashlib.sha256(b"ALPHA").hexdigest()

    in_yard(baseline)
    (watched / "a").write_text("ALPHA")
    os.utime(watched / "a", ns=(info.st_atime_ns, info.st_mtime_ns))
    in_yard(later)


def test_live_changes_are_told_once_they_have_settled(in_yard: Scene, watched: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        before = len(yard.facts)

        def news() -> list[tuple[str, str, bool]]:
            return told(yard, watched)[before:]

        for number in range(20):
            (watched / "a").write_text(f"version {number}")
        await until(lambda: news() == [("a", "live", False)])
        assert yard.facts[-1].sha256 == hashlib.sha256(b"version 19").hexdigest()
        (watched / "a").chmod(0o600)
        await until(lambda: news()[1:] == [("a", "live", False)])
        assert yard.facts[-1].mode == 0o600
        (watched / "deep" / "er").mkdir(parents=True)
        (watched / "deep" / "er" / "f").write_text("f")
        await until(lambda: len(news()) == 5)
        assert sorted(news()[2:]) == [("deep", "live", False), ("deep/er", "live", False), ("deep/er/f", "live", False)]
        (watched / "deep" / "er" / "f").write_text("ff")
        await until(lambda: news()[5:] == [("deep/er/f", "live", False)])
        (watched / "a").unlink()
        await until(lambda: news()[6:] == [("a", "live", True)])
        assert state.state == "watching"

    in_yard(scene)


def moves(yard: Any, folder: Path) -> list[tuple[str, str, str]]:
    """(from, to, seen) of each fact of something moved."""
    return [
        (os.path.relpath(fact.moved_from, folder), os.path.relpath(fact.path, folder), fact.seen)
        for fact in yard.facts
        if fact.moved_from
    ]


def test_a_moved_tree_is_told_as_one_move(in_yard: Scene, watched: Path):
    (watched / "one" / "in").mkdir(parents=True)
    (watched / "one" / "in" / "f").write_text("f")

    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        before = len(yard.facts)
        (watched / "one").rename(watched / "two")
        await until(lambda: len(yard.facts) == before + 3)
        # What is inside goes with it, and is no news of its own.
        assert sorted(moves(yard, watched)) == [
            ("one", "two", "live"),
            ("one/in", "two/in", "baseline"),
            ("one/in/f", "two/in/f", "baseline"),
        ]
        (watched / "two" / "in" / "f").write_text("changed")
        await until(lambda: told(yard, watched)[before + 3 :] == [("two/in/f", "live", False)])

    in_yard(scene)


def test_a_deleted_directory_takes_its_contents_along(in_yard: Scene, watched: Path, tmp_path: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        before = len(yard.facts)
        shutil.move(watched, tmp_path / "elsewhere")
        await until(lambda: len(yard.facts) == before + 2)
        assert told(yard, watched)[before:] == [("a", "live", True), (".", "live", True)]

    in_yard(scene)


def test_a_missing_directory_is_said_and_found_by_the_next_scan(in_yard: Scene, tmp_path: Path):
    folder = tmp_path / "later"

    async def scene(yard: Any, until: Any) -> None:
        syscheck(yard, folder, scan_interval_s=1)
        await until(lambda: yard.said == [f"source unreadable: {folder}: no such directory"])
        folder.mkdir()
        (folder / "f").write_text("f")
        await until(lambda: ("f", "baseline", False) in told(yard, folder))
        assert len(yard.said) == 1

    in_yard(scene)


@pytest.mark.skipif(QUEUE > 50_000, reason="the kernel's queue is too long to fill quickly")
def test_an_overflow_makes_a_new_scan_is_counted_and_told(
    in_yard: Scene, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    async def scene(yard: Any, until: Any) -> None:
        actors: list[Any] = []
        remember = Syscheck.on_start
        monkeypatch.setattr(Syscheck, "on_start", lambda self: (actors.append(self), remember(self))[1])
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        before = len(yard.facts)
        (actor,) = actors
        inotify = actor._watcher._inotify.fileno()
        loop = asyncio.get_running_loop()
        loop.remove_reader(inotify)  # we do not keep up ...
        for number in range(QUEUE):
            (watched / "a" if number % 2 else watched).chmod(0o700 + number % 3)
        (watched / "unseen").write_text("missed")
        loop.add_reader(inotify, actor._watcher._read)
        await until(lambda: ("unseen", "scan", False) in told(yard, watched)[before:])
        await until(lambda: state.idle)
        assert state.overflows == 1
        assert state.state == "watching, the kernel's queue overflowed: 1"
        assert yard.said == [
            "notifications lost: the kernel's queue was full (fs.inotify.max_queued_events): scanning again"
        ]

    in_yard(scene)


def test_ignored_and_excluded_paths_are_left_out(in_yard: Scene, watched: Path):
    (watched / "x.swp").write_text("x")
    (watched / "own").mkdir()
    (watched / "own" / "spool").write_text("x")

    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched, exclude=(watched / "own",), ignore=("*.swp",))
        await until(lambda: state.idle)
        assert {path for path, _, _ in told(yard, watched)} == {".", "a"}
        (watched / "own" / "spool").write_text("y")
        (watched / "y.swp").write_text("y")
        (watched / "b").write_text("y")
        await until(lambda: told(yard, watched)[2:] == [("b", "live", False)])

    in_yard(scene)


def test_a_file_over_the_limit_is_watched_but_not_hashed(in_yard: Scene, watched: Path):
    (watched / "big").write_bytes(b"x" * 101)

    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched, max_file_bytes=100)
        await until(lambda: state.idle)
        hashes = {Path(fact.path).name: fact.sha256 for fact in yard.facts}
        assert hashes["big"] == ""
        assert hashes["a"]

    in_yard(scene)


def test_names_that_are_not_utf_8_do_not_collide(in_yard: Scene, watched: Path):
    for name in (b"\xff", rb"\xff", "ü".encode()):
        Path(os.fsdecode(os.fsencode(watched) + b"/" + name)).write_text("x")

    async def baseline(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        names = sorted(Path(fact.path).name for fact in yard.facts)
        assert names == sorted(["watched", "a", "\\xff", "\\\\xff", "ü"])

    async def again(yard: Any, until: Any) -> None:
        before = len(yard.facts)
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        assert len(yard.facts) == before

    in_yard(baseline)
    in_yard(again)


def test_many_files_in_a_burst(in_yard: Scene, watched: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        for number in range(300):
            (watched / f"f{number}").write_text(str(number))
            if number % 50 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(yard.facts) == 302)
        await until(lambda: state.idle)
        assert len({fact.path for fact in yard.facts}) == 302

    in_yard(scene)


def start_with(yard: Any, watched: Path, config: dict[str, Any]) -> Any:
    return yard.start(
        Syscheck,
        "syscheck",
        msgspec.convert({"directory": [{"path": str(watched), **config.pop("folder", {})}], **config}, SyscheckConfig),
        Excluded(()),
        yard.path.parent,
    )


def scene_of(watched: Path, scenes: list[Any], config: dict[str, Any] | None = None) -> Any:
    """A life of the agent that comes to rest and then shows `scenes` what it has told since it began."""

    async def scene(yard: Any, until: Any) -> None:
        before = len(yard.facts)
        state = start_with(yard, watched, dict(config or {}))
        await until(lambda: state.idle)
        scenes.append(yard.facts[before:])

    return scene


def test_a_scan_tells_moves_by_inode_and_content(in_yard: Scene, watched: Path):
    (watched / "d" / "in").mkdir(parents=True)
    (watched / "d" / "in" / "f").write_text("f")
    (watched / "e").mkdir()
    facts: list[list[FileFact]] = []
    quiet = {"realtime": False}
    in_yard(scene_of(watched, facts, quiet))
    (watched / "a").rename(watched / "e" / "b")
    (watched / "d").rename(watched / "e" / "d2")
    in_yard(scene_of(watched, facts, quiet))
    assert sorted(
        (os.path.relpath(fact.moved_from, watched), os.path.relpath(fact.path, watched), fact.seen) for fact in facts[1]
    ) == [
        ("a", "e/b", "scan"),
        ("d", "e/d2", "scan"),
        ("d/in", "e/d2/in", "baseline"),
        ("d/in/f", "e/d2/in/f", "baseline"),
    ]
    in_yard(scene_of(watched, facts, quiet))
    assert facts[2] == []


def test_a_live_move_of_a_file_is_one_fact(in_yard: Scene, watched: Path):
    (watched / "sub").mkdir()

    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        (watched / "a").rename(watched / "sub" / "b")
        await until(lambda: moves(yard, watched) == [("a", "sub/b", "live")])
        (watched / "sub" / "b").rename(watched / "c")
        await until(lambda: moves(yard, watched)[1:] == [("sub/b", "c", "live")])
        await until(lambda: state.idle)
        assert len(yard.facts) == 5

    in_yard(scene)


def test_an_editor_that_replaces_a_file_changes_it(in_yard: Scene, watched: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = syscheck(yard, watched)
        await until(lambda: state.idle)
        (watched / ".a.swp").write_text("new")
        (watched / ".a.swp").rename(watched / "a")
        await until(lambda: state.idle and len(yard.facts) > 2)
        assert told(yard, watched)[2:] == [("a", "live", False)]

    in_yard(scene)


def test_options_that_change_have_files_looked_at_again(in_yard: Scene, watched: Path):
    facts: list[list[FileFact]] = []
    in_yard(scene_of(watched, facts))
    assert all(not fact.md5 for fact in facts[0])
    in_yard(scene_of(watched, facts, {"folder": {"check": ["sha256", "md5"]}}))
    (a,) = [fact for fact in facts[1] if fact.path.endswith("/a")]
    assert a.md5 == hashlib.md5(b"alpha", usedforsecurity=False).hexdigest()
    in_yard(scene_of(watched, facts, {"folder": {"check": ["sha256", "md5"]}}))
    assert facts[2] == []


def test_what_is_left_out_from_now_on_is_forgotten_quietly(in_yard: Scene, watched: Path):
    (watched / "sub" / "deep").mkdir(parents=True)
    (watched / "sub" / "deep" / "f").write_text("f")
    facts: list[list[FileFact]] = []
    in_yard(scene_of(watched, facts))
    in_yard(scene_of(watched, facts, {"ignore": ["*/sub"]}))
    assert sorted((os.path.relpath(fact.path, watched), fact.seen, fact.gone) for fact in facts[1]) == [
        ("sub", "baseline", True),
        ("sub/deep", "baseline", True),
        ("sub/deep/f", "baseline", True),
    ]
    in_yard(scene_of(watched, facts))
    assert {(os.path.relpath(fact.path, watched), fact.gone) for fact in facts[2]} == {
        ("sub", False),
        ("sub/deep", False),
        ("sub/deep/f", False),
    }


def test_a_folder_that_is_configured_no_more_is_forgotten_quietly(in_yard: Scene, watched: Path, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    facts: list[list[FileFact]] = []
    in_yard(scene_of(watched, facts))
    in_yard(scene_of(other, facts))
    gone = [fact for fact in facts[1] if fact.gone]
    assert {fact.path for fact in gone} == {str(watched), f"{watched}/a"}
    assert {fact.seen for fact in facts[1]} == {"baseline"}


def test_restrict_recursion_and_a_folder_within(in_yard: Scene, watched: Path):
    (watched / "sub" / "deep" / "er" / "named").mkdir(parents=True)
    for name in ("a.conf", "sub/b.conf", "sub/b.txt", "sub/deep/c.conf", "sub/deep/er/named/d.txt"):
        (watched / name).write_text(name)
    facts: list[list[FileFact]] = []
    config = {
        "folder": {"restrict": [r"\.conf$"], "recursion": 1},
        "directories": [str(watched / "sub" / "deep" / "er" / "named")],
    }
    in_yard(scene_of(watched, facts, config))
    paths = {os.path.relpath(fact.path, watched) for fact in facts[0]}
    assert paths == {".", "a.conf", "sub", "sub/b.conf", "sub/deep", "sub/deep/er/named/d.txt"}


def test_limits_are_said_once(in_yard: Scene, watched: Path):
    for number in range(20):
        (watched / f"f{number}").write_text("x")
    (watched / "sub" / "deep").mkdir(parents=True)

    async def scene(yard: Any, until: Any) -> None:
        config = {"max_files": 10, "scan_interval_s": 1, "folder": {"recursion": 1}}
        state = start_with(yard, watched, config)
        await until(lambda: state.idle)
        await until(lambda: len(yard.said) == 2)
        assert any("files: more than 10" in said for said in yard.said)
        assert any("recursion: more than 1 levels" in said for said in yard.said)

    in_yard(scene)


def test_what_changed_inside_is_told(in_yard: Scene, watched: Path):
    (watched / "key").write_text("secret 1\n")

    async def scene(yard: Any, until: Any) -> None:
        state = start_with(yard, watched, {"folder": {"report_changes": True}, "nodiff": ["*/key"]})
        await until(lambda: state.idle)
        (watched / "a").write_text("alpha\nbeta")
        await until(lambda: yard.facts[-1].path.endswith("/a") and yard.facts[-1].seen == "live")
        assert yard.facts[-1].diff == "@@ -1,1 +1,2 @@\n alpha\n+beta" or "+beta" in yard.facts[-1].diff
        (watched / "key").write_text("secret 2\n")
        await until(lambda: yard.facts[-1].path.endswith("/key") and yard.facts[-1].seen == "live")
        assert yard.facts[-1].diff == ""
        (watched / "a").unlink()
        await until(lambda: yard.facts[-1].gone)
        await until(lambda: not list((yard.path.parent / "copies").glob("*/*")))

    in_yard(scene)


def test_a_growing_log_is_recorded_by_scans_and_told_when_it_shrinks(in_yard: Scene, watched: Path):
    facts: list[list[FileFact]] = []
    growing = {"realtime": False, "folder": {"growing": ["*/a"]}}
    in_yard(scene_of(watched, facts, growing))
    with (watched / "a").open("a") as file:
        file.write(" beta")
    in_yard(scene_of(watched, facts, growing))
    assert [(fact.grown, fact.size) for fact in facts[1]] == [(True, 10)]
    (watched / "a").write_text("al")
    in_yard(scene_of(watched, facts, growing))
    assert [(fact.grown, fact.size) for fact in facts[2]] == [(False, 2)]


def test_new_files_may_be_recorded_only(in_yard: Scene, watched: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = start_with(yard, watched, {"alert_new_files": False})
        await until(lambda: state.idle)
        (watched / "new").write_text("n")
        await until(lambda: told(yard, watched)[2:] == [("new", "baseline", False)])
        (watched / "new").write_text("nn")
        await until(lambda: told(yard, watched)[3:] == [("new", "live", False)])

    in_yard(scene)


def test_a_directory_that_cannot_be_read_is_not_taken_for_an_empty_one(
    in_yard: Scene, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    (watched / "sub").mkdir()
    (watched / "sub" / "f").write_text("f")
    facts: list[list[FileFact]] = []
    in_yard(scene_of(watched, facts))
    real = os.open

    def refuse(path: Any, *arguments: Any, **named: Any) -> int:
        if path == str(watched / "sub"):
            raise PermissionError(13, "Permission denied", path)
        return real(path, *arguments, **named)

    monkeypatch.setattr("hids.agent.listing.os.open", refuse)
    (watched / "sub" / "f").unlink()

    async def scene(yard: Any, until: Any) -> None:
        before = len(yard.facts)
        state = start_with(yard, watched, {})
        await until(lambda: state.idle)
        assert not any(fact.gone for fact in yard.facts[before:])
        assert yard.said == [f"source unreadable: {watched}/sub: Permission denied"]

    in_yard(scene)


@pytest.mark.slow
def test_a_directory_of_many_files_is_compared_in_slices(
    in_yard: Scene, watched: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("hids.agent.scan.SLICE_ENTRIES", 500)
    monkeypatch.setattr("hids.agent.listing.KEPT_INFOS", 300)
    for number in range(3000):
        (watched / f"f{number}").write_text("x")
    facts: list[list[FileFact]] = []
    quiet = {"realtime": False}
    in_yard(scene_of(watched, facts, quiet))
    assert len(facts[0]) == 3002
    in_yard(scene_of(watched, facts, quiet))
    assert facts[1] == []
    for number in range(0, 3000, 100):
        (watched / f"f{number}").write_text("changed")
    (watched / "f1").unlink()
    (watched / "f3").rename(watched / "moved")
    (watched / "new").write_text("n")
    in_yard(scene_of(watched, facts, quiet))
    assert len(facts[2]) == 33
    assert {Path(fact.path).name for fact in facts[2] if fact.gone} == {"f1"}
    assert [fact.moved_from for fact in facts[2] if fact.moved_from] == [f"{watched}/f3"]
    in_yard(scene_of(watched, facts, quiet))
    assert facts[3] == []


def test_more_news_than_may_wait_is_told_at_once(in_yard: Scene, watched: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.agent.news.MAX_WAITING", 5)
    for number in range(30):
        (watched / f"old{number}").write_text(str(number))
    (watched / "tree").mkdir()
    for number in range(10):
        (watched / "tree" / f"leaf{number}").write_text(str(number))
    facts: list[list[FileFact]] = []
    quiet = {"realtime": False}
    in_yard(scene_of(watched, facts, quiet))
    shutil.rmtree(watched / "tree")
    for number in range(30):
        (watched / f"old{number}").unlink()
        (watched / f"new{number}").write_text(f"new {number}")
    in_yard(scene_of(watched, facts, quiet))
    assert sum(fact.gone for fact in facts[1]) == 41
    assert sum(not fact.gone for fact in facts[1]) == 30
    in_yard(scene_of(watched, facts, quiet))
    assert facts[2] == []


def test_a_growing_log_is_quiet_while_it_grows_but_not_when_its_rights_change(in_yard: Scene, watched: Path):
    async def scene(yard: Any, until: Any) -> None:
        state = start_with(yard, watched, {"folder": {"growing": ["*/a"]}})
        await until(lambda: state.idle)
        with (watched / "a").open("a") as file:
            file.write(" beta")
        (watched / "b").write_text("b")
        await until(lambda: told(yard, watched)[2:] == [("b", "live", False)])
        (watched / "a").write_text("al")
        await until(lambda: told(yard, watched)[3:] == [("a", "live", False)])
        (watched / "a").chmod(0o666)
        await until(lambda: yard.facts[-1].mode == 0o666)

    in_yard(scene)


def test_what_is_mounted_from_elsewhere_is_not_even_asked_for(
    in_yard: Scene, watched: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (watched / "share").mkdir()
    (watched / "share" / "f").write_text("f")
    info = tmp_path / "mountinfo"
    info.write_text(f"24 22 0:40 / {watched}/share rw,relatime - nfs4 server:/share rw\n")
    monkeypatch.setattr("hids.agent.syscheck.Mounts", partial(Mounts, mountinfo=info))
    facts: list[list[FileFact]] = []
    in_yard(scene_of(watched, facts))
    assert {os.path.relpath(fact.path, watched) for fact in facts[0]} == {".", "a"}
    in_yard(scene_of(watched, facts, {"skip_nfs": False}))
    assert {os.path.relpath(fact.path, watched) for fact in facts[1]} == {"share", "share/f"}
