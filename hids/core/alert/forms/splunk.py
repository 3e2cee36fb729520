r"""Splunk's key=value pairs, with the names that OSSEC's users have searches for.

    ossec: crit=5 id=5710 description="Text" component="(web1) 192.0.2.1->/var/log/auth.log" classification="a,b" src_ip="192.0.2.7" message="..."

`\` and `"` within a value are escaped by a backslash, so no value can begin another pair.
"""

from collections.abc import Iterator

from hids.core.alert.text import plain
from hids.core.alert.view import View

_FIELDS = (
    ("src_ip", "srcip"),
    ("src_port", "srcport"),
    ("dst_ip", "dstip"),
    ("dst_port", "dstport"),
    ("src_user", "srcuser"),
    ("user", "dstuser"),
    ("url", "url"),
)


def splunk(alert: View) -> str:
    """Write an alert as one line."""
    pairs = " ".join(f'{key}="{_value(value)}"' for key, value in _pairs(alert))
    return f"ossec: crit={alert.rule.level} id={plain(alert.rule_id)} {pairs}"


def _pairs(alert: View) -> Iterator[tuple[str, str]]:
    yield "alert_id", alert.id
    yield "description", alert.rule.description
    yield "component", alert.origin
    yield "classification", ",".join(alert.rule.groups)
    if alert.hids.incident is not None:
        yield "incident", alert.hids.incident.id
    for key, name in _FIELDS:
        if value := alert.field(name):
            yield key, value
    if path := alert.syscheck.get("path"):
        yield "file", str(path)
    yield "message", alert.full_log


def _value(text: str) -> str:
    return plain(text).replace("\\", "\\\\").replace('"', '\\"')
