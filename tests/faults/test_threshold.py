"""Kill -9 right around the event that reaches a rule's threshold: the alert comes, and comes once."""

import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(120)]

BRUTE_FORCE = "201250"
BEFORE = 7
"""One more failure fires the rule."""
ATTACKERS = 3


def append(log: Path, text: str) -> None:
    with log.open("a") as file:
        file.write(text)


@pytest.mark.parametrize("victim", ["worker-1", "lane", "manager"])
def test_the_alert_comes_exactly_once(stand: Stand, victim: str):
    """The later the attacker, the more time passes between the line and the kill, counted in questions to the manager."""
    log = stand.folder / "auth.log"
    log.touch()
    stand.settings = "[workers]\ncount = 1\n"
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    addresses = [f"192.0.2.{number + 1}" for number in range(ATTACKERS)]
    append(log, "".join(failed_login(f"u{turn}", source) for source in addresses for turn in range(BEFORE)))
    wait_for(
        lambda: stand.ask("agents")[0]["committed"] >= ATTACKERS * BEFORE, "all but the last failures are committed"
    )
    assert stand.rules()[BRUTE_FORCE] == 0
    pid = 0
    for number, source in enumerate(addresses):
        if victim != "manager":
            pid = stand.pid_of(victim, pid)
        append(log, failed_login("last", source))
        for _ in range(2 * number):
            stand.ask("status")
        if victim == "manager":
            assert stand.manager is not None
            stand.manager.kill()
            stand.start_manager()
        else:
            os.kill(pid, signal.SIGKILL)
    wait_for(lambda: stand.rules()[BRUTE_FORCE] >= ATTACKERS, "every attacker is told")
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= ATTACKERS * (BEFORE + 1), "all lines are committed")
    wait_for(stand.whole, "the tree is whole again")
    told = Counter(alert["data"]["srcip"] for alert in stand.alerts() if alert["rule"]["id"] == BRUTE_FORCE)
    assert told == Counter(addresses)
    numbers = [alert["hids"]["number"] for alert in stand.alerts()]
    assert numbers == list(range(1, len(numbers) + 1))
