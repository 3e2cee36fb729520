"""Reports of policies: HTML for people, CSV and JSON for programs.

All that hosts and policies say is text from outside: in HTML it is escaped, and there is no script; in CSV a cell cannot
become a formula.
"""

import csv
import html
import io
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import TypeVar

import msgspec

from hids.adapters.policies import PolicyRow, ResultRow, ScoreRow
from hids.core.alert.text import plain

Row = TypeVar("Row", ResultRow, ScoreRow)

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What makes a spreadsheet calculate (OWASP, CSV injection)."""
_COLUMNS = ("agent", "agent_name", "policy", "id", "result", "previous", "since", "title", "reason", "compliance", "remediation")  # fmt: skip
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2em auto;max-width:75em;padding:0 1em;color:#1c1c1c}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.3em .6em;border-bottom:1px solid #ddd}
.passed{color:#17692b}.failed{color:#a01414;font-weight:600}.na{color:#6b6b6b}.n{text-align:right}small{color:#555}
"""


class ReportData(msgspec.Struct, frozen=True):
    """What a report is about."""

    policies: Sequence[PolicyRow]
    results: Sequence[ResultRow]
    history: Sequence[ScoreRow]


def as_json(data: ReportData) -> str:
    """All of it."""
    return msgspec.json.encode(data).decode()


def as_csv(data: ReportData) -> str:
    """One line a check and host."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(_COLUMNS)
    for row in data.results:
        writer.writerow(
            _cell(value)
            for value in (
                *(row.agent, row.agent_name, row.policy, row.id, row.result, row.previous, when(row.since_ms)),
                *(row.text.title, row.reason, compliance_of(row), row.text.remediation),
            )
        )
    return out.getvalue()


def as_html(data: ReportData, made_ms: int) -> str:
    """One page that needs nothing else."""
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">",
        f"<title>Policies</title><style>{_STYLE}</style><h1>Policies</h1><p>Made {_escaped(when(made_ms))}</p>",
        _overview(data),
    ]
    results, history = _by_policy(data.results), _by_policy(data.history)
    for policy in data.policies:
        where = (policy.agent, policy.policy)
        parts.append(_section(policy, results[where], history[where]))
    return "\n".join((*parts, "</html>\n"))


def compliance_of(row: ResultRow) -> str:
    """`pci_dss 2.2,10.1; cis 1.1`."""
    return "; ".join(f"{name} {requirements}" for name, requirements in row.text.compliance.items())


def when(at_ms: int) -> str:
    """Local time."""
    return f"{datetime.fromtimestamp(at_ms / 1000).astimezone():%Y-%m-%d %H:%M:%S}"


def _overview(data: ReportData) -> str:
    lines = [
        _row("td", ("agent", "policy", "score", "passed", "failed", "not applicable", "last scan")).replace("td", "th")
    ]
    for policy in data.policies:
        cells = (
            *(f"{policy.agent_name} ({policy.agent})", policy.name, f"{policy.score} %"),
            *(policy.passed, policy.failed, policy.invalid, when(policy.scanned_ms)),
        )
        lines.append(_row("td", cells))
    return f"<table>{''.join(lines)}</table>"


def _by_policy(rows: Sequence[Row]) -> dict[tuple[str, str], list[Row]]:
    found: dict[tuple[str, str], list[Row]] = defaultdict(list)
    for row in rows:
        found[row.agent, row.policy].append(row)
    return found


def _section(policy: PolicyRow, results: Sequence[ResultRow], past: Sequence[ScoreRow]) -> str:
    scores = " &rarr; ".join(f"{row.score} % <small>{_escaped(when(row.at_ms))}</small>" for row in past[-10:])
    lines = "".join(map(_check, sorted(results, key=lambda row: (_ORDER.get(row.result, 3), row.id))))
    origin = f"<p><small>From {_escaped(policy.origin)}</small></p>" if policy.origin else ""
    return (
        f"<h2>{_escaped(policy.agent_name)}: {_escaped(policy.name)}</h2><p>{_escaped(policy.description)}</p>{origin}"
        f"<p>Score {policy.score} %. {scores}</p><table><tr><th>id<th>check<th>result<th>since</tr>{lines}</table>"
    )


_ORDER = {"failed": 0, "not applicable": 1, "passed": 2}
_CLASSES = {"failed": "failed", "passed": "passed"}


def _check(row: ResultRow) -> str:
    more = [row.text.rationale] if row.result == "failed" else []
    more += [f"To do: {row.text.remediation}"] if row.result == "failed" and row.text.remediation else []
    more += [f"Why: {row.reason}"] if row.reason else []
    more += [compliance_of(row)] if row.text.compliance else []
    notes = "".join(f"<br><small>{_escaped(note)}</small>" for note in more if note)
    before = f"<br><small>was {_escaped(row.previous)}</small>" if row.previous else ""
    return (
        f'<tr><td>{row.id}<td>{_escaped(row.text.title)}{notes}<td class="{_CLASSES.get(row.result, "na")}">'
        f"{_escaped(row.result)}{before}<td>{_escaped(when(row.since_ms))}</tr>"
    )


def _row(tag: str, cells: Sequence[object]) -> str:
    return "<tr>" + "".join(f"<{tag}>{_escaped(str(cell))}</{tag}>" for cell in cells) + "</tr>"


def _escaped(text: str) -> str:
    return html.escape(plain(text))


def _cell(value: object) -> str:
    text = plain(str(value))
    return "'" + text if text.startswith(_FORMULA) else text
