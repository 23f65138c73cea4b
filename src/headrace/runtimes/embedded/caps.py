"""A bound of dead letters: a bad release pauses its flow instead of draining it into dead letters."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from headrace.state import records

_WINDOW_MS: Final = 3_600_000


class Cap:
    """Counts each flow's dead letters within an hour.

    Args:
        most: At so many; 0 for no bound.
        totals: As of the start.
        over: Told the flow's id, once for each time that the bound is reached.
    """

    def __init__(self, most: int, totals: records.Totals, over: Callable[[str], None]) -> None:
        self._most, self._over = most, over
        self._seen = {flow_id: counted.dead_lettered for flow_id, counted in totals.flows.items()}
        self._within: dict[str, deque[tuple[int, int]]] = {}

    def look(self, totals: records.Totals, now_ms: int) -> None:
        """Called after settlements."""
        if not self._most:
            return
        for flow_id, counted in totals.flows.items():
            new = counted.dead_lettered - self._seen.get(flow_id, 0)
            if not new:
                continue
            self._seen[flow_id] = counted.dead_lettered
            within = self._within.setdefault(flow_id, deque())
            within.append((now_ms, new))
            while within[0][0] <= now_ms - _WINDOW_MS:
                within.popleft()
            if sum(count for _, count in within) >= self._most:
                within.clear()
                self._over(flow_id)
