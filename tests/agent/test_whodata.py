# pyright: reportPrivateUsage=false
"""Who-data with the real kernel: processes change files, and syscheck tells which."""

import asyncio
import os
import select
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hids.adapters.clock import SystemClock
from hids.agent import whodata as module
from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.connector import ConnectorError, subscribe
from hids.agent.fanotify import MODIFY, Event, Fanotify, FanotifyError, handle_of
from hids.agent.fanotify_authors import FanotifyAuthors
from hids.agent.folders import Folders
from hids.agent.paths import Excluded
from hids.agent.syscheck import Syscheck
from hids.agent.whodata import WhoData
from hids.messages.syscheck import FileFact, Who
from tests.agent.audits import audit_alone
from tests.agent.conftest import wait_until

Scene = Callable[..., None]


def _hears() -> str:
    try:
        Fanotify().close()
    except FanotifyError as error:
        return str(error)
    return ""


PROBLEM = _hears()
needs_fanotify = pytest.mark.skipif(bool(PROBLEM), reason=PROBLEM)


class Changer:
    """A process that lives on and does what it is told."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", "import os, sys\nfor line in sys.stdin: exec(line); print(flush=True)"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def do(self, code: str) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(code + "\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "\n"

    def end(self) -> None:
        self._process.communicate()


class NoWatch:
    """Nobody remembers processes."""

    trouble = ""

    def prove(self) -> None:
        pass

    def recall(self, _pid: int, _since_ns: int | None) -> Who | None:
        return None

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def nobody_remembers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch):
    """The process that does takes its time to start: only where it is what is tested."""
    if "watched_processes" not in request.fixturenames:
        monkeypatch.setattr("hids.agent.fanotify_authors.ProcessWatch", NoWatch)


@pytest.fixture
def watched_processes() -> None:
    """Processes are remembered."""
    try:
        subscribe().close()
    except ConnectorError as error:
        pytest.skip(str(error))


@pytest.fixture
def changer() -> Iterator[Changer]:
    made = Changer()
    yield made
    made.end()


class Stage:
    """Who-data over a folder, without syscheck."""

    def __init__(self, path: Path, **settings: Any) -> None:
        self.watched = path / "watched"
        self.watched.mkdir()
        (path / "plain").mkdir()
        self.said: list[str] = []
        config = SyscheckConfig(
            directory=(
                DirectoryConfig(path=str(self.watched), whodata=True),
                DirectoryConfig(path=str(path / "plain")),
            )
        )
        self.stirred = threading.Event()
        folders = Folders(config, Excluded(()))
        self.losses: list[None] = []
        self.who = WhoData(
            folders,
            path,
            SystemClock(),
            self.said.append,
            self.stirred.set,
            lambda: self.losses.append(None),
            **settings,
        )

    def author(self, path: Path) -> Any:
        (fact,) = self.who.explain([FileFact(path=str(path), seen="live")])
        return fact.who

    def await_author(self, path: Path) -> Any:
        found: list[Any] = []

        def look() -> bool:
            found.append(self.author(path))
            return found[-1] is not None

        wait_until(look)
        return found[-1]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    made.who.start()
    yield made
    made.who.close()


@needs_fanotify
def test_it_proves_itself(stage: Stage):
    wait_until(lambda: stage.who.status == "who-data works (fanotify)")
    assert stage.stirred.is_set()
    assert stage.said == []


@needs_fanotify
def test_every_kind_of_change_has_its_author(stage: Stage, changer: Changer):
    f, g, d = stage.watched / "f", stage.watched / "g", stage.watched / "d"
    for code, path in (
        (f"open({str(f)!r}, 'w').close()", f),
        (f"open({str(f)!r}, 'a').write('x')", f),
        (f"os.chmod({str(f)!r}, 0o600)", f),
        (f"os.rename({str(f)!r}, {str(g)!r})", g),
        (f"os.unlink({str(g)!r})", g),
        (f"os.mkdir({str(d)!r})", d),
        (f"os.chmod({str(d)!r}, 0o700)", d),
        (f"os.rmdir({str(d)!r})", d),
    ):
        changer.do(code)
        who = stage.await_author(path)
        assert (who.pid, who.gone, who.ppid) == (changer.pid, False, os.getpid()), code
    assert who.process == os.path.realpath(sys.executable)
    assert who.command.startswith(sys.executable + " -c import os, sys")
    assert (who.uid, who.effective_uid, who.gid) == (os.getuid(), os.geteuid(), os.getgid())
    assert who.cwd == str(Path.cwd())


@needs_fanotify
def test_a_directory_that_moved_is_known_at_its_new_place(stage: Stage, changer: Changer):
    old, new = stage.watched / "old", stage.watched / "new"
    changer.do(f"os.mkdir({str(old)!r}); open({str(old / 'f')!r}, 'w').close()")
    assert stage.await_author(old / "f").pid == changer.pid
    changer.do(f"os.rename({str(old)!r}, {str(new)!r}); open({str(new / 'f')!r}, 'a').write('x')")
    assert stage.await_author(new / "f").pid == changer.pid


@needs_fanotify
def test_files_that_went_with_their_directory_have_an_author(stage: Stage, changer: Changer):
    tree = stage.watched / "tree"
    tree.mkdir()
    (tree / "leaf").touch()
    assert stage.await_author(tree / "leaf").pid == os.getpid()
    stage.who.cover(str(tree))
    changer.do(f"import shutil; shutil.rmtree({str(tree)!r})")
    assert stage.await_author(tree / "leaf").pid == changer.pid
    wait_until(lambda: stage.author(tree) is not None)


@needs_fanotify
def test_only_folders_that_ask_are_told_of(stage: Stage, changer: Changer, tmp_path: Path):
    for path in (tmp_path / "plain" / "f", tmp_path / "elsewhere", stage.watched / "f"):
        changer.do(f"open({str(path)!r}, 'w').close()")
    assert stage.await_author(stage.watched / "f").pid == changer.pid  # the last: all before it has been read
    assert stage.author(tmp_path / "plain" / "f") is None
    assert stage.author(tmp_path / "elsewhere") is None


@needs_fanotify
def test_one_that_ended_is_told_as_gone(stage: Stage):
    handle = handle_of(str(stage.watched))
    assert isinstance(stage.who._way, FanotifyAuthors)
    stage.who._way._tell([Event(MODIFY, 4_000_000, -1, handle, b"f")], stage.who._note)  # such a race cannot be staged
    who = stage.author(stage.watched / "f")
    assert (who.pid, who.gone, who.user) == (4_000_000, True, "")


@needs_fanotify
def test_an_author_is_named_once_and_never_of_a_baseline(stage: Stage, changer: Changer):
    changer.do(f"open({str(stage.watched / 'f')!r}, 'w').close()")
    assert stage.await_author(stage.watched / "f")
    changer.do(f"open({str(stage.watched / 'g')!r}, 'w').close()")
    wait_until(lambda: str(stage.watched / "g") in stage.who._authors)
    (fact,) = stage.who.explain([FileFact(path=str(stage.watched / "g"), seen="baseline")])
    assert fact.who is None
    assert stage.author(stage.watched / "g") is None


@needs_fanotify
def test_authors_are_bounded(stage: Stage, changer: Changer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MAX_AUTHORS", 3)
    changer.do(f"[open({str(stage.watched)!r} + f'/{{n}}', 'w').close() for n in range(9)]")
    assert stage.await_author(stage.watched / "8")
    assert len(stage.who._authors) <= 3
    assert stage.author(stage.watched / "0") is None


@needs_fanotify
def test_a_full_queue_forgets_authors_says_so_and_has_all_scanned(tmp_path: Path, changer: Changer):
    """The kernel's own queue overflows: nobody reads while more happens than it keeps."""
    most = int(Path("/proc/sys/fs/fanotify/max_queued_events").read_text())
    if most > 20_000:
        pytest.skip(f"fs.fanotify.max_queued_events is {most}")
    stage = Stage(tmp_path)
    stage.who._canary.parent.mkdir()
    way = FanotifyAuthors(stage.who._scope)
    way.cover(str(stage.watched))
    stage.who._way = way
    name = str(stage.watched / "f")
    changer.do(f"open({name!r} + '0', 'w').close()")
    changer.do(f"[os.rename({name!r} + str(n), {name!r} + str(n + 1)) for n in range({most + 99})]")
    stage.who._note("/a", Who(pid=1))
    while not stage.losses:
        assert select.select(way.descriptors(), [], [], 0)[0], "all was read, and nothing was lost"
        if way.take(stage.who._note):
            stage.who._forget()
    way.close()
    assert stage.who._authors == {}
    assert stage.said == [
        "who-data lost: the kernel's queue was full, who made some changes is unknown; scanning again"
    ]


@needs_fanotify
def test_what_is_not_told_in_time_is_a_failure_and_comes_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    deaf = True
    read = Fanotify.read

    def perhaps(self: Fanotify) -> list[Event]:
        events = read(self)
        if not deaf:
            return events
        for event in events:
            if event.pidfd >= 0:
                os.close(event.pidfd)
        return []

    monkeypatch.setattr(Fanotify, "read", perhaps)
    stage = Stage(tmp_path, provider="fanotify", prove_s=0.1, bound_s=0.1)
    stage.who.start()
    try:
        wait_until(lambda: stage.said)
        assert stage.who.status.startswith(
            "who-data does not work: fanotify: a change of the agent's own file was not told within"
        )
        deaf = False
        wait_until(lambda: stage.who.status == "who-data works (fanotify)")
        assert stage.said[0].startswith("who-data does not work: ")
        assert stage.said[-1] == "who-data works again"
    finally:
        stage.who.close()


def test_a_kernel_that_refuses_is_told_and_nothing_else_stops(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_self: Fanotify) -> None:
        raise FanotifyError("no fanotify: Operation not permitted")

    monkeypatch.setattr(Fanotify, "__init__", refuse)
    stage = Stage(tmp_path, provider="fanotify")
    stage.who.start()
    assert stage.said == ["who-data does not work: no fanotify: Operation not permitted"]
    assert stage.stirred.is_set()
    stage.who.cover(str(stage.watched))
    assert stage.author(stage.watched / "f") is None
    stage.who.close()


@needs_fanotify
def test_a_file_system_without_handles_is_told(tmp_path: Path):
    said: list[str] = []
    folders = Folders(SyscheckConfig(directories=("/proc/sys/kernel",), whodata=True), Excluded(()))
    who = WhoData(folders, tmp_path, SystemClock(), said.append, lambda: None, lambda: None, provider="fanotify")
    who.start()
    try:
        fine = not said  # later kernels may have handles even there
        assert fine or said[0].startswith("who-data does not work: the file system of /proc/sys/kernel does not tell: ")
    finally:
        who.close()


@needs_fanotify
@pytest.mark.usefixtures("watched_processes")
def test_who_ended_before_anybody_looked_is_named(tmp_path: Path):
    stage = Stage(tmp_path)
    stage.who._canary.parent.mkdir()
    way = FanotifyAuthors(stage.who._scope)
    try:
        way.cover(str(stage.watched))
        way.prove()
        assert way.lacks == ""
        stage.who._way = way
        way.take(stage.who._note)  # who had a number before anybody looked on is not asked for
        script = f"echo x > {stage.watched}/f; echo done; read line"
        process = subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S607
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        wait_until(lambda: getattr(way._processes.recall(process.pid, None), "command", "").startswith("sh -c"))
        process.communicate(b"\n")  # it has ended, and is waited for: /proc knows nothing of it
        while str(stage.watched / "f") not in stage.who._authors:
            assert select.select(way.descriptors(), [], [], 0)[0], "all was read, and it was not told of"
            way.take(stage.who._note)
        who = stage.author(stage.watched / "f")
        assert (who.pid, who.gone, who.command) == (process.pid, False, f"sh -c {script}")
        assert (who.process, who.cwd) == (os.path.realpath("/bin/sh"), str(Path.cwd()))
        assert (who.uid, who.user, who.ppid, who.parent) == (0, "root", os.getpid(), os.path.realpath(sys.executable))
    finally:
        way.close()


@needs_fanotify
def test_the_next_way_is_tried_when_one_is_deaf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changer: Changer):
    class Deaf(FanotifyAuthors):
        name = "deaf"

        def take(self, note: Callable[[str, Who], None]) -> bool:
            return super().take(lambda _path, _who: None)

        def close(self) -> None:
            super().close()
            stage.who._bound_s = 10.0  # the next one has time

    monkeypatch.setitem(module.WAYS, "auto", (Deaf, FanotifyAuthors))
    stage = Stage(tmp_path, bound_s=0.1)
    stage.who.start()
    try:
        wait_until(lambda: stage.who.status == "who-data works (fanotify)")
        assert stage.said == []
        changer.do(f"open({str(stage.watched / 'f')!r}, 'w').close()")
        assert stage.await_author(stage.watched / "f").pid == changer.pid
    finally:
        stage.who.close()


def test_audit_is_tried_where_fanotify_does_not_work(in_yard: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(_self: Fanotify) -> None:
        raise FanotifyError("no fanotify: Operation not permitted")

    monkeypatch.setattr(Fanotify, "__init__", refuse)
    folder = tmp_path / "watched"
    folder.mkdir()

    async def scene(yard: Any, until: Any) -> None:
        config = SyscheckConfig(directories=(str(folder),), whodata=True)
        state = yard.start(Syscheck, "syscheck", config, Excluded(()), yard.path.parent)
        await until(lambda: state.idle and "who-data works (audit)" in state.state)
        process = await asyncio.create_subprocess_exec("sh", "-c", "echo > f", cwd=folder)
        await process.wait()
        await until(lambda: any(fact.who for fact in yard.facts))
        (fact,) = (fact for fact in yard.facts if fact.who)
        assert (fact.path, fact.who.command, fact.who.user) == (str(folder / "f"), "sh -c echo > f", "root")
        assert yard.said == []

    with audit_alone():
        in_yard(scene)


def test_what_is_lacking_is_in_the_status(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    if PROBLEM:
        pytest.skip(PROBLEM)
    monkeypatch.setattr(NoWatch, "trouble", "no process connector: Operation not permitted")
    stage = Stage(tmp_path)
    stage.who.start()
    try:
        lacks = "but who ends at once is not named: no process connector: Operation not permitted"
        wait_until(lambda: stage.who.status == f"who-data works (fanotify), {lacks}")
    finally:
        stage.who.close()


@needs_fanotify
def test_syscheck_tells_who(in_yard: Scene, tmp_path: Path, changer: Changer):
    folder = tmp_path / "watched"
    folder.mkdir()
    (folder / "old").write_text("x")

    def names(facts: list[FileFact]) -> dict[str, Any]:
        return {fact.path.removeprefix(f"{folder}/"): fact for fact in facts}

    async def scene(yard: Any, until: Any) -> None:
        config = SyscheckConfig(directories=(str(folder),), whodata=True, realtime=False)
        state = yard.start(Syscheck, "syscheck", config, Excluded(()), yard.path.parent)
        await until(lambda: state.idle and state.state == "watching, who-data works (fanotify)")
        assert all(fact.who is None for fact in yard.facts)
        changer.do(f"os.makedirs({str(folder / 'a' / 'b')!r}); open({str(folder / 'a' / 'b' / 'f')!r}, 'w').close()")
        changer.do(f"os.unlink({str(folder / 'old')!r})")
        await until(lambda: {"a/b/f", "old"} <= names(yard.facts[2:]).keys())
        facts = names(yard.facts[2:])
        changer.do(f"os.rename({str(folder / 'a' / 'b' / 'f')!r}, {str(folder / 'moved')!r})")
        await until(lambda: "moved" in names(yard.facts))
        moved = names(yard.facts)["moved"]
        assert (moved.moved_from, moved.who.pid) == (str(folder / "a" / "b" / "f"), changer.pid)
        assert {facts[name].who.pid for name in ("a", "a/b", "a/b/f", "old")} == {changer.pid}
        assert facts["old"].gone

    in_yard(scene)


def test_switching_it_on_has_no_file_hashed_again():
    def stamps(*, whodata: bool | None) -> bytes:
        config = SyscheckConfig(directory=(DirectoryConfig(path="/", whodata=whodata),))
        return Folders(config, Excluded(())).of("/").stamp

    assert stamps(whodata=True) == stamps(whodata=None)
