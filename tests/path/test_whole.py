"""One line through every step, and what a person does around it, on real daemons."""

import json
import signal
from pathlib import Path

import pytest
from stand import Daemon, Stand, failed_login, wait_for

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


def append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def connected(stand: Stand, name: str) -> bool:
    return any(row["name"] == name and row["state"] == "connected" for row in stand.ask("agents"))


def test_a_line_becomes_an_alert_in_every_place(stand: Stand):
    log, watched = stand.folder / "auth.log", stand.folder / "watched"
    log.touch()
    watched.mkdir()
    (watched / "kept").write_text("as it was\n")
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\n[syscheck]\ndirectories = ["{watched}"]\n')
    wait_for(lambda: connected(stand, "web1"), "the agent is connected")
    wait_for(lambda: stand.nodes()["syscheck_store"]["facts"]["facts"] >= 1, "the baseline is taken")

    append(log, failed_login("mallory"))
    (watched / "new").write_text("x")
    (watched / "kept").write_text("changed\n")
    wait_for(lambda: {"201210", "206001", "206002"} <= set(stand.rules()), "login, added and modified alerts")
    (watched / "new").unlink()
    wait_for(lambda: stand.rules()["206003"], "the deletion")

    alert = next(alert for alert in stand.alerts() if alert["rule"]["id"] == "201210")
    assert alert["agent"] == {"id": "001", "name": "web1", "ip": "127.0.0.1"}
    assert alert["data"]["srcip"] == "192.0.2.7"
    assert alert["data"]["srcuser"] == "mallory"
    assert alert["location"] == str(log)
    assert alert["rule"]["level"] == 5
    assert "authentication_failed" in alert["rule"]["groups"]
    modified = next(alert for alert in stand.alerts() if alert["rule"]["id"] == "206002")
    assert modified["syscheck"]["path"] == str(watched / "kept")
    assert "sha256" in modified["syscheck"]["changed_attributes"]

    text = (stand.paths.alerts / "alerts.log").read_text()
    assert "Rule: 201210 (level 5) -> " in text
    assert "Src IP: 192.0.2.7\n" in text

    state = ("--state", str(stand.paths.lib))
    found = wait_for(
        lambda: stand.run("hids.cli.hidsctl", *state, "alerts", "--rule", "201210", "--json").stdout, "the index has it"
    )
    assert json.loads(found.splitlines()[0]) == alert
    status = json.loads(stand.run("hids.cli.hidsctl", *state, "status", "--json").stdout)
    assert {child["name"] for child in status["tree"]["children"]} == {
        *("outputs", "index", "keeper", "engine", "join_port", "monitor", "configurator"),
        *("silence", "statistics", "budget", "control"),
    }
    tried = stand.run("hids.cli.hidsctl", *state, "--json", "logtest", stdin=failed_login("x")).stdout
    assert json.loads(tried)["rule"]["id"] == 201210
    assert "201210" in stand.run("hids.cli.hidsctl", *state, "alerts").stdout


def test_agents_join_are_listed_and_removed(stand: Stand):
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: connected(stand, "web1"), "the agent is connected")
    wait_for(lambda: stand.rules()["206101"] or stand.rules(), "the agent's start is told")

    removed = stand.ask("remove", agent="web1")
    assert removed["state"] == "removed"
    wait_for(lambda: not any(name.startswith("session-") for name in stand.nodes()), "it is cut off at once")
    append(log, failed_login("afterwards"))
    wait_for(lambda: "was removed" in stand.agents["web1"].output(), "the agent is told why")
    assert not any("afterwards" in alert["full_log"] for alert in stand.alerts())
    with pytest.raises(Exception, match="removed"):
        stand.ask("remove", agent="web1")


def test_the_agent_waits_for_a_manager_that_is_not_there_yet(stand: Stand):
    log = stand.folder / "auth.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    assert stand.manager is not None
    assert stand.manager.stop() == 0
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: "nobody listens there" in stand.agents["web1"].output(), "the agent says that nobody answers")
    append(log, failed_login("patient"))
    stand.start_manager()
    wait_for(lambda: any("patient" in alert["full_log"] for alert in stand.alerts()), "the line is delivered")


def test_one_state_folder_has_one_manager(stand: Stand):
    stand.start_manager()
    other = Daemon(stand.folder / "other.log", "hids.cli.manager", "run", "--state", str(stand.paths.lib))
    assert other.process.wait(20) == 2
    assert "already runs on this state folder" in other.output()


def test_a_port_in_use_is_said_and_ends_with_2(stand: Stand, tmp_path: Path):
    stand.start_manager()
    config = tmp_path / "second.toml"
    config.write_text(f'[listen]\nagents = "127.0.0.1:{stand.ports["agents"]}"\njoin = "127.0.0.1:0"\n')
    other = Daemon(
        stand.folder / "other.log", "hids.cli.manager", "run", "--config", str(config), "--state", str(tmp_path / "s2")
    )
    assert other.process.wait(20) == 2
    assert f"cannot listen on 127.0.0.1:{stand.ports['agents']}: another program has it" in other.output()


BROKEN = {
    "not XML": ("<group name='g,'><rule", "broken.xml:1"),
    "an unknown element": (
        "<group name='g,'>\n<rule id='299001' level='5'>\n<mach>x</mach><description>d</description></rule></group>",
        "broken.xml:3",
    ),
    "no such parent": (
        (
            "<group name='g,'>\n<rule id='299001' level='5'>\n<if_sid>299999</if_sid><description>d</description></rule>"
            "</group>"
        ),
        "299999",
    ),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_ruleset_is_refused_with_file_and_line(stand: Stand, what: str):
    text, expected = BROKEN[what]
    rules = stand.folder / "rules"
    rules.mkdir()
    (rules / "broken.xml").write_text(text)
    config = stand.folder / "manager.toml"
    config.write_text(
        f'[listen]\nagents = "127.0.0.1:0"\njoin = "127.0.0.1:0"\n[[ruleset]]\npath = "{rules}"\ndialect = "hids"\n'
    )
    daemon = Daemon(
        stand.folder / "m.log", "hids.cli.manager", "run", "--config", str(config), "--state", str(stand.paths.lib)
    )
    assert daemon.process.wait(30) == 2
    assert expected in daemon.output()


def test_a_bad_reload_changes_nothing_and_a_good_one_takes_effect(stand: Stand):
    rules = stand.folder / "rules"
    rules.mkdir()
    file = rules / "mine.xml"
    rule = (
        "<group name='mine,'><rule id='299001' level='{level}'><match>needle</match><description>d</description></rule>"
        "</group>"
    )
    file.write_text(rule.format(level=5))
    stand.settings = f'[[ruleset]]\npath = "{rules}"\ndialect = "hids"\n'
    log = stand.folder / "app.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: connected(stand, "web1"), "the agent is connected")
    append(log, "one needle\n")
    wait_for(lambda: stand.rules()["299001"] == 1, "the first alert")

    file.write_text("<group name='mine,'><rule id='299001' level='nonsense'>")
    with pytest.raises(Exception, match=r"the old ones stay in use"):
        stand.ask("reload")
    append(log, "two needles\n")
    wait_for(lambda: stand.rules()["299001"] == 2, "the old rules go on")

    file.write_text(rule.format(level=9))
    assert stand.manager is not None
    before = stand.ask("status")["rulesets"]
    stand.manager.process.send_signal(signal.SIGHUP)
    wait_for(lambda: stand.ask("status")["rulesets"] != before, "the new rules are loaded")
    append(log, "three needles\n")
    wait_for(lambda: stand.rules()["299001"] == 3, "the new rules are used")
    assert [alert["rule"]["level"] for alert in stand.alerts() if alert["rule"]["id"] == "299001"] == [5, 5, 9]


def test_stack_traces_on_sigusr1(stand: Stand):
    stand.start_manager()
    assert stand.manager is not None
    stand.manager.process.send_signal(signal.SIGUSR1)
    manager = stand.manager
    wait_for(lambda: "most recent call first" in manager.output(), "stacks in the log")
    assert stand.whole()


def test_a_runaway_pattern_is_suspended_and_named_and_the_other_rules_go_on(stand: Stand):
    rules = stand.folder / "rules"
    rules.mkdir()
    (rules / "mine.xml").write_text(
        "<group name='mine,'>"
        r"<rule id='299001' level='5'><regex>(a+)+\1$</regex><description>d</description></rule>"
        "<rule id='299002' level='5'><match>needle</match><description>d</description></rule></group>"
    )
    shipped = Path(__file__).parents[2] / "rules"
    stand.settings = "".join(
        f'[[ruleset]]\nname = "{name}"\npath = "{path}"\ndialect = "hids"\n'
        for name, path in (("hids", shipped), ("mine", rules))
    )
    log = stand.folder / "app.log"
    log.touch()
    stand.start_manager()
    stand.join("web1")
    stand.start_agent("web1", f'[[source]]\npath = "{log}"\nfrom = "start"\n')
    wait_for(lambda: connected(stand, "web1"), "the agent is connected")

    append(log, ("a" * 64_000 + "!\n") * 40 + "a needle\n")
    wait_for(lambda: stand.rules()["299002"] == 1, "the line behind them is judged")
    wait_for(lambda: stand.rules()["206118"] >= 1, "the suspension is told")
    told = next(alert for alert in stand.alerts() if alert["rule"]["id"] == "206118")
    assert "ruleset mine, rule 299001: pattern (a+)+" in told["full_log"]
    assert told["agent"]["name"] == "web1"
    workers = [node for name, node in stand.nodes().items() if name.startswith("worker-")]
    assert [node["restarts"] for node in workers] == [0] * len(workers), "no worker had to die"
