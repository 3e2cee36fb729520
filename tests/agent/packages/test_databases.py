"""Databases of package managers: a real dpkg, files as apk writes them, a program in rpm's place; real locks."""

import base64
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from debs import DebianRoot, needs_dpkg

from hids.agent.packages.apk import Apk
from hids.agent.packages.database import Aliases
from hids.agent.packages.databases import databases
from hids.agent.packages.dpkg import Dpkg
from hids.agent.packages.rpm import Rpm
from hids.agent.packages.voucher import Voucher
from hids.core.syscheck.packages import Owned, Package

NOTHING = Package("x", "", "", 0)

LOCKER = """
import fcntl, sys
file = open(sys.argv[1], "ab")
getattr(fcntl, sys.argv[2])(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@needs_dpkg
def test_dpkg_says_what_it_installed(tmp_path: Path):
    debian = DebianRoot(tmp_path)
    debian.dpkg("-i", str(debian.build("1.0", {"usr/bin/x": "x", "etc/x.conf": "a"}, ("etc/x.conf",))))
    dpkg, root = debian.database, str(debian.root).encode()
    before = dpkg.token()
    (package,) = dpkg.packages().values()
    assert (package.name, package.version) == ("demo", "1.0")
    assert abs(package.at_ms - (debian.root / "usr/bin/x").stat().st_ctime_ns // 1_000_000) < 60_000
    owned = {each.path: each for each in dpkg.owned("demo", package, (root,))}
    md5 = hashlib.md5(b"x", usedforsecurity=False).hexdigest()
    assert owned[root + b"/usr/bin/x"] == Owned(root + b"/usr/bin/x", md5)
    assert owned[root + b"/etc/x.conf"].is_conffile
    assert owned[root + b"/etc/x.conf"].digest == hashlib.md5(b"a", usedforsecurity=False).hexdigest()
    assert root + b"/usr/bin" in owned
    assert [each.path for each in dpkg.owned("demo", package, (root + b"/etc",))] == [
        root + b"/etc",
        root + b"/etc/x.conf",
    ]
    assert list(dpkg.owned("demo", package, (b"/elsewhere",))) == []
    assert dpkg.token() == before
    debian.dpkg("-i", str(debian.build("1.1", {"usr/bin/x": "y"})))
    assert dpkg.token() != before
    (later,) = dpkg.packages().values()
    assert later.version == "1.1"
    assert later.stamp != package.stamp
    debian.dpkg("--purge", "demo")
    assert dpkg.packages() == {}


@pytest.mark.parametrize("kind", ["lockf", "flock"])
def test_a_manager_at_work_is_seen_by_its_lock(tmp_path: Path, kind: str):
    (tmp_path / "lock").touch()
    databases = (Dpkg(tmp_path), Apk(tmp_path))
    assert not any(database.is_busy() for database in databases)
    with subprocess.Popen(
        [sys.executable, "-c", LOCKER, str(tmp_path / "lock"), kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout is not None
        assert locker.stdin is not None
        assert locker.stdout.readline() == b"locked\n"
        assert all(database.is_busy() for database in databases)
        locker.stdin.close()
        locker.wait(10)
    assert not any(database.is_busy() for database in databases)


def test_what_is_missing_or_broken_owns_nothing(tmp_path: Path):
    dpkg = Dpkg(tmp_path / "no")
    assert (dpkg.packages(), list(dpkg.owned("x", NOTHING, (b"",))), dpkg.is_busy()) == ({}, [], False)
    apk = Apk(tmp_path / "no")
    assert (apk.packages(), list(apk.owned("x", NOTHING, (b"",))), apk.is_busy()) == ({}, [], False)
    (tmp_path / "info").mkdir()
    (tmp_path / "info" / "odd.list").write_bytes(b"\xff\xfe\n/a\n\0\n")
    (tmp_path / "status").write_bytes(b"\xff: \n nonsense\n\n:\nPackage\n")
    odd = Dpkg(tmp_path)
    assert [package.name for package in odd.packages().values()] == ["odd"]
    assert [each.path for each in odd.owned("odd", odd.packages()["odd"], (b"/a",))] == [b"/a"]


def test_apk(tmp_path: Path):
    digest = hashlib.sha1(b"x", usedforsecurity=False)
    text = b"C:Q1abc=\nP:busybox\nV:1.36-r1\nF:bin\nR:busybox\nZ:Q1" + base64.b64encode(digest.digest()) + b"\n\n"
    (tmp_path / "installed").write_bytes(text)
    apk = Apk(tmp_path)
    busybox = apk.packages()["busybox"]
    assert busybox.version == "1.36-r1"
    assert list(apk.owned("busybox", busybox, (b"/bin",))) == [
        Owned(b"/bin"),
        Owned(b"/bin/busybox", digest.hexdigest()),
    ]
    assert list(apk.owned("busybox", busybox, (b"/etc",))) == []


SPEC = """Name: demo
Version: 1.0
Release: 1
Summary: x
License: x
BuildArch: noarch
%description
x
%install
mkdir -p %{buildroot}/hidsdemo
echo one > %{buildroot}/hidsdemo/file
echo c > %{buildroot}/hidsdemo/x.conf
ln -s file %{buildroot}/hidsdemo/link
%files
/hidsdemo/file
/hidsdemo/link
%config(noreplace) /hidsdemo/x.conf
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("rpmbuild") is None, reason="no rpmbuild here: no package can be made")
def test_a_real_rpm(tmp_path: Path):
    spec, top, db = tmp_path / "demo.spec", tmp_path / "top", tmp_path / "db"
    there = tmp_path / "there"
    there.mkdir()
    spec.write_text(SPEC.replace("/hidsdemo", str(there)))
    program, build = shutil.which("rpm"), shutil.which("rpmbuild")
    assert program is not None
    assert build is not None
    subprocess.run([build, "--define", f"_topdir {top}", "-bb", str(spec)], check=True, capture_output=True)
    (package,) = top.glob("RPMS/*/*.rpm")
    rpm = [program, "--dbpath", str(db)]
    subprocess.run([*rpm, "-i", "--justdb", "--nodeps", str(package)], check=True, capture_output=True)
    database = Rpm(program, db)
    ((key, known),) = database.packages().items()
    assert (known.name, known.version) == ("demo.noarch", "1.0-1")
    assert known.at_ms > 1_700_000_000_000
    token = database.token()
    one, conf = (hashlib.sha256(text).hexdigest() for text in (b"one\n", b"c\n"))
    assert set(database.owned(key, known, (bytes(there),))) == {
        Owned(bytes(there / "file"), one),
        Owned(bytes(there / "x.conf"), conf, is_conffile=True),
        Owned(bytes(there / "link"), "", target=b"file"),
    }
    (there / "file").write_text("one\n")
    assert list(database.claims((bytes(there / "file"), b"/nowhere"))) == [Owned(bytes(there / "file"), one)]
    assert Voucher("/", [database]).vouch_for(str(there / "file"))
    (there / "file").write_text("evil\n")
    assert not Voucher("/", [database]).vouch_for(str(there / "file"))
    assert database.token() == token
    assert not database.is_busy()
    subprocess.run([*rpm, "-e", "--justdb", "demo"], check=True, capture_output=True)
    assert database.token() != token
    assert database.packages() == {}


def test_rpm_is_asked_with_arguments_and_may_fail(tmp_path: Path):
    program = tmp_path / "rpm"
    program.write_text(
        '#!/bin/sh\ncase "$*" in\n'
        f"*-qa*) printf 'bash.x86_64\\t0:5.2-1\\t1700000000\\t42\\n' ;;\n"
        f"*'--querybynumber 42') printf '/usr/bin/bash\\t{'a' * 64}\\t\\t\\n/usr/bin/sh\\t\\t\\tbash\\n' ;;\n"
        "*) exit 1 ;;\nesac\n"
    )
    program.chmod(0o755)
    rpm = Rpm(str(program), tmp_path)
    ((key, package),) = rpm.packages().items()
    assert package.version == "5.2-1"
    assert list(rpm.owned(key, package, (b"/usr/bin",))) == [
        Owned(b"/usr/bin/bash", "a" * 64),
        Owned(b"/usr/bin/sh", "", target=b"bash"),
    ]
    assert Rpm(str(tmp_path / "none"), tmp_path).packages() == {}


@pytest.mark.skipif(not Path("/var/lib/dpkg/status").exists(), reason="this host has no dpkg")
def test_this_host_has_dpkg():
    assert "dpkg" in [database.name for database in databases()]


def test_dpkg_is_searched_for_a_path_without_being_read_in(tmp_path: Path):
    info = tmp_path / "info"
    info.mkdir()
    path, sums = b"/usr/bin/tool", b"0" * 32 + b"  usr/share/filler\n"
    digest = hashlib.md5(b"x", usedforsecurity=False).hexdigest()
    for before in range(13_100, 13_112):  # around where one part of the file ends and the next begins
        text = sums * (before // len(sums) * 20)
        (info / "a.md5sums").write_bytes(text[: before * 20] + b"\n" + digest.encode() + b"  usr/bin/tool\n")
        assert list(Dpkg(tmp_path).claims((path,))) == [Owned(path, digest)]
    (info / "a.md5sums").unlink()
    (info / "a.list").write_bytes(path + b"\n/usr/bin/tool2\n/usr/bin/link\n")
    assert list(Dpkg(tmp_path).claims((path,))) == [Owned(path)]
    assert list(Dpkg(tmp_path).claims((b"/usr/bin/link",))) == [Owned(b"/usr/bin/link")]
    assert list(Dpkg(tmp_path).claims((b"/usr/bin", b"/bin/tool", b"/usr/bin/too"))) == []
    (tmp_path / "status").write_text(f"Package: a\nConffiles:\n /etc/a b {digest}\n /etc/new newconffile\n")
    assert list(Dpkg(tmp_path).claims((b"/etc/a b",))) == [Owned(b"/etc/a b", digest, is_conffile=True)]
    assert list(Dpkg(tmp_path).claims((b"/etc/a", b"/etc/new"))) == []


def test_links_in_the_root_directory_are_other_names(tmp_path: Path):
    (tmp_path / "usr" / "bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    (tmp_path / "evil").symlink_to("/etc")
    aliases = Aliases(str(tmp_path))
    assert aliases.real(b"/bin/x") == b"/usr/bin/x"
    assert aliases.real(b"/evil/x") == b"/evil/x"
    assert aliases.spellings(b"/usr/bin/x") == (b"/usr/bin/x", b"/bin/x")
    assert aliases.spellings(b"/usr/binary") == (b"/usr/binary",)
    assert aliases.links_into(b"/usr") == (b"/bin",)
