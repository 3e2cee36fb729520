"""`hidsctl logtest`: lines on standard input, what is told of each."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from hids.cli.hidsctl import app

RULES = """
<decoder name="app"><program_name>^app$</program_name></decoder>
<decoder name="app-user"><parent>app</parent><regex>user (\\w+)</regex><order>srcuser</order></decoder>
<group name="app">
  <rule id="200100" level="0"><decoded_as>app</decoded_as><description>app</description></rule>
  <rule id="200101" level="5"><if_sid>200100</if_sid><match>failed</match><description>failed</description></rule>
  <rule id="200102" level="10" frequency="3" timeframe="60" ignore="60">
    <if_matched_sid>200101</if_matched_sid><same_user/><description>many</description>
  </rule>
  <rule id="200103" level="4"><hostname>^mail1$</hostname><description>by its agent</description></rule>
  <rule id="200104" level="3"><decoded_as>app</decoded_as><match>nothing</match><description>d</description></rule>
</group>
"""
LINE = "Nov 24 03:21:42 web1 app[1]: user bob failed\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "app.xml").write_text(RULES)
    return tmp_path


def logtest(folder: Path, text: str | bytes, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["logtest", "--ruleset", str(folder), *arguments], input=text)


def told(folder: Path, text: str | bytes, *arguments: str) -> list[dict[str, Any]]:
    result = logtest(folder, text, "--json", *arguments)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def rules(answers: list[dict[str, Any]]) -> list[int | None]:
    return [None if answer["rule"] is None else answer["rule"]["id"] for answer in answers]


def test_three_phases_for_people(folder: Path) -> None:
    result = logtest(folder, LINE)
    assert result.exit_code == 0
    for line in (
        "    program_name: app",
        "    name: app, parent app",
        "    srcuser: bob",
        "    id: 200101, level 5",
        "    alert",
    ):
        assert line in result.stdout.splitlines()


def test_lines_are_one_history(folder: Path) -> None:
    answers = told(folder, LINE * 4)
    assert rules(answers) == [200101, 200101, 200102, 200101]


@pytest.mark.parametrize(("every", "last"), [("20", 200102), ("31", 200101)])
def test_simulated_time(folder: Path, every: str, last: int) -> None:
    assert rules(told(folder, LINE * 3, "--time", "2026-11-24T12:00:00Z", "--every", every))[-1] == last


def test_the_time_of_ignore_is_simulated_too(folder: Path) -> None:
    answers = told(folder, LINE * 6, "--time", "2026-11-24T12:00:00Z", "--every", "1")
    spoken = [
        [(each["id"], each["silenced"]) for each in (rule, *rule["also"])] for rule in (a["rule"] for a in answers)
    ]
    assert (200102, False) in spoken[2]
    assert spoken[5] == [(200101, False), (200102, True)]


def test_agent_and_location(folder: Path) -> None:
    assert rules(told(folder, "no header\n", "--agent", "mail1", "--location", "/var/log/x")) == [200103]
    assert rules(told(folder, "no header\n", "--agent", "web1")) == [None]


def test_what_was_tried(folder: Path) -> None:
    lines = logtest(folder, "Nov 24 03:21:42 web1 app[1]: fine\n", "-v").stdout.splitlines()
    assert "    + 200100" in lines
    assert not any("200103" in line for line in lines), "it is never tried: the rule before it takes the event"
    assert "    -   200101: log matches failed" in lines
    assert "    - 200100: decoded as app" in logtest(folder, "no header\n", "-v").stdout.splitlines()
    steps = told(folder, "Nov 24 03:21:42 web1 app[1]: fine\n", "-v")[0]["tried"]
    assert {"kind": "decoder", "name": "app", "depth": 0, "outcome": "yes", "why": ""} in steps


def test_hostile_bytes_are_shown_harmlessly(folder: Path) -> None:
    result = logtest(folder, b"Nov 24 03:21:42 web1 app[1]: \x1b[2J\xff\x00failed\n", "-v")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    assert "\\x1b" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--time", "noon"), "--time: expected a time such as"),
        (("--every", "inf"), "--every"),
        (("--format", "nonsense"), "--format: expected one of syslog, json, log"),
        (("--dialect", "nonsense"), "dialect must be one of"),
    ],
)
def test_wrong_usage(folder: Path, arguments: tuple[str, ...], words: str) -> None:
    result = logtest(folder, LINE, *arguments)
    assert (result.exit_code, words in result.stderr) == (2, True)


def test_rules_that_are_refused(folder: Path) -> None:
    (folder / "bad.xml").write_text("<nonsense/>")
    result = logtest(folder, LINE)
    assert (result.exit_code, "bad.xml:1: expected <group>" in result.stderr) == (2, True)
