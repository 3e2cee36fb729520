"""Decoders that are code upstream, and what they take out of a log. For JSON see `json_fields`.

Each gets the log and puts what it finds into the fields; where a log ends early, what was found before stays.
"""

import re
from collections.abc import Callable
from typing import Final

from hids.core.decode.fields import Fields
from hids.core.dialect import Dialect
from hids.core.pattern.pattern import Language, Match, Pattern

Plugin = Callable[[bytes, Fields, Dialect], None]


# ---- OpenBSD's packet filter -------------------------------------------------------------------------------

_PF_ACTIONS: Final = {b"p": b"pass", b"b": b"block"}
_PF_PROTOCOLS: Final = {b"u": b"UDP", b"i": b"ICMP"}
_DOTS: Final = 3
"""In an IPv4 address; a fourth one starts a port."""


def _pf(log: bytes, fields: Fields, _dialect: Dialect) -> None:
    """`rule 7/(match) pass in on em0: 1.2.3.4.1024 > 5.6.7.8.53: udp 56`."""
    static = fields.static
    rest = log.partition(b")")[2]
    action = _PF_ACTIONS.get(rest[1:2])
    if not rest.startswith(b" ") or action is None:
        return
    static["action"] = action
    found, rest = _behind(rest, b": ")
    source, space, rest = rest.partition(b" ")
    if not found or not space:
        return
    _put_address(static, "src", source)
    found, rest = _behind(rest, b"> ")
    destination, colon, rest = rest.partition(b":")
    if not found or not colon:
        return
    _put_address(static, "dst", destination)
    static["protocol"] = _PF_PROTOCOLS.get(rest.lstrip(b" ")[:1].lower(), b"TCP")


def _behind(text: bytes, mark: bytes) -> tuple[bool, bytes]:
    _, found, rest = text.partition(mark)
    return bool(found), rest


def _put_address(static: dict[str, bytes], end: str, text: bytes) -> None:
    parts = text.split(b".")
    static[f"{end}ip"] = b".".join(parts[: _DOTS + 1])
    if len(parts) > _DOTS + 1:
        static[f"{end}port"] = b".".join(parts[_DOTS + 1 :])


# ---- Symantec Web Security -------------------------------------------------------------------------------

_SYMANTEC_ITEMS: Final = {b"10=": "dstuser", b"11=": "srcip", b"60=": "url"}
_SYMANTEC_ID_BYTES: Final = 9


def _symantec(log: bytes, fields: Fields, _dialect: Dialect) -> None:
    """`date,2=1,10=joe,11=192.0.2.7,60=http://...`: numbered items; the first of each counts."""
    taken: dict[str, bytes] = {}
    at = log.find(b",") + 1
    while at > 0:
        following = log.find(b",", at) + 1
        name = _SYMANTEC_ITEMS.get(log[at : at + 3])
        if name is not None:
            taken.setdefault(name, log[at + 3 : following - 1 if following else len(log)])
        elif log.startswith((b"3=", b"2="), at):
            taken.setdefault("id", log[at : at + _SYMANTEC_ID_BYTES])
        at = following
    fields.static.update(taken)


# ---- SonicWall -------------------------------------------------------------------------------------------

_ADDRESS: Final = rb"\d+.\d+.\d+.\d+"
_SONIC_HEAD: Final = rb"pri=(\d) c=(\d+) m=(\d+) "
_SONIC_ENDS: Final = rb"src=(" + _ADDRESS + rb"):(\d+):\S+ dst=(" + _ADDRESS + rb"):(\d+):"
_SONIC_WEB: Final = rb"result=(\d+) dstname=(\S+) arg=(\S+)$"
_SONIC_PROTOCOL = re.compile(rb"proto=([A-Za-z0-9_@.-]{1,6})/")
_SONIC_ACTIONS: Final[dict[bytes, bytes]] = {
    **dict.fromkeys((b"98", b"597", b"598"), b"pass"),
    **dict.fromkeys((b"36", b"37", b"38", b"173", b"174"), b"drop"),
    b"537": b"close",
}
_SONIC_IDS: Final = b"32"
_SONIC_WEB_MESSAGE: Final = b"97"
_OS_REGEX: dict[Dialect, Language] = {"ossec": "os_regex", "wazuh": "osregex"}
_sonic: dict[Dialect, tuple[Pattern, Pattern, Pattern]] = {
    dialect: (Pattern(language, _SONIC_HEAD), Pattern(language, _SONIC_ENDS), Pattern(language, _SONIC_WEB))
    for dialect, language in _OS_REGEX.items()
}


def _sonicwall(log: bytes, fields: Fields, dialect: Dialect) -> None:
    """`... pri=1 c=32 m=82 ... src=1.2.3.4:5:X1 dst=5.6.7.8:9:X2 proto=tcp/http`; its numbers tell the type."""
    head, ends, web = _sonic[dialect]
    static = fields.static
    fields.type = "syslog"
    first = head.search(log)
    if first is None:
        return
    static["status"], category, static["id"] = _texts(first)
    message = static["id"]
    log = log[first.end :]
    addresses = ends.search(log)
    if addresses is None:
        return
    static |= dict(zip(("srcip", "srcport", "dstip", "dstport"), _texts(addresses), strict=True))
    if protocol := _SONIC_PROTOCOL.search(log):
        static["protocol"] = protocol.group(1)
    if category == _SONIC_IDS:
        fields.type = "ids"
    if message in _SONIC_ACTIONS:
        fields.type = "firewall"
        static["action"] = _SONIC_ACTIONS[message]
    elif message == _SONIC_WEB_MESSAGE:
        fields.type = "squid"
        if page := web.search(log):
            static["id"], name, argument = _texts(page)
            static["url"] = name + argument


def _texts(match: Match) -> tuple[bytes, ...]:
    return tuple(capture or b"" for capture in match.captures)


# ---- relayed alerts ----------------------------------------------------------------------------------------


def _ossec_alert(log: bytes, fields: Fields, _dialect: Dialect) -> None:
    """`Alert Level: 5; Rule: 5716 - text; Location: (web1) 10.0.0.1->/var/log/x; srcip: a; user: b; log`."""
    found, rest = _behind(log, b"Alert Level: ")
    number, _, rest = _behind(rest, b"; Rule: ")[1].partition(b" - ")
    located, rest = _behind(rest, b"; Location: ")
    if not found or not located or not number.isdigit() or len(number) > _RULE_DIGITS:
        return
    fields.relayed_rule = int(number)
    place, _, rest = rest.partition(b"; ")
    for mark, name in ((b"srcip: ", "srcip"), (b"user: ", "dstuser")):
        if rest.startswith(mark):
            fields.static[name], _, rest = rest[len(mark) :].partition(b"; ")
    fields.location, fields.text = place, rest


_RULE_DIGITS: Final = 9

PLUGINS: Final[dict[str, Plugin]] = {
    "PF_Decoder": _pf,
    "SymantecWS_Decoder": _symantec,
    "SonicWall_Decoder": _sonicwall,
    "OSSECAlert_Decoder": _ossec_alert,
}
"""By the names that decoders use."""
