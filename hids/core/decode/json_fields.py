"""JSON text -> fields, as Wazuh's JSON_Decoder flattens it.

    {"user": "joe", "a": {"b": [1, "two"]}} -> dstuser=joe, a.b=[1, "two"]

What follows the first value is not looked at; of a text that is not JSON nothing is taken. The C library that does
it upstream (cJSON) has doubles only and knows no other numbers.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

from hids.core.decode.fields import Fields

MAX_DEPTH: Final = 128
"""Members nested deeper are left out; cJSON refuses texts nested deeper than 1,000."""

_STATIC: Final = {
    name: name
    for name in (
        *("srcip", "dstip", "srcport", "dstport", "protocol", "action", "srcuser", "dstuser"),
        *("id", "status", "url", "data", "extra_data"),
    )
} | {"systemname": "system_name"}
"""Top-level members that are static fields."""
_SPACE = re.compile(r"(?:\ufeff)?[\x00-\x20]*")
_PAIR = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}")
_SURROGATE = re.compile(r"(?<!\\)(?:\\\\)*\\u[dD][89a-fA-F]")
_INT_MAX: Final = 2**31 - 1


class Members(list[tuple[str, Any]]):
    """Members of an object; a name may stand twice."""


def _no_number(_text: str) -> float:
    raise ValueError("JSON has no NaN and no infinity")


_read: Callable[[str, int], tuple[Any, int]] = json.JSONDecoder(
    strict=False, object_pairs_hook=Members, parse_int=float, parse_constant=_no_number
).raw_decode


def take_json(text: bytes, fields: Fields, *, null: bytes | None, csv: bool) -> None:
    """Put the members of the object that `text` starts with into `fields`.

    Args:
        text: may be anything.
        fields: what has been found so far.
        null: text for null; None leaves such members out.
        csv: write arrays as their plain members with commas between.
    """
    value = read_json(text)
    if isinstance(value, Members):
        Flattener(fields, null=null, csv=csv).members(value)


def read_json(text: bytes) -> Any:
    """The value that a text starts with, objects as `Members`; None when there is none."""
    decoded = text.decode("utf-8", "surrogateescape")
    if _SURROGATE.search(_PAIR.sub("", decoded)):
        return None  # half a character
    start = _SPACE.match(decoded)
    try:
        return _read(decoded, start.end() if start is not None else 0)[0]
    except (ValueError, RecursionError):
        return None


class Flattener:
    """Puts members into fields under their dotted names."""

    def __init__(self, fields: Fields, *, null: bytes | None = b"null", csv: bool = False) -> None:
        self._fields = fields
        self._null = null
        self._csv = csv

    def members(self, members: list[tuple[str, Any]], prefix: str = "", depth: int = 1) -> None:
        """All members of an object."""
        for name, value in members:
            key = prefix + _c_string(name)
            if isinstance(value, Members):
                if depth < MAX_DEPTH:
                    self.members(value, key + ".", depth + 1)
                continue
            text = self._text(value)
            if text is not None:
                self._put(key, text, top=not prefix)

    def _put(self, key: str, text: bytes, *, top: bool) -> None:
        static = self._fields.static
        if top and key in _STATIC:
            static[_STATIC[key]] = text
        elif top and key == "user" and "dstuser" not in static:
            static["dstuser"] = text
        else:
            self._fields.add(key, text)

    def _text(self, value: Any) -> bytes | None:
        if value is None:
            return self._null
        if isinstance(value, list):
            return self._array(cast("Sequence[Any]", value))
        return _encoded(_plain(value))

    def _array(self, values: Sequence[Any]) -> bytes | None:
        if not self._csv:
            return _encoded(_printed(values, 0))
        plain = ["null" if value is None else _plain(value) for value in values if not isinstance(value, list)]
        return _encoded(",".join(plain)) if plain else None


def _plain(value: Any) -> str:
    """A string, number or boolean as a field's text."""
    if isinstance(value, str):
        return _c_string(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(int(value)) if _is_int(value) else f"{value:f}"


def _is_int(value: float) -> bool:
    return -_INT_MAX - 1 <= value <= _INT_MAX and value == int(value)


def _c_string(text: str) -> str:
    """In C a text ends at its first NUL."""
    return text.partition("\0")[0]


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


# ---- arrays as text ----------------------------------------------------------------------------------------


def _printed(value: Any, depth: int) -> str:
    """JSON text as cJSON formats it: arrays on one line, objects one member a line with tabs."""
    if isinstance(value, str):
        return _quoted(value)
    if value is None:
        return "null"
    if not isinstance(value, list):
        return _number(value) if not isinstance(value, bool) else _plain(value)
    if depth > MAX_DEPTH:
        return "null"
    if not isinstance(value, Members):
        return "[" + ", ".join(_printed(item, depth + 1) for item in cast("Sequence[Any]", value)) + "]"
    tabs = "\t" * (depth + 1)
    lines = ",\n".join(f"{tabs}{_quoted(name)}:\t{_printed(item, depth + 1)}" for name, item in value)
    return "{\n" + lines + "\n" * bool(lines) + "\t" * depth + "}"


def _number(value: float) -> str:
    if _is_int(value):
        return str(int(value))
    if value in (float("inf"), float("-inf")):
        return "null"
    short = f"{value:.15g}"
    return short if float(short) == value else f"{value:.17g}"


_ESCAPES: Final = {byte: f"\\u{byte:04x}" for byte in range(32)} | {
    ord(char): f"\\{letter}" for char, letter in zip('"\\\b\f\n\r\t', '"\\bfnrt', strict=True)
}


def _quoted(text: str) -> str:
    return '"' + _c_string(text).translate(_ESCAPES) + '"'
