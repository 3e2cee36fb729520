"""The elements of a `<rule>` that test something, by dialect: what each asks, in which language, in which order."""

from collections.abc import Callable
from typing import Literal

from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Language, Pattern
from hids.core.rules.conditions import (
    Condition,
    FieldMatches,
    Hostname,
    Location,
    LogMatches,
    ProgramName,
)

Form = Literal["osmatch", "osregex", "pcre2", "exact"]
"""How a text in a rule is to be read; `exact` is no pattern."""

Maker = Callable[[Pattern, bool], Condition]
"""(pattern, negated) -> condition."""


def _of_field(*names: str) -> Maker:
    return lambda pattern, negated: FieldMatches(names, pattern, negated)


MAKERS: dict[str, Maker] = {
    "program_name": ProgramName,
    "id": _of_field("id"),
    "system_name": _of_field("system_name"),
    "protocol": _of_field("protocol"),
    "match": LogMatches,
    "regex": LogMatches,
    "action": _of_field("action"),
    "url": _of_field("url"),
    "location": Location,
    "srcport": _of_field("srcport"),
    "dstport": _of_field("dstport"),
    "user": _of_field("dstuser", "srcuser"),
    "srcgeoip": _of_field("srcgeoip"),
    "dstgeoip": _of_field("dstgeoip"),
    "data": _of_field("data"),
    "extra_data": _of_field("extra_data"),
    "hostname": Hostname,
    "status": _of_field("status"),
}
"""Elements that are a pattern on something."""

ORDER = (
    "category",
    "decoded_as",
    "program_name",
    "id",
    "system_name",
    "protocol",
    "match",
    "regex",
    "action",
    "url",
    "location",
    "field",
    "srcip",
    "dstip",
    "srcport",
    "dstport",
    "compiled_rule",
    "user",
    "srcgeoip",
    "dstgeoip",
    "maxsize",
    "time",
    "weekday",
    "data",
    "extra_data",
    "hostname",
    "status",
)
"""The language's order of conditions. `list` comes behind the questions about the past that are no windows."""

_NOT_OSSEC = frozenset(("system_name", "protocol", "location", "data"))
_NO_PCRE2_FORM = frozenset(("action", "regex"))
"""`regex` has one, which is called `pcre2`."""

_LANGUAGES: dict[tuple[Dialect, Form], Language] = {
    ("ossec", "osmatch"): "os_match",
    ("ossec", "osregex"): "os_regex",
    ("ossec", "pcre2"): "pcre2-caseless",
    ("wazuh", "osmatch"): "osmatch",
    ("wazuh", "osregex"): "osregex",
    ("wazuh", "pcre2"): "pcre2",
    ("hids", "pcre2"): "pcre2",
}


def form_of(element: str, dialect: Dialect) -> Form | None:
    """How an element's text is read unless `type` says otherwise; None for one that holds no pattern."""
    if dialect == "hids":
        return "pcre2" if element in MAKERS or element in ("field", "if_matched_regex", "check_value") else None
    if dialect == "ossec" and (element == "pcre2" or element.endswith("_pcre2")):
        name = plain_name(element)
        return "pcre2" if element == "pcre2" or (name in MAKERS and name not in _NOT_OSSEC | _NO_PCRE2_FORM) else None
    if element == "action":
        return "exact"
    if element in ("regex", "field", "if_matched_regex"):
        return "osregex"
    if element == "check_value":
        return "osmatch"
    known = element in MAKERS and not (dialect == "ossec" and element in _NOT_OSSEC)
    return "osmatch" if known else None


def plain_name(element: str) -> str:
    """`match` for `match_pcre2`, and so on."""
    return "regex" if element == "pcre2" else element.removesuffix("_pcre2")


def pcre2_form(element: str) -> str:
    """OSSEC's other element for the same test."""
    return "pcre2" if element == "regex" else element + "_pcre2"


def language(form: Form, dialect: Dialect) -> Language:
    """The pattern language of a form, as the dialect knows it."""
    return _LANGUAGES[dialect, form]
