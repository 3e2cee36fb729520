# pyright: reportPrivateUsage=false
"""Who changes files, by the real kernel's audit."""

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from hids.agent.audit import AuditError, Control
from hids.agent.audit_authors import AuditAuthors
from hids.agent.authors import Scope
from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.folders import Folders
from hids.agent.paths import Excluded
from hids.core.collect.auditrecords import AuditEvent, Item
from hids.messages.syscheck import Who
from tests.agent.audits import audit_alone
from tests.agent.conftest import wait_until


class Stage:
    """Audit over a folder."""

    def __init__(self, path: Path) -> None:
        self.watched = path / "watched"
        self.watched.mkdir()
        (path / "plain").mkdir()
        (path / "state").mkdir()
        config = SyscheckConfig(
            directory=(
                DirectoryConfig(path=str(self.watched), whodata=True),
                DirectoryConfig(path=str(path / "plain")),
            )
        )
        self.scope = Scope(Folders(config, Excluded(())), path / "state" / "canary")
        self.way = AuditAuthors(self.scope)
        self.way.cover(str(self.watched))
        self.told: dict[str, Who] = {}

    def run(self, script: str) -> None:
        """In a shell of its own, which begins after audit was switched on, as all must."""
        subprocess.run(["sh", "-c", script], cwd=self.watched, check=True)  # noqa: S607

    def until_told(self, *names: str) -> None:
        paths = {str(self.watched / name) for name in names}

        def has() -> bool:
            assert not self.way.take(self.told.__setitem__)
            return paths <= self.told.keys()

        wait_until(has, f"{paths} in {self.told.keys()}")


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with audit_alone():
        made = Stage(tmp_path)
        yield made
        made.way.close()


def test_who_is_told_with_all_that_the_kernel_says(stage: Stage):
    script = f"echo > {stage.watched}/f"
    stage.run(script)
    stage.until_told("f")
    who = stage.told[str(stage.watched / "f")]
    assert (who.process, who.command) == (os.path.realpath("/bin/sh"), f"sh -c {script}"[:127])
    assert (who.uid, who.user, who.effective_uid, who.gid, who.group) == (0, "root", 0, 0, "root")
    assert (who.ppid, who.cwd, who.gone) == (os.getpid(), str(stage.watched), False)
    login = int(Path("/proc/self/loginuid").read_text())
    assert who.login_uid == (login if login != 0xFFFF_FFFF else -1)


def test_every_process_that_ends_at_once_is_named(stage: Stage):
    stage.run("for i in $(seq 100); do sh -c 'echo > f'$i; done")
    stage.until_told(*(f"f{number}" for number in range(1, 101)))
    assert all(who.command.startswith("sh -c echo") for who in stage.told.values())


@pytest.mark.parametrize(
    ("script", "names"),
    [
        ("echo > 'a name'", ("a name",)),
        ("echo > f; mv f g", ("f", "g")),
        ("echo > f; chmod 600 f", ("f",)),
        ("echo > f; ln f g; ln -s f h", ("g", "h")),
        ("echo > f; rm f", ("f",)),
        ("mkdir d; cd d; echo > f; cd ..; mv d e; cd e; echo > g", ("d", "d/f", "e", "e/g")),
        ("mkdir -p a/b; echo > a/b/f; rm -r a", ("a/b/f", "a/b", "a")),
        ("echo > $(printf '\\303\\244\\377')", ("ä\udcff",)),
        ("mkdir d; ln -s d l; echo > l/f", ("d/f",)),
    ],
)
def test_every_kind_of_change_is_told(stage: Stage, script: str, names: tuple[str, ...]):
    stage.run(script)
    stage.until_told(*names)


def event_of(pid: int, first: int, cwd: str, *items: Item) -> AuditEvent:
    return AuditEvent(
        serial=b"1.0:1",
        pid=pid,
        ppid=1,
        login_uid=-1,
        uid=0,
        effective_uid=0,
        gid=0,
        program=b"/usr/bin/x",
        name=b"x",
        first=first,
        succeeded=True,
        cwd=os.fsencode(cwd),
        items=list(items),
    )


def test_a_descriptor_is_known_by_its_file(stage: Stage):
    """As fchmod has it: no name."""
    with (stage.watched / "f").open("w") as file:
        inode = os.fstat(file.fileno()).st_ino
        event = event_of(os.getpid(), file.fileno(), "/", Item(b"", inode, (0, 0), "NORMAL"))
        stage.way._tell(event, stage.told.__setitem__)
    assert list(stage.told) == [str(stage.watched / "f")]


def test_only_folders_that_ask_are_told_of(stage: Stage):
    stage.run("echo > ../plain/f; echo > ../elsewhere; echo > f")
    stage.until_told("f")
    assert list(stage.told) == [str(stage.watched / "f")]


def test_a_name_below_another_directory_than_it_seems_is_not_taken_for_it(stage: Stage):
    """A process removed `f` below a descriptor; where it stood there is an `f`, too."""
    (stage.watched / "f").touch()
    folder = str(stage.watched)
    parent, name = Item(os.fsencode(folder), 1, (0, 0), "PARENT"), Item(b"f", 2, (0, 0), "DELETE")
    event = event_of(4_000_000, 5, folder, parent, name)
    stage.way._tell(event, stage.told.__setitem__)
    assert stage.told == {}


def test_rules_that_somebody_removed_come_back_and_all_go_at_the_end(stage: Stage):
    control = Control()
    assert control.unwatch_all(stage.way._key)[0] == 2
    stage.way.prove()
    stage.run("echo > f")
    stage.until_told("f")
    control.close()


def test_what_a_killed_agent_left_is_removed(tmp_path: Path):
    with audit_alone():
        control = Control()
        before = control.status()
        stage = Stage(tmp_path)
        for one in (stage.way._control, stage.way._reader):  # as if it had been killed
            one.close()
        again = AuditAuthors(stage.scope)
        again.close()
        assert control.unwatch_all(again._key)[0] == 0
        assert control.status().enabled == before.enabled
        control.set_backlog(before.backlog_limit)
        control.close()


def test_a_kernel_that_refuses_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object) -> None:
        raise AuditError("no audit: Operation not permitted")

    monkeypatch.setattr(Control, "__init__", refuse)
    with pytest.raises(AuditError, match="not permitted"):
        Stage(tmp_path)
