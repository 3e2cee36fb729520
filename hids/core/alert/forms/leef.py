r"""IBM QRadar's Log Event Extended Format, version 2.0, with a tab between the attributes.

    LEEF:2.0|hids|hids|0.1.0|5710|x09|devTime=1764000000000<tab>sev=5<tab>cat=sshd<tab>src=192.0.2.7<tab>...

LEEF has no escapes, so a tab or newline in a value is written `\x09`, `\x0a`. `src` and `dst` hold addresses only.
"""

from collections.abc import Iterator

import hids
from hids.core.alert.text import plain
from hids.core.alert.view import View, kind_of

_FIELDS = (
    ("srcPort", "srcport"),
    ("dstPort", "dstport"),
    ("usrName", "dstuser"),
    ("srcUser", "srcuser"),
    ("proto", "protocol"),
    ("action", "action"),
    ("url", "url"),
    ("fileName", "filename"),
)


def leef(alert: View) -> str:
    """Write an alert as one line."""
    head = f"LEEF:2.0|hids|hids|{hids.__version__}|{_value(alert.rule_id).replace('|', '/')}|x09|"
    return head + "\t".join(f"{key}={_value(value)}" for key, value in _attributes(alert))


def _attributes(alert: View) -> Iterator[tuple[str, str]]:
    yield "devTime", str(alert.hids.at_ms or int(alert.moment.timestamp() * 1000))
    yield "sev", str(min(max(alert.rule.level, 1), 10))  # QRadar's scale begins at 1
    yield "cat", ",".join(alert.rule.groups)
    yield "name", alert.rule.description
    yield "level", str(alert.rule.level)
    yield "alertId", alert.id
    yield "identHostName", alert.agent.name
    yield "location", alert.origin
    if alert.hids.incident is not None:
        yield "incident", alert.hids.incident.id
    for key, name in (("src", "srcip"), ("dst", "dstip")):
        address = alert.field(name)
        if kind := kind_of(address):
            yield f"{key}HostName" if kind == "name" else key, address
    for key, name in _FIELDS:
        if value := alert.field(name):
            yield key, value
    if path := alert.syscheck.get("path"):
        yield "fileName", str(path)
    if alert.full_log:
        yield "msg", alert.full_log


def _value(text: str) -> str:
    return plain(text).replace("\t", "\\x09")
