"""A policy's way: from a file on a host to an alert, a score and a report, through kills on both sides."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from stand import Stand, wait_for

from hids.adapters.policies import PolicyReader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]

POLICY = """
policy: {{id: mine, file: mine.yml, name: "<b>Mine</b>", description: d}}
checks:
  - id: 1
    title: "is <i>good</i>"
    remediation: "make it good"
    compliance: [{{pci_dss: ["2.2.4"]}}]
    condition: all
    rules: ['f:{target} -> r:^good$']
  - {{id: 2, title: two, condition: all, rules: ['c:sh -c "cat {target} | wc -l" -> n:^(\\d+) compare <= 9']}}
  - {{id: 3, title: three, condition: none, rules: ['f:/no/such/file -> r:x']}}
"""


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    stand = Stand(tmp_path)
    stand.settings = "[workers]\ncount = 1\n"
    stand.start_manager()
    stand.join("web1")
    yield stand
    stand.close()


def policies_told(stand: Stand, rule: str) -> list[dict[str, Any]]:
    return [alert["data"]["sca"] for alert in stand.alerts() if alert["rule"]["id"] == rule]


def results(stand: Stand) -> list[tuple[int, str, str]]:
    """What is known of each check."""
    reader = PolicyReader(stand.paths.policies)
    rows = [(row.id, row.result, row.previous) for row in reader.results()]
    reader.close()
    return rows


def test_a_setting_that_changes_is_told_once_through_kills_of_both_sides(stand: Stand, tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("good\n")
    folder = tmp_path / "policies"
    folder.mkdir(mode=0o755)
    policy = folder / "mine.yml"
    policy.write_text(POLICY.format(target=target))
    policy.chmod(0o644)
    config = f'[policy]\nfiles = ["{folder}/*.yml"]\nscan_interval_s = 1\n'

    stand.start_agent("web1", config)
    wait_for(lambda: policies_told(stand, "206501"), "the first summary")
    assert results(stand) == [(1, "passed", ""), (2, "passed", ""), (3, "not applicable", "")]
    (first,) = policies_told(stand, "206501")
    assert (first["score"], first["passed"], first["invalid"]) == ("100", "2", "1")

    stand.agents["web1"].kill()
    target.write_text("bad\n" * 20)
    stand.start_agent("web1", config)
    wait_for(lambda: len(policies_told(stand, "206504")) == 2, "both are alerts")
    stand.agents["web1"].kill()
    assert stand.manager is not None
    stand.manager.kill()
    stand.start_manager()
    target.write_text("good\n")
    stand.start_agent("web1", config)
    wait_for(lambda: len(policies_told(stand, "206506")) == 2, "both are put right")

    assert [told["check"]["id"] for told in policies_told(stand, "206504")] == ["1", "2"]
    assert {told["check"]["compliance"]["pci_dss"] for told in policies_told(stand, "206506")[:1]} == {"2.2.4"}
    assert results(stand) == [(1, "passed", "failed"), (2, "passed", "failed"), (3, "not applicable", "")]
    scores = [row["score"] for row in stand.ctl("policy", "history")]
    assert scores == [100, 0, 100]

    (two_two, *_) = stand.ctl("alerts", "compliance", "--framework", "pci_dss")
    assert (two_two["requirement"], two_two["agents"]) == ("2.2", ["001"])
    report = stand.run("hids.cli.hidsctl", "--state", str(stand.paths.lib), "policy", "report").stdout
    assert "<b>" not in report
    assert "is &lt;i&gt;good&lt;/i&gt;" in report

    policy.unlink()
    wait_for(lambda: not results(stand), "a policy that is gone is no longer shown")
    agent = json.loads((stand.agent_folder("web1") / "state" / "status.json").read_bytes())
    assert [source["name"] for source in agent["sources"]] == ["policy"]


def test_a_policy_from_the_manager(stand: Stand, tmp_path: Path):
    target = tmp_path / "target"
    target.write_text("good\n")
    folder = stand.paths.config.parent / "agents.d"
    folder.mkdir()
    (folder / "all.toml").write_text('[policy]\nfiles = ["mine.yml"]\nscan_interval_s = 1\n')
    assert "there is no mine.yml" in stand.ctl("config", "check", status=1)
    (folder / "mine.yml").write_text("policy: {id: mine}\n")
    assert "mine.yml" in stand.ctl("config", "apply", "--all-at-once", status=1)
    (folder / "mine.yml").write_text(POLICY.format(target=target))

    stand.start_agent("web1", "")
    wait_for(lambda: stand.ask("agent", agent="web1")["state"] == "connected", "it is connected")
    stand.ctl("config", "apply", "--all-at-once")
    wait_for(lambda: policies_told(stand, "206501"), "the first summary")
    assert results(stand) == [(1, "passed", ""), (2, "not applicable", ""), (3, "not applicable", "")]
    (two,) = stand.ctl("policy", "show", "--check", "2")
    assert "set [central] accept_commands = true in its agent.toml" in two["reason"]
    (row,) = stand.ctl("policy", "list")
    assert row["origin"] == "the manager, signed"

    stand.agents["web1"].kill()
    stand.start_agent("web1", "[central]\naccept_commands = true\n")
    wait_for(lambda: results(stand)[1] == (2, "passed", "not applicable"), "what is signed runs its commands")

    stand.ctl("config", "rollback", "0")
    wait_for(lambda: not results(stand), "a policy that is taken back is no longer shown")
