"""Make the hourly runs of flows from the engine's counters.

What an hour holds is the difference of a flow's totals at its two ends. The totals at the last look are kept with the
run itself, and the next run begins with them: nothing is counted twice or lost, whichever process was away in
between. What happened while nobody looked is in the run of the next look, unless the engine has kept the hour's end.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from headrace.core.reasons import DISCARDS, HELD

from . import runs
from .resources import Kind, Resource, Scope
from .runs import HOUR_MS, Count, Figures
from .service import Control
from .store import Query

_PLAIN: Final = ("accepted", "exported", "delivered", "dead_lettered", "delivered_bytes")
_MAPS: Final = ("held", "discarded", "codes")
_SWEPT: Final = 500
"""Runs removed in one transaction."""
DAY_MS: Final = 24 * HOUR_MS


class Recorder:
    """Records the runs of a sandbox's flows.

    Args:
        control: The parts.
        scope: The sandbox that the engine works in.
        keep_days: How long runs are kept.
    """

    def __init__(self, control: Control, scope: Scope, keep_days: int = 30) -> None:
        self._control = control
        self._scope = scope
        self._keep_ms = keep_days * DAY_MS
        self._swept_hour = 0

    def look(self, hours: Mapping[str, Any]) -> None:
        """Put down what the engine says.

        Args:
            hours: Its answer to ``hours``: the totals at the end of each hour that it has seen, and now.
        """
        life = str(hours["life"])
        current = hours["current"]
        past = {int(each["start_ms"]): each for each in hours["past"]}
        for flow_id in current["flows"]:
            last = self._last(flow_id)
            for start_ms in sorted(past):
                # Hours before the last one recorded are closed.
                if flow_id in past[start_ms]["flows"] and (last is None or start_ms >= _start(last)):
                    last = self._record(flow_id, start_ms, past[start_ms]["flows"][flow_id], life, last, over=True)
            start_ms = int(current["start_ms"])
            if last is not None and _start(last) < start_ms and last.state == "inProgress":
                # Its end was not seen: what came after the last look is in the next run.
                self._close(flow_id, last)
            self._record(flow_id, start_ms, current["flows"][flow_id], life, last, over=False)
        if int(current["start_ms"]) != self._swept_hour:
            self.sweep()
            self._swept_hour = int(current["start_ms"])

    def sweep(self) -> int:
        """Remove runs that are too old; how many were."""
        before_ms = self._control.clock.now_ms() - self._keep_ms
        removed = 0
        while True:
            with self._control.store.write() as transaction:
                query = Query(kind=Kind.RUN, scope=self._scope, order=runs.OLDEST, limit=_SWEPT)
                old = [each for each in transaction.find(query) if each.created_ms < before_ms]
                for each in old:
                    transaction.remove(each)
            removed += len(old)
            if len(old) < _SWEPT:
                return removed

    def _last(self, flow_id: str) -> Resource | None:
        """The latest run that was recorded of a flow."""
        with self._control.store.read() as transaction:
            refers = frozenset({runs.hours_of(flow_id)})
            found = transaction.find(Query(kind=Kind.RUN, scope=self._scope, refers=refers, limit=1))
        return found[0] if found else None

    def _record(
        self, flow_id: str, start_ms: int, seen: Mapping[str, Any], life: str, last: Resource | None, *, over: bool
    ) -> Resource | None:
        """Put down one hour; the run as it is then."""
        same = last is not None and _start(last) == start_ms
        kept: Mapping[str, Any] = last.notes if last is not None else {}
        if same and last is not None and last.state != "inProgress":
            return last
        totals = {name: seen["totals"][name] for name in (*_PLAIN, *_MAPS)}
        base = kept["base"] if same else kept.get("end", {})
        if any(totals[name] < base.get(name, 0) for name in _PLAIN):
            base = totals  # the data folder is another one, or a backup of it: what it did before is not this hour's
        lives = dict(kept["lives"]) if same else {}
        if seen["latency"] is not None or seen["segments"]:
            lives[life] = {"latency": seen["latency"], "segments": seen["segments"]}
        notes = {"start": start_ms, "base": base, "end": totals, "lives": lives}
        return self._put(flow_id, start_ms, notes, over=over)

    def _close(self, flow_id: str, run: Resource) -> None:
        self._put(flow_id, _start(run), run.notes, over=True)

    def _put(self, flow_id: str, start_ms: int, notes: dict[str, Any], *, over: bool) -> Resource | None:
        figures = figures_of(notes, over=over)
        run_id = runs.record_run(self._control, self._scope, flow_id, start_ms, figures, notes)
        if run_id is None:
            return None
        with self._control.store.read() as transaction:
            return transaction.get(Kind.RUN, self._scope, run_id)


def _start(run: Resource) -> int:
    return int(run.notes["start"])


def figures_of(notes: Mapping[str, Any], *, over: bool) -> Figures:
    """The figures of an hour: the difference of its totals, and what each life of the engine saw within it."""
    base, end, lives = notes["base"], notes["end"], notes["lives"].values()
    plain = {name: end[name] - base.get(name, 0) for name in _PLAIN}
    maps = {name: _since(end[name], base.get(name, {})) for name in _MAPS}
    latencies = [each["latency"] for each in lives if each["latency"]]
    segments: dict[str, int] = {}
    for each in lives:
        for name, count in each["segments"].items():
            segment_id = name.partition("/")[2]
            segments[segment_id] = segments.get(segment_id, 0) + count
    skips = [(code, HELD.get(code, code), n) for code, n in maps["held"].items()]
    skips += [(code, DISCARDS.get(code, code), n) for code, n in maps["discarded"].items()]
    return Figures(
        received=plain["accepted"],
        delivered=plain["delivered"],
        failed=plain["dead_lettered"],
        skipped=sum(n for _, _, n in skips),
        output_bytes=plain["delivered_bytes"],
        least_ms=min((each[0] for each in latencies), default=None),
        greatest_ms=max((each[1] for each in latencies), default=None),
        average_ms=sum(each[2] for each in latencies) // sum(each[3] for each in latencies) if latencies else None,
        failures=tuple(
            Count(code=code, message=f"The destination does not take it: {code}", count=n)
            for code, n in sorted(maps["codes"].items())
        ),
        skips=tuple(Count(code=code, message=words, count=n) for code, words, n in sorted(skips)),
        segments=segments,
        completed=over,
    )


def _since(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    return {key: count - before.get(key, 0) for key, count in now.items() if count > before.get(key, 0)}
