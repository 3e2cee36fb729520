"""Active responses as the old protocol orders them. There is no answer: whether an order was carried out nobody says.

positional   #!-execd NAME USER IP TIME.ALERT RULE LOCATION FILE     OSSEC, and Wazuh before 4.2
JSON         #!-execd {"version":1,...}                              Wazuh from 4.2 on
"""

import ipaddress
import re
from typing import Any

import msgspec

from hids.core.wire.ossec.control import EXECD, KeepAlive
from hids.errors import ConfigError, RemoteProtocolError
from hids.messages.legacy import LegacyOrder
from hids.messages.terms import AgentId

MAX_OSSEC_BYTES = 1_024
"""Payload of an order to OSSEC."""
_JSON_SINCE = (4, 2, 0)
_ESCAPED_UNTIL = (4, 2, 5)
_MAX_WORDS = 32

_COMMAND = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}")
_WORD = re.compile(r"[^\s\x00-\x1f\x7f]{1,256}")


RESTART = "restart"
"""The command that restarts an agent, whatever its product calls it."""


def encode(order: LegacyOrder, agent: KeepAlive | None, *, manager: str) -> bytes:
    """The payload for an agent that introduced itself so.

    Args:
        order: what to run.
        agent: its last keep-alive; None when none came, then it is spoken to as OSSEC's.
        manager: this manager's name.

    Raises:
        ConfigError: a field that would be read as another one, or an order that is too long.
    """
    wazuh = agent is not None and agent.product == "wazuh"
    json = agent is not None and wazuh and agent.version >= _JSON_SINCE
    if not _COMMAND.fullmatch(order.command):
        raise ConfigError(f"active response {order.command!r}: expected a name of A-Z a-z 0-9 . _ -")
    if order.ip:
        try:
            ipaddress.ip_address(order.ip)
        except ValueError as error:
            raise ConfigError(f"active response {order.command}: {order.ip!r} is no address") from error
    if json and agent is not None:
        return EXECD + _json(order, manager, escape=agent.version < _ESCAPED_UNTIL)
    payload = EXECD + _positional(order, extra=wazuh)
    if len(payload) > MAX_OSSEC_BYTES:
        raise ConfigError(f"active response {order.command}: {len(payload)} bytes; OSSEC takes {MAX_OSSEC_BYTES}")
    return payload


def _positional(order: LegacyOrder, *, extra: bool) -> bytes:
    if order.command == RESTART:
        return b"restart-ossec0 - null (from_the_server) (no_rule_id)"
    by_hand = not order.alert
    words = [order.command, order.user or "-", order.ip or "-"]
    for what, word in (("user", order.user), *(("argument", word) for word in order.extra)):
        if word and not _WORD.fullmatch(word):
            raise ConfigError(f"active response {order.command}: the {what} {word!r} has blanks or control characters")
    if by_hand:
        words += ["(from_the_server)", "(no_rule_id)"]
    else:
        words += [order.alert, order.rule or "0", _quiet(order.location) or "-", _shell_safe(order.file) or "-"]
    if extra:
        words += order.extra or ("-",)
    return " ".join(words).encode("utf-8", "surrogateescape")


def _json(order: LegacyOrder, manager: str, *, escape: bool) -> bytes:
    command = "restart-wazuh0" if order.command == RESTART else order.command
    data = {key: value for key, value in (("srcip", order.ip), ("dstuser", order.user)) if value}
    told: Any = msgspec.Raw(order.alert_json) if order.alert_json != b"{}" else {"data": data}
    body = msgspec.json.encode(
        {
            "version": 1,
            "origin": {"name": manager, "module": "hids-manager"},
            "command": command,
            "parameters": {"extra_args": order.extra, "alert": told},
        }
    )
    if escape:
        for char in b"!$'`":
            body = body.replace(bytes((char,)), b"\\\\x%02x" % char)
    return body


def _quiet(text: str) -> str:
    """A location keeps its blanks, as upstream sends it, but no control characters."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _shell_safe(text: str) -> str:
    """A file name with a backslash before whatever a shell would read."""
    return re.sub(r"([^A-Za-z0-9_./@%+,:=-])", r"\\\1", _quiet(text))


def decode(rest: bytes) -> LegacyOrder:
    """Read a positional order (the agent's side). RULE and what follows cannot be trusted: a location has blanks.

    Raises:
        RemoteProtocolError: too few or too many words, or a command that is not a plain name.
    """
    words = rest.rstrip(b"\0").decode("utf-8", "surrogateescape").split(" ", _MAX_WORDS)
    if not 3 <= len(words) <= _MAX_WORDS or not _COMMAND.fullmatch(words[0]):  # noqa: PLR2004 - NAME USER IP
        raise RemoteProtocolError(f"expected NAME USER IP ..., got {rest[:80]!r}")
    command, user, ip, *others = words
    ip = "" if ip in ("-", "null") else ip
    if ip:
        try:
            ipaddress.ip_address(ip)
        except ValueError as error:
            raise RemoteProtocolError(f"{command}: expected an address, got {ip[:60]!r}") from error
    alert, rule, *_ = (*others, "", "")
    by_hand = alert.startswith("(")
    behind = others[2:]
    file = behind[-1] if len(behind) > 1 else ""
    return LegacyOrder(
        agent=AgentId(""),
        command=command,
        user="" if user == "-" else user,
        ip=ip,
        alert="" if by_hand else alert,
        rule="" if by_hand else rule,
        location=" ".join(behind[:-1]),
        file="" if file in ("-", "(null)") else file,
    )
