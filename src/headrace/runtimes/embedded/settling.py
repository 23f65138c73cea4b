"""What flows report of their requests and settlements, kept until the next commit stores it.

Settlements that no input follows are stored together, ``SETTLE_WAIT_S`` after the first of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from headrace.clock import Clock
from headrace.destinations.dispatch import Pending
from headrace.runtimes.base import SETTLE_WAIT_S
from headrace.runtimes.embedded.flow import RunningFlow
from headrace.runtimes.embedded.stages import Stages
from headrace.runtimes.embedded.tally import Tally
from headrace.runtimes.embedded.work import Work

SETTLED_AT_ONCE: Final = 2000
"""Settlements that are not kept waiting for others."""

Settled = list[tuple[RunningFlow, Sequence[Pending]]]
"""Settlements in the order of their coming, with their flow."""


class Settling:
    """See the module.

    Args:
        clock: Time.
        work: Woken when settlements are to be stored.

    Attributes:
        due: The first of those that wait has waited long enough.
        tallies: Flow id to what its settlements showed.
        stages: What requests showed.
        on_settled: Called with the flow's id, settlements, and the time in epoch milliseconds.
        on_answered: Called with the flow's id, the records of a request that was answered, and the seconds it took.
    """

    def __init__(self, clock: Clock, work: Work) -> None:
        self._clock, self._work = clock, work
        self._settled: Settled = []
        self._count = 0
        self.due = False
        self.tallies: dict[str, Tally] = {}
        self.stages = Stages()
        self.on_settled: list[Callable[[str, Sequence[Pending], int], None]] = []
        self.on_answered: list[Callable[[str, Sequence[Pending], float], None]] = []

    @property
    def waiting(self) -> bool:
        """True while settlements are not taken."""
        return bool(self._settled)

    @property
    def many(self) -> bool:
        """True when so many wait that they are stored without waiting for more."""
        return self._count >= SETTLED_AT_ONCE

    def take(self) -> Settled:
        """All that wait, for the commit at hand."""
        settled, self._settled = self._settled, []
        self._count, self.due = 0, False
        return settled

    def settled(self, flow: RunningFlow, done: Sequence[Pending]) -> None:
        """Called by a dispatcher: note it for the next commit, and read on from disk."""
        flow.outbox.touch(done)
        flow.outbox.refill()
        now_ms = self._clock.now_ms()
        self.tallies.setdefault(flow.compiled.id, Tally()).settled(done, now_ms)
        self.stages.of(flow.compiled.id).settled(done)
        for told in self.on_settled:
            told(flow.compiled.id, done, now_ms)
        if not self._settled:
            self._schedule()
        self._settled.append((flow, done))
        self._count += len(done)
        if self.many:
            self._work.wake()

    def answered(self, flow: RunningFlow, batch: Sequence[Pending], took_s: float) -> None:
        """Called by a dispatcher for each request that was answered, whatever the answer."""
        flow_id = flow.compiled.id
        self.stages.of(flow_id).answered(batch, took_s, self._clock.now_ms(), flow.writer.limits)
        for told in self.on_answered:
            told(flow_id, batch, took_s)

    def _schedule(self) -> None:
        async def wait() -> None:
            await self._clock.sleep(SETTLE_WAIT_S)
            if self._settled:
                self.due = True
                self._work.wake()

        self._timer = asyncio.create_task(wait())
