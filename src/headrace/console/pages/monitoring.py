"""Monitoring: how much flowed within a window, from the hourly runs, and how things stand now, from the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.calls import call
from headrace.console.overview import Row
from headrace.console.rendering import number, percent
from headrace.console.visit import Console, Visit, page
from headrace.control import runs
from headrace.control.run_figures import HOUR_MS, RunFigures, total

from .destination import delivery_rate
from .destinations import live_by_flow

WINDOWS: Final = {"24h": (HOUR_MS, 24), "7d": (6 * HOUR_MS, 7 * 4), "30d": (24 * HOUR_MS, 30)}
"""Name of a window to the length of its stretches and their number; the last one is the present one, of UTC."""
_COUNTS: Final = ("received", "activated", "skipped", "failed")
_MOST_SHARDS: Final = 32


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [page(console, "/monitoring", show)]


def show(visit: Visit) -> Response:
    """The page, for a window and one destination or all."""
    window = visit.query("window", "24h")
    window = window if window in WINDOWS else "24h"
    flow = visit.query("flow")
    now_ms = visit.control.clock.now_ms()
    step_ms, count = WINDOWS[window]
    since_ms = now_ms - now_ms % step_ms - (count - 1) * step_ms
    found = runs.sum_runs(visit.control, visit.caller, since_ms=since_ms, step_ms=step_ms, flow=flow or None)
    chart = _series(found.slots, since_ms, step_ms, count)
    rows = overview.rows(visit.control, visit.caller)
    status = visit.ask("status")
    live = live_by_flow(status)
    wanted = f"property=flowId=={flow}&" if flow else ""
    return visit.page(
        "monitoring.html", calls=[call(visit, "GET", f"/runs?{wanted}property=createdAt>={since_ms}")],
        window=window, windows=tuple(WINDOWS), flow=flow, rows=rows, stands=status,
        sums=(sums := total(found.flows)), rate=delivery_rate(sums.activated, sums.failed),
        lines=_lines(visit, [row for row in rows if flow in ("", row.id)], found.flows, live), reasons=found.reasons,
        chart=msgspec.json.encode(chart).decode(), any_runs=bool(found.flows),
        funnel=_funnel(status, flow), heat=_heat(status, flow), names={row.id: row.name for row in rows},
    )  # fmt: skip


class Line(NamedTuple):
    """A destination's figures as they are written: of a hundred of them a template looks up nothing twice."""

    id: str
    name: str
    place: str
    received: str
    activated: str
    skipped: str
    failed: str
    waiting: str
    rate: str
    changed_ms: int
    ago: str


def _lines(
    visit: Visit, rows: Sequence[Row], found: Sequence[RunFigures], live: Mapping[str, Mapping[str, Any]]
) -> list[Line]:
    by_flow = {each.flow: each for each in found}
    none = RunFigures()
    # Runs are put down together, so that most changed at the same time.
    agos = {at_ms: visit.ago(at_ms) for at_ms in {each.updated_ms for each in found}}
    lines = []
    for row in rows:
        each = by_flow.get(row.id, none)
        waiting = live.get(row.id, {}).get("pending")
        lines.append(
            Line(
                row.id, row.name, row.place, number(each.received), number(each.activated), number(each.skipped),
                number(each.failed), number(waiting), percent(delivery_rate(each.activated, each.failed)),
                each.updated_ms, agos.get(each.updated_ms, ""),
            )
        )  # fmt: skip
    return lines


def _series(slots: Sequence[RunFigures], since_ms: int, step_ms: int, count: int) -> dict[str, list[float]]:
    """Stretch by stretch, epoch seconds: what the chart draws. Stretches without a run are zero."""
    starts = [since_ms + number * step_ms for number in range(count)]
    there = {each.start_ms: each for each in slots}
    none = RunFigures()
    lines = {name: [getattr(there.get(at, none), name) for at in starts] for name in _COUNTS}
    return {"at": [at / 1000 for at in starts], **lines}


def _funnel(status: engine.Answer, flow: str) -> list[tuple[str, int]]:
    """Accepted, exported, sent, delivered, dead-lettered since the data folder was made; empty without an answer."""
    if not status.ok:
        return []
    totals = (status.value.get("totals") or {}).get("flows") or {}
    chosen = [each for flow_id, each in totals.items() if flow in ("", flow_id)]

    def total(name: str) -> int:
        return sum(int(each.get(name, 0)) for each in chosen)

    delivered, dead = total("delivered"), total("dead_lettered")
    return [
        ("accepted", total("accepted")),
        ("exported", total("exported")),
        ("sent", delivered + dead),
        ("delivered", delivered),
        ("dead", dead),
    ]


def _heat(status: engine.Answer, flow: str) -> list[dict[str, Any]]:
    """Records that each shard took since the engine's start, the busiest first, beside the busiest of its flow."""
    found = [each for each in (status.value or {}).get("shards") or () if flow in ("", each["flow"])]
    most: dict[str, int] = defaultdict(int)
    for each in found:
        most[each["flow"]] = max(most[each["flow"]], each["delivered"])
    found.sort(key=lambda each: -each["delivered"])
    return [{**each, "most": max(1, most[each["flow"]])} for each in found[:_MOST_SHARDS]]
