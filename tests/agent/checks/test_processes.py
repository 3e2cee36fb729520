"""Hidden processes: none on a sound host, and real ones, hidden by mounts in a mount namespace of the test's own."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hids.agent.checks import processes
from hids.agent.checks.host import Host

ROOT = Path(__file__).parents[3]
LOOK = """
import sys
from hids.agent.checks import processes
for step in processes.check(None):
    if step is not None:
        print(step.text)
"""
can_hide = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("mount") is None,
    reason="needs root, unshare and mount to hide a process in a mount namespace",
)


def test_nothing_is_hidden_here(make_host: Callable[..., Host], texts: Callable[..., list[str]]):
    sleeper = subprocess.Popen(("sleep", "60"))  # noqa: S607
    try:
        assert not [text for text in texts(processes.check(make_host())) if f"'{sleeper.pid}'" in text]
    finally:
        sleeper.kill()
        sleeper.wait()


def in_namespace(script: str) -> list[str]:
    """Run a shell script in a mount namespace of its own, then look for hidden processes there."""
    done = subprocess.run(
        (  # noqa: S607
            "unshare",
            "--mount",
            "--propagation",
            "private",
            "/bin/sh",
            "-ec",
            f'{script}\nexec "$0" -c "$LOOK"',
            sys.executable,
        ),
        env={**os.environ, "PYTHONPATH": str(ROOT), "LOOK": LOOK},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode:
        if "permission denied" in done.stderr.lower() or "not permitted" in done.stderr.lower():
            pytest.skip(f"no mounts here: {done.stderr.strip()}")
        pytest.fail(done.stderr)
    return done.stdout.splitlines()


@pytest.mark.slow
@can_hide
def test_a_process_whose_folder_is_covered_is_found():
    sleeper = subprocess.Popen(("sleep", "60"))  # noqa: S607
    try:
        found = in_namespace(f"mount -t tmpfs none /proc/{sleeper.pid}")
    finally:
        sleeper.kill()
        sleeper.wait()
    assert [text for text in found if f"'{sleeper.pid}'" in text] == [
        f"Process '{sleeper.pid}' hidden from a look at its folder. It is there for the list of /proc, kill, getsid, getpgid."
    ]


@pytest.mark.slow
@can_hide
def test_a_process_that_proc_does_not_list_is_found(tmp_path: Path):
    """Another /proc is laid over the real one: all processes but one, and what the check itself needs."""
    sleeper = subprocess.Popen(("sleep", "60"))  # noqa: S607
    script = f"""
        mount -t tmpfs none {tmp_path}
        cd /proc
        for one in [0-9]*; do
            [ $one = {sleeper.pid} ] || {{ mkdir {tmp_path}/$one && mount --bind $one {tmp_path}/$one; }} 2>/dev/null || true
        done
        mkdir {tmp_path}/sys {tmp_path}/real
        mount --bind sys {tmp_path}/sys
        mount --bind /proc {tmp_path}/real
        ln -s real/self {tmp_path}/self
        cd /
        mount --move {tmp_path} /proc
    """
    try:
        found = in_namespace(script)
    finally:
        sleeper.kill()
        sleeper.wait()
    (text,) = [text for text in found if f"'{sleeper.pid}'" in text]
    assert text.startswith(
        f"Process '{sleeper.pid}' hidden from the list of /proc, a look at its folder. It is there for kill"
    )


def test_a_proc_that_hides_others_is_told(
    tmp_path: Path, texts: Callable[..., list[str]], make_host: Callable[..., Host]
):
    (tmp_path / "self").mkdir()
    (tmp_path / "self/mountinfo").write_text(f"22 1 0:20 / {tmp_path} rw - proc proc rw,hidepid=2\n")
    assert texts(processes.check(make_host(), str(tmp_path))) == [
        f"Processes cannot be checked: {tmp_path} is mounted with hidepid, and this agent may not look behind it."
    ]
