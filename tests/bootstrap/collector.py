"""A small OpenTelemetry collector within the test: takes OTLP over HTTP, and keeps what came."""

from __future__ import annotations

import contextlib
import gzip
import http.server
import threading
from collections.abc import Iterator
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Collected:
    """What came.

    Attributes:
        traces: Requests with spans.
        metrics: Requests with metrics.
        headers: Of every request.
        status: What is answered.
    """

    def __init__(self) -> None:
        self.traces: list[ExportTraceServiceRequest] = []
        self.metrics: list[ExportMetricsServiceRequest] = []
        self.headers: list[dict[str, str]] = []
        self.status = 200
        self.url = ""
        self.changed = threading.Condition()

    @property
    def spans(self) -> list[Any]:
        """All spans."""
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def latest(self) -> dict[str, Any]:
        """Name of each metric of the latest request to it."""
        (resource,) = self.metrics[-1].resource_metrics
        return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}


def labels(point: Any) -> dict[str, Any]:
    """The attributes of a point or a span, as plain values."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in point.attributes}


@contextlib.contextmanager
def collector() -> Iterator[Collected]:
    """One on a free port."""
    collected = Collected()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                body = gzip.decompress(body)
            with collected.changed:
                collected.headers.append({name.lower(): text for name, text in self.headers.items()})
                if collected.status == 200 and self.path == "/base/v1/traces":
                    collected.traces.append(ExportTraceServiceRequest.FromString(body))
                elif collected.status == 200 and self.path == "/base/v1/metrics":
                    collected.metrics.append(ExportMetricsServiceRequest.FromString(body))
                collected.changed.notify_all()
            self.send_response(collected.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    collected.url = f"http://127.0.0.1:{server.server_address[1]}/base"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield collected
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
