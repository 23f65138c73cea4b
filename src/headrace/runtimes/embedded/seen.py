"""What an engine shows of itself, as the rules of the alerts look at it."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.alerts.rules import SKIPS, FlowSeen, RunSeen, Seen
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.state import records


def seen(engine: Engine, now_ms: int, failed_runs: Sequence[RunSeen] = ()) -> Seen:
    """One look; cheap, so that it can be taken every few seconds.

    Args:
        engine: At work, in the loop that this is called from.
        now_ms: The time.
        failed_runs: Runs that failed and were not started again.
    """
    flows = [_flow(engine, flow, now_ms) for flow in engine.flows.values()]
    return Seen(
        now_ms=now_ms, flows=flows, refused=sum(engine.totals.refused.values()),
        sources_held=engine.overflow.sources_held, failed_runs=list(failed_runs),
    )  # fmt: skip


def _flow(engine: Engine, flow: RunningFlow, now_ms: int) -> FlowSeen:
    compiled, dispatcher = flow.compiled, flow.dispatcher
    totals = engine.totals.flows.get(compiled.id) or records.FlowTotals()
    halt, breaker = dispatcher.halt, dispatcher.breaker
    pause = engine.pauses.all.get(compiled.id)
    overflow = "over" if compiled.id in engine.overflow.overflowing else ""
    return FlowSeen(
        id=compiled.id, name=compiled.name, paused=compiled.paused,
        capped=pause is not None and pause.reason == "dead-letters",
        halted=f"{halt.code}: {halt.detail}" if halt is not None else "",
        breaker=f"{breaker.code}: {breaker.detail}" if breaker.open else "",
        oldest_ms=oldest_ms(flow, now_ms), pending=totals.pending, exported=totals.exported,
        dead_lettered=totals.dead_lettered, skipped=_skipped(totals),
        overflow=overflow or ("catching-up" if compiled.id in engine.overflow.catching_up else ""),
        alerts=compiled.alerts,
    )  # fmt: skip


def _skipped(totals: records.FlowTotals) -> dict[str, int]:
    found = {reason: n for reason in SKIPS if (n := totals.held.get(reason, 0))}
    for reason, n in totals.discarded.items():
        if reason != "flow-deleted":
            found[reason] = found.get(reason, 0) + n
    return found


def oldest_ms(flow: RunningFlow, now_ms: int) -> int:
    """Age of the oldest export that waits, milliseconds; 0 when none does."""
    made_ms = flow.outbox.oldest_ms()
    return max(now_ms - made_ms, 0) if made_ms is not None else 0
