"""Looking at single paths."""

import hashlib
import os
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from hids.agent.config import DirectoryConfig, SyscheckConfig
from hids.agent.folders import Folder
from hids.agent.observe import Known, Observer, is_news, is_same, status_of
from hids.messages.syscheck import FileFact

CAPABILITY = struct.pack("<IIIII", 0x02000001, 1 << 13, 0, 0, 0)
ACL = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", tag, rights, number)
    for tag, rights, number in (
        (0x01, 6, 0xFFFFFFFF),
        (0x02, 4, 1000),
        (0x04, 4, 0xFFFFFFFF),
        (0x10, 4, 0xFFFFFFFF),
        (0x20, 4, 0xFFFFFFFF),
    )
)


def folder(path: Path, **options: Any) -> Folder:
    return Folder(DirectoryConfig(path=str(path), **options), SyscheckConfig())


def look(path: Path, before: FileFact | None = None, observer: Observer | None = None, **options: Any) -> Known:
    info = status_of(str(path))
    assert info is not None
    looks = observer or Observer(10_000_000)
    known = looks.look(str(path), info, "scan", folder(path.parent, **options), before)
    assert known is not None
    return known


def set_attribute(path: Path, name: str, value: bytes) -> None:
    try:
        os.setxattr(path, name, value)
    except OSError as error:
        pytest.skip(f"{name} cannot be set here: {error.strerror}")


def test_a_mode_that_went_and_came_back_is_no_news(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    known = look(path)
    mode = path.stat().st_mode
    path.chmod(0o777)
    path.chmod(mode)
    info = status_of(str(path))
    assert info is not None
    assert not is_same(known, info, folder(tmp_path))
    assert not is_news(known.fact, look(path).fact)


def test_a_directory_s_time_moves_with_its_entries(tmp_path: Path):
    path = tmp_path / "d"
    path.mkdir()
    known = look(path)
    (path / "x").write_text("x")
    assert not is_news(known.fact, look(path).fact)


def test_a_link_to_a_secret_is_not_followed(tmp_path: Path):
    (tmp_path / "secret").write_text("s")
    (tmp_path / "a").symlink_to(tmp_path / "secret")
    fact = look(tmp_path / "a").fact
    assert (fact.kind, fact.target, fact.sha256) == ("link", str(tmp_path / "secret"), "")


def test_what_became_a_link_or_a_pipe_meanwhile_is_not_read(tmp_path: Path):
    (tmp_path / "secret").write_text("s")
    path = tmp_path / "a"
    path.write_text("a")
    info = status_of(str(path))
    assert info is not None
    path.unlink()
    path.symlink_to(tmp_path / "secret")
    known = Observer(100).look(str(path), info, "scan", folder(tmp_path))
    assert known is not None
    assert known.fact.sha256 == ""
    path.unlink()
    os.mkfifo(path)
    known = Observer(100).look(str(path), info, "scan", folder(tmp_path))
    assert known is not None
    assert (known.fact.kind, known.fact.sha256) == ("other", "")


def test_a_file_that_went_meanwhile_is_gone(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    info = status_of(str(path))
    assert info is not None
    path.unlink()
    assert Observer(100).look(str(path), info, "scan", folder(tmp_path)) is None


def test_a_sparse_giant_is_not_hashed_and_special_files_are_not_opened(tmp_path: Path):
    with (tmp_path / "giant").open("wb") as file:
        file.truncate(1 << 40)
    os.mkfifo(tmp_path / "pipe")
    giant = look(tmp_path / "giant").fact
    assert (giant.size, giant.sha256) == (1 << 40, "")
    assert look(tmp_path / "pipe").fact.kind == "other"


def test_a_large_file_is_hashed_whole_and_with_what_was_asked_for(tmp_path: Path):
    content = os.urandom(1_000_001)
    (tmp_path / "a").write_bytes(content)
    fact = look(tmp_path / "a", check=("sha256", "sha1", "md5")).fact
    assert fact.sha256 == hashlib.sha256(content).hexdigest()
    assert fact.sha1 == hashlib.sha1(content, usedforsecurity=False).hexdigest()
    assert fact.md5 == hashlib.md5(content, usedforsecurity=False).hexdigest()
    assert look(tmp_path / "a").fact.md5 == ""


def test_what_is_not_checked_is_not_in_the_fact(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    fact = look(path, check=("size",)).fact
    assert (fact.size, fact.mode, fact.sha256, fact.inode, fact.mtime_ns) == (1, 0, "", 0, 0)
    assert set(fact.unchecked) == {"permissions", "owner", "group", "mtime", "inode"}
    assert look(path).fact.unchecked == ()


def test_what_is_written_while_it_is_read_is_read_again(tmp_path: Path):
    path = tmp_path / "a"
    path.write_bytes(b"x" * 1000)
    writes = [b"y" * 1000, b"z" * 2000]

    def paid(_count: int) -> None:
        if writes:
            path.write_bytes(writes.pop(0))

    known = look(path, observer=Observer(10_000, paid=paid))
    assert known.fact.sha256 == hashlib.sha256(b"z" * 2000).hexdigest()
    assert (known.fact.size, known.ctime_ns) == (2000, path.stat().st_ctime_ns)


def test_hard_links_are_counted(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    assert look(path).fact.links == 0
    (tmp_path / "b").hardlink_to(path)
    assert look(path).fact.links == 2


def test_a_log_that_grows_and_one_that_only_seems_to(tmp_path: Path):
    path = tmp_path / "a.log"
    path.write_text("one\n")
    before = look(path).fact
    with path.open("a") as file:
        file.write("two\n")
    grown = look(path, before, growing=("*.log",)).fact
    assert (grown.grown, grown.sha256) == (True, hashlib.sha256(b"one\ntwo\n").hexdigest())
    assert not look(path, before).fact.grown  # not said to be growing
    path.write_text("ONE\ntwo\n")
    assert not look(path, before, growing=("*.log",)).fact.grown
    path.write_text("one")
    assert not look(path, before, growing=("*.log",)).fact.grown


def test_extended_attributes(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("a")
    set_attribute(path, "user.note", b"hello")
    set_attribute(path, "user.long", b"\0" * 300)
    fact = look(path).fact
    assert fact.xattrs == {"user.note": "hello", "user.long": f"sha256:{hashlib.sha256(bytes(300)).hexdigest()}"}
    set_attribute(path, "system.posix_acl_access", ACL)
    assert look(path).fact.acl == "user::rw-,user:1000:r--,group::r--,mask::r--,other::r--"
    set_attribute(path, "security.capability", CAPABILITY)
    fact = look(path).fact
    assert fact.capabilities == "cap_net_raw=ep"
    assert "security.capability" not in fact.xattrs
    assert look(path, check=("size",)).fact.xattrs == {}


def test_the_output_of_a_filter_is_hashed_and_the_file_where_it_fails(tmp_path: Path):
    path = tmp_path / "a"
    path.write_text("abc")
    code = "import sys; sys.stdout.write(open(sys.argv[1]).read().upper())"
    filtered = look(path, observer=Observer(100, (sys.executable, "-c", code))).fact
    assert filtered.sha256 == hashlib.sha256(b"ABC").hexdigest()
    plain = look(path, observer=Observer(100, (sys.executable, "-c", "raise SystemExit(1)"))).fact
    assert plain.sha256 == hashlib.sha256(b"abc").hexdigest()
    endless = look(path, observer=Observer(100, (sys.executable, "-c", "while True: print('x' * 999)"))).fact
    assert endless.sha256 == hashlib.sha256(b"abc").hexdigest()
