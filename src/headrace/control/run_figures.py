"""The figures of runs, and their sums by flow, by stretch of time and by reason: what a store keeps beside the runs.

A stretch is an hour, a quarter of a day or a day of UTC. Stores keep the sums of each, so that a month of a hundred
flows is read from a few thousand rows whatever the number of its runs.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec

from .resources import Resource, Scope

HOUR_MS: Final = 3_600_000
STEPS_MS: Final = (HOUR_MS, 6 * HOUR_MS, 24 * HOUR_MS)
"""Lengths of a stretch."""

Side = Literal["failed", "excluded"]


class Reason(msgspec.Struct, frozen=True, kw_only=True):
    """How many records have one reason.

    Attributes:
        kind: failed, or excluded.
        code: Of the closed list of reasons.
        message: One sentence.
        count: Records.
    """

    kind: Side
    code: str
    message: str
    count: int


class RunFigures(msgspec.Struct, frozen=True, kw_only=True):
    """What is counted of a run, or the sum over several.

    Attributes:
        flow: Flow id; empty for the sum over flows.
        start_ms: Start of the hour or of the stretch, epoch milliseconds; 0 for the sum over time.
        received: Profile changes.
        activated: Records acknowledged.
        skipped: Changes that were not exported.
        failed: Records refused for good.
        sent_bytes: Of the records acknowledged.
        weighed_ms: Mean latency of each run times its records, summed.
        weighed: Records of the runs that have a mean latency.
        greatest_ms: Longest latency; None without one.
        updated_ms: Latest change of a run.
        runs: How many runs.
    """

    flow: str = ""
    start_ms: int = 0
    received: int = 0
    activated: int = 0
    skipped: int = 0
    failed: int = 0
    sent_bytes: int = 0
    weighed_ms: int = 0
    weighed: int = 0
    greatest_ms: int | None = None
    updated_ms: int = 0
    runs: int = 1

    @property
    def rate(self) -> float | None:
        """The share of what was received that was activated or skipped; None when nothing was received."""
        return min(1.0, (self.activated + self.skipped) / self.received) if self.received else None

    @property
    def average_ms(self) -> float | None:
        """The mean latency over all records; None without one."""
        return self.weighed_ms / self.weighed if self.weighed else None


class SumsQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Which runs, and how long a stretch is.

    Attributes:
        scope: Where they belong.
        since_ms: Start of the first stretch; a multiple of *step_ms*.
        step_ms: One of ``STEPS_MS``.
        flow: Only of this flow; None for all.
    """

    scope: Scope
    since_ms: int
    step_ms: int = HOUR_MS
    flow: str | None = None


class RunSums(msgspec.Struct, frozen=True, kw_only=True):
    """The sums of a query.

    Attributes:
        flows: Of each flow that has runs, by flow id.
        slots: Of each stretch that has runs, in order.
        reasons: The most frequent first, then by kind and code.
    """

    flows: list[RunFigures]
    slots: list[RunFigures]
    reasons: list[Reason]


SUMMED: Final = ("received", "activated", "skipped", "failed", "sent_bytes", "weighed_ms", "weighed", "runs")


def figures_of(run: Resource) -> tuple[RunFigures, tuple[Reason, ...]]:
    """What is counted of a run, and its reasons; a run without figures counts nothing."""
    metrics: dict[str, Any] = run.body.get("metrics") or {}
    records, latency = metrics.get("recordSummary") or {}, metrics.get("latencySummary") or {}
    started = (metrics.get("durationSummary") or {}).get("startedAtUTC") or run.created_ms
    activated = int(records.get("outputRecordCount", 0))
    average = latency.get("avgMs")
    made = RunFigures(
        flow=str(run.body.get("flowId", "")),
        start_ms=started - started % HOUR_MS,
        received=int(records.get("inputRecordCount", 0)),
        activated=activated,
        skipped=int(records.get("skippedRecordCount", 0)),
        failed=int(records.get("failedRecordCount", 0)),
        sent_bytes=int((metrics.get("sizeSummary") or {}).get("outputBytes", 0)),
        weighed_ms=0 if average is None else int(average) * activated,
        weighed=0 if average is None else activated,
        greatest_ms=latency.get("maxMs"),
        updated_ms=run.updated_ms,
    )
    sides: tuple[tuple[Side, str], ...] = (("failed", "failedInfo"), ("excluded", "skippedInfo"))
    reasons = tuple(
        Reason(kind=kind, code=each["code"], message=each["message"], count=each["count"])
        for kind, name in sides
        for each in records.get(name) or ()
    )
    return made, reasons


def total(figures: Iterable[RunFigures], *, flow: str = "", start_ms: int = 0) -> RunFigures:
    """The sum of some figures."""
    found = list(figures)
    return RunFigures(
        flow=flow,
        start_ms=start_ms,
        **{name: sum(getattr(each, name) for each in found) for name in SUMMED},
        greatest_ms=max((each.greatest_ms for each in found if each.greatest_ms is not None), default=None),
        updated_ms=max((each.updated_ms for each in found), default=0),
    )


def sums(runs: Iterable[Resource], query: SumsQuery) -> RunSums:
    """The sums of a query over runs of its scope; what a store without tables answers."""
    by_flow: dict[str, list[RunFigures]] = defaultdict(list)
    by_slot: dict[int, list[RunFigures]] = defaultdict(list)
    reasons: list[Reason] = []
    for run in runs:
        figures, found = figures_of(run)
        if figures.start_ms < query.since_ms or query.flow not in (None, figures.flow):
            continue
        by_flow[figures.flow].append(figures)
        by_slot[figures.start_ms - figures.start_ms % query.step_ms].append(figures)
        reasons += found
    return RunSums(
        flows=[total(found, flow=flow) for flow, found in sorted(by_flow.items())],
        slots=[total(found, start_ms=start_ms) for start_ms, found in sorted(by_slot.items())],
        reasons=counted(reasons),
    )


def counted(reasons: Sequence[Reason]) -> list[Reason]:
    """Each reason once, the most frequent first."""
    counts: dict[tuple[Side, str], int] = defaultdict(int)
    messages: dict[tuple[Side, str], str] = {}
    for each in reasons:
        counts[each.kind, each.code] += each.count
        messages[each.kind, each.code] = max(messages.get((each.kind, each.code), ""), each.message)
    ordered = sorted(counts.items(), key=lambda one: (-one[1], *one[0]))
    return [Reason(kind=kind, code=code, message=messages[kind, code], count=n) for (kind, code), n in ordered]
