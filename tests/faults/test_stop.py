"""What hangs (SIGSTOP) is killed and replaced, and nothing is lost by it."""

import os
import signal

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]


@pytest.mark.parametrize("victim", ["worker-1", "lane"])
def test_a_hung_process_is_replaced(stand: Stand, victim: str):
    log = stand.folder / "auth.log"
    log.touch()
    stand.settings = "[workers]\ncount = 1\nstuck_s = 1.0\n"
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    os.kill(stand.pid_of(victim), signal.SIGSTOP)
    with log.open("a") as file:
        for number in range(1_000):
            file.write(failed_login(f"u{number}", f"192.0.2.{number % 250}"))
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= 1_000, "all lines are committed")
    node = stand.nodes()[victim]
    assert node["restarts"] == 1
    assert "SIGKILL" in node["last_failure"]
    assert stand.nodes()["dispatcher"]["facts"]["poison"] == 0
    wait_for(lambda: len([a for a in stand.alerts() if "Failed password" in a["full_log"]]) >= 1_000, "every alert")
    logs = [alert["full_log"] for alert in stand.alerts() if "Failed password" in alert["full_log"]]
    assert len(logs) == len(set(logs)) == 1_000
