"""The files that are made of the table of fields agree with it; what Logstash would make of an alert is what our output makes."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dashboards
import fieldtable
import pytest

import hids
from hids.core.alert.document import document
from hids.core.alert.fields import FIELDS, mapped

ROOT = Path(hids.__file__).resolve().parent.parent
FILES = fieldtable.files()


@pytest.mark.parametrize("name", FILES)
def test_file_is_current(name: str):
    assert (ROOT / name).read_text() == FILES[name], "run tools/fieldtable.py"


@pytest.mark.parametrize("name", [name for name in FILES if name.endswith("json")])
def test_file_is_installed(name: str):
    folder = str(Path(name).parent)
    assert f'"share/hids/{folder}" = ["{folder}/*"]' in (ROOT / "pyproject.toml").read_text()


def test_page_tells_every_field():
    page = FILES["docs/reference/alerts.md"]
    assert all(f"| `{field.member}` |" in page for field in FIELDS)


def test_dashboards_ask_only_for_fields_that_there_are():
    types = mapped()
    used = dashboards.fields_used()
    assert used <= types.keys()
    assert {name for name in used if types[name] in ("text", "flat")} == set(), "these cannot be counted"


def test_objects_name_only_objects_that_there_are():
    objects = [json.loads(line) for line in FILES["conf/dashboards/kibana.ndjson"].splitlines()]
    known = {(each["type"], each["id"]) for each in objects}
    assert len(known) == len(objects)
    for each in objects:
        names = [reference["name"] for reference in each["references"]]
        assert {(reference["type"], reference["id"]) for reference in each["references"]} <= known
        assert len(names) == len(set(names))
        for key in ("panelsJSON", "optionsJSON", "visState", "uiStateJSON"):
            if key in each["attributes"]:
                json.loads(each["attributes"][key])
    (board,) = (each for each in objects if each["type"] == "dashboard")
    panels = json.loads(board["attributes"]["panelsJSON"])
    assert {panel["panelRefName"] for panel in panels} == {reference["name"] for reference in board["references"]}
    assert all(panel["gridData"]["x"] + panel["gridData"]["w"] <= dashboards.WIDE for panel in panels)
    places = [(panel["gridData"]["x"], panel["gridData"]["y"]) for panel in panels]
    assert len(places) == len(set(places))


ATTRIBUTES: dict[str, dict[str, type]] = {
    "index-pattern": {"title": str, "timeFieldName": str, "fields": str},
    "search": {"title": str, "columns": list, "sort": list, "kibanaSavedObjectMeta": dict},
    "visualization": {"title": str, "visState": str, "uiStateJSON": str, "kibanaSavedObjectMeta": dict},
    "dashboard": {
        "title": str,
        "description": str,
        "panelsJSON": str,
        "optionsJSON": str,
        "kibanaSavedObjectMeta": dict,
        "timeRestore": bool,
        "timeFrom": str,
        "timeTo": str,
    },
}
"""The attributes that we use, with the types that OpenSearch Dashboards' index has for them. That index is strict: it refuses an
object with one that it does not know."""
SCHEMAS = {"histogram": {"metric", "segment", "group"}, "table": {"metric", "bucket"}}
"""Where aggregations of a kind of picture may stand."""


@pytest.mark.parametrize("name", ["kibana", "opensearch-dashboards"])
def test_objects_are_as_the_strict_index_of_the_dashboards_takes_them(name: str):
    for each in map(json.loads, FILES[f"conf/dashboards/{name}.ndjson"].splitlines()):
        known, attributes = ATTRIBUTES[each["type"]], each["attributes"]
        assert set(each) == {"id", "type", "attributes", "references", "migrationVersion"}
        assert {key: type(value) for key, value in attributes.items()} == known
        references = {reference["name"] for reference in each["references"]}
        if "kibanaSavedObjectMeta" in attributes:
            assert set(attributes["kibanaSavedObjectMeta"]) == {"searchSourceJSON"}
            source = json.loads(attributes["kibanaSavedObjectMeta"]["searchSourceJSON"])
            assert set(source) <= {"query", "filter", "indexRefName"}
            assert {source["indexRefName"]} <= references if "indexRefName" in source else True
            assert set(source["query"]) == {"query", "language"}
        if each["type"] == "visualization":
            state = json.loads(attributes["visState"])
            assert {aggregation["schema"] for aggregation in state["aggs"]} <= SCHEMAS[state["type"]]
            assert [aggregation["id"] for aggregation in state["aggs"]] == [
                str(number) for number in range(1, len(state["aggs"]) + 1)
            ]
            ordered = [a["params"]["orderBy"] for a in state["aggs"] if "orderBy" in a["params"]]
            metrics = {a["id"] for a in state["aggs"] if a["schema"] == "metric"}
            assert set(ordered) <= metrics


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("ruby") is None, reason="ruby is not installed, in which Logstash's filter is written")
def test_logstash_makes_the_same_documents(tmp_path: Path, make_alert: Callable[..., dict[str, Any]]):
    everything = {
        "hids": {"number": 5, "seq": -3, "incident": {"id": "x", "key": {"srcip": "192.0.2.7"}, "news": "first"}},
        "rule": {"level": 12, "mail": True, "groups": ["a", 5, None], "mitre": {"id": ["T1110"]}, "pci_dss": ["10.2"]},
        "syscheck": {
            "path": "/etc/x",
            "size_after": "12",
            "mtime_after": "2026-11-24T03:21:43Z",
            "perm_after": "rw-r--r--",
        },
        "unknown": {"a": [1, 2, {"b": None}]},
        "data": {
            "srcip": "evil.example",
            "dstip": "2001:db8::1",
            "srcport": "22x",
            "a": {"b": {"c": True}},
            "": "ü" * 9000,
        },
    }
    changes: list[dict[str, Any]] = [
        {},
        everything,
        *({"data": {"srcip": text, "dstport": text}} for text in HOSTILE),
        *({"agent": {"id": "7", "name": text, "ip": text}} for text in HOSTILE),
        *({"syscheck": {"size_after": text, "mtime_after": text}} for text in HOSTILE),
        {"timestamp": "2026-11-24T23:59:59.999-0130"},
        {"data": "no object", "rule": 7},
        {"location": None, "data": {"x": 5, "y": [1, "a"], "z" * 200: "long", "a..b": ".", ".": ""}},
    ]
    alerts = [make_alert(number, **change) for number, change in enumerate(changes)]
    lines = tmp_path / "alerts.json"
    lines.write_text("".join(json.dumps(alert) + "\n" for alert in alerts))
    code = "load ARGV[0]; File.foreach(ARGV[1], encoding: 'UTF-8') { |l| puts JSON.generate(Hids.document(JSON.parse(l))) }"
    done = subprocess.run(
        ["ruby", "-Ku", "-e", code, str(ROOT / "conf/logstash/hids.rb"), str(lines)],  # noqa: S607 - wherever it is
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        encoding="utf-8",
    )
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in done.stdout.splitlines()]
    for alert, theirs in zip(alerts, made, strict=True):
        assert theirs == document(alert), alert


HOSTILE = (
    "192.0.2.7",
    "192.0.2.07",
    "192.0.2.7/24",
    "::ffff:192.0.2.7",
    "fe80::1%eth0",
    "fe80::1%",
    "1.2.3.4%x",
    "[::1]",
    "::1\n",
    "1:2",
    "",
    "any",
    "22",
    "-1",
    "+1",
    "99999999999999999999",
    "²",
    "2026-11-24T03:21:43.5Z",
    "2026-02-30T03:21:43Z",
    "2026-11-24 03:21:43Z",
    "1764000000000000000",
)
