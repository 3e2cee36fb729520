"""Real processes, out of /proc."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from hids.agent.process import who_is
from hids.messages.syscheck import MAX_PROCESS_TEXT


def test_it_is_told_who_we_are():
    pidfd = os.pidfd_open(os.getpid())
    try:
        who = who_is(os.getpid(), pidfd)
    finally:
        os.close(pidfd)
    assert (who.pid, who.uid, who.effective_uid, who.gid) == (os.getpid(), os.getuid(), os.geteuid(), os.getgid())
    assert (who.process, who.cwd, who.ppid) == (os.path.realpath(sys.executable), str(Path.cwd()), os.getppid())
    assert not who.gone


def test_a_long_command_line_is_cut():
    process = subprocess.Popen([sys.executable, "-c", "input()", "x\n" * 5000], stdin=subprocess.PIPE)
    pidfd = os.pidfd_open(process.pid)
    try:
        who = who_is(process.pid, pidfd)
        assert len(who.command) <= MAX_PROCESS_TEXT
        assert who.ppid == os.getpid()
    finally:
        os.close(pidfd)
        process.communicate(b"\n")


def test_one_that_ended_is_gone_even_where_its_number_lives_on():
    process = subprocess.Popen([sys.executable, "-c", ""])
    pidfd = os.pidfd_open(process.pid)
    process.wait()
    try:
        assert who_is(process.pid, pidfd).gone
        ours = who_is(os.getpid(), pidfd)  # as if the number had been given to us
        assert (ours.gone, ours.process) == (True, "")
    finally:
        os.close(pidfd)


@pytest.mark.parametrize(("pid", "pidfd"), [(0, -1), (0, 3), (1, -1)])
def test_what_the_kernel_does_not_name_is_gone(pid: int, pidfd: int):
    assert who_is(pid, pidfd).gone
