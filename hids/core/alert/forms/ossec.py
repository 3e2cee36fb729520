r"""OSSEC's own form of an alert in syslog, that its users' parsers know.

    ossec: Alert Level: 5; Rule: 5710 - Text; Location: (web1) 192.0.2.1->/var/log/auth.log; classification: a,b,; srcip: 192.0.2.7; user: joe; the log

A semicolon within a value is written `\x3b`, so no value can begin another one. The log stands last, as it is.
"""

from collections.abc import Iterator

from hids.core.alert.text import plain
from hids.core.alert.view import View

_FIELDS = (
    ("srcip", "srcip"),
    ("dstip", "dstip"),
    ("srcport", "srcport"),
    ("dstport", "dstport"),
    ("user", "dstuser"),
    ("srcuser", "srcuser"),
)


def ossec(alert: View) -> str:
    """Write an alert as one line."""
    return f"ossec: {'; '.join(_parts(alert))}"


def _parts(alert: View) -> Iterator[str]:
    yield f"Alert Level: {alert.rule.level}"
    yield f"Rule: {_value(alert.rule_id)} - {_value(alert.rule.description)}"
    yield f"Location: {_value(alert.origin)}"
    if alert.rule.groups:
        yield f"classification: {''.join(f'{_value(group)},' for group in alert.rule.groups)}"
    for label, name in _FIELDS:
        if value := alert.field(name):
            yield f"{label}: {_value(value)}"
    yield plain(alert.full_log)


def _value(text: str) -> str:
    return plain(text).replace(";", "\\x3b")
