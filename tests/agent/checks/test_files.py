"""The walk over the file system, and what lies among the devices."""

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hids.agent.checks import files
from hids.agent.checks.files import Walk, check_dev
from hids.agent.checks.host import Host
from hids.core.rootcheck.signatures import RootkitFile

Texts = Callable[..., list[str]]
MakeHost = Callable[..., Host]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: the files must be root's")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    (tmp_path / "root/home/me/deep/er").mkdir(parents=True)
    return tmp_path / "root"


def program(path: Path, mode: int = 0o4755) -> Path:
    path.write_bytes(b"\x7fELF")
    path.chmod(mode)
    return path


@as_root
def test_files_of_roots_that_everybody_may_write(root: Path, make_host: MakeHost, texts: Texts):
    program(root / "usr/bin/open", 0o777)
    program(root / "usr/bin/closed", 0o755)
    (root / "usr/bin/link").symlink_to("open")
    os.mkfifo(root / "usr/bin/pipe", 0o666)
    walk = Walk(make_host(), None, ())
    assert texts(walk.steps()) == [
        f"File '{root}/usr/bin/open' is owned by root and has written permissions to anyone."
    ]


@as_root
def test_a_setuid_program_is_news_when_it_was_not_there_before(root: Path, make_host: MakeHost, texts: Texts):
    old = program(root / "usr/bin/old")
    first = Walk(make_host(), None, ())
    assert texts(first.steps()) == []
    assert first.census == {str(old): "4755 0:0"}
    new = program(root / "usr/bin/new", 0o6755)
    old.chmod(0o755)
    second = Walk(make_host(), first.census, ())
    expected = [f"New setuid program: it runs as user 0 and group 0 for whoever starts it, file '{new}'."]
    assert texts(second.steps()) == expected
    assert second.census == {}
    assert texts(Walk(make_host(), second.census, ()).steps()) == expected, "until somebody has done something about it"
    assert texts(Walk(make_host(check_setuid=False), second.census, ()).steps()) == []


def test_how_deep_it_looks(root: Path, make_host: MakeHost, texts: Texts):
    for folder in ("home/me", "home/me/deep", "home/me/deep/er", "elsewhere"):
        (root / folder).mkdir(exist_ok=True)
        (root / folder / "bad.ko").touch()
    entries = [RootkitFile("bad.ko", True, "Bad")]

    def found(**keys: object) -> set[str]:
        lines = texts(Walk(make_host(**keys), None, entries).steps())
        assert all(line.startswith("Rootkit 'Bad' detected by the presence of file '") for line in lines)
        return {line.split("'")[3].removeprefix(f"{root}/") for line in lines}

    assert found() == {"home/me/bad.ko", "home/me/deep/bad.ko"}
    assert found(scanall=True) == {
        f"{folder}/bad.ko" for folder in ("home/me", "home/me/deep", "home/me/deep/er", "elsewhere")
    }
    assert found(scanall=True, ignore=["*/me/*"]) == {"elsewhere/bad.ko"}


def test_loops_and_what_vanishes_do_no_harm(root: Path, make_host: MakeHost, texts: Texts):
    (root / "usr/loop").symlink_to(root / "usr")
    (root / "bin").symlink_to("usr/bin")
    (root / "usr/closed").mkdir(mode=0)
    assert texts(Walk(make_host(scanall=True), None, ()).steps()) == []


def test_a_folder_that_counts_more_than_it_lists(
    root: Path, make_host: MakeHost, texts: Texts, monkeypatch: pytest.MonkeyPatch
):
    """As a rootkit does it: `secret` is left out of every listing, and the folder's count of links stays as it is."""
    (root / "usr/secret").mkdir()
    if os.lstat(root / "usr").st_nlink != 4:
        pytest.skip("this file system does not count folders")
    real = os.scandir

    class Hiding:
        def __init__(self, path: str) -> None:
            self._entries = real(path)

        def __iter__(self) -> object:
            return (entry for entry in self._entries if entry.name != "secret")

        def __enter__(self) -> object:
            return self

        def __exit__(self, *_: object) -> None:
            self._entries.close()

    assert texts(Walk(make_host(), None, ()).steps()) == []
    monkeypatch.setattr(files.os, "scandir", Hiding)
    assert texts(Walk(make_host(), None, ()).steps()) == [
        f"Folder '{root}/usr' has 1 folders more than it lists. Something hides there."
    ]


def test_a_size_that_is_not_so(root: Path, make_host: MakeHost, texts: Texts, monkeypatch: pytest.MonkeyPatch):
    path = program(root / "usr/bin/tool", 0o755)
    assert texts(Walk(make_host(readall=True), None, ()).steps()) == []
    real = files.open_regular

    class Short:
        """A file whose end a kernel hides."""

        def __init__(self, opened: object) -> None:
            self._opened = opened

        def __enter__(self) -> "Short":  # noqa: PYI034
            return self

        def __exit__(self, *_: object) -> None:
            self._opened.close()

        def fileno(self) -> int:
            return self._opened.fileno()

        def read(self, size: int) -> bytes:
            return self._opened.read(2) if self._opened.tell() == 0 else b""

    monkeypatch.setattr(files, "open_regular", lambda name: Short(real(name)))
    assert texts(Walk(make_host(readall=True), None, ()).steps()) == [
        f"Anomaly detected in file '{path}'. It has 2 bytes, and the kernel says 4."
    ]


def test_plain_files_among_the_devices(root: Path, make_host: MakeHost, texts: Texts):
    for name in ("dev/shm/fine", "dev/.x/hidden", "dev/sda9", "dev/MAKEDEV", "dev/shm.d/no"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "dev/null").symlink_to("/dev/null")
    os.mkfifo(root / "dev/initctl")
    found = sorted(texts(check_dev(make_host())))
    assert found == [
        f"File '{root}/dev/{name}' present on /dev. Only devices should be there."
        for name in (".x/hidden", "sda9", "shm.d/no")
    ]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_names_of_any_bytes(root: Path, make_host: MakeHost, texts: Texts):
    name = b"\xff\n\x1b[2J'.ko"
    (root / "dev").mkdir()
    with open(os.fsencode(root / "dev") + b"/" + name, "wb"):  # noqa: PTH123 - bytes that no Path takes
        pass
    (found,) = texts(check_dev(make_host()))
    assert found == f"File '{root}/dev/\\xff\\u000a\\u001b[2J'.ko' present on /dev. Only devices should be there."
