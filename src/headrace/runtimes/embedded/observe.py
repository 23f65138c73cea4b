"""What an engine shows: samples for the metrics, and its status, from one snapshot of the totals."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from headrace import __version__
from headrace.metrics import MOST_SHARDS, Histogram, Shown, of_milliseconds
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.seen import oldest_ms
from headrace.state.records import FlowTotals


def shown(engine: Engine, now_ms: int, alerts: Iterable[tuple[str, str]] = ()) -> Shown:
    """See ``metrics.exposition``.

    Args:
        engine: At work, in the loop that this is called from.
        now_ms: The time.
        alerts: Kind and flow of each alert that is open.
    """
    t = engine.totals
    found: dict[str, dict[tuple[str, ...], float]] = {
        "received": {(): t.received},
        "accepted": {(): t.accepted},
        "repeats": {(): t.repeats},
        "refused": {(reason,): n for reason, n in t.refused.items()},
        "notes": {(code,): n for code, n in t.notes.items()},
        "profiles": {(): t.profiles},
        "dead_letters": {(): t.dead_letters},
        "sources_held": {(): float(engine.overflow.sources_held)},
        "alerts_open": {},
        "build_info": {(__version__,): 1.0},
    }
    for each in alerts:
        found["alerts_open"][each] = found["alerts_open"].get(each, 0.0) + 1.0
    for flow_id, totals in t.flows.items():
        _add_totals(found, flow_id, totals)
    for running in engine.flows.values():
        _add_running(found, engine, running, now_ms)
    return Shown(found, _histograms(engine))


def _add_totals(found: dict[str, dict[tuple[str, ...], float]], flow_id: str, f: FlowTotals) -> None:
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
        found.setdefault(f"flow_{name}", {})[(flow_id,)] = figure
    found.setdefault("flow_held", {}).update({(flow_id, reason): n for reason, n in f.held.items()})
    found.setdefault("flow_discarded", {}).update({(flow_id, reason): n for reason, n in f.discarded.items()})


def _add_running(
    found: dict[str, dict[tuple[str, ...], float]], engine: Engine, running: RunningFlow, now_ms: int
) -> None:
    compiled, dispatcher = running.compiled, running.dispatcher
    flow_id, counts, stages = compiled.id, dispatcher.counts, engine.stages.of(compiled.id)
    overflow = engine.overflow
    for name, figure in (
        ("halted", dispatcher.halt is not None),
        ("breaker_open", dispatcher.breaker.open),
        ("paused", compiled.paused),
        ("oldest_pending_seconds", oldest_ms(running, now_ms) / 1000),
        ("backlog_bytes", running.outbox.stored_bytes),
        ("overflowing", flow_id in overflow.overflowing or flow_id in overflow.catching_up),
        ("in_flight", dispatcher.under_way),
        ("requests", counts.requests),
        ("written", stages.records),
        ("written_bytes", stages.bytes),
    ):
        found.setdefault(f"flow_{name}", {})[(flow_id,)] = float(figure)
    found.setdefault("flow_info", {})[(flow_id, compiled.name, engine.in_force.stream_of(flow_id))] = 1.0
    for name, by_name in (
        ("refusals", counts.refusals),
        ("rejected", stages.rejected),
        ("shard_delivered", stages.shards),
    ):
        found.setdefault(f"flow_{name}", {}).update({(flow_id, each): float(n) for each, n in by_name.items()})
    limits = itertools.islice(dispatcher.control.limits.items(), MOST_SHARDS)
    found.setdefault("flow_shard_limit", {}).update({(flow_id, shard): limit.share for shard, limit in limits})


def _histograms(engine: Engine) -> dict[str, dict[tuple[str, ...], Histogram]]:
    stages = engine.stages
    flows = stages.flows.items()
    return {
        "settle_seconds": {(flow_id,): of_milliseconds(t.latency_ms) for flow_id, t in engine.tallies.items()},
        "stage_seconds": {
            ("accepted",): stages.accepted, ("decided",): stages.decided, ("committed",): stages.committed,
        },
        "commit_inputs": {(): stages.inputs},
        "flow_request_fill": {(flow_id,): each.fill for flow_id, each in flows},
        "flow_stage_seconds": {
            **{(flow_id, "sent"): each.sent for flow_id, each in flows},
            **{(flow_id, "acknowledged"): each.acknowledged for flow_id, each in flows},
        },
    }  # fmt: skip


def quantile_ms(latency: Mapping[int, int], share: float) -> float | None:
    """The latency under which *share* of the exports were settled; None without any."""
    total = sum(latency.values())
    seen = 0
    for ms, n in sorted(latency.items()):
        seen += n
        if seen >= share * total:
            return float(ms)
    return None


def status(engine: Engine, *, flow: str = "", brief: bool = False) -> dict[str, Any]:
    """The engine in figures, for the command line and the socket.

    Args:
        engine: At work, in the loop that this is called from.
        flow: Only this flow's figures; "" for those of all.
        brief: Only totals, and how the flows stand.
    """
    totals = engine.totals
    if flow:
        totals = msgspec.structs.replace(totals, flows={id: f for id, f in totals.flows.items() if id == flow})
    told = {
        "totals": msgspec.to_builtins(totals),
        "flows": [msgspec.to_builtins(each) for each in engine.report().flows if flow in ("", each.flow_id)],
        "configuration": engine.snapshot.version,
    }
    return told if brief else told | _times(engine, flow)


def _times(engine: Engine, flow: str) -> dict[str, Any]:
    """How long settling and each stage take, and what each shard took."""
    latency_ms = engine.latency_ms
    return {
        "p50_ms": quantile_ms(latency_ms, 0.5),
        "p99_ms": quantile_ms(latency_ms, 0.99),
        "stages": [
            {"flow": flow_id, "stage": stage, "p50_ms": within_ms(each, 0.5), "p99_ms": within_ms(each, 0.99)}
            for flow_id, stage, each in _stages(engine)
            if flow in ("", flow_id) or not flow_id
            if each.count
        ],
        "shards": [
            {"flow": flow_id, "shard": shard, "delivered": n}
            for flow_id, stages in engine.stages.flows.items()
            if flow in ("", flow_id)
            for shard, n in itertools.islice(sorted(stages.shards.items()), MOST_SHARDS)
        ],
    }


def _stages(engine: Engine) -> Iterator[tuple[str, str, Histogram]]:
    """Flow id ("" for all), name and histogram of each stage, in the order that an update goes through them."""
    stages = engine.stages
    yield "", "accepted", stages.accepted
    yield "", "decided", stages.decided
    yield "", "committed", stages.committed
    for flow_id, each in stages.flows.items():
        yield flow_id, "sent", each.sent
        yield flow_id, "acknowledged", each.acknowledged


def within_ms(seconds: Histogram, share: float) -> float | None:
    """The bound within which *share* of what was counted lies, milliseconds; None beyond the last bound."""
    place = bisect_left(list(itertools.accumulate(seconds.counts)), share * seconds.count)
    return seconds.bounds[place] * 1000 if place < len(seconds.bounds) else None
