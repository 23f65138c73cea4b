"""Monitoring: how much flowed within a window, from the hourly runs, and how things stand now, from the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import engine, overview
from headrace.console.visit import Console, Visit, page
from headrace.control import runs
from headrace.control.paging import read

from .destination import figures
from .destinations import live_by_flow

HOUR_MS: Final = 3_600_000
WINDOWS: Final = {"24h": 24, "7d": 7 * 24, "30d": 30 * 24}
"""Name of a window to its hours."""
_COUNTS: Final = ("received", "activated", "skipped", "failed")
_MOST_RUNS: Final = 100_000
_AT_ONCE: Final = 1000
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
    hours = WINDOWS[window]
    since_ms = now_ms - now_ms % HOUR_MS - (hours - 1) * HOUR_MS
    shown = [figures(each) for each in _within(visit, flow, since_ms)]
    rows = overview.rows(visit.control, visit.caller)
    status = visit.ask("status")
    return visit.page(
        "monitoring.html", window=window, windows=tuple(WINDOWS), flow=flow, rows=rows, stands=status,
        live=live_by_flow(status), sums=_sums(shown), by_flow=_by_flow(shown), reasons=_reasons(shown),
        chart=msgspec.json.encode(_series(shown, since_ms, hours)).decode(), any_runs=bool(shown),
        funnel=_funnel(status, flow), heat=_heat(status, flow), names={row.id: row.name for row in rows},
    )  # fmt: skip


def _within(visit: Visit, flow: str, since_ms: int) -> list[dict[str, Any]]:
    """The runs since then; lists begin with the newest, so what is older is never read."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    wanted = (f"flowId=={flow}",) if flow else ()
    while len(found) < _MOST_RUNS:
        listing = read(limit=_AT_ONCE, properties=wanted, token=token, most=_AT_ONCE)
        part = runs.list_runs(visit.control, visit.caller, listing)
        found += [each for each in part.items if each["createdAt"] >= since_ms]
        token = part.token
        if token is None or (part.items and part.items[-1]["createdAt"] < since_ms):
            break
    return found


def _sums(shown: Sequence[dict[str, Any]]) -> dict[str, Any]:
    sums: dict[str, Any] = {name: sum(each[name] for each in shown) for name in _COUNTS}
    received = sums["received"]
    sums["rate"] = min(1.0, (sums["activated"] + sums["skipped"]) / received) if received else None
    sums["sent_bytes"] = sum(each["sent_bytes"] for each in shown)
    # A mean of means, weighed by the records that each stands for.
    weighed = [(each["latency"]["avgMs"], each["activated"]) for each in shown if "avgMs" in each["latency"]]
    weight = sum(count for _, count in weighed)
    sums["average_ms"] = sum(ms * count for ms, count in weighed) / weight if weight else None
    longest = [each["latency"]["maxMs"] for each in shown if "maxMs" in each["latency"]]
    sums["greatest_ms"] = max(longest, default=None)
    return sums


def _by_flow(shown: Sequence[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    grouped: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for each in shown:
        grouped[each["flowId"]].append(each)
    return {
        flow_id: {**_sums(members), "updated_ms": max(each["updatedAt"] for each in members)}
        for flow_id, members in grouped.items()
    }


def _reasons(shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Reasons of what failed and what was excluded, the most frequent first."""
    counts: dict[tuple[str, str], int] = defaultdict(int)
    messages: dict[str, str] = {}
    for each in shown:
        for kind, found in (("failed", each["failures"]), ("excluded", each["skips"])):
            for reason in found:
                counts[kind, reason["code"]] += reason["count"]
                messages[reason["code"]] = reason["message"]
    ordered = sorted(counts.items(), key=lambda one: -one[1])
    return [{"kind": kind, "code": code, "message": messages[code], "count": n} for (kind, code), n in ordered]


def _series(shown: Sequence[dict[str, Any]], since_ms: int, hours: int) -> dict[str, list[float]]:
    """Hour by hour, epoch seconds: what the chart draws. Hours without a run are zero."""
    step = 1 if hours <= 48 else 24 if hours > 200 else 6
    slots = range(0, hours, step)
    series: dict[str, list[float]] = {name: [0.0] * len(slots) for name in _COUNTS}
    for each in shown:
        slot = int((each["started_ms"] - since_ms) // HOUR_MS // step)
        if 0 <= slot < len(slots):
            for name in _COUNTS:
                series[name][slot] += each[name]
    return {"at": [since_ms / 1000 + slot * 3600 for slot in slots], **series}


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
