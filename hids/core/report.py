"""Reports: what alerts of some time add up to, as OSSEC's reportd does, and as people read it.

Counts are exact up to `MAX_VALUES` different values of a key; an attacker who invents more only makes "others" larger.
"""

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import Any, Literal, cast, get_args

import msgspec

from hids.core.alert.text import flat, plain

Key = Literal["group", "rule", "level", "location", "user", "srcip", "filename", "agent", "compliance"]
KEYS: tuple[Key, ...] = get_args(Key)
DEFAULT_BY: tuple[Key, ...] = ("level", "rule", "group", "agent", "srcip", "user", "location", "filename")

TOP = 20
"""Rows of a section."""
MAX_VALUES = 100_000
MAX_LOGS = 1_000
HOURLY_MS = 3 * 86_400_000
"""A time as long as this is shown by hours, a longer one by days."""

HOUR_MS, DAY_MS = 3_600_000, 86_400_000
OTHERS = "(others)"
_RELATED = 10
_STANDARDS = ("pci_dss", "gdpr", "gpg13", "hipaa", "nist_800_53", "tsc", "mitre")
_TITLES = {
    "group": "Group",
    "rule": "Rule",
    "level": "Level",
    "location": "Location",
    "user": "Username",
    "srcip": "Source ip",
    "filename": "Filenames",
    "agent": "Agent",
    "compliance": "Compliance requirement",
}
"""OSSEC's, and two of ours."""


class Question(msgspec.Struct, frozen=True):
    """What a report is about."""

    title: str
    since_ms: int
    until_ms: int
    """Event time; this end is not included."""
    by: tuple[Key, ...] = DEFAULT_BY
    filters: tuple[tuple[Key, str], ...] = ()
    """All must hold. `level`: at least. Others: the value, where * stands for anything; several of one key: any of them."""
    related: tuple[tuple[Key, Key], ...] = ()
    """For each value of the first, the values of the second that came with it."""
    logs: bool = False
    """Show the alerts' lines, too."""
    top: int = TOP


class Row(msgspec.Struct):
    """One value of a key."""

    value: str
    count: int
    level: int
    """The highest of its alerts."""
    related: list[tuple[str, int]] = []


class Section(msgspec.Struct):
    """The values of one key, the most frequent first."""

    by: Key
    title: str
    different: int
    rows: list[Row]
    related: str = ""
    """Which key's values stand at the rows; empty: none do."""


class Log(msgspec.Struct):
    """One alert."""

    at_ms: int
    level: int
    rule: str
    agent: str
    location: str
    text: str


class Report(msgspec.Struct):
    """The answer."""

    title: str
    since_ms: int
    until_ms: int
    made_ms: int
    read: int
    """Alerts of that time."""
    alerts: int
    """Of them those that the filters let through."""
    first_ms: int
    last_ms: int
    highest: int
    step_ms: int
    timeline: list[tuple[int, int]]
    """(begin, alerts) of each hour or day."""
    sections: list[Section]
    logs: list[Log]


_decode = msgspec.json.Decoder(dict[str, Any]).decode


def compose(question: Question, lines: Iterable[bytes], now_ms: int) -> Report:
    """Make a report of alerts, JSON lines; what is none is passed over."""
    work = _Work(question)
    for line in lines:
        try:
            work.add(_decode(line))
        except (msgspec.MsgspecError, KeyError, TypeError, ValueError, AttributeError, RecursionError):
            continue
    return work.report(now_ms)


def values_of(alert: Mapping[str, Any], key: Key) -> list[str]:
    """What an alert has of a key."""
    return [value for value in _READERS[key](alert) if value]


def _object(inside: Mapping[str, Any], name: str) -> dict[str, Any]:
    value: object = inside.get(name)
    return cast("dict[str, Any]", value) if isinstance(value, dict) else {}


def _users(alert: Mapping[str, Any]) -> list[str]:
    data = _object(alert, "data")
    return list(dict.fromkeys(str(data[name]) for name in ("dstuser", "srcuser") if data.get(name)))


def _compliance(alert: Mapping[str, Any]) -> list[str]:
    found: list[str] = []
    for name in _STANDARDS:
        told: Any = alert["rule"].get(name)
        if isinstance(told, dict):
            told = _object(alert["rule"], name).get("id")
        found += [f"{name} {one}" for one in told or ()]
    return found


def _files(alert: Mapping[str, Any]) -> list[str]:
    told = _object(alert, "syscheck").get("path")
    return (
        [str(told)]
        if told
        else [str(value) for name, value in flat(_object(alert, "data")) if name in ("file", "filename")]
    )


_READERS: dict[Key, Callable[[Mapping[str, Any]], list[str]]] = {
    "group": lambda alert: list(map(str, alert["rule"].get("groups") or ())),
    "rule": lambda alert: [f"{alert['rule']['id']} - {alert['rule'].get('description', '')}"],
    "level": lambda alert: [str(alert["rule"]["level"])],
    "location": lambda alert: [str(alert.get("location", ""))],
    "user": _users,
    "srcip": lambda alert: [str(_object(alert, "data").get("srcip") or "")],
    "filename": _files,
    "agent": lambda alert: [str(alert["agent"].get("name") or alert["agent"]["id"])],
    "compliance": _compliance,
}


def passes(alert: Mapping[str, Any], filters: Iterable[tuple[Key, str]]) -> bool:
    """Whether an alert fulfils all filters."""
    wanted: dict[Key, list[str]] = defaultdict(list)
    for key, value in filters:
        wanted[key].append(value)
    return all(_passes(alert, key, values) for key, values in wanted.items())


def _passes(alert: Mapping[str, Any], key: Key, values: list[str]) -> bool:
    if key == "level":
        return all(int(alert["rule"]["level"]) >= int(value) for value in values)
    if key == "rule":
        return str(alert["rule"]["id"]) in values
    if key == "agent" and str(alert["agent"]["id"]) in values:
        return True
    return any(fnmatchcase(own, value) for own in values_of(alert, key) for value in values)


class _Work:
    """Adds up."""

    def __init__(self, question: Question) -> None:
        self._question = question
        self._read = self._alerts = self._highest = self._last_ms = 0
        self._first_ms = 2**62
        span = question.until_ms - question.since_ms
        self._step_ms = HOUR_MS if span <= HOURLY_MS else DAY_MS
        self._timeline: Counter[int] = Counter()
        self._counts: dict[Key, Counter[str]] = {key: Counter() for key in question.by}
        self._levels: dict[Key, dict[str, int]] = {key: {} for key in question.by}
        self._related: dict[tuple[Key, Key], dict[str, Counter[str]]] = {pair: {} for pair in question.related}
        self._logs: list[Log] = []

    def add(self, alert: dict[str, Any]) -> None:
        question = self._question
        at_ms = int(datetime.datetime.fromisoformat(alert["timestamp"]).timestamp() * 1000)
        if not question.since_ms <= at_ms < question.until_ms:
            return
        self._read += 1
        if not passes(alert, question.filters):
            return
        level = int(alert["rule"]["level"])
        self._alerts += 1
        self._highest = max(self._highest, level)
        self._first_ms, self._last_ms = min(self._first_ms, at_ms), max(self._last_ms, at_ms)
        self._timeline[(at_ms - question.since_ms) // self._step_ms] += 1
        for key in question.by:
            for value in values_of(alert, key):
                self._count(key, value, level)
        for pair, groups in self._related.items():
            for value in values_of(alert, pair[0]):
                if value in groups or len(groups) < MAX_VALUES // 10:
                    _bounded(groups.setdefault(value, Counter()), values_of(alert, pair[1]), MAX_VALUES // 100)
        if question.logs and len(self._logs) < MAX_LOGS:
            self._logs.append(_log(alert, at_ms, level))

    def _count(self, key: Key, value: str, level: int) -> None:
        counts, levels = self._counts[key], self._levels[key]
        if value not in counts and len(counts) >= MAX_VALUES:
            value = OTHERS
        counts[value] += 1
        levels[value] = max(levels.get(value, 0), level)

    def report(self, now_ms: int) -> Report:
        question = self._question
        steps = -(-(question.until_ms - question.since_ms) // self._step_ms)
        return Report(
            question.title,
            question.since_ms,
            question.until_ms,
            now_ms,
            self._read,
            self._alerts,
            self._first_ms if self._alerts else 0,
            self._last_ms,
            self._highest,
            self._step_ms,
            [(question.since_ms + step * self._step_ms, self._timeline[step]) for step in range(min(steps, 5_000))],
            list(self._sections()),
            self._logs,
        )

    def _sections(self) -> Iterator[Section]:
        top = self._question.top
        for key in self._question.by:
            counts, levels = self._counts[key], self._levels[key]
            rows = [Row(value, count, levels[value]) for value, count in _most(counts, top)]
            if key == "level":
                rows.sort(key=lambda row: -row.level)
            yield Section(key, _TITLES[key], len(counts), rows)
        for (key, other), groups in self._related.items():
            totals = Counter({value: others.total() for value, others in groups.items()})
            rows = [Row(value, count, 0, _most(groups[value], _RELATED)) for value, count in _most(totals, top)]
            yield Section(key, f"{_TITLES[key]} with {_TITLES[other].lower()}", len(groups), rows, other)


def _most(counts: Counter[str], top: int) -> list[tuple[str, int]]:
    """The most frequent; equal ones in the order of the alphabet, so that a report is the same each time."""
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:top]


def _bounded(counts: Counter[str], values: Iterable[str], limit: int) -> None:
    for value in values:
        counts[value if value in counts or len(counts) < limit else OTHERS] += 1


def _log(alert: Mapping[str, Any], at_ms: int, level: int) -> Log:
    rule = alert["rule"]
    text = str(alert.get("full_log") or rule.get("description", ""))
    return Log(at_ms, level, str(rule["id"]), str(alert["agent"].get("name", "")), str(alert.get("location", "")), text)


# ---- as text ------------------------------------------------------------------------------------------------------

_RULE = "------------------------------------------------"


def as_text(report: Report, tz: datetime.tzinfo | None = None) -> str:
    """A report in OSSEC's form. What an attacker wrote is escaped."""
    lines = [
        f"Report '{plain(report.title)}' completed.",
        _RULE,
        f"->Time: {moment(report.since_ms, tz)} to {moment(report.until_ms, tz)}",
        f"->Processed alerts: {report.read}",
        f"->Post-filtering alerts: {report.alerts}",
    ]
    if report.alerts:
        lines += [
            f"->First alert: {moment(report.first_ms, tz)}",
            f"->Last alert: {moment(report.last_ms, tz)}",
            f"->Highest level: {report.highest}",
        ]
    for section in report.sections:
        if not section.rows:
            continue
        more = f" ({section.different} different)" if section.different > len(section.rows) else ""
        lines += ["", "", f"Top entries for '{section.title}'{more}:", _RULE]
        for row in section.rows:
            lines.append(f"{plain(row.value):<60} |{row.count:<8} |")
            lines += [f"    {plain(value):<56} |{count:<8} |" for value, count in row.related]
    if report.logs:
        lines += ["", "", "Log dump:", _RULE]
        lines += [
            f"{moment(log.at_ms, tz)} level {log.level} rule {plain(log.rule)} {plain(log.agent)}->{plain(log.location)}\n"
            f"    {plain(log.text)}"
            for log in report.logs
        ]
    return "\n".join(lines) + "\n"


def moment(at_ms: int, tz: datetime.tzinfo | None = None) -> str:
    """A time as people read it, in `tz`; None is the zone of this process."""
    return f"{datetime.datetime.fromtimestamp(at_ms / 1000, datetime.UTC).astimezone(tz):%Y-%m-%d %H:%M:%S}"
