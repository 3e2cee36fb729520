"""Audit databases on a real folder, with real processes."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

from hids.agent.checks import settings
from hids.agent.checks.host import Host
from hids.core.rootcheck.audit import parse

Texts = Callable[..., list[str]]
MakeHost = Callable[..., Host]


def audit(text: str) -> object:
    database = parse("x.txt", text)
    assert not database.problems
    return database


def test_files_folders_and_processes(tmp_path: Path, make_host: MakeHost, texts: Texts):
    root = tmp_path / "root"
    (root / "etc/rc2.d").mkdir(parents=True)
    (root / "etc/sshd_config").write_bytes(b"# PermitRootLogin no\r\nPermitRootLogin yes\r\n")
    (root / "etc/rc2.d/S20nfs").write_text("")
    database = audit(
        "[Root may log in] [any] [why]\nf:/etc/sshd_config -> !r:^# && r:PermitRootLogin\\.+yes$;\n"
        "[NFS] [any] []\nd:/etc/rc2.d -> ^S\\d\\dnfs$;\n"
        "[Pattern] [any] []\nf:/etc/*_config;\n"
        "[Sleeps] [any] []\np:r:sleep 61;\n"
        "[None] [any] []\nf:/etc/none;\nf:/etc/sshd_config -> r:Nothing;\nr:HKLM\\X;\n"
    )
    sleeper = subprocess.Popen(("sleep", "61"))  # noqa: S607
    try:
        found = texts(settings.check(make_host(), database, "System Audit", "a"))
    finally:
        sleeper.kill()
        sleeper.wait()
    assert found == [
        f"System Audit: Root may log in. File: {root}/etc/sshd_config. Reference: why .",
        f"System Audit: NFS. File: {root}/etc/rc2.d/S20nfs.",
        f"System Audit: Pattern. File: {root}/etc/sshd_config.",
        "System Audit: Sleeps.",
    ]
    assert len(texts(settings.check(make_host(ignore=["*/etc/*"]), database, "System Audit", "a"))) < len(found)


def test_bad_files_do_no_harm(tmp_path: Path, make_host: MakeHost, texts: Texts):
    root = tmp_path / "root"
    (root / "etc").mkdir(parents=True)
    os.mkfifo(root / "etc/pipe")
    (root / "etc/loop").symlink_to(root / "etc")
    (root / "etc/long").write_bytes(b"abc" * 600_000 + b"\nsecret")
    database = audit(
        "[Pipe] [any] []\nf:/etc/pipe -> r:x;\n[Long] [any] []\nf:/etc/long -> r:\\.+b\\.+d\\.+e;\n"
        "[Far] [any] []\nf:/etc/long -> r:secret;\n[Loop] [any] []\nd:/etc -> ^nothing$;\n[Up] [any] []\nd:/etc/loop -> r:x;"
    )
    assert texts(settings.check(make_host(), database, "System Audit", "a")) == []
