"""Makes the saved objects of Kibana and OpenSearch Dashboards: a data view, a search, visualizations and the dashboard of them.

Both read the form of version 7.10, from which OpenSearch Dashboards was forked, and bring it up to date when it is imported.
"""

import json
from collections.abc import Iterator
from typing import Any

INDEX = "hids-alerts-view"
SEARCH = "hids-alerts-latest"
DASHBOARD = "hids-alerts-overview"

VERSIONS = {"index-pattern": "7.6.0", "search": "7.9.3", "visualization": "7.10.0", "dashboard": "7.9.3"}
"""Which form each type is in."""

COLUMNS = ("event.severity", "rule.id", "rule.description", "agent.name", "source.address", "user.name")
"""Of the list of alerts."""

WIDE, HALF, THIRD = 48, 24, 16
"""Widths of panels; a dashboard has 48 columns."""


def saved_objects() -> Iterator[dict[str, Any]]:
    """Every object, those first that others name."""
    yield _object(
        "index-pattern", INDEX, {"title": "hids-alerts*", "timeFieldName": "@timestamp", "fields": "[]"}, index=False
    )
    yield _object(
        "search",
        SEARCH,
        {
            "title": "hids: alerts",
            "columns": list(COLUMNS),
            "sort": [["@timestamp", "desc"]],
            "kibanaSavedObjectMeta": _source(),
        },
    )
    panels: list[tuple[str, str, int, int]] = []
    for name, title, kind, width, height, aggregations, options in _visualizations():
        state = {"title": title, "type": kind, "params": options, "aggs": list(_numbered(aggregations))}
        attributes = {
            "title": f"hids: {title}",
            "visState": json.dumps(state),
            "uiStateJSON": "{}",
            "kibanaSavedObjectMeta": _source(),
        }
        yield _object("visualization", name, attributes)
        panels.append(("visualization", name, width, height))
    yield _dashboard([*panels, ("search", SEARCH, WIDE, 20)])


def fields_used() -> set[str]:
    """Names of all fields that the objects ask for; those of visualizations are counted by value."""
    counted = {
        aggregation["params"]["field"]
        for _, _, _, _, _, aggregations, _ in _visualizations()
        for aggregation in aggregations
        if "field" in aggregation["params"]
    }
    return counted | set(COLUMNS)


def ndjson() -> str:
    """The file that is imported."""
    return "".join(json.dumps(each, sort_keys=True) + "\n" for each in saved_objects())


def _visualizations() -> Iterator[tuple[str, str, str, int, int, list[dict[str, Any]], dict[str, Any]]]:
    """Id, title, kind, width, height, aggregations and options of each."""
    over_time = [_count(), _histogram(), _terms("event.severity", 17, "group", "Level")]
    yield "hids-over-time", "alerts by level over time", "histogram", WIDE, 12, over_time, _bars()
    table = {"perPage": 10, "showPartialRows": False, "showMetricsAtAllLevels": False, "showTotal": False}
    for name, title, field, label, width in (
        ("hids-agents", "agents", "agent.name", "Agent", THIRD),
        ("hids-sources", "where it came from", "source.address", "Source", THIRD),
        ("hids-users", "users", "related.user", "User", THIRD),
    ):
        yield name, title, "table", width, 14, [_count(), _terms(field, 20, "bucket", label)], table
    rules = [
        _count(),
        _terms("rule.id", 50, "bucket", "Rule"),
        _terms("rule.description", 1, "bucket", "What it says"),
        _terms("event.severity", 1, "bucket", "Level"),
    ]
    yield "hids-rules", "rules", "table", HALF, 16, rules, table
    files = [_count(), _terms("file.path", 50, "bucket", "File"), _terms("host.name", 5, "bucket", "Host")]
    yield "hids-files", "changed files", "table", HALF, 16, files, table
    for name, title, field, label in (
        ("hids-techniques", "MITRE ATT&CK techniques", "threat.technique.id", "Technique"),
        ("hids-pci", "PCI DSS", "hids.rule.pci_dss", "Requirement"),
        ("hids-incidents", "incidents", "hids.incident.id", "Incident"),
    ):
        yield name, title, "table", THIRD, 14, [_count(), _terms(field, 20, "bucket", label)], table


def _object(kind: str, name: str, attributes: dict[str, Any], *, index: bool = True) -> dict[str, Any]:
    references = [{"id": INDEX, "name": "kibanaSavedObjectMeta.searchSourceJSON.index", "type": "index-pattern"}]
    return {
        "id": name,
        "type": kind,
        "attributes": attributes,
        "references": references if index else [],
        "migrationVersion": {kind: VERSIONS[kind]},
    }


def _dashboard(panels: list[tuple[str, str, int, int]]) -> dict[str, Any]:
    grid: list[dict[str, Any]] = []
    references: list[dict[str, str]] = []
    x = y = deepest = 0
    for number, (kind, name, width, height) in enumerate(panels):
        if x + width > WIDE:
            x, y, deepest = 0, y + deepest, 0
        place = {"x": x, "y": y, "w": width, "h": height, "i": str(number)}
        reference = f"panel_{number}"
        grid.append({"gridData": place, "panelIndex": str(number), "panelRefName": reference, "embeddableConfig": {}})
        references.append({"id": name, "name": reference, "type": kind})
        x, deepest = x + width, max(deepest, height)
    search = {"query": {"query": "", "language": "kuery"}, "filter": []}
    attributes = {
        "title": "hids: alerts",
        "description": "What the hids managers alerted.",
        "panelsJSON": json.dumps(grid),
        "optionsJSON": json.dumps({"useMargins": True, "hidePanelTitles": False}),
        "timeRestore": True,
        "timeFrom": "now-24h",
        "timeTo": "now",
        "kibanaSavedObjectMeta": {"searchSourceJSON": json.dumps(search)},
    }
    return _object("dashboard", DASHBOARD, attributes, index=False) | {"references": references}


def _source() -> dict[str, str]:
    """What an object looks through; the reference names the data view."""
    search = {
        "query": {"query": "", "language": "kuery"},
        "filter": [],
        "indexRefName": "kibanaSavedObjectMeta.searchSourceJSON.index",
    }
    return {"searchSourceJSON": json.dumps(search)}


def _numbered(aggregations: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for number, aggregation in enumerate(aggregations, 1):
        yield {"id": str(number), "enabled": True} | aggregation


def _count() -> dict[str, Any]:
    return {"type": "count", "schema": "metric", "params": {"customLabel": "Alerts"}}


def _terms(field: str, size: int, schema: str, label: str) -> dict[str, Any]:
    params = {"field": field, "size": size, "order": "desc", "orderBy": "1", "customLabel": label}
    return {"type": "terms", "schema": schema, "params": params}


def _histogram() -> dict[str, Any]:
    params = {"field": "@timestamp", "interval": "auto", "min_doc_count": 1, "customLabel": "Time"}
    return {"type": "date_histogram", "schema": "segment", "params": params}


def _bars() -> dict[str, Any]:
    return {
        "type": "histogram",
        "addTooltip": True,
        "addLegend": True,
        "legendPosition": "right",
        "grid": {"categoryLines": False},
        "categoryAxes": [{"id": "CategoryAxis-1", "type": "category", "position": "bottom", "show": True}],
        "valueAxes": [{"id": "ValueAxis-1", "name": "Left", "type": "value", "position": "left", "show": True}],
        "seriesParams": [
            {
                "type": "histogram",
                "mode": "stacked",
                "show": True,
                "valueAxis": "ValueAxis-1",
                "data": {"id": "1", "label": "Alerts"},
            }
        ],
    }
