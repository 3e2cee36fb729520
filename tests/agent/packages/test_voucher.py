"""Who vouches for a file: databases of dpkg and apk below a folder, rpm by a program that answers as rpm does."""

import base64
import hashlib
import os
import shutil
from pathlib import Path

import pytest

from hids.agent.packages.rpm import Rpm
from hids.agent.packages.voucher import Voucher


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
    assert Voucher(str(tmp_path)).vouch_for(str(tool))
    assert not Voucher(str(tmp_path)).vouch_for(str(other))
    assert not Voucher(str(tmp_path)).vouch_for(str(tmp_path / "usr/bin/x"))
    (tmp_path / "usr/bin/link").symlink_to("tool")
    assert Voucher(str(tmp_path)).vouch_for(str(tmp_path / "usr/bin/link"))
    tool.write_bytes(b"evil")
    assert not Voucher(str(tmp_path)).vouch_for(str(tool))


def test_apk(tmp_path: Path):
    tool = put(tmp_path / "bin/tool", b"good")
    sum_ = base64.b64encode(hashlib.sha1(b"good").digest()).decode()  # noqa: S324
    put(tmp_path / "lib/apk/db/installed", f"P:tools\nF:bin\nR:tool\nZ:Q1{sum_}\nR:x\nZ:Q1!!\n".encode())
    assert Voucher(str(tmp_path)).vouch_for(str(tool))
    tool.write_bytes(b"evil")
    assert not Voucher(str(tmp_path)).vouch_for(str(tool))


@pytest.mark.skipif(shutil.which("dpkg") is None, reason="needs a Debian")
def test_the_real_thing():
    assert Voucher().vouch_for("/bin/ls")
    assert Voucher().vouch_for("/usr/bin/dpkg")
    assert not Voucher().vouch_for("/etc/hostname")


@pytest.mark.parametrize(
    ("script", "vouches"),
    [
        ("printf '%s\\t%s\\t\\t\\n' \"$6\" {digest}", True),
        ("printf '%s\\t%s\\tc\\t\\n' \"$6\" {digest}", True),
        ("printf '/other\\t%s\\t\\t\\n' {digest}", False),
        ("printf '%s\\t%064d\\t\\t\\n' \"$6\" 0", False),
        ("printf '%s\\t\\t\\t\\n' \"$6\"", False),
        ("echo file $6 is not owned by any package; exit 1", False),
        ("echo no database >&2; exit 1", False),
    ],
)
def test_rpm(tmp_path: Path, script: str, vouches: bool):  # noqa: FBT001
    tool = put(tmp_path / "tool", b"x")
    digest = hashlib.sha256(b"x").hexdigest()
    program = put(tmp_path / "rpm", f"#!/bin/sh\nshift\n{script.format(digest=digest)}\n".encode())
    program.chmod(0o755)
    assert Voucher("/", [Rpm(str(program), tmp_path)]).vouch_for(str(tool)) is vouches


def test_what_hangs_a_reader_is_nobodys(tmp_path: Path):
    os.mkfifo(tmp_path / "pipe")
    put(tmp_path / "var/lib/dpkg/info/a.md5sums", b"0" * 32 + b"  pipe\n")
    assert not Voucher(str(tmp_path)).vouch_for(str(tmp_path / "pipe"))
    assert not Voucher(str(tmp_path)).vouch_for(str(tmp_path / "gone"))
