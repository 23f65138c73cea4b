"""What is written again, and when: after a pause, or at once in halves."""

from __future__ import annotations

import heapq
import random
from collections import deque
from collections.abc import Iterator
from typing import Final

from headrace.destinations.pending import Pending

_FIRST_WAIT_S: Final = 0.05
_MOST_WAIT_S: Final = 20.0


class Retries:
    """Exports that were refused and wait for their next write.

    Args:
        rng: Jitter.
    """

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._later: list[tuple[float, int, list[Pending]]] = []
        self._count = 0
        self.halves: deque[list[Pending]] = deque()
        """Requests that go next, as they are."""

    def back_off(self, group: list[Pending], now_s: float) -> None:
        """Try again later: full jitter under a doubling bound, one draw for all of one shard, request and attempt."""
        attempts, asked_s = group[0].attempts, 0.0
        for p in group:
            outcome = p.outcome
            if outcome is not None:
                asked_s = max(asked_s, outcome.wait_s)
        bound_s = min(_MOST_WAIT_S, _FIRST_WAIT_S * 2.0 ** (min(attempts, 16) - 1))
        wait_s = max(self._rng.uniform(0.0, bound_s), asked_s)
        self._count += 1
        heapq.heappush(self._later, (now_s + wait_s, self._count, group))

    def split(self, refused: list[Pending]) -> None:
        """Something in a request of several was refused: its halves go next, down to the one record at fault."""
        half = len(refused) // 2
        for part in (refused[:half], refused[half:]):
            if part:
                self.halves.append(part)

    def due(self, now_s: float) -> list[Pending]:
        """Take off what has waited long enough; the last to be due comes first."""
        later = self._later
        back: list[Pending] = []
        while later and later[0][0] <= now_s:
            back = heapq.heappop(later)[2] + back
        return back

    def at_once(self) -> None:
        """Nothing needs to wait any longer."""
        self._later = [(0.0, count, group) for _, count, group in self._later]

    def wait_s(self, now_s: float) -> float | None:
        """Seconds until the next is due; None when none waits."""
        return self._later[0][0] - now_s if self._later else None

    def waiting(self) -> Iterator[Pending]:
        """All that wait."""
        yield from (p for _, _, group in self._later for p in group)
        yield from (p for part in self.halves for p in part)
