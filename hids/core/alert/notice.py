"""Notice: alerts as a short message for a chat or a phone. Nothing in it is a link, a mention or markup of the service."""

import re
from collections.abc import Sequence

import msgspec

from hids.core.alert.text import plain
from hids.core.alert.view import View

SHOWN = 10
"""Alerts that a message lists."""
LINE_CHARACTERS = 200

_ACTIVE = re.compile(r"://|\]\(|[@<>`]")
_HARMLESS = {"://": "[:]//", "](": "] (", "@": "@\u200b", "<": "\u2039", ">": "\u203a", "`": "'"}
"""Links, the mentions of whole channels, tags and quotes of code: what services act on, whichever it is."""


class Notice(msgspec.Struct, frozen=True):
    """A message."""

    title: str
    body: str


def notice(alerts: Sequence[View], prefix: str) -> Notice:
    """Write a message about at least one alert, the highest levels first."""
    ranked = sorted(alerts, key=lambda alert: -alert.rule.level)
    top = ranked[0]
    title = f"level {top.rule.level} on {_safe(top.agent.name)}"
    if len(alerts) > 1:
        title = f"{len(alerts)} alerts, highest level {top.rule.level}"
    lines = [_line(alert) for alert in ranked[:SHOWN]]
    if len(ranked) > SHOWN:
        lines.append(f"and {len(ranked) - SHOWN} more")
    return Notice(f"{prefix}: {title}", "\n".join(lines))


def _line(alert: View) -> str:
    parts = [
        f"{alert.moment:%H:%M:%S} level {alert.rule.level}",
        _safe(alert.agent.name),
        _safe(alert.rule.description),
    ]
    parts += [f"{name}={_safe(alert.field(name))}" for name in ("srcip", "dstuser") if alert.field(name)]
    if path := alert.syscheck.get("path"):
        parts.append(_safe(str(path)))
    parts.append(f"({_safe(alert.id)})")
    return " ".join(parts)


def _safe(text: str) -> str:
    shown = plain(text)
    shown = shown if len(shown) <= LINE_CHARACTERS else f"{shown[: LINE_CHARACTERS - 3]}..."
    return _ACTIVE.sub(lambda match: _HARMLESS[match[0]], shown)
