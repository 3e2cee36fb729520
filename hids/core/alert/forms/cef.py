r"""ArcSight's Common Event Format, version 0 (its "Implementation Standard", chapter 1 and 2).

    CEF:0|hids|hids|0.1.0|5710|Text|5|rt=1764000000000 externalId=007-1-5 cat=sshd src=192.0.2.7 msg=...

In the header `\` and `|` are escaped, in values `\`, `=` and newlines. `src` and `dst` hold IPv4 addresses only: IPv6
stands in `c6a2` and `c6a3`, and whatever else was decoded as an address in `shost` and `dhost`.
"""

from collections.abc import Iterator

import hids
from hids.core.alert.text import plain
from hids.core.alert.view import View, kind_of

_TOP = 10
"""CEF's highest severity; higher levels are shown as this."""

_FIELDS = (
    ("spt", "srcport"),
    ("dpt", "dstport"),
    ("suser", "srcuser"),
    ("duser", "dstuser"),
    ("proto", "protocol"),
    ("act", "action"),
    ("outcome", "status"),
    ("request", "url"),
    ("fname", "filename"),
)
_ADDRESSES = (
    ("srcip", {"v4": "src", "v6": "c6a2", "name": "shost"}, "c6a2Label=Source IPv6 Address"),
    ("dstip", {"v4": "dst", "v6": "c6a3", "name": "dhost"}, "c6a3Label=Destination IPv6 Address"),
)


def cef(alert: View) -> str:
    """Write an alert as one line."""
    rule = alert.rule
    head = ("CEF:0", "hids", "hids", hids.__version__, alert.rule_id, rule.description, str(min(rule.level, _TOP)))
    return "|".join((head[0], *map(_header, head[1:]), " ".join(_extension(alert))))


def _extension(alert: View) -> Iterator[str]:
    yield f"rt={alert.hids.at_ms or int(alert.moment.timestamp() * 1000)}"
    yield f"externalId={_value(alert.id)}"
    if alert.rule.groups:
        yield f"cat={_value(','.join(alert.rule.groups))}"
    yield f"dvchost={_value(alert.agent.name)}"
    yield f"cs1Label=Location cs1={_value(alert.origin)}"
    if alert.hids.incident is not None:
        yield f"cs2Label=Incident cs2={_value(alert.hids.incident.id)}"
    for name, keys, label in _ADDRESSES:
        address = alert.field(name)
        if kind := kind_of(address):
            yield f"{label if kind == 'v6' else ''} {keys[kind]}={_value(address)}".strip()
    for key, name in _FIELDS:
        if value := alert.field(name) or (alert.syscheck.get("path", "") if key == "fname" else ""):
            yield f"{key}={_value(str(value))}"
    if alert.full_log:
        yield f"msg={_value(alert.full_log)}"


def _header(text: str) -> str:
    return plain(text).replace("\\", "\\\\").replace("|", "\\|")


def _value(text: str) -> str:
    return "\\n".join(plain(line).replace("\\", "\\\\").replace("=", "\\=") for line in text.split("\n"))
