"""The process that evaluates one policy."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import psutil
import pytest
from stand import wait_for

from hids.agent.policyscan import read_trusted
from hids.core.policy.lines import Report
from hids.errors import ConfigError

ONE, OTHER, THIRD = (f"{each}{os.getpid()}" for each in (7, 8, 9))
"""Seconds that nobody else on this machine sleeps, not even what a run before left."""

POLICY = """
policy: {{id: p, file: p.yml, name: P, description: d}}
requirements: {{title: r, description: d, condition: all, rules: ['{required}']}}
checks:
  - {{id: 1, title: one, condition: all, rules: ['f:/etc/passwd -> r:^root:']}}
  - {{id: 2, title: two, condition: all, rules: ['{rule}']}}
"""


def written(folder: Path, rule: str = "f:/nothing", required: str = "d:/etc") -> Path:
    folder.chmod(0o755)
    path = folder / "p.yml"
    path.write_text(POLICY.format(rule=rule, required=required))
    path.chmod(0o644)
    return path


def start(path: Path, *options: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [
            sys.executable,
            "-m",
            "hids.agent.policyscan",
            f"--parent={os.getpid()}",
            "--timeout=20",
            "--limit=60",
            *options,
            str(path),
        ],
        stdout=subprocess.PIPE,
    )


def scanned(path: Path, *options: str) -> Report:
    output, _ = start(path, *options).communicate(timeout=60)
    return msgspec.msgpack.decode(output, type=Report)


@pytest.mark.slow
def test_it_says_what_came_of_each_check(tmp_path: Path):
    report = scanned(written(tmp_path))
    assert (report.policy_id, report.applies, report.problem, report.score) == ("p", True, "", 50)
    assert [(one.id, one.result) for one in report.checked] == [(1, "passed"), (2, "failed")]


@pytest.mark.slow
def test_a_policy_that_is_for_other_hosts_has_no_results(tmp_path: Path):
    report = scanned(written(tmp_path, required="f:/no/such/os"))
    assert (report.applies, report.checked, report.problem) == (False, (), "")


@pytest.mark.slow
def test_a_broken_policy_is_a_problem_with_its_place(tmp_path: Path):
    path = written(tmp_path)
    path.write_text("checks: [")
    assert scanned(path).problem.startswith(f"{path}:2: not YAML")


@pytest.mark.slow
def test_it_ends_at_its_limit_with_the_command_that_runs(tmp_path: Path):
    process = start(written(tmp_path, f"c:sleep {ONE} -> r:x"), "--limit=1")
    output, _ = process.communicate(timeout=60)
    assert (process.returncode, output) == (128 + signal.SIGALRM, b"")
    wait_for(lambda: not running(ONE), "its command ends")


@pytest.mark.slow
def test_it_ends_when_told_to_with_the_command_that_runs(tmp_path: Path):
    process = start(written(tmp_path, f"c:sleep {OTHER} -> r:x"))
    wait_for(lambda: running(OTHER), "its command runs")
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    wait_for(lambda: not running(OTHER), "its command ends")


@pytest.mark.slow
def test_it_ends_with_its_parent(tmp_path: Path):
    path = written(tmp_path, f"c:sleep {THIRD} -> r:x")
    code = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-m', 'hids.agent.policyscan', f'--parent={{os.getpid()}}', '--timeout=20',"
        f" '--limit=60', {str(path)!r}], stdout=subprocess.PIPE).wait()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code])
    wait_for(lambda: running(THIRD), "its command runs")
    parent.kill()
    parent.wait(10)
    wait_for(lambda: not running(THIRD), "its command ends")


def running(number: str) -> bool:
    found = (process.info["cmdline"] for process in psutil.process_iter(["cmdline"]))
    return any(words == ["sleep", number] for words in found)


def test_a_policy_that_others_may_write_is_not_used(tmp_path: Path):
    path = written(tmp_path)
    assert read_trusted(str(path)).startswith(b"\npolicy")
    path.chmod(0o666)
    with pytest.raises(ConfigError, match="others than root and this user may write it") as caught:
        read_trusted(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    path.chmod(0o1666)
    with pytest.raises(ConfigError, match="others than root and this user may write it"):
        read_trusted(str(path))
    path.chmod(0o644)
    tmp_path.chmod(0o777)
    with pytest.raises(ConfigError, match="others than root and this user may write it") as caught:
        read_trusted(str(path))
    assert str(caught.value).startswith(f"{tmp_path}: ")
    tmp_path.chmod(0o1777)  # as /tmp: others cannot replace what is ours
    assert read_trusted(str(path))
    below = tmp_path / "below"
    below.mkdir(mode=0o755)
    copy = below / "copy.yml"
    copy.write_bytes(path.read_bytes())
    copy.chmod(0o644)
    assert read_trusted(str(copy))
    tmp_path.chmod(0o775)  # whoever can rename the folder can put another one in its place
    with pytest.raises(ConfigError, match="others than root and this user may write it"):
        read_trusted(str(copy))


def test_what_cannot_be_read_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read: No such file or directory"):
        read_trusted(str(tmp_path / "no.yml"))
