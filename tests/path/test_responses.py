"""Responses on real daemons: a manager here, an agent in a network namespace with a real nftables, real packets."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from netns import Net, why_not
from stand import Stand, failed_login, wait_for

_WHY_NOT = why_not()
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(bool(_WHY_NOT), reason=_WHY_NOT or "it works"),
]

AGENT = """
[[source]]
path = "{log}"
[response]
enabled = true
deadman_s = 4.0
"""
SETTINGS = """
[workers]
count = 1
[alerts]
alert_on = "all"
[responses]
per_minute = 60
[[response]]
command = "firewall-drop"
name = "drop"
rules = [201210]
timeout_s = 600
[[response]]
command = "firewall-drop"
name = "brief"
rules = [201211]
timeout_s = 4
[[response]]
command = "firewall-drop"
name = "short"
rules = [201213]
timeout_s = 6
"""
BRIEF = "Failed password for root from {address} port 4022 ssh2"
SHORT = "Invalid user mallory from {address} port 4022"


class Scene(Stand):
    """A manager, and an agent behind a cable."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.net = Net(10)
        self.net.open()
        self.host = self.net.here
        self.within = self.net.enter
        self.log = folder / "auth.log"
        self.log.touch()
        self.settings = SETTINGS

    def play(self) -> None:
        self.start_manager()
        self.join("web1")
        self.play_agent()

    def play_agent(self) -> None:
        self.start_agent("web1", AGENT.format(log=self.log))
        wait_for(lambda: self.ask("agent", agent="web1")["state"] == "connected", "the agent is connected")

    def attack(self, *addresses: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(failed_login("mallory", address) for address in addresses))

    def attack_briefly(self, *addresses: str) -> None:
        """Half of them are blocked for 4 s, half for 6."""
        with self.log.open("a") as file:
            for number, address in enumerate(addresses):
                line = failed_login("x", address)
                words = (BRIEF, SHORT)[number % 2].format(address=address)
                file.write(line[: line.index("Failed")] + words + "\n")

    def orders(self, *, response: str = "drop", state: str = "", target: str = "") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ctl("response", "list", "--all", "--limit", "10000")
        return [
            row
            for row in rows
            if row["response"].startswith(response) and state in ("", row["state"]) and target in ("", row["target"])
        ]

    def told(self, rule: str) -> list[str]:
        return [alert["full_log"] for alert in self.alerts() if alert["rule"]["id"] == rule]

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.net.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    scene = Scene(tmp_path_factory.mktemp("responses"))
    try:
        scene.play()
        yield scene
    finally:
        scene.close()


def test_an_attacker_is_blocked_and_freed_and_the_gateway_is_not(scene: Scene):
    attacker = scene.net.attacker
    assert scene.net.reaches()
    scene.attack(attacker, scene.net.here, scene.net.there)
    wait_for(lambda: scene.net.blocked() == {attacker}, "nftables blocks the attacker")
    assert not scene.net.reaches()

    # The attack from the gateway's address, which is the manager's own, too, and one from the agent's: refused, explained.
    (refused,) = wait_for(lambda: scene.orders(target=scene.net.here), "the gateway is recorded")
    assert refused["state"] == "refused"
    assert refused["reason"] == "it is an address of this machine"
    (own,) = scene.orders(target=scene.net.there)
    assert own["reason"] == "it is the agent web1"
    wait_for(lambda: len(scene.told("206196")) == 2, "both are alerts")

    # What was done is told, with a signature, and stays when the manager has been heard.
    done = wait_for(lambda: scene.told("206192"), "the agent tells what it did")[0]
    assert done.startswith(f"done add firewall-drop - {attacker} ")
    wait_for(lambda: scene.orders(state="done"), "the manager knows")
    (why,) = scene.ctl("response", "why", attacker)
    assert [step["state"] for step in why["history"]] == ["open", "done"]
    assert bytes.fromhex(why["signature"])

    again = scene.ctl("response", "run", "firewall-drop", "127.0.0.1", "--agent", "web1", status=1)
    assert "loopback" in again
    scene.ctl("response", "undo", attacker)
    wait_for(lambda: not scene.net.blocked(), "it is free again")
    assert scene.net.reaches()
    wait_for(lambda: scene.orders(target=attacker)[0]["state"] == "undone", "the manager knows that, too")
    assert not scene.told("206195"), "nothing cut the agent off"


def trapped(scene: Scene, address: str) -> bool:
    """Block an address, and see whether the agent undoes it, for it hears its manager no more.

    As if somebody else's rule dropped all that comes in as soon as this one address is blocked. On a busy machine that
    rule may come too late: the manager was heard before it.
    """
    scene.net.inside("nft", "add table inet trap")
    scene.attack(address)
    wait_for(lambda: address in scene.net.blocked(), "it is blocked")
    scene.net.inside("nft", "add chain inet trap input { type filter hook input priority 0; policy drop; }")
    try:
        wait_for(lambda: address not in scene.net.blocked(), "the agent undoes it", 20)
    except AssertionError:
        return False
    finally:
        scene.net.inside("nft", "delete table inet trap")
    return True


def test_a_block_that_cuts_the_agent_off_is_undone(scene: Scene):
    address = next(address for address in (f"203.0.113.{n}" for n in range(77, 82)) if trapped(scene, address))
    wait_for(lambda: scene.told("206195"), "and tells, once it can")
    (row,) = wait_for(lambda: scene.orders(target=address, state="undone"), "the manager knows")
    assert "was not heard" in row["reason"]


def test_fifty_blocks_end_in_time_whoever_is_killed(scene: Scene):
    addresses = [f"198.51.100.{number}" for number in range(1, 51)]
    scene.attack_briefly(*addresses[:25])
    wait_for(scene.net.blocked, "the first are blocked")
    assert scene.manager is not None
    scene.manager.kill()
    scene.agents["web1"].kill()
    scene.attack_briefly(*addresses[25:])
    scene.start_manager()
    scene.play_agent()
    wait_for(lambda: len([*scene.orders(response="brief"), *scene.orders(response="short")]) == 50, "all have an order")
    wait_for(lambda: scene.net.blocked() & set(addresses[25:]), "those of the second half are blocked")
    scene.agents["web1"].kill()
    wait_for(lambda: not scene.net.blocked(), "the kernel has undone all of them, with nobody there")
    scene.play_agent()
    over = {"undone", "dropped", "refused"}
    rows = wait_for(
        lambda: (
            [row for name in ("brief", "short") for row in scene.orders(response=name) if row["state"] in over][49:]
            and [*scene.orders(response="brief"), *scene.orders(response="short")]
        ),
        "all are accounted for",
    )
    assert len({row["id"] for row in rows}) == len({row["target"] for row in rows}) == 50


def test_four_thousand_attackers_meet_the_budget(scene: Scene):
    before = len(scene.orders())
    scene.attack(*(f"198.{51 + number // 65_536}.{number // 256 % 256}.{number % 256}" for number in range(300, 4300)))
    wait_for(lambda: len(scene.orders()) > before, "it has begun")
    os.kill(scene.pid_of("responses"), signal.SIGKILL)
    wait_for(lambda: len(scene.orders()) - before == 4000, "each has its verdict, and one only")
    refused = scene.orders(state="refused")
    wait_for(lambda: not scene.orders(state="open"), "as many as the budget allows are done", 30)
    assert 3940 <= len([row for row in refused if "60 new targets a minute" in row["reason"]]) <= 4000
    assert len(scene.net.blocked()) <= 60
    budget = wait_for(lambda: scene.told("206190"), "and that is an alert, one for each life of the responder")
    assert len(budget) <= 2
    assert "60 new targets a minute" in budget[0]
    assert scene.whole()
    scene.ctl("response", "undo-all")
    wait_for(lambda: not scene.net.blocked(), "all are free again")
