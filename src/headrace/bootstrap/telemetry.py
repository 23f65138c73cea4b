"""Metrics and traces to an OpenTelemetry collector, where one is configured; imported only then.

Metrics are the same samples that /metrics shows, histograms among them, sent as they are: the SDK's own instruments
have no histogram that is observed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final

from headrace import __version__, logs
from headrace.clock import Clock
from headrace.errors import RefusedError
from headrace.metrics import DEFINITIONS, Shown
from headrace.runtimes.embedded.engine import Engine
from headrace.settings import Settings

try:
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.metrics import export as points
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    from headrace.runtimes.embedded.tracing import Tracing
except ImportError:
    raise RefusedError(
        "HEADRACE_OTEL_ENDPOINT needs OpenTelemetry, which is not installed: pip install 'headrace[otel]'"
    ) from None

_TIMEOUT_S: Final = 5.0
_SCOPE: Final = InstrumentationScope("headrace", __version__)
_CUMULATIVE: Final = points.AggregationTemporality.CUMULATIVE


def headers_of(text: str) -> dict[str, str]:
    """Headers as ``NAME=VALUE`` by commas.

    Raises:
        RefusedError: One has no name or no value.
    """
    found = {}
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, value = part.partition("=")
        if not name.strip() or not value.strip():
            raise RefusedError("HEADRACE_OTEL_HEADERS is wrong (allowed: NAME=VALUE, by commas)")
        found[name.strip().lower()] = value.strip()
    return found


def resource(settings: Settings) -> Resource:
    """What sends."""
    return Resource(
        {"service.name": "headrace", "service.version": __version__, "headrace.sandbox": settings.sandbox}
    )  # fmt: skip


class _Told:
    """Tells of a collector that takes nothing, and of when it does again: once each."""

    def __init__(self, what: str) -> None:
        self._what, self.well = what, True

    def note(self, *, well: bool) -> None:
        if well != self.well:
            self.well = well
            words = "taken again" if well else "not taken by the collector"
            (logs.get().info if well else logs.get().warning)(f"telemetry: {self._what} are {words}")


class _Spans(SpanExporter):
    """The exporter of spans, which tells of its failures in our own log."""

    def __init__(self, exporter: OTLPSpanExporter) -> None:
        self._exporter = exporter
        self._told = _Told("traces")

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._exporter.export(spans)
        self._told.note(well=result is SpanExportResult.SUCCESS)
        return result

    def shutdown(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]


def metrics_data(shown: Shown, of: Resource, start_ns: int, now_ns: int) -> points.MetricsData:
    """What is shown, in OpenTelemetry's terms: counters as sums, cumulative; gauges; histograms with their bounds."""
    found = [metric for each in DEFINITIONS if (metric := _metric(each, shown, start_ns, now_ns)) is not None]
    scope = points.ScopeMetrics(_SCOPE, found, "")
    return points.MetricsData([points.ResourceMetrics(of, [scope], "")])


def _metric(definition: Any, shown: Shown, start_ns: int, now_ns: int) -> points.Metric | None:
    name, kind, labels, text = definition
    if kind == "histogram":
        data: Any = points.Histogram(
            [
                points.HistogramDataPoint(
                    dict(zip(labels, values, strict=True)), start_ns, now_ns, each.count, each.sum, each.counts,
                    each.bounds, each.least, each.greatest,
                )
                for values, each in shown.histograms.get(name, {}).items() if each.count
            ],
            _CUMULATIVE,
        )  # fmt: skip
    else:
        figures = [
            points.NumberDataPoint(dict(zip(labels, values, strict=True)), start_ns, now_ns, float(figure))
            for values, figure in shown.samples.get(name, {}).items()
        ]
        data = points.Sum(figures, _CUMULATIVE, True) if kind == "counter" else points.Gauge(figures)
    if not data.data_points:
        return None
    unit = next((unit for word, unit in (("seconds", "s"), ("bytes", "By")) if name.endswith(word)), "1")
    return points.Metric(f"headrace.{name}", text, unit, data)


@contextlib.asynccontextmanager
async def telemetry(
    engine: Engine, settings: Settings, clock: Clock, shown: Callable[[], Shown]
) -> AsyncIterator[None]:
    """Send metrics and traces of an engine for as long as this is open.

    Args:
        engine: Whose.
        settings: Endpoint, headers, interval and share.
        clock: Time.
        shown: Gives what /metrics shows; called in the engine's loop.

    Raises:
        RefusedError: The headers are wrong.
    """
    # Its words may quote what was sent; what matters is told of here.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL + 1)
    endpoint, headers = settings.otel_endpoint.rstrip("/"), headers_of(settings.otel_headers.reveal())
    of = resource(settings)
    provider = TracerProvider(sampler=ALWAYS_ON, resource=of)
    spans = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces", headers=headers, timeout=_TIMEOUT_S)
    processor = BatchSpanProcessor(_Spans(spans), schedule_delay_millis=1000)
    provider.add_span_processor(processor)
    tracing = Tracing(provider.get_tracer("headrace", __version__), clock, settings.otel_trace_percent)
    detach = tracing.attach(engine) if settings.otel_trace_percent > 0 else None
    sending = _Metrics(
        OTLPMetricExporter(endpoint=f"{endpoint}/v1/metrics", headers=headers, timeout=_TIMEOUT_S), of, clock, shown
    )
    task = asyncio.create_task(sending.keep(settings.otel_interval_s), name="telemetry")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await sending.close(last=settings.otel_interval_s > 0)
        if detach is not None:
            detach()
        await asyncio.to_thread(provider.shutdown)


class _Metrics:
    """Sends metrics now and then, from a thread."""

    def __init__(self, exporter: OTLPMetricExporter, of: Resource, clock: Clock, shown: Callable[[], Shown]) -> None:
        self._exporter, self._of, self._clock, self._shown = exporter, of, clock, shown
        self._start_ns = clock.now_ms() * 1_000_000
        self.told = _Told("metrics")
        self._sending: asyncio.Task[None] | None = None

    async def keep(self, interval_s: int) -> None:
        """Send every so many seconds; never with 0."""
        while interval_s:
            await self._clock.sleep(interval_s)
            await self.send()

    async def send(self) -> None:
        """Send what is shown now, after what is still being sent, also when waiting for it is given up."""
        if self._sending is not None:
            await asyncio.wait((self._sending,))
        self._sending = asyncio.create_task(self._send())
        await asyncio.shield(self._sending)

    async def close(self, *, last: bool) -> None:
        """Wait for what is being sent; with *last* send once more, unless the collector takes nothing."""
        if self._sending is not None:
            await asyncio.wait((self._sending,))
        if last and self.told.well:
            await self.send()

    async def _send(self) -> None:
        data = metrics_data(self._shown(), self._of, self._start_ns, self._clock.now_ms() * 1_000_000)
        result = await asyncio.to_thread(self._exporter.export, data)
        self.told.note(well=result is points.MetricExportResult.SUCCESS)
