"""A fleet, as its administrator has it: joining in every way, names, groups, restarts, and configuration from the manager."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from stand import Daemon, Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    stand = Stand(tmp_path_factory.mktemp("fleet"))
    stand.settings = "[workers]\ncount = 1\n[agents]\ndisconnected_after_s = 2.0\n"
    stand.start_manager()
    yield stand
    stand.close()


def config(stand: Stand, name: str, extra: str = "") -> str:
    log = stand.agent_folder(name) / "a.log"
    log.touch()
    return f'[[source]]\npath = "{log}"\n{extra}'


def is_connected(stand: Stand, name: str) -> bool:
    return bool(stand.ask("agent", agent=name)["state"] == "connected")


def told(stand: Stand, rule: str) -> list[str]:
    return [alert["full_log"] for alert in stand.alerts() if alert["rule"]["id"] == rule]


def test_tokens_have_terms(stand: Stand):
    terms = {"groups": ["web", "prod"], "networks": ["127.0.0.0/8"], "name": "web1"}
    assert "for the name web1 only" in stand.join_with(*stand.joining("other", **terms), status=1)
    assert "may not be used from 127.0.0.1" in stand.join_with(
        *stand.joining("web1", networks=["192.0.2.0/24"]), status=1
    )
    stand.join_with(*stand.joining("web1", **terms))
    assert stand.ctl("agent", "show", "web1")["groups"] == ["web", "prod"]


def test_the_same_machine_is_the_same_agent_and_a_copy_is_another(stand: Stand, tmp_path: Path):
    first = stand.ctl("agent", "show", "web1")["id"]
    stand.join_with(*stand.joining("web-one"))  # a new name for its state folder's key: below
    state = stand.agent_folder("web1") / "state"
    stand.join_with(*stand.joining("renamed", state=state))
    assert stand.ctl("agent", "show", "renamed")["id"] == first
    stand.join_with(*stand.joining("web1", state=state))
    assert stand.ctl("agent", "show", "web1")["id"] == first
    # web-one joined on this very machine with a key of its own: the same machine id, so it is taken for a copy.
    wait_for(lambda: any("web-one" in text for text in told(stand, "206132")), "the copy is an alert")
    assert stand.ctl("agent", "show", "web-one")["id"] != first
    stand.join_with(*stand.joining("fork", "--as-new", state=state))
    assert stand.ctl("agent", "show", "fork")["id"] not in (first, stand.ctl("agent", "show", "web-one")["id"])
    stand.join_with(*stand.joining("web1", "--as-new", state=state))  # back to what the next tests use
    for name in ("web-one", "fork"):
        stand.ctl("agent", "remove", name)


def test_who_needs_approval_waits_for_it(stand: Stand, tmp_path: Path):
    arguments = stand.joining("db1", groups=["db"], approve=True)
    machine = Daemon(tmp_path / "join.log", "hids.cli.agent", *arguments)
    (row,) = wait_for(lambda: stand.ctl("agent", "pending"), "it waits")
    assert (row["name"], row["state"], row["groups"]) == ("db1", "waiting", "db")
    machine.kill()  # somebody got impatient; the request stays
    wait_for(lambda: told(stand, "206131"), "an alert says so")
    assert stand.ctl("agent", "approve", row["key"][:8])["state"] == "approved"
    stand.join_with(*arguments)  # with the token that is spent: its key tells who it is
    assert stand.ctl("agent", "show", "db1")["groups"] == ["db"]
    denied = Daemon(tmp_path / "denied.log", "hids.cli.agent", *stand.joining("evil", approve=True))
    wait_for(lambda: [row for row in stand.ctl("agent", "pending") if row["name"] == "evil"], "it waits")
    stand.ctl("agent", "deny", "evil")
    assert denied.process.wait(30) == 1
    assert "denied it" in denied.output()
    assert "nobody who waits" in stand.ctl("agent", "approve", "db1", status=1)


def test_names_groups_restart_and_why(stand: Stand):
    assert "was never here since" in stand.ctl("agent", "why-offline", "web1", status=1)["reasons"][0]
    agent = stand.start_agent("web1", config(stand, "web1", '[manager]\nothers = ["127.0.0.1:9"]\n'))
    wait_for(lambda: is_connected(stand, "web1"), "web1 is connected")
    assert stand.ctl("agent", "why-offline", "web1")["connected"]
    assert "belongs to agent" in stand.ctl("agent", "rename", "db1", "web1", status=1)
    stand.ctl("agent", "rename", "web1", "www1")
    wait_for(lambda: is_connected(stand, "www1"), "it is called www1")
    stand.ctl("agent", "rename", "www1", "web1")
    wait_for(lambda: is_connected(stand, "web1"), "it is called web1 again")
    assert stand.ctl("agent", "group", "web1", "web", "staging")["groups"] == ["web", "staging"]
    assert "cannot be used" in stand.ctl("agent", "group", "web1", "a b", status=1)
    assert stand.ctl("agent", "upgrade-info")["others"] == []
    log = stand.agent_folder("web1") / "agent.log"
    stand.ctl("agent", "restart", "web1")
    wait_for(lambda: log.read_text().count('"agent started"') == 2, "it has started again")
    wait_for(lambda: is_connected(stand, "web1"), "and is connected")
    assert agent.process.poll() is None
    assert agent.stop() == 0
    wait_for(lambda: not is_connected(stand, "web1"), "it is gone")
    (why,) = stand.ctl("agent", "why-offline", "web1", status=1)["reasons"]
    assert "said goodbye" in why


def agents_d(stand: Stand, **files: str) -> None:
    folder = stand.paths.config.parent / "agents.d"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.toml"):
        old.unlink()
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def versions(stand: Stand) -> set[str]:
    return {row["config"] for row in stand.ask("agents") if row["state"] == "connected"}


def test_configuration_is_planned_tried_and_taken_back(stand: Stand):
    for name in ("web1", "db1"):
        stand.start_agent(name, config(stand, name))
    wait_for(lambda: is_connected(stand, "web1") and is_connected(stand, "db1"), "both are connected")
    extra = stand.folder / "extra.log"
    extra.touch()
    everywhere = f'[[source]]\npath = "{extra}"\nfrom = "start"\n[labels]\nsite = "berlin"\n'
    agents_d(stand, all=everywhere, db='match = { group = ["db"] }\n[labels]\nrole = "database"\n')
    plan = stand.ctl("config", "plan")
    assert {row["name"] for row in plan["agents"]} == {"web1", "db1"}
    assert "+path" in "".join(plan["difference"]).replace(" ", "")
    applied = stand.ctl("config", "apply", "--canary", "db", "--watch", "5")
    assert applied["trial"]["canaries"] == [stand.ask("agent", agent="db1")["id"]]
    wait_for(lambda: stand.ctl("config", "status")["current"] == applied["version"], "the trial goes well")
    wait_for(lambda: "" not in versions(stand) and len(versions(stand)) == 2, "each has its own")
    with extra.open("a") as file:
        file.write(failed_login("everywhere"))
    wait_for(lambda: sum("everywhere" in alert["full_log"] for alert in stand.alerts()) == 2, "both read it")

    # A file that is wrong never leaves the manager; a command is refused by the agents, and taken back.
    agents_d(stand, all="[[source]]\npath = 'relative'\n")
    assert "path must be absolute" in stand.ctl("config", "plan", status=1)
    agents_d(stand, all='[[source]]\nformat = "command"\ncommand = "df -P"\n')
    stand.ctl("config", "apply", "--watch", "30")
    status = wait_for(lambda: (s := stand.ctl("config", "status"))["outcome"] == "reverted" and s, "it is taken back")
    assert status["current"] == applied["version"]
    assert "accept_commands" in status["last"]
    wait_for(lambda: told(stand, "206134") and told(stand, "206133"), "alerts say so")

    # A canary that dies of it takes it back, too.
    agents_d(stand, all=everywhere + "[[source]]\npath = '/var/log/other.log'\n")
    stand.ctl("config", "apply", "--canary", "staging", "--watch", "3")
    stand.agents["web1"].kill()
    wait_for(lambda: "not connected any more" in stand.ctl("config", "status")["last"], "it is taken back")
    stand.start_agent("web1", config(stand, "web1"))
    wait_for(lambda: is_connected(stand, "web1"), "web1 is back")
    wait_for(lambda: len(versions(stand)) == 2, "with the old one")

    stand.ctl("config", "rollback", "0")
    wait_for(lambda: versions(stand) == {""}, "nothing is set any more")
    assert [row["number"] for row in stand.ctl("config", "list")["versions"]] == [1, 2, 3]
    alert = next(alert for alert in stand.alerts() if "everywhere" in alert["full_log"])
    assert alert["agent"]["labels"]["site"] == "berlin"


def test_a_removed_agent_is_cut_off_and_is_told_why(stand: Stand):
    stand.ctl("agent", "remove", "db1")
    wait_for(lambda: not json.loads(_status(stand, "db1"))["link"]["connected"], "it is cut off")
    reasons = stand.ctl("agent", "why-offline", "db1", status=1)["reasons"]
    assert "was removed" in reasons[0]


def _status(stand: Stand, name: str) -> bytes:
    return (stand.agent_folder(name) / "state" / "status.json").read_bytes()
