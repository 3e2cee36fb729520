"""Responses on real daemons: a manager here, an agent in a network namespace with a real nftables, real packets."""

import json
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
deadman_s = {deadman_s}
"""
SETTINGS = """
[workers]
count = 1
[responses]
per_minute = {per_minute}
[[response]]
command = "firewall-drop"
name = "drop"
rules = [201210]
timeout_s = {timeout_s}
"""


class Scene(Stand):
    """A manager, and an agent behind a cable."""

    def __init__(self, folder: Path, number: int) -> None:
        super().__init__(folder)
        self.net = Net(number)
        self.net.open()
        self.host = self.net.here
        self.within = self.net.enter
        self.log = folder / "auth.log"
        self.log.touch()

    def play(self, *, timeout_s: int = 600, per_minute: int = 30, deadman_s: float = 30.0) -> None:
        self.settings = SETTINGS.format(timeout_s=timeout_s, per_minute=per_minute)
        self.start_manager()
        self.join("web1")
        self.play_agent(deadman_s=deadman_s)

    def play_agent(self, *, deadman_s: float = 30.0) -> None:
        self.start_agent("web1", AGENT.format(log=self.log, deadman_s=deadman_s))
        wait_for(lambda: self.ask("agent", agent="web1")["state"] == "connected", "the agent is connected")

    def attack(self, *addresses: str) -> None:
        with self.log.open("a") as file:
            file.write("".join(failed_login("mallory", address) for address in addresses))

    def orders(self, what: str = "") -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.ctl("response", "list", "--all", "--limit", "10000")
        return [row for row in rows if what in ("", row["target"], row["state"])]

    def told(self, rule: str) -> list[str]:
        return [alert["full_log"] for alert in self.alerts() if alert["rule"]["id"] == rule]

    def close(self) -> None:
        try:
            super().close()
        finally:
            self.net.close()


@pytest.fixture
def scene(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Scene]:
    scene = Scene(tmp_path, 10)
    try:
        yield scene
    finally:
        scene.close()


def test_an_attacker_is_blocked_and_freed_and_the_gateway_is_not(scene: Scene):
    assert scene.net.reaches()
    scene.play(deadman_s=2.0)
    scene.attack("203.0.113.7", scene.net.here, scene.net.there)
    wait_for(lambda: scene.net.blocked() == {"203.0.113.7"}, "nftables blocks the attacker")
    assert not scene.net.reaches()

    # The attack from the gateway's address, which is the manager's own, too, and one from the agent's: refused, explained.
    (refused,) = wait_for(lambda: scene.orders(scene.net.here), "the gateway is recorded")
    assert refused["state"] == "refused"
    assert refused["reason"] == "it is an address of this machine"
    (own,) = scene.orders(scene.net.there)
    assert own["reason"] == "it is the agent web1"
    wait_for(lambda: len(scene.told("206196")) == 2, "both are alerts")

    # What was done is told, with a signature, and stays when the manager has been heard.
    done = wait_for(lambda: scene.told("206192"), "the agent tells what it did")[0]
    assert done.startswith("done add firewall-drop - 203.0.113.7 ")
    wait_for(lambda: scene.orders("done"), "the manager knows")
    (why,) = scene.ctl("response", "why", "203.0.113.7")
    assert [step["state"] for step in why["history"]] == ["open", "done"]
    assert bytes.fromhex(why["signature"])

    again = scene.ctl("response", "run", "firewall-drop", "127.0.0.1", "--agent", "web1", status=1)
    assert "loopback" in again
    scene.ctl("response", "undo", "203.0.113.7")
    wait_for(lambda: not scene.net.blocked(), "it is free again")
    assert scene.net.reaches()
    wait_for(lambda: scene.orders("203.0.113.7")[0]["state"] == "undone", "the manager knows that, too")
    assert not scene.told("206195"), "nothing cut the agent off"


def test_fifty_blocks_end_in_time_whoever_is_killed(scene: Scene):
    scene.play(timeout_s=6, per_minute=100, deadman_s=30.0)
    addresses = [f"198.51.100.{number}" for number in range(1, 51)]
    scene.attack(*addresses[:25])
    wait_for(lambda: len(scene.net.blocked()) == 25, "the first half is blocked")
    assert scene.manager is not None
    scene.manager.kill()
    scene.agents["web1"].kill()
    scene.attack(*addresses[25:])
    scene.start_manager()
    scene.play_agent()
    wait_for(lambda: len(scene.orders()) == 50, "every attack has its order, once")
    wait_for(lambda: scene.net.blocked() & set(addresses[25:]), "those of the second half are blocked")
    scene.agents["web1"].kill()
    wait_for(lambda: not scene.net.blocked(), "the kernel has undone all of them, with nobody there", 30)
    scene.play_agent()
    wait_for(lambda: {row["state"] for row in scene.orders()} <= {"undone", "dropped"}, "all are accounted for")
    assert len({row["id"] for row in scene.orders()}) == 50


def test_four_thousand_attackers_meet_the_budget(scene: Scene):
    scene.play(per_minute=20)
    scene.attack(*(f"198.{51 + number // 65_536}.{number // 256 % 256}.{number % 256}" for number in range(100, 4100)))
    wait_for(lambda: len(scene.orders("refused")) == 3980, "the rest is refused")
    assert len(scene.net.blocked()) <= 20
    wait_for(lambda: len(scene.orders("done")) == 20, "as many as the budget allows are blocked")
    (budget,) = wait_for(lambda: scene.told("206190"), "and that is one alert")
    assert "20 new targets a minute" in budget
    assert scene.whole()
    scene.ctl("response", "undo-all")
    wait_for(lambda: not scene.net.blocked(), "all are free again")


def test_a_block_that_cuts_the_agent_off_is_undone(scene: Scene):
    scene.play(deadman_s=3.0)
    # All that comes in is dropped as soon as this one address is blocked: as if a rule of somebody else's did it.
    scene.net.inside("nft", "add table inet trap")
    scene.attack("203.0.113.7")
    wait_for(lambda: scene.net.blocked(), "it is blocked")
    scene.net.inside("nft", "add chain inet trap input { type filter hook input priority 0; policy drop; }")
    wait_for(lambda: not scene.net.blocked(), "the agent undoes it")
    scene.net.inside("nft", "delete table inet trap")
    wait_for(lambda: scene.told("206195"), "and tells, once it can", 90)
    (row,) = scene.orders("203.0.113.7")
    assert row["state"] == "undone"
    assert "was not heard" in json.dumps(row)
