"""The wall clock is set, forth and back, under the manager or an agent: nothing is lost, doubled, or removed for it."""

import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sabotage import FAKETIME, NO_FAKETIME, Clock
from stand import Stand, failed_login, wait_for

from hids.adapters.archive import lines_of
from hids.adapters.believed import FILE
from hids.adapters.rotated import place_for

pytestmark = [
    pytest.mark.slow,
    pytest.mark.fault,
    pytest.mark.timeout(120),
    pytest.mark.skipif(FAKETIME is None, reason=NO_FAKETIME),
]

DAY_S = 86_400
HOUR_S = 3_600
CLOCK_SET, DISCONNECTED = "206151", "206103"
BRUTE_FORCE = "201250"


@pytest.fixture
def clock(stand: Stand) -> Iterator[Clock]:
    """The manager's."""
    clock = Clock(stand.folder / "manager_clock")
    stand.environment = clock.environment
    yield clock
    if stand.manager is not None:
        Clock.forget(stand.manager.pid)


def start(stand: Stand, environment: dict[str, str] | None = None) -> Path:
    """A manager with an agent; the log that it reads."""
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n', environment=environment)
    wait_for(lambda: stand.ask("agents")[0]["state"] == "connected", "the agent is connected")
    return log


def write(stand: Stand, log: Path, *users: str) -> None:
    """Write failed logins, and wait for their alerts."""
    with log.open("a") as file:
        file.writelines(failed_login(user, f"192.0.2.{number}") for number, user in enumerate(users))
    wait_for(lambda: set(users) <= set(told(stand)), f"{users} are told")


def told(stand: Stand) -> list[str]:
    """The users of all failed logins that were told, in the order of the alerts."""
    logs = [alert["full_log"] for alert in sorted(all_alerts(stand), key=lambda alert: alert["hids"]["number"])]
    return [log.split("invalid user ")[1].split()[0] for log in logs if "Failed password" in log]


def all_alerts(stand: Stand) -> list[dict[str, Any]]:
    """Those of files that were put away, too."""
    return [json.loads(line) for line in lines_of(stand.paths.alerts / "alerts.json")]


def clock_said(stand: Stand) -> list[str]:
    logs = (alert["full_log"] for alert in all_alerts(stand) if alert["rule"]["id"] == CLOCK_SET)
    return [log.removeprefix("clock ").rsplit(" by ")[0].split(" days")[0] for log in logs]


def rules(stand: Stand) -> Counter[str]:
    return Counter(alert["rule"]["id"] for alert in all_alerts(stand))


def test_the_managers_clock_goes_a_year_forth_is_set_right_and_goes_an_hour_back(stand: Stand, clock: Clock):
    log = start(stand)
    write(stand, log, "first")
    old = place_for(stand.paths.alerts / "alerts.log", date.today() - timedelta(days=300))  # noqa: DTZ011 - days are local
    old.parent.mkdir(parents=True)
    old.write_text("what happened then\n")
    wait_for((stand.paths.lib / FILE).exists, "what is believed is on disk")

    clock.jump(400 * DAY_S)
    wait_for(lambda: clock_said(stand) == ["jumped: forth"], "the jump is told")
    write(stand, log, "ahead")
    os.kill(stand.pid_of("keeper"), signal.SIGKILL)  # the next one has not seen the jump, and looks at once
    wait_for(lambda: clock_said(stand)[1:] == ["in doubt: 400.0"], "the clock is in doubt")
    wait_for(lambda: int(stand.nodes()["duties"]["facts"].get("done", 0)) > 1, "it has looked for what is old")
    assert old.read_text() == "what happened then\n"

    clock.jump(0)
    wait_for(lambda: clock_said(stand)[-1] == "jumped: back", "the way back is told")
    write(stand, log, "right")
    clock.jump(-HOUR_S)
    wait_for(lambda: clock_said(stand).count("jumped: back") == 2, "the hour is told")
    assert stand.manager is not None
    stand.manager.kill()  # and the ledger's last commit is of the future
    Clock.forget(stand.manager.pid)
    stand.start_manager()
    write(stand, log, "back")

    assert told(stand) == ["first", "ahead", "right", "back"]
    numbers = [alert["hids"]["number"] for alert in all_alerts(stand)]
    assert numbers == list(range(1, len(numbers) + 1))
    assert rules(stand)[DISCONNECTED] == 0
    assert stand.ctl("ledger", "verify")["balances"]
    assert stand.ctl("ledger", "verify")["lost"] == 0
    old.unlink()
    assert stand.ctl("evidence", "verify")["problems"] == []


def test_an_agents_clock_goes_back_in_the_middle_of_an_attack(stand: Stand):
    clock = Clock(stand.folder / "agent_clock")
    log = start(stand, clock.environment)
    with log.open("a") as file:
        file.writelines(failed_login(f"early{number}", "192.0.2.7") for number in range(4))
    wait_for(lambda: len(told(stand)) == 4, "the first half is told")
    clock.jump(-HOUR_S)
    wait_for(lambda: "the clock jumped" in stand.agents["web1"].output() or write_benign(log), "the agent sees it")
    with log.open("a") as file:
        file.writelines(failed_login(f"late{number}", "192.0.2.7") for number in range(4))
    wait_for(lambda: rules(stand)[BRUTE_FORCE], "the attack is seen as one")
    assert len(told(stand)) == 8 + rules(stand)[BRUTE_FORCE] - 1
    assert stand.ctl("ledger", "verify")["balances"]
    Clock.forget(stand.agents["web1"].pid)


def write_benign(log: Path) -> None:
    with log.open("a") as file:
        file.write("Nov 24 10:00:00 web1 CRON[7]: (root) CMD (true)\n")
