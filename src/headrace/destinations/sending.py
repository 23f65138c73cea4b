"""The coroutines of a dispatcher, apart from it.

A compiled coroutine that is cancelled leaves its cancellation behind as the exception being handled, and every later
error of the thread would hang on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from headrace.clock import Clock
from headrace.destinations.base import Outcome, Writer
from headrace.destinations.pending import Pending

Arrived = Callable[[list[Pending], Sequence[Outcome], float], None]
Flying = Mapping[asyncio.Task[None], Any]


async def run(turn: Callable[[], float | None], wake: asyncio.Event, clock: Clock, flying: Flying) -> None:
    """Take turns until cancelled; then requests under way are given up.

    Args:
        turn: Starts what can start; says how many seconds to wait, None for "until woken".
        wake: Set when there is something to do.
        clock: Waits are on it.
        flying: Requests under way.
    """
    try:
        while True:
            wait_s = turn()
            wake.clear()
            if wait_s is None:
                await wake.wait()
            else:
                await _nap(wait_s, wake, clock)
    finally:
        for task in flying:
            task.cancel()
        await asyncio.gather(*flying, return_exceptions=True)


async def _nap(seconds: float, wake: asyncio.Event, clock: Clock) -> None:
    """Until something happens, at most so long."""
    asleep = asyncio.ensure_future(clock.sleep(seconds))
    woken = asyncio.ensure_future(wake.wait())
    try:
        await asyncio.wait((asleep, woken), return_when=asyncio.FIRST_COMPLETED)
    finally:
        asleep.cancel()
        woken.cancel()


async def write(
    writer: Writer,
    batch: list[Pending],
    clock: Clock,
    arrived: Callable[[list[Pending], Sequence[Outcome], float], None],
) -> None:
    """Write one request, and tell what became of it, and the seconds that it took."""
    began_s = clock.monotonic_s()
    outcomes = await writer.write(batch)
    arrived(batch, outcomes, clock.monotonic_s() - began_s)


async def finish(flying: Flying, clock: Clock, grace_s: float) -> int:
    """Give requests under way so many seconds to be answered; how many were not."""
    if flying and grace_s > 0:
        timer = asyncio.ensure_future(clock.sleep(grace_s))
        landing = asyncio.ensure_future(asyncio.wait(set(flying)))
        await asyncio.wait((timer, landing), return_when=asyncio.FIRST_COMPLETED)
        timer.cancel()
        landing.cancel()
    return len(flying)
