"""A report as one HTML page with pictures: no scripts, nothing from elsewhere, everything that came from outside escaped.

Readers of mail show neither SVG nor what is not in the mail: for them the chart is a picture that comes along, and the bars
are boxes.
"""

import datetime
from collections.abc import Iterator
from html import escape

from hids.core.alert.text import plain
from hids.core.bar_chart import bar_chart
from hids.core.report import HOUR_MS, Report, Section, moment

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;color:#1c2733;background:#fff;max-width:60rem;margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:.2rem}h2{font-size:1.05rem;margin:2rem 0 .4rem}
.facts{display:flex;flex-wrap:wrap;gap:1.5rem;margin:1rem 0}.facts b{display:block;font-size:1.4rem}
table{border-collapse:collapse;width:100%}td{padding:.2rem .5rem;border-bottom:1px solid #e6eaee;vertical-align:top}
td.n{text-align:right;white-space:nowrap}td.v{overflow-wrap:anywhere}td.b{width:11rem}.dim{color:#6b7884}
"""
_COLOURS = ((12, "#b3261e"), (7, "#d9822b"), (0, "#3b7dd8"))
"""From this level on, as `hidsctl alerts` shows them."""

_WIDTH, _HEIGHT, _BAR = 900, 120, 170


def as_html(report: Report, tz: datetime.tzinfo | None = None, *, chart: str = "") -> str:
    """The whole page. `chart` is the URL of a picture, as `timeline_png` draws it; empty: the page draws it itself."""
    return "".join(_page(report, tz, chart))


def timeline_png(report: Report) -> bytes:
    """The picture of alerts by hours or days."""
    return bar_chart([count for _, count in report.timeline], _WIDTH, _HEIGHT)


def _page(report: Report, tz: datetime.tzinfo | None, chart: str) -> Iterator[str]:
    title = _shown(report.title)
    yield '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"/>'
    yield "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\"/>"
    yield f'<meta name="viewport" content="width=device-width"/><title>{title}</title><style>{_STYLE}</style></head><body>'
    yield f'<h1>{title}</h1><p class="dim">{moment(report.since_ms, tz)} to {moment(report.until_ms, tz)}</p>'
    yield '<div class="facts">'
    for name, value in (
        ("alerts", report.alerts),
        ("highest level", report.highest),
        ("alerts before filters", report.read),
    ):
        yield f"<span><b>{value}</b>{name}</span>"
    yield "</div>"
    yield _timeline(report, tz, chart)
    for section in report.sections:
        if section.rows:
            yield from _section(section)
    if report.logs:
        yield "<h2>Logs</h2><table>"
        for log in report.logs:
            yield f'<tr><td class="n">{moment(log.at_ms, tz)}</td><td class="n">{log.level}</td><td class="n">{_shown(log.rule)}</td>'
            yield f'<td class="v">{_shown(log.agent)} {_shown(log.location)}<br/><span class="dim">{_shown(log.text)}</span></td></tr>'
        yield "</table>"
    yield f'<p class="dim">Made by hids at {moment(report.made_ms, tz)}.</p></body></html>\n'


def _timeline(report: Report, tz: datetime.tzinfo | None, chart: str) -> str:
    """Alerts by hours or days."""
    if not report.timeline:
        return ""
    highest = max(1, *(count for _, count in report.timeline))
    step = "hour" if report.step_ms == HOUR_MS else "day"
    title = f"<h2>Alerts each {step}, at most {highest}</h2>"
    if chart:
        return f'{title}<img src="{escape(chart)}" width="{_WIDTH}" height="{_HEIGHT}" alt="alerts each {step}" style="max-width:100%"/>'
    wide = _WIDTH / len(report.timeline)
    bars = "".join(
        f'<rect x="{place * wide:.1f}" y="{_HEIGHT - _HEIGHT * count / highest:.1f}" width="{max(1.0, wide - 1):.1f}" '
        f'height="{_HEIGHT * count / highest:.1f}" fill="#3b7dd8"><title>{moment(at_ms, tz)}: {count}</title></rect>'
        for place, (at_ms, count) in enumerate(report.timeline)
        if count
    )
    return (
        f'{title}<svg viewBox="0 0 {_WIDTH} {_HEIGHT + 2}" width="100%" role="img" aria-label="alerts each {step}">{bars}'
        f'<line x1="0" y1="{_HEIGHT + 1}" x2="{_WIDTH}" y2="{_HEIGHT + 1}" stroke="#9aa5b1"/></svg>'
    )


def _section(section: Section) -> Iterator[str]:
    more = f' <span class="dim">of {section.different}</span>' if section.different > len(section.rows) else ""
    yield f"<h2>{_shown(section.title)}{more}</h2><table>"
    most = max(row.count for row in section.rows)
    for row in section.rows:
        colour = next(colour for level, colour in _COLOURS if row.level >= level)
        bar = f'<div style="width:{max(1, round(_BAR * row.count / most))}px;height:12px;background:{colour}"></div>'
        related = "".join(f'<br/><span class="dim">{_shown(value)}: {count}</span>' for value, count in row.related)
        yield f'<tr><td class="v">{_shown(row.value)}{related}</td><td class="n">{row.count}</td>'
        yield f'<td class="b">{bar}</td></tr>'
    yield "</table>"


def _shown(text: str) -> str:
    return escape(plain(text))
