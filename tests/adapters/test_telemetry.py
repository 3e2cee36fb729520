"""A collector gets what Prometheus would, and whatever it does, a push ends and there is never a second one beside it."""

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from collector import Collector
from waiting import SetClock

from hids.adapters import telemetry as module
from hids.adapters.telemetry import TelemetryExport
from hids.core.exposition import Row
from hids.core.telemetry import Telemetry
from hids.errors import StoreError

ROWS: list[Row] = [
    ("hids_lines_total", "Lines delivered.", {"source": 'agent/"7"\n', "outcome": "evaluated"}, 2**40),
    ("hids_lines_total", "Lines delivered.", {"source": "agent/8", "outcome": "lost"}, 0),
    ("hids_ledger_gaps", "Gaps.", {}, 0),
    ("hids_process_cpu_seconds_total", "CPU time.", {"actor": "lane"}, 1.25),
    ("hids_ledger_gaps", "Gaps.", {}, 3),
]


@pytest.fixture
def collector() -> Iterator[Collector]:
    collector = Collector()
    yield collector
    collector.close()


def export(url: str, rows: list[Row] | None = None, **more: Any) -> TelemetryExport:
    return TelemetryExport(Telemetry(endpoint=url, **more), "m1", lambda: ROWS if rows is None else rows, SetClock())


def test_a_collector_gets_the_figures_with_kind_time_and_whose_they_are(collector: Collector):
    assert export(collector.url).run() == []
    (request,) = collector.requests
    (about,) = request.resource_metrics
    assert {each.key: each.value.string_value for each in about.resource.attributes}.items() >= {
        ("service.name", "hids-manager"),
        ("service.instance.id", "m1"),
    }
    (scope,) = about.scope_metrics
    lines, gaps, cpu = scope.metrics
    assert (lines.name, lines.description) == ("hids_lines_total", "Lines delivered.")
    assert (lines.sum.is_monotonic, lines.sum.aggregation_temporality) == (True, 2)
    assert lines.sum.data_points[0].time_unix_nano == SetClock().now_ms() * 1_000_000
    assert gaps.WhichOneof("data") == "gauge"
    assert collector.values() == {
        "hids_lines_total": {
            (("source", 'agent/"7"\n'), ("outcome", "evaluated")): 2**40,
            (("source", "agent/8"), ("outcome", "lost")): 0,
        },
        "hids_ledger_gaps": {(): 3},
        "hids_process_cpu_seconds_total": {(("actor", "lane"),): 1.25},
    }
    assert collector.headers[0]["path"] == "/v1/metrics"
    assert cpu.sum.data_points[0].as_double == 1.25


def test_secrets_go_along_and_are_read_anew(collector: Collector, tmp_path: Path):
    secret = tmp_path / "headers"
    push = export(collector.url, headers_file=str(secret))
    with pytest.raises(StoreError, match="no such file"):
        push.run()
    secret.write_text("Authorization: Bearer one\n\nX-Scope: a\n")
    secret.chmod(0o600)
    push.run()
    secret.write_text("Authorization: Bearer two\n")
    push.run()
    assert [headers["authorization"] for headers in collector.headers] == ["Bearer one", "Bearer two"]
    assert collector.headers[0]["x-scope"] == "a"
    secret.write_text("no header\n")
    with pytest.raises(StoreError, match='line 1: expected "Name: value"'):
        push.run()


def test_many_points_are_several_requests_and_too_many_are_left_out(
    collector: Collector, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(module, "MAX_POINTS", 20)
    monkeypatch.setattr(module, "BATCH_POINTS", 10)
    rows: list[Row] = [("a", "A.", {"n": str(n)}, n) for n in range(18)]
    rows += [("b", "B.", {"n": str(n)}, n) for n in range(3)]
    rows += [("c", "C.", {"n": str(n)}, n) for n in range(2)]
    export(collector.url, rows).run()
    assert len(collector.requests) == 2
    assert {name: len(points) for name, points in collector.values().items()} == {"a": 18, "c": 2}


@pytest.mark.parametrize("status", [400, 404, 413, 500, 503])
def test_a_collector_that_refuses_is_told_and_tried_again(collector: Collector, status: int):
    push = export(collector.url, timeout_s=0.2)
    collector.status = status
    with pytest.raises(StoreError, match=rf"127\.0\.0\.1:{collector.port}/v1/metrics: "):
        push.run()
    collector.status = 200
    assert push.run() == []


def test_a_collector_that_is_not_there_is_told():
    with pytest.raises(StoreError, match=r"127\.0\.0\.1:1/v1/metrics: .*Failed to export"):
        export("http://127.0.0.1:1/v1/metrics", timeout_s=0.2).run()
    with pytest.raises(StoreError, match="Connection refused"):
        export("http://127.0.0.1:1/v1/metrics", timeout_s=1.5).run()


def test_one_that_never_ends_gets_no_second_push(collector: Collector, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "GRACE_S", 0.1)
    push = export(collector.url, timeout_s=0.2)
    collector.drips = True
    before = threading.active_count()
    with pytest.raises(StoreError, match=r"no end within 0\.3 s"):
        push.run()
    hanging = threading.active_count()
    assert hanging > before
    with pytest.raises(StoreError, match="the push before still hangs"):
        push.run()
    assert threading.active_count() <= hanging
    collector.drips = False
    collector.over.set()
    assert push._push is not None
    push._push.join(10)
    assert push.run() == []


def test_figures_that_cannot_be_gathered_are_told(collector: Collector):
    def gather() -> list[Row]:
        raise StoreError("no manager runs here")

    with pytest.raises(StoreError, match="no manager runs here"):
        TelemetryExport(Telemetry(endpoint=collector.url), "m1", gather, SetClock()).run()
    assert collector.requests == []
