"""Pure rules: what an engine shows now and then in, what was raised and what recovered out.

No clock, no I/O: the time comes with what is seen. Keeps (tests/alerts/test_rules.py checks each by its number):
    A1  An alert is raised once for as long as its cause lasts, and told as recovered once afterwards.
    A2  A cause that comes and goes within the hold and quiet times of its kind raises nothing, and ends nothing.
    A3  Lag and skip rate recover under half of their limit only.
    A4  What was open before a restart is still open after it, and is not raised again.
    A5  A flow that is gone leaves no alert open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

import msgspec

from headrace.alerts.kinds import KINDS
from headrace.core.flow import FlowAlerts

SKIPS: Final = ("consent", "paused", "catch-up")
"""Reasons of ``core.reasons.HELD`` by which a change that would be exported is skipped."""


class FlowSeen(msgspec.Struct, frozen=True, kw_only=True):
    """What one flow shows.

    Attributes:
        id: Flow id.
        name: On screen.
        paused: Disabled, or paused in the engine.
        capped: Paused in the engine by the cap on dead letters.
        halted: Why its destination accepts nothing; "" when it does.
        breaker: Why it is taken not to answer; "" when it does.
        oldest_ms: Age of the oldest export that waits; 0 when none does.
        pending: Exports that wait.
        exported: Exports made, since the folder was made.
        dead_lettered: Exports that became dead letters, likewise.
        skipped: Changes skipped, by reason, likewise.
        overflow: over, catching-up or "".
        alerts: The flow's own limits.
    """

    id: str
    name: str = ""
    paused: bool = False
    capped: bool = False
    halted: str = ""
    breaker: str = ""
    oldest_ms: int = 0
    pending: int = 0
    exported: int = 0
    dead_lettered: int = 0
    skipped: dict[str, int] = {}
    overflow: str = ""
    alerts: FlowAlerts = FlowAlerts()


class RunSeen(msgspec.Struct, frozen=True, kw_only=True):
    """A run that failed: its id, its flow, and why."""

    id: str
    flow: str
    problem: str = ""


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine shows at one time.

    Attributes:
        now_ms: The time.
        flows: Those at work.
        refused: Updates refused since the folder was made.
        sources_held: No source is read.
        failed_runs: Runs that failed and were not started again.
    """

    now_ms: int
    flows: list[FlowSeen] = []
    refused: int = 0
    sources_held: bool = False
    failed_runs: list[RunSeen] = []


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From when on something is worth an alert.

    Attributes:
        lag_s: Age of the oldest export that waits.
        skip_percent: Share of changes skipped, of those skipped or exported within the window.
        least_changes: So many must there be within the window for a share to say something.
        window_ms: How far back dead letters and skipped changes count.
    """

    lag_s: float = 300.0
    skip_percent: float = 20.0
    least_changes: int = 100
    window_ms: int = 600_000


class Alert(msgspec.Struct, kw_only=True):
    """One alert, open or over.

    Attributes:
        id: Its id.
        kind: Of ``KINDS``.
        flow: Flow id; "" for one of the whole engine.
        severity: critical, warning or info.
        title: One line.
        detail: What was seen when it was raised.
        what_to_do: One or two sentences.
        since_ms: When it was raised, epoch milliseconds.
        until_ms: When it recovered; None while it is open.
        key: What it is about: kind, flow, and run.
    """

    id: str
    kind: str
    flow: str
    severity: str
    title: str
    detail: str
    what_to_do: str
    since_ms: int
    until_ms: int | None = None
    key: str = ""


class Cause(msgspec.Struct, frozen=True):
    """Something that is so now."""

    kind: str
    flow: str = ""
    name: str = ""
    detail: str = ""
    about: str = ""

    @property
    def key(self) -> str:
        """What an alert about it is known by."""
        return f"{self.kind}\0{self.flow}\0{self.about}"


class Memory(msgspec.Struct, kw_only=True):
    """What the rules remember over a restart.

    Attributes:
        open: Alerts that are not over.
        letters: Dead letters by flow, and of updates under "", when last looked at; None before the first look.
        count: Alerts raised so far.
    """

    open: list[Alert] = []
    letters: dict[str, int] | None = None
    count: int = 0


class Rules:
    """See the module.

    Args:
        limits: For flows that say nothing of their own.
        memory: What a former process remembered.

    Attributes:
        memory: Kept up to date; to be stored with what ``look`` gave.
    """

    def __init__(self, limits: Limits, memory: Memory | None = None) -> None:
        self._limits = limits
        self.memory = memory or Memory()
        self._since: dict[str, int] = {}
        """Causes that are not old enough, by key."""
        self._quiet: dict[str, int] = {}
        """Open alerts whose cause is away, by key."""
        self._past: dict[str, deque[tuple[int, FlowSeen]]] = {}
        """Flow id to what it showed within the window; "" to the updates that were refused."""

    def look(self, seen: Seen) -> list[Alert]:
        """Look at an engine again.

        Args:
            seen: Later than what was seen before.

        Returns:
            Alerts that were raised (``until_ms`` is None) or recovered, in that order of their keys.
        """
        self._remember(seen)
        causes = {cause.key: cause for cause in self._causes(seen) if not _muted(cause, seen)}
        told = []
        kept = []
        for alert in self.memory.open:
            cause = causes.pop(alert.key, None)
            if cause is None and self._over(alert, seen.now_ms):
                told.append(alert)
            else:
                if cause is not None:
                    self._quiet.pop(alert.key, None)
                kept.append(alert)
        raised = [self._raised(cause, seen.now_ms) for cause in causes.values() if self._lasts(cause, seen.now_ms)]
        self._since = {key: since for key, since in self._since.items() if key in causes}
        self.memory.open = [*kept, *raised]
        now = {flow.id: flow.dead_lettered for flow in seen.flows} | {"": seen.refused}
        self.memory.letters = (self.memory.letters or {}) | now
        return [*raised, *told]

    def _remember(self, seen: Seen) -> None:
        letters = self.memory.letters
        flows = [*seen.flows, FlowSeen(id="", dead_lettered=seen.refused)]
        for flow in flows:
            past = self._past.get(flow.id)
            if past is None:
                past = self._past[flow.id] = deque()
                if letters is not None:
                    # What became a dead letter while nobody looked counts as new.
                    known = min(letters.get(flow.id, 0), flow.dead_lettered)
                    past.append((seen.now_ms, msgspec.structs.replace(flow, dead_lettered=known)))
            past.append((seen.now_ms, flow))
            while len(past) > 1 and past[1][0] <= seen.now_ms - self._limits.window_ms:
                past.popleft()
        for gone in self._past.keys() - {flow.id for flow in flows}:
            del self._past[gone]

    def _lasts(self, cause: Cause, now_ms: int) -> bool:
        since = self._since.setdefault(cause.key, now_ms)
        return now_ms - since >= KINDS[cause.kind].hold_ms

    def _over(self, alert: Alert, now_ms: int) -> bool:
        since = self._quiet.setdefault(alert.key, now_ms)
        if now_ms - since < KINDS[alert.kind].quiet_ms:
            return False
        del self._quiet[alert.key]
        alert.until_ms = now_ms
        return True

    def _raised(self, cause: Cause, now_ms: int) -> Alert:
        self._since.pop(cause.key, None)
        self.memory.count += 1
        about = KINDS[cause.kind]
        return Alert(
            id=f"{now_ms}-{self.memory.count}", kind=cause.kind, flow=cause.flow, severity=about.severity,
            title=about.title.format(name=cause.name or cause.flow), detail=cause.detail,
            what_to_do=about.what_to_do, since_ms=now_ms, key=cause.key,
        )  # fmt: skip

    # -- what is so now ---------------------------------------------------------------------------

    def _causes(self, seen: Seen) -> Iterator[Cause]:
        if seen.sources_held:
            yield Cause("sources-held", detail="a backlog is over its budget")
        refused = seen.refused - self._past[""][0][1].dead_lettered
        if refused > 0:
            yield Cause(
                "refused-updates", detail=f"{_count(refused, 'update')} {'was' if refused == 1 else 'were'} refused"
            )
        opened = {alert.key for alert in self.memory.open}
        for flow in seen.flows:
            yield from self._of_flow(flow, self._past[flow.id][0][1], opened)
        names = {flow.id: flow.name for flow in seen.flows}
        for run in seen.failed_runs:
            yield Cause("run-failed", run.flow, names.get(run.flow, ""), f"run {run.id}: {run.problem}", run.id)

    def _of_flow(self, flow: FlowSeen, before: FlowSeen, opened: set[str]) -> Iterator[Cause]:
        if flow.paused:
            kind = "dead-letter-cap" if flow.capped else "flow-paused"
            yield Cause(
                kind,
                flow.id,
                flow.name,
                f"{_count(flow.pending, 'export')} {'waits' if flow.pending == 1 else 'wait'}",
            )
        elif flow.halted:
            yield Cause("destination-halted", flow.id, flow.name, flow.halted)
        elif flow.breaker:
            yield Cause("breaker-open", flow.id, flow.name, flow.breaker)
        if flow.overflow:
            yield Cause(
                "catch-up",
                flow.id,
                flow.name,
                f"{_count(flow.pending, 'export')} {'waits' if flow.pending == 1 else 'wait'}",
            )
        lag_s = self._limits.lag_s if flow.alerts.lag_s is None else flow.alerts.lag_s
        lag = Cause(
            "lag",
            flow.id,
            flow.name,
            f"the oldest export waits for {flow.oldest_ms / 1000:,.0f} s; limit {lag_s:g} s",
        )
        # A pause is told of as such: that exports wait meanwhile says nothing more.
        if not flow.paused and flow.oldest_ms > lag_s * (500 if lag.key in opened else 1000):
            yield lag
        letters = flow.dead_lettered - before.dead_lettered
        if letters > 0:
            yield Cause("dead-letters", flow.id, flow.name, _count(letters, "export"))
        yield from self._skips(flow, before, opened)

    def _skips(self, flow: FlowSeen, before: FlowSeen, opened: set[str]) -> Iterator[Cause]:
        percent = self._limits.skip_percent if flow.alerts.skip_percent is None else flow.alerts.skip_percent
        skipped = {reason: n - before.skipped.get(reason, 0) for reason, n in flow.skipped.items()}
        skipped = {reason: n for reason, n in skipped.items() if n > 0}
        count = sum(skipped.values())
        whole = count + flow.exported - before.exported
        cause = Cause("skip-rate", flow.id, flow.name, f"{count:,} of {whole:,} changes: {_reasons(skipped)}")
        limit = percent / 2 if cause.key in opened else percent
        if whole >= self._limits.least_changes and count * 100 > limit * whole:
            yield cause


def _count(number: int, of: str) -> str:
    return f"{number:,} {of}{'' if number == 1 else 's'}"


def _reasons(counts: dict[str, int]) -> str:
    return ", ".join(f"{reason} {n:,}" for reason, n in sorted(counts.items(), key=lambda each: -each[1]))


def _muted(cause: Cause, seen: Seen) -> bool:
    return any(flow.id == cause.flow and cause.kind in flow.alerts.mute for flow in seen.flows)
