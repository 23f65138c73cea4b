"""One flow at work: its writer, its dispatcher and its outbox, alive together."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Sequence

from headrace.clock import Clock
from headrace.core.flow import CompiledFlow
from headrace.destinations.base import Writer
from headrace.destinations.dispatch import Dispatcher, Pending
from headrace.destinations.shards import StreamControl
from headrace.runtimes.embedded.outbox import Outbox
from headrace.state.base import State
from headrace.state.keys import Keys


class RunningFlow:
    """See the module.

    Args:
        compiled: The flow.
        writer: Where it writes.
        target: Identifies the writer's parameters, so that an unchanged one can be kept.
        control: What flows to the same place share.
        settled: Called with this flow and what was settled.
        halted: Called when its destination accepts nothing any more.
        answered: Called with this flow and each request that was answered, and the seconds that it took.
    """

    def __init__(
        self, compiled: CompiledFlow, writer: Writer, target: bytes, *, state: State, keys: Keys, clock: Clock,
        rng: random.Random, budget_bytes: int, linger_s: float, control: StreamControl,
        settled: Callable[[RunningFlow, Sequence[Pending]], None], halted: Callable[[], None] = lambda: None,
        answered: Callable[[RunningFlow, Sequence[Pending], float], None] = lambda _flow, _batch, _took_s: None,
    ) -> None:  # fmt: skip
        self.compiled = compiled
        self.writer = writer
        self.target = target
        self._clock = clock
        self.outbox = Outbox(state, keys, compiled.id, budget_bytes=budget_bytes)
        self.dispatcher = Dispatcher(
            writer, clock=clock, rng=rng, settled=lambda done: settled(self, done),
            unsettled=self.outbox.unsettled, halted=halted,
            answered=lambda batch, took_s: answered(self, batch, took_s), control=control, linger_s=linger_s,
            ordered=compiled.ordering != "none", confirmed=True,
        )  # fmt: skip
        self.outbox.dispatcher = self.dispatcher
        self.task: asyncio.Task[None] | None = None

    def open(self, durable: int) -> None:
        """Take up what waits in the outbox; nothing is sent yet."""
        self.outbox.open(durable)

    def start(self) -> None:
        """Send, unless the flow is paused."""
        if not self.compiled.paused:
            self.task = asyncio.create_task(self.dispatcher.run(), name=f"dispatch {self.compiled.id}")

    @property
    def idle(self) -> bool:
        """True when nothing of it waits, in memory or on disk."""
        return not self.outbox.behind and not self.dispatcher.records

    @property
    def stuck(self) -> bool:
        """True when waiting longer will not help: halted by the destination, or paused."""
        return self.compiled.paused or self.dispatcher.halt is not None

    async def close(self, grace_s: float) -> int:
        """Stop sending; requests under way get *grace_s* to be answered.

        Returns:
            Writes whose fate is unknown, of records that are sent again.
        """
        left = 0
        if self.task is not None:
            await self.dispatcher.finish(grace_s)
            left = self.dispatcher.in_doubt()
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)
            self.task = None
        await self.writer.close()
        return left
