"""Time as a part that can be replaced: the system's, or one moved by hand.

Everything that waits or stamps takes a ``Clock``; no test waits for real time to pass.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Protocol


class Clock(Protocol):
    """The time, and waiting for it."""

    def now_ms(self) -> int:
        """Milliseconds since 1970-01-01 UTC."""
        ...

    def monotonic_s(self) -> float:
        """Seconds that never go back, for intervals."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Return once *seconds* have passed on this clock."""
        ...


class System:
    """The machine's clock."""

    def now_ms(self) -> int:
        """See ``Clock``."""
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        """See ``Clock``."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        await asyncio.sleep(seconds)


class Manual:
    """A clock that moves only when told to, or, with *auto*, jumps to the next sleeper when all wait.

    Args:
        start_ms: The first reading.
        auto: Sleeping itself moves the time: each sleep returns after one turn of the loop.
    """

    def __init__(self, start_ms: int = 1_700_000_000_000, *, auto: bool = False) -> None:
        self._ms = float(start_ms)
        self._auto = auto
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now_ms(self) -> int:
        """See ``Clock``."""
        return int(self._ms)

    def monotonic_s(self) -> float:
        """See ``Clock``."""
        return self._ms / 1000

    def advance(self, seconds: float) -> None:
        """Move the time on and wake whoever is due, in the order of their times."""
        target = self._ms + seconds * 1000
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._ms = max(self._ms, due)
            if not future.done():
                future.set_result(None)
        self._ms = target

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        if self._auto:
            self._ms += max(0.0, seconds) * 1000
            await asyncio.sleep(0)
            return
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._ms + max(0.0, seconds) * 1000, self._count, future))
        await future
