"""A manager that may open nothing more: agents keep their lines, and all goes on when it may again."""

import os
import resource
import signal

import psutil
import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]


def test_no_descriptor_is_left(stand: Stand):
    log = stand.folder / "auth.log"
    log.touch()
    stand.settings = "[workers]\ncount = 1\n"
    stand.start_manager()
    stand.join("web1")
    config = f'[[source]]\npath = "{log}"\nfrom = "start"\n'
    stand.start_agent("web1", config)
    wait_for(lambda: stand.ask("agents")[0]["state"] == "connected", "the agent is connected")
    assert stand.manager is not None
    manager = psutil.Process(stand.manager.pid)
    before = manager.rlimit(resource.RLIMIT_NOFILE)
    stand.agents["web1"].kill()
    worker = stand.pid_of("worker-1")
    wait_for(lambda: stand.ask("agents")[0]["state"] == "disconnected", "the agent is gone")
    manager.rlimit(resource.RLIMIT_NOFILE, (4, before[1]))
    os.kill(worker, signal.SIGKILL)
    stand.start_agent("web1", config)
    with log.open("a") as file:
        file.writelines(failed_login(f"u{number}", f"192.0.2.{number}") for number in range(50))
    wait_for(lambda: "Too many open files" in stand.manager.output(), "it is said")  # type: ignore[union-attr]
    assert stand.manager.process.poll() is None
    manager.rlimit(resource.RLIMIT_NOFILE, before)
    wait_for(lambda: len([a for a in stand.alerts() if "Failed password" in a["full_log"]]) >= 50, "every alert")
    logs = [alert["full_log"] for alert in stand.alerts() if "Failed password" in alert["full_log"]]
    assert len(logs) == len(set(logs)) == 50
    wait_for(stand.whole, "the tree is whole")
    assert stand.ctl("ledger", "verify")["balances"]
