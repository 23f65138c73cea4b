"""Time as a part that can be replaced: the system's, or one moved by hand.

Everything that waits or stamps takes a ``Clock``; no test waits for real time to pass.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from typing import Final, Protocol

_LOOK_S: Final = 60.0


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

    async def until(self, at_ms: int) -> None:
        """Return once the clock reads *at_ms* or later. Waiting so moves no clock, not even an automatic one."""
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

    async def until(self, at_ms: int) -> None:
        """See ``Clock``; a machine that slept, or whose clock was set, is noticed within a minute."""
        while (left_ms := at_ms - self.now_ms()) > 0:  # noqa: ASYNC110 - the time itself is what is waited for
            await asyncio.sleep(min(left_ms / 1000, _LOOK_S))


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
        self._move(self._ms + seconds * 1000)

    def _move(self, target: float) -> None:
        while self._sleepers and self._sleepers[0][0] <= target:
            due, _, future = heapq.heappop(self._sleepers)
            self._ms = max(self._ms, due)
            if not future.done():
                future.set_result(None)
        self._ms = target

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        if self._auto:
            self._move(self._ms + max(0.0, seconds) * 1000)
            await asyncio.sleep(0)
            return
        await self._woken(self._ms + max(0.0, seconds) * 1000)

    async def until(self, at_ms: int) -> None:
        """See ``Clock``."""
        if at_ms > self._ms:
            await self._woken(float(at_ms))

    async def _woken(self, at_ms: float) -> None:
        self._count += 1
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (at_ms, self._count, future))
        await future
