"""Metrics and traces at a collector, against the figures of the engine that they are about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from headrace import settings
from headrace.bootstrap.telemetry import headers_of, telemetry
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.errors import RefusedError
from headrace.metrics import DEFINITIONS, Shown
from headrace.runtimes.embedded import observe
from headrace.runtimes.embedded.engine import Engine
from tests.alerts.logged import logged
from tests.runtimes.road import Lines, MemoryDisk, Road, flow, members, refuse, snapshot

from .collector import Collected, collector, labels

SECRET = "PLANTED-secret-7f3a"


def observed(road: Road, url: str, folder: Path, **given: Any) -> Shown:
    """Run a road to its end under telemetry; what was shown last."""
    wanted = {"otel_endpoint": url, "otel_headers": f"X-Token={SECRET}", "otel_trace_percent": 100} | given
    loaded = settings.load(environ={}, data_dir=folder, **wanted)
    shown: list[Shown] = []

    def show() -> Shown:
        shown.append(observe.shown(road.engine, road.clock.now_ms(), [("lag", "f")]))
        return shown[-1]

    async def use(engine: Engine) -> None:
        async with telemetry(engine, loaded, road.clock, show):
            await engine.run(until_drained=True)

    # An automatic clock would jump from interval to interval: one far away is never reached.
    road.life(use)
    return shown[-1] if shown else observe.shown(road.engine, road.clock.now_ms())


@pytest.fixture
def far() -> dict[str, Any]:
    return {"otel_interval_s": 3600}


def busy() -> Road:
    return Road(MemoryDisk(), Lines(members(120, 30), sizes=lambda: 10), snapshot(flow(), flow("g")),
                limits=Limits(records=7))  # fmt: skip


def test_every_sample_of_the_metrics_arrives(tmp_path: Path) -> None:
    """Counters as cumulative sums, gauges, histograms with bounds, each with its labels and figure."""
    with collector() as collected:
        shown = observed(busy(), collected.url, tmp_path)
    found = collected.latest()
    for name, kind, names, _ in DEFINITIONS:
        samples: dict[tuple[str, ...], Any] = dict(shown.samples.get(name, {}))
        if kind == "histogram":
            samples = {each: value for each, value in shown.histograms.get(name, {}).items() if value.count}
        if not samples:
            assert f"headrace.{name}" not in found
            continue
        metric = found[f"headrace.{name}"]
        held = {"counter": metric.sum, "gauge": metric.gauge, "histogram": metric.histogram}[kind]
        points = {tuple(labels(point)[each] for each in names): point for point in held.data_points}
        assert points.keys() == samples.keys(), name
        for values, point in points.items():
            if kind == "histogram":
                want = samples[values]
                assert list(point.bucket_counts) == want.counts
                assert (point.count, point.sum, list(point.explicit_bounds)) == (
                    want.count, want.sum, list(want.bounds),
                )  # fmt: skip
                assert (point.min, point.max) == (want.least, want.greatest)
            else:
                assert point.as_double == samples[values], name
        if kind == "counter":
            assert held.is_monotonic
        if kind != "gauge":
            assert held.aggregation_temporality == 2
    (resource,) = collected.metrics[-1].resource_metrics
    assert labels(resource.resource)["service.name"] == "headrace"
    assert all(headers["x-token"] == SECRET for headers in collected.headers)


def by_name(collected: Collected, name: str) -> list[Any]:
    return [span for span in collected.spans if span.name == name]


def test_a_batch_is_one_trace_from_accept_to_settle(tmp_path: Path) -> None:
    """Every input is in one batch; its stages follow one another; requests and settlements belong to batches."""
    road = busy()
    with collector() as collected:
        observed(road, collected.url, tmp_path, otel_interval_s=0)
    assert collected.metrics == []
    batches = by_name(collected, "batch")
    spans = sorted((labels(span)["headrace.first_input"], labels(span)["headrace.last_input"]) for span in batches)
    assert [first for first, _ in spans] == [1, *(last + 1 for _, last in spans[:-1])]
    assert spans[-1][1] == 120
    roots = {span.trace_id: span for span in batches}
    assert len(roots) == len(batches)
    for trace_id, root in roots.items():
        assert root.parent_span_id == b""
        stages = {s.name: s for s in collected.spans if s.trace_id == trace_id and s.name in STAGES}
        assert stages.keys() == set(STAGES)
        accept, decide, commit = (stages[name] for name in STAGES)
        assert root.start_time_unix_nano == accept.start_time_unix_nano
        assert accept.end_time_unix_nano == decide.start_time_unix_nano
        assert decide.end_time_unix_nano == commit.start_time_unix_nano
        assert commit.end_time_unix_nano == root.end_time_unix_nano
        assert all(each.parent_span_id == root.span_id for each in stages.values())
    sends = by_name(collected, "send")
    requests = sum(flow.dispatcher.counts.requests for flow in road.engine.flows.values())
    assert len(sends) == requests
    assert sum(labels(span)["headrace.records"] for span in sends) == 240
    assert {labels(span)["headrace.flow"] for span in sends} == {"f", "g"}
    known = {span.span_id for span in batches}
    for span in (*sends, *by_name(collected, "settle")):
        assert span.parent_span_id == roots[span.trace_id].span_id
        assert all(link.span_id in known - {span.parent_span_id} for link in span.links)
    assert sum(labels(span)["headrace.records"] for span in by_name(collected, "settle")) == 240


STAGES = ("accept", "decide", "commit")


def test_a_refused_request_is_marked_with_its_codes(tmp_path: Path) -> None:
    """Number and codes of what was refused; no value of a profile is in any span."""
    road = Road(MemoryDisk(), Lines(members(10, 10)))
    refuse(road, Rule(Verdict.RETRY, code="Throttled", times=3))
    with collector() as collected:
        observed(road, collected.url, tmp_path)
    first, *_ = by_name(collected, "send")
    assert labels(first)["headrace.refused"] == 3
    assert first.status.code == 2
    text = b"".join(request.SerializeToString() for request in collected.traces)
    assert b"Throttled" in text
    assert b"email" not in text


def test_a_share_of_the_batches_is_traced(tmp_path: Path) -> None:
    """A quarter of them, evenly; requests of the others are not told of."""
    road = Road(MemoryDisk(), Lines(members(100, 30), sizes=lambda: 5), batch_updates=5)
    with collector() as collected:
        observed(road, collected.url, tmp_path, otel_trace_percent=25)
    rounds = road.engine.stages.inputs.count
    assert len(by_name(collected, "batch")) == rounds // 4
    assert 0 < len(by_name(collected, "send")) < road.engine.flows["f"].dispatcher.counts.requests


def test_a_collector_that_takes_nothing_holds_up_nothing(tmp_path: Path) -> None:
    """The run ends, all is delivered, and it is told of once without the token."""
    road = busy()
    with collector() as collected, logged() as said:
        collected.status = 400
        observed(road, collected.url, tmp_path)
    assert road.engine.totals.flows["f"].delivered == 120
    assert said.text.count("traces are not taken by the collector") == 1
    assert SECRET not in said.text


def test_headers_are_read() -> None:
    """Names and values by commas; what is neither is refused without being repeated."""
    assert headers_of(" Api-Key=a=b , x=1,") == {"api-key": "a=b", "x": "1"}
    with pytest.raises(RefusedError, match="NAME=VALUE") as caught:
        headers_of(SECRET)
    assert SECRET not in str(caught.value)


def test_nothing_is_imported_when_it_is_off() -> None:
    """All of the serving process's own modules, and no OpenTelemetry."""
    code = "import sys, headrace.bootstrap.serving, headrace.cli.main, headrace.cli.serve\n"
    code += "print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
