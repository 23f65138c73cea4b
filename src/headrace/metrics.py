"""Every metric, once: name, type, labels, unit, meaning. docs/metrics.md is written from this list.

The figures come from the totals of the last commit, so that they add up at every scrape (I8):
accepted = exported + held, exported = delivered + dead_lettered + pending + discarded.
"""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric


class Definition(NamedTuple):
    """One metric.

    Attributes:
        name: Without the prefix ``headrace_`` and without ``_total``.
        kind: counter, gauge or histogram.
        labels: Names of its labels, all bounded.
        help: What it counts, with its unit.
    """

    name: str
    kind: str
    labels: tuple[str, ...]
    help: str


MOST_SHARDS: Final = 256
"""Shards of one flow that are counted by name."""

DEFINITIONS: Final = (
    Definition("received", "counter", (), "Inputs that came in: updates, and what operators and timers added."),
    Definition("accepted", "counter", (), "Inputs that were applied."),
    Definition("repeats", "counter", (), "Updates recognised by their id, which changed nothing."),
    Definition("refused", "counter", ("reason",), "Updates that were refused, by reason."),
    Definition(
        "notes", "counter", ("code",), "What else happened to updates (merges, refused stitches, …), by code."
    ),
    Definition("profiles", "gauge", (), "Profiles kept."),
    Definition("flow_accepted", "counter", ("flow",), "Inputs that the flow was asked about."),
    Definition("flow_held", "counter", ("flow", "reason"), "Inputs without an export for the flow, by reason."),
    Definition("flow_exported", "counter", ("flow",), "Exports made."),
    Definition("flow_delivered", "counter", ("flow",), "Exports that the destination acknowledged."),
    Definition("flow_dead_lettered", "counter", ("flow",), "Exports that the destination will never take."),
    Definition("flow_discarded", "counter", ("flow", "reason"), "Exports discarded unsent, by reason."),
    Definition("flow_pending", "gauge", ("flow",), "Exports that wait in the outbox."),
    Definition("flow_exported_bytes", "counter", ("flow",), "Bytes of the messages made."),
    Definition("flow_retried", "counter", ("flow",), "Writes again after a certain refusal."),
    Definition(
        "flow_possible_duplicates",
        "counter",
        ("flow",),
        "Writes again of records whose fate was unknown, and what a killed process may have written.",
    ),
    Definition("flow_halted", "gauge", ("flow",), "1 while the destination accepts nothing of the flow."),
    Definition("flow_breaker_open", "gauge", ("flow",), "1 while the destination does not answer the flow at all."),
    Definition("flow_paused", "gauge", ("flow",), "1 while the flow is paused."),
    Definition("flow_info", "gauge", ("flow", "name", "stream"), "Always 1; names the flow, and where it writes."),
    Definition("flow_oldest_pending_seconds", "gauge", ("flow",), "Age of the oldest export that waits; 0 for none."),
    Definition("flow_backlog_bytes", "gauge", ("flow",), "Bytes on disk of the exports that wait."),
    Definition(
        "flow_overflowing", "gauge", ("flow",), "1 while the backlog is over its budget, or is caught up with."
    ),
    Definition("flow_in_flight", "gauge", ("flow",), "Requests under way."),
    Definition("flow_requests", "counter", ("flow",), "Requests written since the start of the process."),
    Definition("flow_written", "counter", ("flow",), "Records written since the start, each time anew."),
    Definition("flow_written_bytes", "counter", ("flow",), "Bytes of them, as the destination charges for them."),
    Definition(
        "flow_request_fill",
        "histogram",
        ("flow",),
        "How full requests were since the start: share of their limit of records or bytes, whichever is nearer.",
    ),
    Definition("flow_refusals", "counter", ("flow", "code"), "Records refused since the start, by code."),
    Definition("flow_rejected", "counter", ("flow", "code"), "Exports dead-lettered since the start, by code."),
    Definition(
        "flow_shard_delivered",
        "counter",
        ("flow", "shard"),
        f"Records acknowledged since the start, by shard; beyond {MOST_SHARDS} shards of a flow as ``other``.",
    ),
    Definition(
        "flow_shard_limit",
        "gauge",
        ("flow", "shard"),
        "Share of its quota that is written to a shard while it throttles; absent while it does not.",
    ),
    Definition(
        "settle_seconds", "histogram", ("flow",), "Seconds from an input's commit time to its export's settlement."
    ),
    Definition(
        "stage_seconds",
        "histogram",
        ("stage",),
        "Seconds that a batch of inputs spent since the start: ``accepted`` (waiting to be decided), ``decided``, "
        "``committed`` (written and synced).",
    ),
    Definition(
        "flow_stage_seconds",
        "histogram",
        ("flow", "stage"),
        "Seconds by request since the start: ``sent`` (from the commit time of its first record to its start), "
        "``acknowledged`` (from its start to its answer).",
    ),
    Definition(
        "commit_inputs", "histogram", (), "Inputs of a commit since the start; commits of settlements alone apart."
    ),
    Definition("sources_held", "gauge", (), "1 while no source is read, because of a flow's backlog."),
    Definition("dead_letters", "gauge", (), "Dead letters made so far: refused updates that are kept, and exports."),
    Definition("alerts_open", "gauge", ("kind", "flow"), "Alerts that are open."),
    Definition("build_info", "gauge", ("version",), "Always 1; names the version."),
)

_BOUNDS_MS: Final = (5, 10, 20, 40, 80, 150, 300, 600, 1_000, 3_000, 10_000, 60_000, 600_000)
STAGE_BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 600.0)
FILL_BOUNDS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0)
INPUT_BOUNDS: Final = (1, 5, 10, 50, 100, 250, 500, 1_000, 5_000, 100_000)

Samples = Mapping[str, Mapping[tuple[str, ...], float]]
"""Metric name to label values to figure."""


class Histogram:
    """Counts by bound, and a sum.

    Args:
        bounds: Upper bounds, growing; what is over the last is counted too.

    Attributes:
        counts: How many were at most each bound and over the one before, then how many were over the last.
        sum: Of all.
        least: The smallest; infinite without any.
        greatest: The largest; 0 without any.
    """

    __slots__ = ("bounds", "counts", "greatest", "least", "sum")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = self.greatest = 0.0
        self.least = math.inf

    def add(self, value: float, count: int = 1) -> None:
        """Count a value, *count* times."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count
        if value < self.least:
            self.least = value
        if value > self.greatest:
            self.greatest = value

    @property
    def count(self) -> int:
        """How many were counted."""
        return sum(self.counts)


class Shown(NamedTuple):
    """What is shown at once, of one snapshot.

    Attributes:
        samples: Counters and gauges.
        histograms: Metric name to label values to histogram.
    """

    samples: Samples
    histograms: Mapping[str, Mapping[tuple[str, ...], Histogram]]


def of_milliseconds(counts: Mapping[int, int]) -> Histogram:
    """The histogram in seconds of milliseconds to how many took so long."""
    made = Histogram([bound / 1000 for bound in _BOUNDS_MS])
    for ms, count in counts.items():
        made.add(ms / 1000, count)
    return made


class _Collector:
    def __init__(self, read: Callable[[], Shown]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        samples, histograms = self._read()
        for name, kind, labels, text in DEFINITIONS:
            if kind == "histogram":
                yield _histogram(name, labels, text, histograms.get(name, {}))
                continue
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                f"headrace_{name}", text, labels=labels
            )
            for values, figure in samples.get(name, {}).items():
                family.add_metric(values, figure)
            yield family


def _histogram(
    name: str, labels: tuple[str, ...], text: str, found: Mapping[tuple[str, ...], Histogram]
) -> Metric:  # fmt: skip
    family = HistogramMetricFamily(f"headrace_{name}", text, labels=labels)
    for values, each in found.items():
        running = itertools.accumulate(each.counts)
        bounds = [*map(str, each.bounds), "+Inf"]
        family.add_metric(values, [(bound, float(n)) for bound, n in zip(bounds, running, strict=True)], each.sum)
    return family


def exposition(read: Callable[[], Shown]) -> bytes:
    """All metrics in Prometheus' text format.

    Args:
        read: Gives what is shown; called once.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(read))
    return generate_latest(registry)


def page() -> str:
    """docs/metrics.md as the list says it."""
    lines = [
        "# Metrics",
        "",
        "`GET /metrics` of `headrace serve`, in Prometheus' text format. All figures of one scrape come from one",
        "commit, so they add up: accepted = exported + held, and",
        "exported = delivered + dead-lettered + pending + discarded. Counters count since the data folder was made,",
        "restarts included, unless their meaning says otherwise.",
        "",
        "This page is written from the list in `headrace.metrics`.",
        "",
        "| metric | type | labels | meaning |",
        "| --- | --- | --- | --- |",
    ]
    for name, kind, labels, text in DEFINITIONS:
        shown = f"headrace_{name}" + ("_total" if kind == "counter" else "")
        lines.append(f"| `{shown}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {text} |")
    return "\n".join(lines) + "\n"
