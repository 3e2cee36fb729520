"""Commands on other hosts, with a small program in ssh's place: what it is given, what it may print, how long it may take."""

import asyncio
import stat
import sys
from pathlib import Path

import pytest

from hids.adapters.ssh import MAX_OUTPUT, Output, Remote, arguments, run, words_of

REMOTE = Remote("root@fw1", 2222, "/k", ("ProxyJump=gate",))


def ssh(tmp_path: Path, body: str) -> str:
    program = tmp_path / "ssh"
    program.write_text(f"#!{sys.executable} -S\nimport sys, time\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return str(program)


def run_it(program: str, command: str = "show", timeout_s: float = 10.0) -> Output:
    return asyncio.run(run(REMOTE, command, timeout_s, program))


def test_it_never_asks_anybody_and_knows_its_hosts():
    words = arguments(REMOTE, "show run; reload")
    assert words[-3:] == ["--", "root@fw1", "show run; reload"]
    for option in ("BatchMode=yes", "StrictHostKeyChecking=yes", "ProxyJump=gate", "IdentitiesOnly=yes"):
        assert option in words
    assert words[words.index("-p") + 1] == "2222"


def test_what_it_prints_comes_back(tmp_path: Path):
    program = ssh(tmp_path, "print(sys.argv[-1]); print('noise', file=sys.stderr)")
    assert run_it(program, "a 'b' $c") == Output(b"a 'b' $c\n", "")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        (
            "print('half'); print('Permission denied (publickey).', file=sys.stderr); sys.exit(255)",
            "status 255: Permission",
        ),
        ("sys.exit(1)", "status 1: "),
        (f"sys.stdout.write('x' * {MAX_OUTPUT + 1})", "printed more than"),
    ],
)
def test_what_fails_says_why_and_shows_nothing(tmp_path: Path, body: str, problem: str):
    text, said = run_it(ssh(tmp_path, body))
    assert text == b""
    assert problem in said


def test_what_hangs_is_ended(tmp_path: Path):
    assert "took longer than" in run_it(ssh(tmp_path, "time.sleep(100)"), timeout_s=0.3).problem
    assert "cannot be run" in run_it(str(tmp_path / "none")).problem


def test_paths_are_words():
    assert words_of(["/etc", "/srv/my data"]).startswith("find /etc '/srv/my data' -xdev ")
