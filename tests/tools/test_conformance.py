"""The comparison with upstream's answers, on records of our own."""

import json
from pathlib import Path
from typing import Any

import pytest

from tools import conformance

RULES = """
<group name="syslog,"><rule id="1" level="0" noalert="1"><category>syslog</category><description>all</description>
</rule></group>
<group name="app,">
  <rule id="100" level="5"><decoded_as>App</decoded_as><description>any</description></rule>
  <rule id="101" level="8" frequency="1" timeframe="60"><if_matched_sid>100</if_matched_sid>
  <description>many</description></rule>
</group>
"""
DECODERS = """<decoder name="App"><program_name>^app</program_name></decoder>
<decoder name="App-ip"><parent>App</parent><regex>from (\\S+)</regex><order>srcip</order></decoder>"""
LOG = "Nov 24 03:21:42 web1 app[1]: hello from 192.0.2.7"


def event(**changes: Any) -> dict[str, Any]:
    made = {
        "decoder": "App",
        "rule": "100",
        "level": 5,
        "alert": True,
        "fields": {"srcip": "192.0.2.7"},
    }
    return made | changes


def record(name: str, *events: dict[str, Any], **extra: Any) -> str:
    upstream = {"events": list(events)} | extra.pop("upstream", {})
    logs = [LOG] * len(events)
    return json.dumps({"suite": "ossec", "case": name, "logs": logs, "extra": {"upstream": upstream, **extra}})


@pytest.fixture
def suite(tmp_path: Path) -> Path:
    (tmp_path / "tests").mkdir()
    (tmp_path / "d.xml").write_text(DECODERS)
    (tmp_path / "r.xml").write_text(RULES)
    order = {"suite": "ossec", "decoders": ["d.xml"], "rules": ["r.xml"], "lists": [], "log_alert_level": 1}
    (tmp_path / "load.json").write_text(json.dumps(order))
    return tmp_path


def run(suite: Path, *records: str) -> int:
    (suite / "tests" / "t.jsonl").write_text("\n".join(records) + "\n")
    return conformance.main([str(suite / "tests" / "t.jsonl"), "--json"])


def test_all_agree(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fires = event(rule="101", level=8)
    assert run(suite, record("one", event()), record("several", event(), event(), fires)) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("t.jsonl: 2 of 2")
    assert lines[1] == "total: 2 of 2"
    assert json.loads(lines[2])["agree"] == 2


def test_each_case_has_a_state_of_its_own(suite: Path) -> None:
    assert run(suite, *(record(f"case {n}", event(), event()) for n in range(3))) == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"decoder": "Other"}, "decoder: expected 'Other', got 'App'"),
        ({"rule": "7"}, "rule: expected '7', got '100'"),
        ({"level": 4}, "level: expected 4, got 5"),
        ({"alert": False}, "alert: expected False, got True"),
        ({"groups": ["x"]}, "groups: expected ('x',), got ('app',)"),
        ({"fields": {}}, "field srcip: expected None, got '192.0.2.7'"),
        ({"fields": {"srcip": "192.0.2.7", "id": "1"}}, "field id: expected '1', got None"),
    ],
)
def test_a_difference_is_told_and_counted(
    suite: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, Any], told: str
) -> None:
    assert run(suite, record("right", event()), record("wrong", event(**changes))) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == f"  wrong [1] {told}"
    assert lines[2] == "total: 1 of 2"
    assert next(iter(json.loads(lines[3])["files"].values()))["differ"] == ["wrong"]


def test_logs_that_upstreams_file_escaped(suite: Path) -> None:
    unescaped = {"unescaped_logs": [LOG], "upstream": {"events_with_unescaped_logs": [event()]}}
    assert run(suite, record("escaped", event(rule=None), **unescaped)) == 0


def test_nested_data_is_flat_and_arrays_are_text(suite: Path) -> None:
    nested = event(data={"a": {"b": "x"}, "list": [1, "two"]})
    del nested["fields"]
    got = conformance.recorded(json.loads(record("n", nested)))[1][0]
    assert got.fields == {"a.b": "x", "list": [1, "two"]}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("nonsense", "expected a file with one JSON object a line"),
        (json.dumps({"suite": "wazuh"}), "a case of 'wazuh', but the ruleset is of 'ossec'"),
    ],
)
def test_what_is_no_record_file(suite: Path, capsys: pytest.CaptureFixture[str], line: str, words: str) -> None:
    assert run(suite, line) == 2
    assert words in capsys.readouterr().err


def test_a_ruleset_that_cannot_be_loaded(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite / "r.xml").write_text("<nonsense/>")
    assert run(suite, record("one", event())) == 2
    assert "r.xml:1: expected <group>" in capsys.readouterr().err


def test_a_load_file_that_is_not_there(suite: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (suite / "load.json").unlink()
    assert run(suite, record("one", event())) == 2
    assert "cannot be read as a load.json" in capsys.readouterr().err
