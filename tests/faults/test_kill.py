"""Kill -9 of each process in the middle of 20,000 lines: every expected alert, exactly once."""

import datetime
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
from stand import Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.fault, pytest.mark.timeout(180)]

LINES = 20_000
ATTACKERS = 40
FAILURES = 8
"""Of each attacker, spread evenly over the lines: just enough for one alert of the brute force rule."""
UNKNOWN_USER = "201210"
BRUTE_FORCE = "201250"


def lines() -> list[str]:
    """Mostly benign lines; each attacker fails `FAILURES` times, in turns with all others."""
    now = datetime.datetime.now().astimezone()
    made: list[str] = []
    every = LINES // (ATTACKERS * FAILURES)
    for number in range(LINES):
        turn, rest = divmod(number, every)
        if rest == 0 and turn < ATTACKERS * FAILURES:
            made.append(failed_login(f"u{number}", f"192.0.2.{turn % ATTACKERS + 1}").rstrip())
        else:
            made.append(f"{now:%b %e %H:%M:%S} web1 CRON[{number}]: (root) CMD (command number {number})")
    return made


def write_in_pieces(log: Path, made: list[str], piece: int) -> None:
    with log.open("a") as file:
        file.write("".join(line + "\n" for line in made[piece * LINES // 4 : (piece + 1) * LINES // 4]))


VICTIMS = ("worker-1", "lane", "nursery", "outputs", "index", "manager", "agent")


@pytest.mark.parametrize("victim", VICTIMS)
def test_every_alert_exactly_once(stand: Stand, victim: str):
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    config = f'[[source]]\npath = "{log}"\nfrom = "start"\n'
    stand.start_agent("web1", config)
    wait_for(lambda: stand.nodes().get("session-1"), "the agent is connected")
    made = lines()
    restarts = pid = 0
    for piece in range(4):
        write_in_pieces(log, made, piece)
        if piece == 3:
            break
        wait_for(lambda: stand.rules()[UNKNOWN_USER] > piece * 70, "some of the alerts")  # noqa: B023
        match victim:
            case "manager":
                assert stand.manager is not None
                stand.manager.kill()
                stand.start_manager()
            case "agent":
                stand.agents["web1"].kill()
                stand.start_agent("web1", config)
            case _:
                pid = stand.pid_of(victim, pid)
                os.kill(pid, signal.SIGKILL)
                restarts += 1
    expected = ATTACKERS * FAILURES - ATTACKERS
    wait_for(lambda: stand.rules()[UNKNOWN_USER] >= expected and stand.rules()[BRUTE_FORCE] >= ATTACKERS, "all alerts")
    wait_for(lambda: stand.ask("agents")[0]["committed"] >= LINES, "all lines are committed")
    if restarts:
        node = wait_for(
            lambda: next(
                (n for n in stand.nodes().values() if n["name"] == victim and n["restarts"] == restarts), None
            ),
            "the restarts are counted",
        )
        assert "killed by SIGKILL" in node["last_failure"]
    wait_for(stand.whole, "the tree is whole again")
    assert stand.manager is not None
    assert stand.agents["web1"].stop() == 0
    assert stand.manager.stop() == 0
    logs = Counter(alert["full_log"] for alert in stand.alerts() if alert["rule"]["id"] in (UNKNOWN_USER, BRUTE_FORCE))
    assert set(logs) == {line for line in made if "Failed" in line}
    assert set(logs.values()) == {1}
    assert stand.rules()[BRUTE_FORCE] == ATTACKERS
    numbers = [alert["hids"]["number"] for alert in stand.alerts()]
    assert numbers == list(range(1, len(numbers) + 1))
