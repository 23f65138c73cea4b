"""How fast runs over the profiles get on: what the rate of each allows, and how long each has been at it."""

from __future__ import annotations

from collections.abc import Collection

from headrace.state.runs import Run


class Pace:
    """See the module. A run that this process has not seen yet may make one export at once."""

    def __init__(self) -> None:
        self._allowed: dict[str, tuple[float, int]] = {}
        """Run id to the exports it may make, and when that was reckoned."""
        self._seen_ms: dict[str, int] = {}
        """Run id to when it got on last, in this process."""

    def room(self, run: Run, now_ms: int, most: int) -> int:
        """How many exports a run may make now, up to *most*."""
        return min(most, int(self._refilled(run, now_ms))) if run.rate else most

    def next_ms(self, run: Run, now_ms: int) -> int:
        """When a run may make an export."""
        if not run.rate:
            return now_ms
        allowed = self._refilled(run, now_ms)
        return now_ms if allowed >= 1 else now_ms + 1 + int((1 - allowed) * 1000 / run.rate)

    def _refilled(self, run: Run, now_ms: int) -> float:
        allowed, at_ms = self._allowed.get(run.id, (1.0, now_ms))
        allowed = min(allowed + max(0, now_ms - at_ms) * run.rate / 1000, max(1.0, run.rate))
        self._allowed[run.id] = (allowed, now_ms)
        return allowed

    def got_on(self, run: Run, exports: int, now_ms: int) -> None:
        """A run has made so many exports; a pause in between is not counted as time that it took."""
        if run.rate:
            allowed, at_ms = self._allowed[run.id]
            self._allowed[run.id] = (allowed - exports, at_ms)
        if self._seen_ms.get(run.id) == run.updated_ms:
            run.busy_ms += max(0, now_ms - run.updated_ms)
        self._seen_ms[run.id] = run.updated_ms = now_ms

    def keep(self, run_ids: Collection[str]) -> None:
        """Forget all other runs."""
        for of_run in (self._allowed, self._seen_ms):
            for run_id in of_run.keys() - run_ids:
                del of_run[run_id]
