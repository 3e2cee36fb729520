"""An alert -> a document with the names of the Elastic Common Schema, as hids.core.alert.fields says.

Whatever an alert holds, its document fits the mapping: what is expected to be an address, a number or a time and is none is
left out of that field (it is still in `data`), so that no attacker can have an alert refused by what he writes.

`conf/logstash/hids.rb` does the same to alerts.json; a test compares the two.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from hids.core.alert.fields import CONSTANT, FIELDS, OTHER, Field
from hids.core.alert.text import flat

MAX_NAME = 128
MAX_VALUE = 8_000
"""Characters of a name and a value in a flat object. Lucene refuses a document with a term above 32,766 bytes, and both are one
term there; a character is at most four bytes."""
_MAX_LONG = 18
"""Digits of a number that surely fits 64 bits."""

_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:?[0-9]{2})")

_encode = msgspec.json.Encoder().encode
_MISSING = object()


def document(alert: Mapping[str, Any]) -> dict[str, Any]:
    """Turn an alert, a decoded JSON object, into a document."""
    made: dict[str, Any] = {}
    for name, value in CONSTANT.items():
        _put(made, name, value)
    for field in FIELDS:
        value = _member(alert, field.member)
        if value is not _MISSING and value is not None:
            for name, converted in _said(field, value):
                if name.startswith("related."):
                    _collect(made, name, converted)
                else:
                    _put(made, name, converted)
    if other := {name: value for name, value in alert.items() if name not in _KNOWN}:
        _put(made, OTHER, _encode(other).decode())
    return made


def member(alert: Mapping[str, Any], path: str) -> Any:
    """What stands at `a.b` of an alert; None when nothing does."""
    value = _member(alert, path)
    return None if value is _MISSING else value


def address_of(text: str) -> str | None:
    """The address that a text is, without the zone of a link-local one; None when it is none."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return None
    return text.partition("%")[0]


def moment_of(value: object) -> datetime | None:
    """The time that a text such as 2026-11-24T03:21:43.123+0000 names, in UTC; None when it is none or has no zone."""
    text = str(value)
    if not _MOMENT.fullmatch(text):
        return None
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def whole_of(value: object) -> int | None:
    """The whole number that a value is, of at most 18 digits; None when it is none."""
    text = str(value)
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= _MAX_LONG else None


_KNOWN = frozenset(field.member.partition(".")[0] for field in FIELDS)


def _said(field: Field, value: Any) -> Iterator[tuple[str, Any]]:
    """Names in the document, and what stands there."""
    if field.type == "address":
        text = _text(value)
        address = address_of(text)
        for name in field.names:
            yield f"{name}.address", text
            yield (f"{name}.domain", text) if address is None else (f"{name}.ip", address)
        yield ("related.hosts", text) if address is None else ("related.ip", address)
        return
    converted = _CONVERT[field.type](value)
    if converted is not None:
        yield from ((name, converted) for name in field.names)


def _member(alert: Mapping[str, Any], path: str) -> Any:
    value: Any = alert
    for part in path.split("."):
        if not isinstance(value, dict):
            return _MISSING
        value = cast("dict[str, Any]", value).get(part, _MISSING)
    return value


def _put(made: dict[str, Any], name: str, value: Any) -> None:
    *outer, last = name.split(".")
    place = made
    for part in outer:
        place = place.setdefault(part, {})
    place[last] = value


def _collect(made: dict[str, Any], name: str, value: Any) -> None:
    _, _, last = name.partition(".")
    found: list[Any] = made.setdefault("related", {}).setdefault(last, [])
    if value not in found:
        found.append(value)


def _text(value: Any) -> str:
    """A value as words: what is no text, as JSON."""
    return value if isinstance(value, str) else _encode(value).decode()


def _keyword(value: Any) -> Any:
    return [_text(each) for each in cast("list[object]", value)] if isinstance(value, list) else _text(value)


def _date(value: Any) -> str | None:
    moment = moment_of(value)
    return None if moment is None else moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _flat(value: Any) -> dict[str, str] | None:
    """One level of names, each with a text."""
    if not isinstance(value, dict):
        return None
    found = flat(cast("dict[str, Any]", value))
    return {_name(name): _text(each)[:MAX_VALUE] for name, each in found} or None


def _name(name: str) -> str:
    """A name that search engines take: no part of it is empty, and no NUL is in it."""
    return ".".join(part or "_" for part in name.replace("\0", "_")[:MAX_NAME].split("."))


_CONVERT: dict[str, Callable[[Any], Any]] = {
    "keyword": _keyword,
    "text": _text,
    "long": whole_of,
    "date": _date,
    "boolean": lambda value: value if isinstance(value, bool) else None,
    "ip": lambda value: address_of(_text(value)),
    "flat": _flat,
}
