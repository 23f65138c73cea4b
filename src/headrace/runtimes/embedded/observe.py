"""What an engine shows: samples for the metrics, and its status, from one snapshot of the totals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from headrace.metrics import Samples
from headrace.runtimes.embedded.engine import Engine


def samples(engine: Engine) -> tuple[Samples, Mapping[int, int]]:
    """See ``metrics.exposition``."""
    t = engine.totals
    found: dict[str, dict[tuple[str, ...], float]] = {
        "received": {(): t.received},
        "accepted": {(): t.accepted},
        "repeats": {(): t.repeats},
        "refused": {(reason,): n for reason, n in t.refused.items()},
        "notes": {(code,): n for code, n in t.notes.items()},
        "profiles": {(): t.profiles},
    }
    for flow_id, f in t.flows.items():
        flow = (flow_id,)
        for name, figure in (
            ("accepted", f.accepted),
            ("exported", f.exported),
            ("delivered", f.delivered),
            ("dead_lettered", f.dead_lettered),
            ("pending", f.pending),
            ("exported_bytes", f.bytes),
            ("retried", f.retried),
            ("possible_duplicates", f.possible_duplicates),
        ):
            found.setdefault(f"flow_{name}", {})[flow] = figure
        found.setdefault("flow_held", {}).update({(flow_id, reason): n for reason, n in f.held.items()})
        found.setdefault("flow_discarded", {}).update({(flow_id, reason): n for reason, n in f.discarded.items()})
    for flow_id, running in engine.flows.items():
        counts = running.dispatcher.counts
        found.setdefault("flow_halted", {})[(flow_id,)] = float(running.dispatcher.halt is not None)
        found.setdefault("flow_requests", {})[(flow_id,)] = counts.requests
        found.setdefault("flow_refusals", {}).update({(flow_id, code): n for code, n in counts.refusals.items()})
    return found, engine.latency_ms


def quantile_ms(latency: Mapping[int, int], share: float) -> float | None:
    """The latency under which *share* of the exports were settled; None without any."""
    total = sum(latency.values())
    seen = 0
    for ms, n in sorted(latency.items()):
        seen += n
        if seen >= share * total:
            return float(ms)
    return None


def status(engine: Engine) -> dict[str, Any]:
    """The engine in figures, for the command line and the socket."""
    report = engine.report()
    return {
        "totals": msgspec.to_builtins(engine.totals),
        "flows": msgspec.to_builtins(report.flows),
        "configuration": engine.snapshot.version,
        "p50_ms": quantile_ms(engine.latency_ms, 0.5),
        "p99_ms": quantile_ms(engine.latency_ms, 0.99),
    }
