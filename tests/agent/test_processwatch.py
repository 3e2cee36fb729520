# pyright: reportPrivateUsage=false
"""The process that remembers processes, as the agent starts and asks it; the kernel is real."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from hids.agent import processwatch
from hids.agent.connector import ConnectorError, subscribe
from hids.agent.processwatch import ProcessWatch
from hids.messages.syscheck import Who
from tests.agent.conftest import wait_until


@pytest.fixture
def watch() -> Iterator[ProcessWatch]:
    try:
        subscribe().close()
    except ConnectorError as error:
        pytest.skip(str(error))
    made = ProcessWatch()
    made.prove()
    yield made
    made.close()


def run_and_ask(watch: ProcessWatch, script: str) -> Who | None:
    """What is known of a process that has ended: once it was known while it lived."""
    process = subprocess.Popen(["sh", "-c", f"{script}; read line"], stdin=subprocess.PIPE)  # noqa: S607
    wait_until(lambda: "read line" in getattr(watch.recall(process.pid, None), "command", ""))
    process.communicate(b"\n")
    return watch.recall(process.pid, None)


def test_who_has_ended_is_known(watch: ProcessWatch):
    assert watch.trouble == ""
    who = run_and_ask(watch, "true")
    assert who is not None
    assert (who.process, who.command) == (os.path.realpath("/bin/sh"), "sh -c true; read line")
    assert (who.ppid, who.parent, who.cwd) == (os.getpid(), os.path.realpath(sys.executable), str(Path.cwd()))
    assert watch.recall(4_000_000, None) is None


def test_one_that_was_killed_is_told_and_started_again(watch: ProcessWatch):
    assert watch._launched is not None
    psutil.Process(watch._launched.pid).kill()
    assert watch.recall(1, None) is None
    assert watch.trouble == "the process that watches processes has ended"
    assert watch.recall(1, None) is None
    watch.prove()
    assert watch.trouble == ""
    assert run_and_ask(watch, "true") is not None


def test_it_ends_with_the_agent():
    try:
        subscribe().close()
    except ConnectorError as error:
        pytest.skip(str(error))
    code = (
        "import os; from hids.agent.processwatch import ProcessWatch\n"
        "watch = ProcessWatch(); watch.prove(); print(watch._launched.pid, flush=True); os._exit(0)"
    )
    pid = int(subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout)
    wait_until(lambda: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)


def test_a_kernel_that_refuses_is_told(monkeypatch: pytest.MonkeyPatch):
    def refuse() -> None:
        raise ConnectorError("no process connector: Operation not permitted")

    monkeypatch.setattr(processwatch, "subscribe", refuse)
    watch = ProcessWatch()
    watch.prove()
    assert watch.trouble == "no process connector: Operation not permitted"
    assert watch.recall(1, None) is None
    watch.close()
