"""What a flow's settlements showed since the start: how long they took, and which audiences they were about.

Kept beside the totals, not in them: it is lost with the process, and costs no commit anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from headrace.destinations.base import Verdict
from headrace.destinations.pending import Pending, made_at

_REJECTED: Final = int(Verdict.REJECTED)
_COARSE_MS: Final = 5000
"""Longer latencies are kept by the second, so that their number stays small."""


class Tally:
    """Of one flow.

    Attributes:
        latency_ms: Milliseconds from an input's commit to its export's settlement, to how many took so long.
        segments: Mapped audience (``namespace/id``) to exports delivered about a change of it.
    """

    __slots__ = ("latency_ms", "segments")

    def __init__(self) -> None:
        self.latency_ms: dict[int, int] = {}
        self.segments: dict[str, int] = {}

    def settled(self, done: Sequence[Pending], now_ms: int) -> None:
        """Count what was settled."""
        latency, segments = self.latency_ms, self.segments
        runs, crossing = made_at(done)
        for made_ms, count in runs:
            took = now_ms - made_ms
            if took > _COARSE_MS:
                took -= took % 1000
            latency[took] = latency.get(took, 0) + count
        for p in crossing:
            if p.outcome is None or p.outcome.verdict != _REJECTED:
                for each in (*p.cause.joined, *p.cause.left):
                    segments[each] = segments.get(each, 0) + 1


def added(parts: Iterable[dict[int, int]]) -> dict[int, int]:
    """Counts of several, together."""
    found: dict[int, int] = {}
    for part in parts:
        for key, count in part.items():
            found[key] = found.get(key, 0) + count
    return found
