"""Who vouches for a file: databases of dpkg and apk below a folder, rpm by a program that answers as rpm does."""

import base64
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from hids.agent.checks import packages
from hids.agent.checks.packages import Packages


def put(path: Path, data: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def test_dpkg(tmp_path: Path):
    tool = put(tmp_path / "usr/bin/tool", b"good")
    other = put(tmp_path / "usr/bin/other", b"good")
    digest = hashlib.md5(b"good").hexdigest().encode()  # noqa: S324
    put(tmp_path / "var/lib/dpkg/info/a.md5sums", b"%s  usr/bin/tool\nbroken\n  usr/bin/x\n" % digest)
    put(tmp_path / "var/lib/dpkg/info/b.md5sums", b"\xff\xfe")
    assert Packages(str(tmp_path)).vouch_for(str(tool))
    assert not Packages(str(tmp_path)).vouch_for(str(other))
    assert not Packages(str(tmp_path)).vouch_for(str(tmp_path / "usr/bin/x"))
    (tmp_path / "usr/bin/link").symlink_to("tool")
    assert Packages(str(tmp_path)).vouch_for(str(tmp_path / "usr/bin/link"))
    tool.write_bytes(b"evil")
    assert not Packages(str(tmp_path)).vouch_for(str(tool))


def test_apk(tmp_path: Path):
    tool = put(tmp_path / "bin/tool", b"good")
    sum_ = base64.b64encode(hashlib.sha1(b"good").digest()).decode()  # noqa: S324
    put(tmp_path / "lib/apk/db/installed", f"P:tools\nF:bin\nR:tool\nZ:Q1{sum_}\nR:x\nZ:Q1!!\n".encode())
    assert Packages(str(tmp_path)).vouch_for(str(tool))
    tool.write_bytes(b"evil")
    assert not Packages(str(tmp_path)).vouch_for(str(tool))


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs a Debian")
def test_the_real_thing():
    assert Packages().vouch_for("/bin/ls")
    assert Packages().vouch_for("/usr/bin/dpkg")
    assert not Packages().vouch_for("/etc/hostname")


@pytest.mark.parametrize(
    ("script", "vouches"),
    [
        ("exit 0", True),
        ("echo 'S.5....T.    '$5; exit 1", False),
        ("echo 'S.5....T.  c /etc/other'; exit 1", True),
        ("echo file $5 is not owned by any package; exit 1", False),
        ("echo no database >&2; exit 1", False),
    ],
)
def test_rpm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, vouches: bool):  # noqa: FBT001
    program = put(tmp_path / "rpm", f"#!/bin/sh\n{script}\n".encode())
    program.chmod(0o755)
    monkeypatch.setattr(packages.shutil, "which", lambda name, path: str(program))
    monkeypatch.setattr(
        packages.os.path, "isdir", lambda path, real=os.path.isdir: path == "/var/lib/rpm" or real(path)
    )
    tool = put(tmp_path / "tool", b"x")
    assert Packages().vouch_for(str(tool)) is vouches


def test_what_hangs_a_reader_is_nobodys(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path / "var/lib/dpkg/info/a.md5sums", b"0" * 32 + b"  pipe\n")
    assert not Packages(str(tmp_path)).vouch_for(str(tmp_path / "pipe"))
    assert not Packages(str(tmp_path)).vouch_for(str(tmp_path / "gone"))
