"""Every metric, once: name, type, labels, unit, meaning. docs/metrics.md is written from this list.

The figures come from the totals of the last commit, so that they add up at every scrape (I8):
accepted = exported + held, exported = delivered + dead_lettered + pending + discarded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
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
    Definition("flow_requests", "counter", ("flow",), "Requests written since the start of the process."),
    Definition("flow_refusals", "counter", ("flow", "code"), "Records refused since the start, by code."),
    Definition("settle_seconds", "histogram", (), "Seconds from an input's commit time to its export's settlement."),
)

_BOUNDS_MS: Final = (5, 10, 20, 40, 80, 150, 300, 600, 1_000, 3_000, 10_000, 60_000, 600_000)

Samples = Mapping[str, Mapping[tuple[str, ...], float]]
"""Metric name to label values to figure."""


class _Collector:
    def __init__(self, read: Callable[[], tuple[Samples, Mapping[int, int]]]) -> None:
        self._read = read

    def collect(self) -> Iterable[Metric]:
        samples, latency = self._read()
        for name, kind, labels, text in DEFINITIONS:
            if kind == "histogram":
                yield _histogram(name, text, latency)
                continue
            family = (CounterMetricFamily if kind == "counter" else GaugeMetricFamily)(
                f"headrace_{name}", text, labels=labels
            )
            for values, figure in samples.get(name, {}).items():
                family.add_metric(values, figure)
            yield family


def _histogram(name: str, text: str, latency: Mapping[int, int]) -> Metric:
    family = HistogramMetricFamily(f"headrace_{name}", text)
    buckets = [(str(bound / 1000), float(sum(n for ms, n in latency.items() if ms <= bound))) for bound in _BOUNDS_MS]
    buckets.append(("+Inf", float(sum(latency.values()))))
    family.add_metric([], buckets, sum(ms * n for ms, n in latency.items()) / 1000)
    return family


def exposition(read: Callable[[], tuple[Samples, Mapping[int, int]]]) -> bytes:
    """All metrics in Prometheus' text format.

    Args:
        read: Gives the samples, and milliseconds to counts for the histogram; one snapshot.
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
