"""Letter: alerts as a mail for people: subject, text and HTML. What an attacker wrote stands in it escaped.

A mail is about one alert, about several, or about what is new in one incident. Of very many it shows some and counts the rest.
"""

from collections.abc import Iterator, Sequence
from html import escape
from typing import Literal

import msgspec

from hids.core.alert.text import plain
from hids.core.alert.view import View

Format = Literal["default", "full", "sms"]

SUBJECT_CHARACTERS = 150
LOG_CHARACTERS = 4_000
"""Of each log; more is cut."""
SMS_CHARACTERS = 160
"""What one message of a phone holds."""
MORE_ROWS = 50
"""Rules that are named among those whose alerts are only counted."""


class More(msgspec.Struct, frozen=True):
    """Alerts of one rule that are counted and not shown."""

    rule: str
    level: int
    description: str
    count: int


class Letter(msgspec.Struct, frozen=True):
    """What a mail says."""

    subject: str
    text: str
    html: str = ""
    """Empty: there is only text."""


def letter(alerts: Sequence[View], more: Sequence[More], form: Format, prefix: str) -> Letter:
    """Write a mail.

    Args:
        alerts: those that it shows, at least one.
        more: those that it counts.
        form: "sms" is 160 characters without HTML; "full" shows also what came before the alert.
        prefix: how the subject begins.
    """
    top = max(alerts, key=lambda alert: alert.rule.level)
    count = len(alerts) + sum(row.count for row in more)
    level = max((top.rule.level, *(row.level for row in more)))
    subject = _subject(top, count, level, prefix)
    if form == "sms":
        return Letter(_cut(subject, 60), _cut(f"{_title(top)} {_one_line(top)}", SMS_CHARACTERS))
    counted = _counted(more, count)
    text = "\n\n".join((*counted, *("\n".join(_block(alert, form)) for alert in alerts)))
    return Letter(subject, f"{text}\n", _page(alerts, counted, form))


def _subject(top: View, count: int, level: int, prefix: str) -> str:
    host = plain(top.agent.name)
    what = plain(top.rule.description)
    about = f"level {level} on {host}: {what}" if count == 1 else f"{count} alerts, highest level {level}: {what}"
    if top.hids.incident is not None and count == 1:
        about = f"incident: {about}"
    return _cut(f"[{plain(prefix)}] {about}", SUBJECT_CHARACTERS)


def _title(alert: View) -> str:
    return f"level {alert.rule.level} rule {plain(alert.rule_id)} {plain(alert.agent.name)}:"


def _one_line(alert: View) -> str:
    fields = " ".join(f"{name}={plain(alert.field(name))}" for name in ("srcip", "dstuser") if alert.field(name))
    return f"{plain(alert.rule.description)} {fields}".strip()


def _counted(more: Sequence[More], count: int) -> list[str]:
    if not more:
        return []
    rows = sorted(more, key=lambda row: (-row.level, -row.count))
    lines = [f"{count} alerts in all; of these, not shown below:"]
    lines += [
        f"{row.count:>8} level {row.level:>2} rule {plain(row.rule)}: {plain(row.description)}"
        for row in rows[:MORE_ROWS]
    ]
    if others := sum(row.count for row in rows[MORE_ROWS:]):
        lines.append(f"{others:>8} of other rules")
    return ["\n".join(lines)]


def _facts(alert: View, form: Format) -> Iterator[tuple[str, str]]:
    yield "time", f"{alert.moment:%Y-%m-%d %H:%M:%S %z}"
    yield "agent", plain(f"{alert.agent.name} ({alert.agent.id}) {alert.agent.ip}")
    yield "location", plain(alert.location)
    yield "rule", f"{plain(alert.rule_id)}, level {alert.rule.level}, groups {plain(', '.join(alert.rule.groups))}"
    if (incident := alert.hids.incident) is not None:
        key = " ".join(f"{name}={value}" for name, value in incident.key.items())
        new = {"first": "it begins", "level": "its level rises", "agent": "another agent"}.get(incident.news, "goes on")
        yield "incident", plain(f"{incident.id}: {new}. {key}".strip())
    for name, value in alert.fields():
        if form == "full" or not name.startswith("syscheck.") or name in ("syscheck.path", "syscheck.event"):
            yield plain(name), plain(value[:LOG_CHARACTERS])
    yield "alert", plain(alert.id)


def _log(alert: View, form: Format) -> Iterator[str]:
    """Lines of the log, and in full also of what was before it."""
    texts = [alert.full_log] + ([alert.previous_log, alert.previous_output] if form == "full" else [])
    for text in filter(None, texts):
        cut = text[:LOG_CHARACTERS] + ("..." if len(text) > LOG_CHARACTERS else "")
        yield from map(plain, cut.split("\n"))


def _block(alert: View, form: Format) -> Iterator[str]:
    yield f"Level {alert.rule.level}: {plain(alert.rule.description)}"
    yield from (f"  {name}: {value}" for name, value in _facts(alert, form))
    yield from (f"    {line}" for line in _log(alert, form))


def _page(alerts: Sequence[View], counted: Sequence[str], form: Format) -> str:
    parts = ["<!DOCTYPE html><html><body style='font-family:sans-serif'>"]
    parts += [f"<pre>{escape(text)}</pre>" for text in counted]
    for alert in alerts:
        parts.append(f"<h3>Level {alert.rule.level}: {escape(plain(alert.rule.description))}</h3><table>")
        parts += [
            f"<tr><th align='left'>{escape(name)}</th><td>{escape(value)}</td></tr>"
            for name, value in _facts(alert, form)
        ]
        parts.append("</table>")
        if log := "\n".join(_log(alert, form)):
            parts.append(f"<pre>{escape(log)}</pre>")
    return "\n".join((*parts, "</body></html>\n"))


def _cut(text: str, room: int) -> str:
    return text if len(text) <= room else f"{text[: room - 3]}..."
