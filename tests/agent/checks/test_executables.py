"""Deleted programs that run, and libraries that are forced on programs: real processes, a preload file in a base folder."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hids.agent.checks import executables
from hids.agent.checks.host import Host

ROOT = Path(__file__).parents[3]
Texts = Callable[..., list[str]]
MakeHost = Callable[..., Host]


@pytest.fixture
def sleeper(tmp_path: Path) -> Iterator[Callable[..., "subprocess.Popen[bytes]"]]:
    """A function: starts a copy of `sleep`, with this environment."""
    running: list[subprocess.Popen[bytes]] = []

    def start(path: Path, **environment: str) -> "subprocess.Popen[bytes]":
        real = shutil.which("sleep")
        assert real is not None
        if not path.exists():
            shutil.copy(real, path)
        running.append(subprocess.Popen((path, "60"), env=environment, stderr=subprocess.DEVNULL))
        return running[-1]

    yield start
    for process in running:
        process.kill()
        process.wait()


def test_a_program_that_was_deleted_is_found(
    tmp_path: Path, make_host: MakeHost, texts: Texts, sleeper: Callable[..., object]
):
    path = tmp_path / "evil"
    process = sleeper(path)
    path.unlink()
    found = [text for text in texts(executables.check_deleted(make_host())) if str(path) in text]
    assert found == [f"Process '{process.pid}' runs the deleted file '{path}'."]


def test_one_that_is_there_again_or_left_out_is_not(
    tmp_path: Path, make_host: MakeHost, texts: Texts, sleeper: Callable[..., object]
):
    again, ignored = tmp_path / "again", tmp_path / "ignored"
    for path in (again, ignored):
        sleeper(path)
        path.unlink()
    shutil.copy("/bin/true", again)  # as an upgrade leaves it
    assert not [
        text for text in texts(executables.check_deleted(make_host(ignore=[str(ignored)]))) if str(tmp_path) in text
    ]


def test_a_library_in_an_environment_is_found_once(
    tmp_path: Path, make_host: MakeHost, texts: Texts, sleeper: Callable[..., object]
):
    library = tmp_path / "x y.so"
    library.write_bytes(b"no library")
    for _ in range(2):
        sleeper(tmp_path / "victim", LD_PRELOAD=f"/nowhere/a.so:{tmp_path}/b.so")
    found = [text for text in texts(executables.check_preload(make_host())) if "victim" in text]
    assert sorted(found) == [
        "Library '/nowhere/a.so' is forced on program 'victim' by LD_PRELOAD.",
        f"Library '{tmp_path}/b.so' is forced on program 'victim' by LD_PRELOAD.",
    ]


def test_a_preload_file_is_found(tmp_path: Path, make_host: MakeHost, texts: Texts):
    (tmp_path / "root/etc").mkdir()
    file = tmp_path / "root/etc/ld.so.preload"
    empty = tmp_path / "proc"
    empty.mkdir()
    file.write_text("/lib/a.so:/lib/b.so # words\n\n")
    assert texts(executables.check_preload(make_host(), str(empty))) == [
        f"Library '/lib/a.so' is forced on all programs by '{file}'.",
        f"Library '/lib/b.so' is forced on all programs by '{file}'.",
    ]
    file.write_text("\n")
    assert texts(executables.check_preload(make_host(), str(empty))) == []


def test_a_preload_file_that_hangs_a_reader_does_not(tmp_path: Path, make_host: MakeHost, texts: Texts):
    (tmp_path / "root/etc").mkdir()
    os.mkfifo(tmp_path / "root/etc/ld.so.preload")
    assert texts(executables.check_preload(make_host(), str(tmp_path / "none"))) == []


LOOK = """
from hids.agent.checks import executables
for check in (executables.check_deleted, executables.check_preload):
    try:
        list(check(Host(RootcheckConfig(), Excluded(()))))
    except PermissionError as error:
        print(error)
"""


@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None, reason="needs root and setpriv to give up rights"
)
def test_without_the_right_to_look_it_says_that_it_is_not_complete(tmp_path: Path, sleeper: Callable[..., object]):
    sleeper(tmp_path / "of-root")
    head = "from hids.agent.checks.host import Host\nfrom hids.agent.config import RootcheckConfig\nfrom hids.agent.paths import Excluded\n"
    done = subprocess.run(
        ("setpriv", "--bounding-set", "-all,+dac_read_search", sys.executable, "-c", head + LOOK),  # noqa: S607
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert [line.partition(" ")[2] for line in done.stdout.splitlines()] == [
        "processes may not be looked at; the agent needs CAP_SYS_PTRACE for them"
    ] * 2
