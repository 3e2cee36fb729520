"""A collector of OpenTelemetry's metrics: OTLP over HTTP, read by the protocol's own definition; it misbehaves on request."""

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)


class Collector:
    """Listens on a port of 127.0.0.1 until it is closed."""

    def __init__(self) -> None:
        self.requests: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.drips = False
        """It answers a byte each 20 ms, and never ends."""
        self.over = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.collector = self
        self.port: int = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/metrics"

    def values(self) -> dict[str, dict[tuple[tuple[str, str], ...], float]]:
        """The last value of each series, by metric and labels."""
        found: dict[str, dict[tuple[tuple[str, str], ...], float]] = {}
        for request in tuple(self.requests):
            for metric in (m for r in request.resource_metrics for s in r.scope_metrics for m in s.metrics):
                for point in getattr(metric, metric.WhichOneof("data")).data_points:
                    labels = tuple((each.key, each.value.string_value) for each in point.attributes)
                    value = getattr(point, point.WhichOneof("value"))
                    found.setdefault(metric.name, {})[labels] = value
        return found

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    collector: Collector

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that gave up is what this is about."""


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        collector = self.server.collector  # type: ignore[attr-defined]
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if collector.drips:
            self.send_response(200)
            self.send_header("Content-Length", "1000000")
            self.end_headers()
            while not collector.over.wait(0.02):
                self.wfile.write(b"x")
            return
        if collector.status == 200:
            body = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            request = ExportMetricsServiceRequest()
            request.ParseFromString(body)
            collector.headers.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
            collector.requests.append(request)
        self.send_response(collector.status)
        self.end_headers()
        self.wfile.write(ExportMetricsServiceResponse().SerializeToString())

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the library's word
        """Say nothing."""
