"""Reports: counts that are right, filters as OSSEC's users know them, and nothing of an attacker that acts on a reader."""

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hids.core import report as reports
from hids.core.report import KEYS, Question, Report, as_text, compose, passes, values_of
from hids.core.report_html import as_html
from hids.core.report_schedule import Scheduled, file_name, last_period, midnight_ms, question_of

AT_MS = 1_795_490_503_123
"""The time in `make_alert`."""
DAY_MS = 86_400_000
ALL = Question("All", AT_MS - DAY_MS, AT_MS + DAY_MS)

Alert = Callable[..., dict[str, Any]]


def lines(*alerts: dict[str, Any]) -> list[bytes]:
    return [json.dumps(alert).encode() for alert in alerts]


def made(question: Question, *alerts: dict[str, Any]) -> Report:
    return compose(question, lines(*alerts), AT_MS)


def counts(report: Report, by: str) -> list[tuple[str, int]]:
    section = next(section for section in report.sections if section.by == by)
    return [(row.value, row.count) for row in section.rows]


@pytest.fixture
def some(make_alert: Alert) -> list[dict[str, Any]]:
    rule = make_alert(1)["rule"]
    return [
        make_alert(1),
        make_alert(2, data={"srcip": "192.0.2.7", "dstuser": "eve"}),
        make_alert(3, data={"srcip": "198.51.100.9", "dstuser": "eve"}, rule=rule | {"level": 10, "id": "200250"}),
        make_alert(
            4,
            agent={"id": "008", "name": "db1"},
            data={},
            syscheck={"path": "/etc/passwd"},
            rule=rule | {"level": 7, "groups": ["syscheck"], "pci_dss": ["11.5"], "mitre": {"id": ["T1565"]}},
        ),
    ]


def test_it_adds_up(some: list[dict[str, Any]]):
    report = made(ALL, *some)
    assert (report.read, report.alerts, report.highest) == (4, 4, 10)
    assert report.first_ms == report.last_ms == AT_MS
    assert counts(report, "srcip") == [("192.0.2.7", 2), ("198.51.100.9", 1)]
    assert counts(report, "user") == [("eve", 2), ("joe", 1)]
    assert counts(report, "level") == [("10", 1), ("7", 1), ("5", 2)]
    assert counts(report, "agent") == [("web1", 3), ("db1", 1)]
    assert counts(report, "filename") == [("/etc/passwd", 1)]
    assert sum(count for _, count in report.timeline) == 4
    assert values_of(some[3], "compliance") == ["pci_dss 11.5", "mitre T1565"]


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((("level", "7"),), 2),
        ((("group", "authentication*"),), 3),
        ((("group", "authentication"),), 0),
        ((("user", "eve"), ("srcip", "192.0.2.*")), 1),
        ((("user", "eve"), ("user", "joe")), 3),
        ((("rule", "200250"),), 1),
        ((("agent", "db1"),), 1),
        ((("agent", "008"),), 1),
        ((("filename", "/etc/*"),), 1),
        ((("location", "*auth*"),), 4),
    ],
)
def test_filters(some: list[dict[str, Any]], filters: tuple[tuple[reports.Key, str], ...], found: int):
    assert sum(passes(alert, filters) for alert in some) == found


def test_what_goes_with_what(some: list[dict[str, Any]]):
    report = made(Question("All", ALL.since_ms, ALL.until_ms, by=(), related=(("user", "srcip"),)), *some)
    (section,) = report.sections
    assert [(row.value, row.related) for row in section.rows] == [
        ("eve", [("192.0.2.7", 1), ("198.51.100.9", 1)]),
        ("joe", [("192.0.2.7", 1)]),
    ]
    assert "Top entries for 'Username with source ip'" in as_text(report)


def test_only_the_time_that_was_asked_for(make_alert: Alert):
    report = made(
        Question("All", AT_MS, AT_MS + 1), make_alert(1), make_alert(2, timestamp="2026-11-24T03:21:43.124+0000")
    )
    assert (report.read, report.timeline) == (1, [(AT_MS, 1)])


def test_more_values_than_are_counted_are_others(make_alert: Alert, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(reports, "MAX_VALUES", 5)
    report = made(ALL, *(make_alert(n, data={"srcip": f"192.0.2.{n}"}) for n in range(9)))
    assert counts(report, "srcip")[0] == (reports.OTHERS, 4)


def test_what_is_no_alert_is_passed_over(make_alert: Alert):
    bad = [
        b"",
        b"{}",
        b"[1]",
        b"\xff",
        b'{"timestamp":"x"}',
        b"[" * 100_000,
        json.dumps(make_alert(1) | {"rule": 5}).encode(),
    ]
    assert compose(ALL, [*bad, *lines(make_alert(1))], AT_MS).alerts == 1


HOSTILE = '"><script>alert(1)</script>\x1b[31m\u202e&amp;\n** Alert'


@given(text=st.text(max_size=200) | st.just(HOSTILE))
def test_nothing_of_an_attacker_gets_out_of_its_place(make_alert: Alert, text: str):
    alert = make_alert(
        1, data={"srcip": text, "dstuser": text}, location=text, full_log=text, agent={"id": "1", "name": text}
    )
    question = Question(text, ALL.since_ms, ALL.until_ms, by=KEYS, related=(("user", "srcip"),), logs=True)
    report = compose(question, [json.dumps(alert).encode()], AT_MS)
    page = as_html(report, UTC)
    tree = ElementTree.fromstring(page.removeprefix("<!DOCTYPE html>"))  # noqa: S314 - our own page
    assert {element.tag for element in tree.iter()} <= {
        *("html", "head", "meta", "title", "style", "body", "h1", "h2", "p", "div", "span", "b", "br"),
        *("table", "tr", "td", "svg", "rect", "line"),
    }
    for shown in (page, as_text(report, UTC)):
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        assert "<script" not in page


def test_the_text_is_ossecs(some: list[dict[str, Any]]):
    text = as_text(made(ALL, *some), UTC)
    assert text.startswith("Report 'All' completed.\n------------------------------------------------\n->Time: ")
    assert "->Processed alerts: 4\n->Post-filtering alerts: 4\n->First alert: 2026-11-24 03:21:43\n" in text
    assert "Top entries for 'Source ip':\n" in text
    assert f"{'192.0.2.7':<60} |2        |\n" in text


@pytest.mark.parametrize(
    ("frequency", "today", "first", "after"),
    [
        ("daily", date(2026, 3, 1), date(2026, 2, 28), date(2026, 3, 1)),
        ("weekly", date(2026, 11, 24), date(2026, 11, 16), date(2026, 11, 23)),
        ("weekly", date(2026, 11, 23), date(2026, 11, 16), date(2026, 11, 23)),
        ("monthly", date(2026, 1, 31), date(2025, 12, 1), date(2026, 1, 1)),
    ],
)
def test_the_last_time_that_is_over(frequency: Any, today: date, first: date, after: date):
    assert last_period(frequency, today) == (first, after)


def test_a_scheduled_report_has_a_name_and_a_time():
    scheduled = Scheduled('Who / "failed"?', filters=(("level", "7"),))
    assert file_name(scheduled, date(2026, 11, 24)) == "2026-11-24-daily-who-failed.html"
    question = question_of(scheduled, date(2026, 11, 24), date(2026, 11, 25))
    assert question.until_ms - question.since_ms == DAY_MS
    assert question.filters == (("level", "7"),)
    assert midnight_ms(date(2026, 11, 24), UTC) == int(datetime(2026, 11, 24, tzinfo=UTC).timestamp() * 1000)
