"""Inputs that come from within: what timers, backfills and operators add beside the sources.

An inner source keeps records of its own in the state. What it gives, and what its records say about it, are in one
commit, so a crash at any instruction neither loses an input nor gives it twice.

Contract of an inner source (tests/runtimes/test_inner.py):
    N1  What ``take`` gives is decided in the very next commit; whatever ``take`` and ``decided`` put into the batch
        is in that commit.
    N2  Between ``take`` and ``decided`` nothing else happens.
    N3  What a source gives as updates (``updates`` of ``Given``) are the last source batch of the decision.
    N4  After ``due_ms`` answered a time, ``take`` at that time gives inputs, or ``due_ms`` answers another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from headrace.clock import Clock
from headrace.runtimes.embedded.decision import Command, Decision
from headrace.sources.base import Batch as SourceBatch
from headrace.state.base import Batch


class Given(NamedTuple):
    """What an inner source gives.

    Attributes:
        commands: Inputs.
        updates: Updates, decided before them; None for none.
    """

    commands: Sequence[Command]
    updates: SourceBatch | None = None


class Inner(Protocol):
    """See the contract above."""

    def due_ms(self, now_ms: int) -> int | None:
        """When it has something next, epoch milliseconds; None for not before something else happens."""
        ...

    def take(self, most: int, now_ms: int, batch: Batch) -> Sequence[Command] | Given:
        """Up to *most* inputs, now. May put changes of its records into the batch."""
        ...

    def decided(self, answers: Sequence[tuple[str, ...]], decision: Decision, now_ms: int, batch: Batch) -> None:
        """What became of them: for each, flow by flow, why nothing was exported, "" where something was."""
        ...


class Within:
    """All inner sources together, and the alarm that wakes the loop for them.

    Args:
        clock: Time.
        wake: Wakes the loop.
    """

    def __init__(self, clock: Clock, wake: Callable[[], None]) -> None:
        self._clock, self._wake = clock, wake
        self._sources: list[Inner] = []
        self._taken: list[tuple[Inner, int]] = []
        self._alarm: asyncio.Task[None] | None = None
        self._alarm_ms = 0
        self._stopped = False

    def add(self, source: Inner) -> None:
        """Ask this one too, after those that are there."""
        self._sources.append(source)

    def stop(self) -> None:
        """Give nothing more: the process ends, and the next one goes on."""
        self._stopped = True
        self.close()

    def close(self) -> None:
        """Let go of the alarm."""
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def ready(self) -> bool:
        """True when a source has something now; otherwise the loop will be woken when one has."""
        if self._stopped:
            return False
        now_ms = self._clock.now_ms()
        soonest: int | None = None
        for source in self._sources:
            due_ms = source.due_ms(now_ms)
            if due_ms is not None and (soonest is None or due_ms < soonest):
                if due_ms <= now_ms:
                    return True
                soonest = due_ms
        self._set(soonest)
        return False

    def _set(self, at_ms: int | None) -> None:
        if self._alarm is not None and (at_ms != self._alarm_ms or self._alarm.done()):
            self.close()
        if at_ms is not None and self._alarm is None:
            self._alarm_ms = at_ms
            self._alarm = asyncio.create_task(self._ring(at_ms), name="alarm")

    async def _ring(self, at_ms: int) -> None:
        await self._clock.until(at_ms)
        self._wake()

    def take(self, most: int, now_ms: int, batch: Batch) -> tuple[list[Command], list[SourceBatch]]:
        """Up to *most* inputs of the sources that have some; and updates, of one source at the most."""
        commands: list[Command] = []
        updates: list[SourceBatch] = []
        self._taken = []
        if self._stopped:
            return commands, updates
        for source in self._sources:
            due_ms = source.due_ms(now_ms)
            if due_ms is None or due_ms > now_ms:
                continue
            given = source.take(most - len(commands), now_ms, batch)
            if isinstance(given, Given):
                updates += [given.updates] if given.updates is not None else []
                given = given.commands
            commands += given
            self._taken.append((source, len(given)))
            if len(commands) >= most:
                break
        return commands, updates

    def decided(self, decision: Decision, first: int, now_ms: int, batch: Batch) -> None:
        """Tell each source what became of its inputs.

        Args:
            decision: Of the batch.
            first: Index of the first input that ``take`` gave among the decision's answers.
            now_ms: Time of the batch.
            batch: Where changes of their records go.
        """
        for source, count in self._taken:
            source.decided(decision.answers[first : first + count], decision, now_ms, batch)
            first += count
        self._taken = []
