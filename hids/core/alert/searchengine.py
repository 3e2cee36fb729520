"""What OpenSearch and Elasticsearch are told of our alerts: the index template with its mapping, and when old indices go.

The two differ in the name of the type for objects with many names, and in how retention is said: index state management (ISM)
there, index lifecycle management (ILM) here.
"""

from datetime import datetime
from typing import Any, Literal

from hids.core.alert.fields import OTHER, Type, mapped

Product = Literal["opensearch", "elasticsearch"]

TEMPLATE_VERSION = 1
"""Of the index template; raised with every change of it, so that a manager never puts an older one over a newer."""

ROLLOVER_DAYS = 1
ROLLOVER_GB = 30
"""A data stream begins a new index at either; 10 to 50 GB a shard is what both vendors' guides recommend."""
_IGNORE_ABOVE = 1024
"""Characters; longer keywords are kept but not searched. Lucene's limit is 32,766 bytes."""

_TYPES: dict[Type, dict[str, Any]] = {
    "keyword": {"type": "keyword", "ignore_above": _IGNORE_ABOVE},
    "text": {"type": "text"},
    "long": {"type": "long"},
    "date": {"type": "date"},
    "boolean": {"type": "boolean"},
    "ip": {"type": "ip"},
}
_FLAT: dict[Product, str] = {"opensearch": "flat_object", "elasticsearch": "flattened"}


def index_name(name: str, timestamp: datetime) -> str:
    """The index of the alert's day, UTC: the same in every try, so that an alert told twice is found there."""
    return f"{name}-{timestamp:%Y.%m.%d}"


def index_template(
    product: Product, name: str = "hids-alerts", *, data_stream: bool = False, retention_days: int = 0
) -> dict[str, Any]:
    """The body of `PUT _index_template/<name>`.

    Args:
        product: for whom.
        name: of the data stream, or of the indices before their day.
        data_stream: whether alerts go into one data stream instead of an index a day.
        retention_days: after which indices are deleted; 0 keeps them.
    """
    settings: dict[str, Any] = {"index.mapping.total_fields.limit": 2000}
    if product == "elasticsearch" and (retention_days or data_stream):
        settings["index.lifecycle.name"] = name
    template: dict[str, Any] = {
        "index_patterns": [name if data_stream else f"{name}-*"],
        "priority": 200,
        "version": TEMPLATE_VERSION,
        "_meta": {
            "description": "Alerts of hids. Made from its table of fields; put what you change into a template of higher priority."
        },
        "template": {
            "settings": settings,
            # What is not in the table is kept but not mapped, so that nobody can fill the mapping with names.
            "mappings": {"dynamic": False, "properties": _properties(product)},
        },
    }
    if data_stream:
        template["data_stream"] = {}
    return template


def retention_policy(
    product: Product, name: str = "hids-alerts", *, data_stream: bool = False, retention_days: int = 0
) -> dict[str, Any] | None:
    """The body of the policy that deletes old indices, and cuts a data stream; None when nothing is to be done."""
    if not retention_days and not data_stream:
        return None
    make = _ism if product == "opensearch" else _ilm
    return make(name, data_stream=data_stream, retention_days=retention_days)


def policy_path(product: Product, name: str) -> str:
    """Where that policy is put."""
    return f"/_plugins/_ism/policies/{name}" if product == "opensearch" else f"/_ilm/policy/{name}"


def _ism(name: str, *, data_stream: bool, retention_days: int) -> dict[str, Any]:
    cut = [{"rollover": {"min_index_age": f"{ROLLOVER_DAYS}d", "min_primary_shard_size": f"{ROLLOVER_GB}gb"}}]
    delete = [{"state_name": "delete", "conditions": {"min_index_age": f"{retention_days}d"}}]
    states: list[dict[str, Any]] = [
        {
            "name": "hot",
            "actions": cut if data_stream else [],
            "transitions": delete if retention_days else [],
        }
    ]
    if retention_days:
        states.append({"name": "delete", "actions": [{"delete": {}}], "transitions": []})
    return {
        "policy": {
            "description": _kept(retention_days),
            "default_state": "hot",
            "states": states,
            "ism_template": [{"index_patterns": [name if data_stream else f"{name}-*"], "priority": 200}],
        }
    }


def _ilm(name: str, *, data_stream: bool, retention_days: int) -> dict[str, Any]:  # noqa: ARG001 - as `_ism`
    cut = {"rollover": {"max_age": f"{ROLLOVER_DAYS}d", "max_primary_shard_size": f"{ROLLOVER_GB}gb"}}
    phases: dict[str, Any] = {"hot": {"actions": cut if data_stream else {}}}
    if retention_days:
        phases["delete"] = {"min_age": f"{retention_days}d", "actions": {"delete": {}}}
    return {"policy": {"phases": phases, "_meta": {"description": _kept(retention_days)}}}


def _kept(retention_days: int) -> str:
    return f"Alerts of hids, kept for {retention_days} days." if retention_days else "Alerts of hids, kept."


def _properties(product: Product) -> dict[str, Any]:
    properties: dict[str, Any] = {}
    for name, type_ in mapped().items():
        *outer, last = name.split(".")
        place = properties
        for part in outer:
            place = place.setdefault(part, {"properties": {}})["properties"]
        place[last] = {"type": _FLAT[product]} if type_ == "flat" else _TYPES[type_]
    *_, last = OTHER.split(".")
    properties["hids"]["properties"][last] = {"type": "keyword", "index": False, "doc_values": False}
    return properties
