"""What each flow did hour by hour, as far as this process has seen it: the material of dataflow runs.

The figures are the totals at the end of each hour, so that what an hour holds is a difference, and nothing is counted
twice or lost between two of them. The last ``KEPT`` hours are kept, for a control process that was away.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

import msgspec

from headrace.clock import Clock
from headrace.runtimes.embedded.engine import Engine

HOUR_MS: Final = 3_600_000
KEPT: Final = 48


class Hours:
    """The hours of an engine.

    Args:
        engine: Whose flows.
        clock: Its time.
    """

    def __init__(self, engine: Engine, clock: Clock) -> None:
        self._engine = engine
        self._clock = clock
        self._life = clock.now_ms()
        self._start_ms = _floor(self._life)
        self._latency: dict[str, dict[int, int]] = {}
        self._segments: dict[str, dict[str, int]] = {}
        self._past: deque[dict[str, Any]] = deque(maxlen=KEPT)

    async def keep(self) -> None:
        """Close each hour as it ends; cancelled at the end."""
        while True:
            now_ms = self._clock.now_ms()
            await self._clock.sleep((_floor(now_ms) + HOUR_MS - now_ms) / 1000)
            self.mark()

    def mark(self) -> None:
        """Close the hour, if it is over."""
        now = _floor(self._clock.now_ms())
        if now <= self._start_ms:
            return
        self._past.append(self._hour())
        self._latency = {flow_id: dict(tally.latency_ms) for flow_id, tally in self._engine.tallies.items()}
        self._segments = {flow_id: dict(tally.segments) for flow_id, tally in self._engine.tallies.items()}
        self._start_ms = now

    def answer(self) -> dict[str, Any]:
        """``life`` (when this process began), ``past`` (closed hours, the oldest first) and ``current``.

        An hour has ``start_ms`` and ``flows``: flow id to ``totals`` (at its end), ``latency`` (least, greatest and
        sum in milliseconds, and count) and ``segments``, the latter two of this hour within this life.
        """
        self.mark()
        return {"life": self._life, "past": list(self._past), "current": self._hour()}

    def _hour(self) -> dict[str, Any]:
        totals = self._engine.totals.flows
        flows = {}
        for flow_id in self._engine.flows:
            tally = self._engine.tallies.get(flow_id)
            flows[flow_id] = {
                "totals": msgspec.to_builtins(totals[flow_id]),
                "latency": _range(_since(tally.latency_ms, self._latency.get(flow_id, {}))) if tally else None,
                "segments": _since(tally.segments, self._segments.get(flow_id, {})) if tally else {},
            }
        return {"start_ms": self._start_ms, "flows": flows}


def _floor(at_ms: int) -> int:
    return at_ms - at_ms % HOUR_MS


def _since(now: dict[Any, int], before: dict[Any, int]) -> dict[Any, int]:
    return {key: count - before.get(key, 0) for key, count in now.items() if count != before.get(key, 0)}


def _range(counts: dict[int, int]) -> list[int] | None:
    """Least, greatest, sum and count; None of nothing."""
    if not counts:
        return None
    return [min(counts), max(counts), sum(ms * n for ms, n in counts.items()), sum(counts.values())]
