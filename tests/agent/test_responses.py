"""Which action a name means, and what the agent must not be cut off from."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from waiting import SetClock, until

from hids.actors.stage import Mailbox
from hids.agent.linkstate import LinkState, Probe
from hids.agent.response.cloud import AwsWaf, Cloudflare
from hids.agent.response.firewall import Iptables
from hids.agent.response.host import DisableAccount, HostDeny, RouteNull
from hids.agent.response.program import ActionFailed
from hids.agent.response.script import Script
from hids.agent.responses import Actions, Responses, RestartAgent
from hids.core.collect.config import AwsWafConfig, CloudflareConfig, ResponseConfig
from hids.messages.response import Noted, Respond, Responded, ResponseOrder

CLOUDS = {"cloudflare": CloudflareConfig(zone="z", token_file="/x"), "aws_waf": AwsWafConfig(name="n", id="i")}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("firewall-drop", Iptables),
        ("host-deny", HostDeny),
        ("route-null", RouteNull),
        ("disable-account", DisableAccount),
        ("restart", RestartAgent),
        ("cloudflare", Cloudflare),
        ("aws-waf", AwsWaf),
        ("anything.sh", Script),
    ],
)
def test_names(name: str, kind: type):
    config: dict[str, Any] = {"firewall": "iptables", **CLOUDS}
    assert type(Actions(ResponseConfig(**config), lambda _: None)(name)) is kind


@pytest.mark.parametrize("name", ["cloudflare", "aws-waf"])
def test_what_is_not_configured_is_said(name: str):
    with pytest.raises(ActionFailed, match="has no .response. "):
        Actions(ResponseConfig(), lambda _: None)(name)


def test_a_restart_waits_until_the_outcome_has_left(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("hids.agent.responses.RESTART_S", 0.0)
    asked: list[str] = []

    async def main() -> None:
        await RestartAgent(asked.append).add(
            ResponseOrder("i", "1", "r", "restart", "restart", why="ordered by root"), 0
        )
        assert asked == []
        await until(lambda: asked, "it is asked for")

    asyncio.run(main())
    assert asked == ["ordered by root"]


def responses(folder: Path, link: Mailbox, **options: Any) -> Responses:
    state = LinkState(peer="10.0.0.9", heard_s=5.0)
    managers = ("10.0.0.10:1514", "[2001:db8::9]:1514", "")
    return Responses(
        folder, ResponseConfig(), Mailbox("spool"), link, state, SetClock(), lambda _: None, managers, **options
    )


def test_every_manager_is_kept_reachable(tmp_path: Path):
    around = responses(tmp_path, Mailbox("link"))._surroundings()
    assert set(around.manager) == {"10.0.0.9", "10.0.0.10", "2001:db8::9"}
    assert "127.0.0.1" in around.own


def test_between_link_and_responder(tmp_path: Path):
    link = Mailbox("link", 10)
    between = responses(tmp_path, link)
    lease, inbox = link.lease(lambda: None), between.spec.node.mailbox.lease(lambda: None)
    between.obey(Respond(b"b", b"s", b"c"), 7)
    assert inbox.get().message.offset_ms == 7
    between.probe()
    assert isinstance(lease.get().message, Probe)
    assert between.heard_s == 5.0


def test_what_nobody_wants_to_hear_is_noted_at_once(tmp_path: Path):
    between = responses(tmp_path, Mailbox("link"), answers=False)
    inbox = between.spec.node.mailbox.lease(lambda: None)
    between._outcomes.waiting["x"] = Responded("x", "done")
    between.outcomes_wait()
    assert inbox.get().message == Noted("x", "done")


def test_more_than_can_wait_is_left_for_the_next_session(tmp_path: Path):
    between = responses(tmp_path, Mailbox("link"))
    between.spec.node.mailbox.bound = 1

    async def main() -> None:
        for _ in range(3):
            between.obey(Respond(b"b", b"s", b"c"), 0)
            between.noted(Noted("x", "done"))
            between.execute(ResponseOrder("i", "1", "r", "c", "a"))

    asyncio.run(main())
    assert between.spec.node.mailbox.depth == 1
