"""An alert -> rows of the SQL output's tables, as hids.core.alert.fields names their columns.

Texts are cut to what a column holds and rid of NUL, which PostgreSQL refuses; what is expected to be a number and is none
becomes NULL. The alert as it is goes along, so nothing is lost by that.

Rows of `rules` and `locations` have a key that is made of what they say. So the same row is written by every manager and in every
try, and nothing has to be looked up first.
"""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, cast

import msgspec

from hids.core.alert.document import member, moment_of, whole_of
from hids.core.alert.fields import COMPLIANCE, FIELDS, Field

_encode = msgspec.json.Encoder().encode

TAGS = {"group": "rule.groups", **{name: f"rule.{name}" for name in COMPLIANCE}, "mitre": "rule.mitre.id"}
"""Kind of a rule's tag -> the member that lists them."""
TAG_SIZE = 190
"""Characters of a tag; it is part of a key, and MySQL's keys hold 3,072 bytes."""
COLUMNS = tuple(field for field in FIELDS if field.column)


class Rows(msgspec.Struct, frozen=True):
    """What one alert puts into each table."""

    alert: dict[str, Any]
    rule: dict[str, Any]
    tags: tuple[dict[str, Any], ...]
    location: dict[str, Any]


def rows_of(line: bytes) -> Rows:
    """The rows of an alert, a JSON line.

    Raises:
        ValueError: it is no alert.
    """
    try:
        alert: Mapping[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, RecursionError) as error:
        raise ValueError(f"no alert: {error}") from error
    row = {field.column: _value(field, member(alert, field.member)) for field in COLUMNS}
    moment = row["happened_at"]
    if not isinstance(moment, datetime) or not row["id"]:
        raise ValueError("no alert: it has no timestamp or no id")
    tags = tuple(_tags(alert))
    rule = {name: row[name] for name in ("ruleset", "rule_id", "level", "description")}
    place = {name: row[name] for name in ("manager", "agent_id", "agent_name", "agent_ip", "location")}
    # What a rule says may differ from event to event, so it is no part of what the rule is.
    rule["rule_key"] = _key(rule["ruleset"], rule["rule_id"], rule["level"], tags)
    place["location_key"] = _key(*place.values())
    place["server_key"] = _key(place["manager"])
    row |= {
        "rule_key": rule["rule_key"],
        "location_key": place["location_key"],
        "at_ms": int(moment.timestamp() * 1000),
    }
    row["alert"] = line.decode(errors="replace").replace("\0", "\ufffd")
    return Rows(row, rule, tuple({"rule_key": rule["rule_key"], "kind": k, "value": v} for k, v in tags), place)


def _tags(alert: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for kind, path in TAGS.items():
        values = member(alert, path)
        if isinstance(values, list):
            texts = (_bounded(str(value), TAG_SIZE) for value in cast("list[object]", values))
            yield from ((kind, text) for text in dict.fromkeys(texts))


def _value(field: Field, value: Any) -> Any:
    if value is None:
        return None
    match field.type:
        case "date":
            return moment_of(value)
        case "long":
            return whole_of(value)
        case "boolean":
            return bool(value)
        case _:
            return _bounded(value if isinstance(value, str) else _encode(value).decode(), field.size)


def _bounded(text: str, size: int) -> str:
    text = text.replace("\0", "\ufffd")
    return text if len(text) <= size else text[: size - 1] + "…"


def _key(*parts: object) -> int:
    """63 bits of a hash: two rows of a million share one with a chance of 1 to 18 millions."""
    digest = hashlib.sha256(_encode(parts)).digest()
    return int.from_bytes(digest[:8]) >> 1
