"""Signatures, and that a program as its package brought it is none."""

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hids.agent.checks import known
from hids.agent.checks.host import Host
from hids.core.rootcheck.signatures import RootkitFile, Trojan, trojans

Texts = Callable[..., list[str]]
MakeHost = Callable[..., Host]


def signature(line: str) -> tuple[Trojan, ...]:
    entries, problems = trojans("t.txt", line)
    assert not problems
    return entries


def owned_by_a_package(root: Path, path: str, data: bytes) -> None:
    folder = root / "var/lib/dpkg/info"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tool.md5sums").write_text(f"{'0' * 32}  usr/share/x\n{hashlib.md5(data).hexdigest()}  {path}\n")  # noqa: S324


@pytest.fixture
def root(tmp_path: Path, make_host: MakeHost) -> Path:
    (tmp_path / "root/usr/bin").mkdir(parents=True)
    (tmp_path / "root/tmp").mkdir()
    return tmp_path / "root"


def test_a_file_of_a_rootkit_with_its_hashes(root: Path, make_host: MakeHost, texts: Texts):
    (root / "tmp/evil").write_bytes(b"x")
    (root / "tmp/folder").mkdir()
    (root / "tmp/link").symlink_to("nowhere")
    os.mkfifo(root / "tmp/pipe")
    entries = [RootkitFile(f"tmp/{name}", False, "A kit") for name in ("evil", "folder", "link", "pipe", "none")]
    first, *others = texts(known.check_files(make_host(), entries))
    assert first == (
        f"Rootkit 'A kit' detected by the presence of file '{root}/tmp/evil'. MD5={hashlib.md5(b'x').hexdigest()} "  # noqa: S108, S324
        f"SHA1={hashlib.sha1(b'x').hexdigest()} SHA256={hashlib.sha256(b'x').hexdigest()}"  # noqa: S324
    )
    odd = [root / "tmp" / name for name in ("folder", "link", "pipe")]
    assert others == [f"Rootkit 'A kit' detected by the presence of file '{path}'." for path in odd]
    assert texts(known.check_files(make_host(ignore=[f"{root}/tmp/*"]), entries)) == []  # noqa: S108


def test_one_that_its_folder_does_not_list(
    root: Path, make_host: MakeHost, texts: Texts, monkeypatch: pytest.MonkeyPatch
):
    (root / "tmp/evil").write_bytes(b"x")
    monkeypatch.setattr(known.os, "scandir", lambda folder: contextlib.nullcontext([]))
    found = texts(known.check_files(make_host(), [RootkitFile("tmp/evil", False, "A kit")]))
    assert found[1] == f"Anomaly detected in file '{root}/tmp/evil'. Hidden from its folder."  # noqa: S108


def test_a_program_with_a_text_that_it_should_not_have(root: Path, make_host: MakeHost, texts: Texts):
    entries = signature("ls !/dev/shm/\\.|HIDE_!Hides files\nls !other!\nusr/bin/ls !HIDE!\n")
    program = root / "usr/bin/ls"
    program.write_bytes(b"\x7fELF\0\0usage: ls\0\xffHIDE_ME\0" + b"\0" * 100)
    (root / "bin").symlink_to("usr/bin")  # one file, two names: told once
    found = texts(known.check_trojans(make_host(), entries))
    assert [text.partition(" MD5=")[0] for text in found] == [
        f"Trojaned version of file '{root}/bin/ls' detected. Signature used: '/dev/shm/\\.|HIDE_' (Hides files).",
        f"Trojaned version of file '{root}/bin/ls' detected. Signature used: 'HIDE' (Generic).",
    ]
    program.write_bytes(b"\x7fELF\0\0H\0IDE_ hides\0")
    assert texts(known.check_trojans(make_host(), entries)) == []


def test_a_program_as_its_package_brought_it_is_none(root: Path, make_host: MakeHost, texts: Texts):
    entries = signature("ls !HIDE_!")
    data = b"\x7fELF HIDE_ME"
    (root / "usr/bin/ls").write_bytes(data)
    (root / "bin").symlink_to("usr/bin")
    owned_by_a_package(root, "bin/ls", data)  # as a database from before the merge of /usr has it
    assert texts(known.check_trojans(make_host(), entries)) == []
    assert texts(known.check_files(make_host(), [RootkitFile("usr/bin/ls", False, "A kit")])) == []
    (root / "usr/bin/ls").write_bytes(data + b"!")
    assert len(texts(known.check_trojans(make_host(), entries))) == 1


def test_texts_that_lie_across_the_parts_that_are_read(root: Path, make_host: MakeHost, texts: Texts):
    entries = signature("ls !^HIDE_ME$!")
    for shift in range(-9, 2):
        data = b"\0" * (known.CHUNK + shift) + b"HIDE_ME\0tail"
        (root / "usr/bin/ls").write_bytes(data)
        assert len(texts(known.check_trojans(make_host(), entries))) == 1, shift


def test_hostile_programs(root: Path, make_host: MakeHost, texts: Texts):
    entries = signature("ls !a.*b.*c.*d!\nps !x!\ntop !x!")
    (root / "usr/bin/ls").write_bytes(b"abc" * 300_000)
    os.mkfifo(root / "usr/bin/ps")
    (root / "usr/bin/top").symlink_to("top")
    assert texts(known.check_trojans(make_host(), entries)) == []
