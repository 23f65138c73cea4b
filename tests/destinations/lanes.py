"""A dispatcher on a memory stream, watched: each write is held to D2 and D4 at the moment it is made."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from headrace.clock import Manual
from headrace.core.model import Cause, Export
from headrace.destinations.base import Limits, Outcome, Verdict
from headrace.destinations.dispatch import Block, Dispatcher, Pending, pending
from headrace.destinations.memory import MemoryStream, Rule

T = TypeVar("T")

TURNS = 200_000
"""More turns of the loop than any test here needs; what takes longer hangs."""


class LongestWait(random.Random):
    """Jitter that always draws the longest wait, so that waits can be foretold."""

    def uniform(self, a: float, b: float) -> float:
        return max(a, b)


class WatchedWriter:
    """Writes to a memory stream and watches what it is given.

    Attributes:
        requests: The records of each write, in order of their starts.
        under_way: Writes not answered yet.
        most_under_way: Most of them at once.
        held: Set to hold back every answer until it is set.
    """

    def __init__(self, lanes: Lanes, limits: Limits, turns: Callable[[], int]) -> None:
        self.limits = limits
        self.requests: list[list[Pending]] = []
        self.under_way = self.most_under_way = 0
        self.held: asyncio.Event | None = None
        self._lanes = lanes
        self._turns = turns

    async def write(self, records: Sequence[Any]) -> Sequence[Outcome]:
        batch: list[Pending] = list(records)
        self.requests.append(batch)
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        self._lanes.watch(batch, self.under_way)
        try:
            for _ in range(self._turns()):
                await asyncio.sleep(0)
            if self.held is not None:
                await self.held.wait()
            return self._lanes.stream.take(batch)
        finally:
            self.under_way -= 1

    async def close(self) -> None: ...


class Lanes:
    """A dispatcher with everything around it.

    Args:
        rules: Refusals.
        limits: Of the writer.
        clock: Moves by itself unless another is given.
        rng: Jitter.
        ordered: See ``Dispatcher``.
        confirmed: See ``Dispatcher``.
        turns: How many turns of the loop each write takes.
    """

    def __init__(
        self,
        *rules: Rule,
        limits: Limits | None = None,
        clock: Manual | None = None,
        rng: random.Random | None = None,
        ordered: bool = True,
        confirmed: bool = False,
        linger_s: float = 0.02,
        turns: Callable[[], int] = lambda: 1,
    ) -> None:
        self.stream = MemoryStream(rules)
        self.clock = clock or Manual(auto=True)
        self.writer = WatchedWriter(self, limits or Limits(), turns)
        self.ordered = ordered
        self.settled: list[Pending] = []
        self.halts = 0
        self.waiting: set[tuple[int, int]] = set()
        """(bucket, ordinal) of what was announced and is not settled."""
        self._blocks: dict[tuple[int, int], Block] = {}
        self.of_lane: dict[str, list[Pending]] = {}
        self.broken: list[str] = []
        self._ordinal = 0
        self.dispatcher = Dispatcher(
            self.writer, clock=self.clock, rng=rng or random.Random(1), settled=self._on_settled,
            unsettled=self._unsettled, halted=self._on_halt,
            linger_s=linger_s, ordered=ordered, confirmed=confirmed,
        )  # fmt: skip

    def _on_settled(self, done: Sequence[Pending]) -> None:
        self.settled += done
        self.waiting -= {(p.block.bucket, p.export.ordinal) for p in done}

    def _unsettled(self, bucket: int, ordinal: int) -> bool:
        """As the outbox tells it: by the block's bits, which are set before anybody is told."""
        block = self._blocks.get((bucket, ordinal))
        return (bucket, ordinal) in self.waiting and (block is None or not block.bits)

    def _on_halt(self) -> None:
        self.halts += 1

    def watch(self, batch: list[Pending], under_way: int) -> None:
        """Note what a write breaks: D2 and D4."""
        limits = self.writer.limits
        if len(batch) > limits.records or sum(p.size for p in batch) > limits.request_bytes or not batch:
            self.broken.append(f"a request of {len(batch)} records, {sum(p.size for p in batch)} bytes")
        if under_way > limits.in_flight:
            self.broken.append(f"{under_way} requests under way")
        settled = set(map(id, self.settled))
        for p in batch:
            if id(p) in settled:
                self.broken.append(f"{p.data!r} was written after it was settled")
            if any(self._unsettled(*place) for place in p.after):
                self.broken.append(f"{p.data!r} was written before what it waits for")
            earlier = [q for q in self.of_lane[p.lane] if q.export.ordinal < p.export.ordinal]
            if self.ordered and any(id(q) not in settled for q in earlier):
                self.broken.append(f"{p.data!r} was written before an earlier one of its lane")

    def export(
        self, lane: str, data: bytes = b"", *, after: Sequence[tuple[int, int]] = (), key: str | None = None,
        bucket: int = 0,
    ) -> Pending:  # fmt: skip
        """The next export, announced and not added yet; its data tells it from all others unless given."""
        self._ordinal += 1
        export = Export(
            self._ordinal, lane, "", 1, 1, 1, lane if key is None else key, data or b"%s#%d" % (lane.encode(),
            self._ordinal), Cause("live"), self.clock.now_ms(), "", list(after),
        )  # fmt: skip
        p = pending(export, Block(bucket, [self._ordinal]), 0)
        self.waiting.add((bucket, self._ordinal))
        self._blocks[bucket, self._ordinal] = p.block
        self.of_lane.setdefault(lane, []).append(p)
        return p

    def add(self, *lanes: str) -> list[Pending]:
        """Announce and add one export a lane."""
        made = [self.export(lane) for lane in lanes]
        self.dispatcher.add(made)
        return made

    async def until(self, reached: Callable[[], bool]) -> None:
        """Let the loop turn until something is so."""
        for _ in range(TURNS):
            if reached():
                return
            await asyncio.sleep(0)
        raise AssertionError(f"hangs: {self.dispatcher.records} exports wait, {len(self.settled)} are settled")

    async def turns(self, count: int = 30) -> None:
        """Let everybody do what can be done without the time moving."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def all_settled(self, count: int) -> None:
        """Until so many are settled, and then a little longer, to see whether more happens."""
        await self.until(lambda: len(self.settled) >= count)
        await self.turns()

    def run(self, use: Callable[[Lanes], Awaitable[T]]) -> T:
        """Use the dispatcher while it runs, then end it; whatever was broken on the way fails the test."""

        async def running() -> T:
            task = asyncio.create_task(self.dispatcher.run())
            try:
                made = await use(self)
                if task.done():
                    await task
                return made
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        made = asyncio.run(running())
        assert self.broken == []
        return made

    def send(self, exports: Sequence[Pending]) -> None:
        """Add everything at once and run until all of it is settled."""

        async def use(lanes: Lanes) -> None:
            lanes.dispatcher.add(exports)
            await lanes.all_settled(len(exports))

        self.run(use)

    def delivered(self) -> list[bytes]:
        """Data of what was settled as delivered, in that order."""
        return [p.data for p in self.settled if p.outcome is not None and p.outcome.verdict == Verdict.DELIVERED]

    def accepted(self) -> list[bytes]:
        """Data of what the stream took, in order."""
        return [record.data for record in self.stream.accepted]
