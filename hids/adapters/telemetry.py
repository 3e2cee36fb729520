"""Telemetry: pushes the manager's figures to a collector by OpenTelemetry's protocol (OTLP over HTTP, protobuf).

Needs the extra `otel`. A push has one thread; while that hangs, whatever the collector does, there is no second.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import structlog
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    Gauge,
    Metric,
    MetricExportResult,
    MetricsData,
    NumberDataPoint,
    ResourceMetrics,
    ScopeMetrics,
    Sum,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

import hids
from hids.adapters.files import read_private
from hids.core.alert.text import plain
from hids.core.exposition import Metric as Figures
from hids.core.exposition import Row, metrics_of
from hids.core.telemetry import Telemetry, headers_of
from hids.errors import StoreError
from hids.ports import Clock

log = structlog.get_logger()

MAX_POINTS = 100_000
"""Of one push; what is over it is left out, and that is logged. 10,000 agents have some 40,000."""
BATCH_POINTS = 10_000
"""Of one request."""
GRACE_S = 5.0
"""Beyond `timeout_s`, until a push counts as hanging."""
UNKNOWN = 0
"""When counting began: sums are in the ledger and outlive processes. "A value of 0 indicates that it is unknown"."""


class TelemetryExport:
    """Gathers the figures and pushes them. For one thread."""

    def __init__(self, telemetry: Telemetry, manager: str, gather: Callable[[], Sequence[Row]], clock: Clock) -> None:
        """`manager` names this one among others; `gather` gives the figures."""
        self._telemetry = telemetry
        self._gather = gather
        self._clock = clock
        self._scope = InstrumentationScope("hids", hids.__version__)
        about = {"service.name": "hids-manager", "service.version": hids.__version__, "service.instance.id": manager}
        self._resource = Resource(about)
        self._push: _Push | None = None

    def run(self) -> list[str]:
        """Push once.

        Raises:
            StoreError: the figures cannot be gathered, the collector did not take them, or hangs.
        """
        if self._push is not None and self._push.is_alive():
            raise StoreError(f"{self._telemetry.endpoint}: the push before still hangs")
        try:
            self._push = _Push(self._exporter(), self._data())
            self._push.start()
        except MemoryError as error:
            raise StoreError("the figures need more memory than this process may have") from error
        self._push.join(self._telemetry.timeout_s + GRACE_S)
        if self._push.is_alive():
            raise StoreError(f"{self._telemetry.endpoint}: no end within {self._telemetry.timeout_s + GRACE_S:g} s")
        if self._push.problem:
            raise StoreError(f"{self._telemetry.endpoint}: {plain(self._push.problem[:300])}")
        return []

    def _data(self) -> MetricsData:
        at_ns = self._clock.now_ms() * 1_000_000
        figures = list(_bounded(metrics_of(self._gather())))
        scope = ScopeMetrics(self._scope, [_metric(each, at_ns) for each in figures], "")
        return MetricsData([ResourceMetrics(self._resource, [scope], "")])

    def _exporter(self) -> OTLPMetricExporter:
        """A new one each time: secrets and certificates are read anew, and no connection is kept open for a minute."""
        telemetry = self._telemetry
        return OTLPMetricExporter(
            endpoint=telemetry.endpoint,
            certificate_file=telemetry.ca_file or None,
            headers=_headers(telemetry.headers_file),
            timeout=telemetry.timeout_s,
            compression=Compression.Gzip,
            max_export_batch_size=BATCH_POINTS,
        )


class _Push(threading.Thread):
    """One try. A daemon: one that hangs does not keep the process."""

    def __init__(self, exporter: OTLPMetricExporter, data: MetricsData) -> None:
        super().__init__(name="telemetry", daemon=True)
        self._exporter = exporter
        self._data = data
        self.problem = ""
        """Why it was not taken."""

    def run(self) -> None:
        """Push; the library says why not in its log only."""
        heard = _Heard()
        logger = logging.getLogger("opentelemetry.exporter.otlp")
        logger.propagate = False
        logger.handlers[:] = [heard]
        try:
            taken = self._exporter.export(self._data)  # pyright: ignore[reportUnknownMemberType] - its **kwargs are untyped
            if taken is not MetricExportResult.SUCCESS:
                self.problem = "; ".join(heard.last) or "not taken"
            self._exporter.shutdown()  # pyright: ignore[reportUnknownMemberType] - as above
        except (OSError, MemoryError) as error:
            self.problem = f"{type(error).__name__}: {error}"


class _Heard(logging.Handler):
    """Keeps the last messages: that it gave up, and of which tries."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.last: deque[str] = deque(maxlen=2)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.last.append(" ".join(record.getMessage().split()))


def _headers(path: str) -> dict[str, str]:
    if not path:
        return {}
    data = read_private(Path(path))
    if data is None:
        raise StoreError(f"{path}: no such file; it should have a header each line")
    try:
        return headers_of(data.decode())
    except ValueError as error:  # UnicodeDecodeError is one
        raise StoreError(f"{path}: {error}") from error


def _bounded(figures: Sequence[Figures]) -> Iterator[Figures]:
    """The first `MAX_POINTS` points."""
    left = MAX_POINTS
    for each in figures:
        if len(each.points) > left:
            log.warning("figures left out of telemetry", metric=each.name, points=len(each.points), room=left)
            continue
        left -= len(each.points)
        yield each


def _metric(figures: Figures, at_ns: int) -> Metric:
    points = [NumberDataPoint(dict(labels), UNKNOWN, at_ns, value) for labels, value in figures.points.items()]
    data = Sum(points, AggregationTemporality.CUMULATIVE, is_monotonic=True) if figures.counts else Gauge(points)
    return Metric(figures.name, figures.help, "", data)
