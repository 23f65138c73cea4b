"""An outbox with a real dispatcher and a memory stream behind it, on any state; lives can follow each other."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any, TypeVar

import msgspec
import pytest

from headrace.clock import Manual
from headrace.core.export import bucket_of
from headrace.core.model import Cause, Export
from headrace.destinations import dispatch
from headrace.destinations.base import Limits
from headrace.destinations.dispatch import Dispatcher, Pending
from headrace.destinations.memory import MemoryStream, MemoryWriter, Rule
from headrace.runtimes.embedded.outbox import Outbox
from headrace.state.base import Batch, State
from headrace.state.keys import HEADS, Keys
from headrace.state.memory import MemoryState

T = TypeVar("T")

TURNS = 100_000
KEYS = Keys()


def made(
    ordinal: int, profile: str, *, key: str = "", after: Sequence[tuple[int, int]] = (), size: int = 40
) -> Export:
    """An export whose data tell it from all others."""
    data = b"%s#%d" % (profile.encode(), ordinal)
    return Export(
        ordinal, profile, f"{ordinal}", 1, 1, 1, key or profile, data.ljust(size, b"."), Cause("live"), 0, "",
        list(after),
    )  # fmt: skip


def placed(export: Export) -> tuple[int, int]:
    """Where it lies: bucket and ordinal."""
    return bucket_of(export.key), export.ordinal


class Scans:
    """A state that passes everything on, and notes which ranges are scanned and how many keys come of it."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.ranges: list[tuple[bytes, bytes]] = []
        self.keys = 0

    def scan(self, start: bytes, end: bytes) -> Iterator[tuple[bytes, bytes]]:
        self.ranges.append((start, end))
        for found in self._state.scan(start, end):
            self.keys += 1
            yield found

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


class _Watched(Dispatcher):
    """Notes what is handed over, and how much is loaded afterwards."""

    handed: list[Pending]
    most_bytes: int

    def add(self, exports: Sequence[Pending]) -> None:
        self.handed += exports
        super().add(exports)
        self.most_bytes = max(self.most_bytes, self.bytes + 600 * self.records)


class Box:
    """One life of a flow's outbox.

    Attributes:
        handed: What the dispatcher was given, in order.
        settled: What was settled, in order, stored or not.
        stored: Of those, what is stored as settled.
    """

    def __init__(
        self, state: State, *rules: Rule, flow_id: str = "f", budget_bytes: int = 1 << 20, durable: int = 0,
        limits: Limits | None = None, stream: MemoryStream | None = None,
    ) -> None:  # fmt: skip
        if not (dispatch.__file__ or "").endswith(".py"):
            pytest.skip("boxes watch the dispatcher from within, which a compiled one does not allow")
        self.state = state
        self.stream = stream or MemoryStream(rules)
        self.clock = Manual(auto=True)
        self.outbox = Outbox(state, KEYS, flow_id, budget_bytes=budget_bytes)
        self.settled: list[Pending] = []
        self.stored: list[Pending] = []
        self._unstored = 0
        self.dispatcher = _Watched(
            MemoryWriter(self.stream, limits or Limits()), clock=self.clock, rng=random.Random(1),
            settled=self._on_settled, unsettled=self.outbox.unsettled, linger_s=0,
        )  # fmt: skip
        self.dispatcher.handed, self.dispatcher.most_bytes = [], 0
        self.outbox.dispatcher = self.dispatcher
        self.durable = durable
        self.flow_id = flow_id
        self.outbox.open(durable)

    @property
    def handed(self) -> list[Pending]:
        return self.dispatcher.handed

    def _on_settled(self, done: Sequence[Pending]) -> None:
        self.outbox.touch(done)
        self.outbox.refill()
        self.settled += done
        self._unstored += len(done)

    def write(self, *exports: Export) -> None:
        """Store one batch of exports, durable, and hand it over."""
        batch = self.state.batch()
        staged = self.outbox.stage(batch, [Pending(e, bucket_of(e.key)) for e in exports])
        self.state.commit(batch)
        self.state.sync()
        self.durable = exports[-1].ordinal
        self.outbox.committed(staged, self.durable)

    def store(self) -> None:
        """Store what was settled."""
        self._unstored = 0
        self.stored += self.settled[len(self.stored) :]
        batch: Batch = self.state.batch()
        self.outbox.store_settled(batch)
        self.state.commit(batch)
        self.state.sync()

    async def until(self, reached: Callable[[], bool], *, stores: bool = True) -> None:
        """Let the loop turn until something is so, storing settlements now and then."""
        for turn in range(TURNS):
            if reached():
                break
            await asyncio.sleep(0)
            if stores and self._unstored and turn % 7 == 0:
                self.store()
        else:
            raise AssertionError(f"hangs: {len(self.settled)} settled, {self.dispatcher.records} loaded")
        if stores and self._unstored:
            self.store()

    def run(self, use: Callable[[Box], Awaitable[T]]) -> T:
        """Use it while the dispatcher runs."""

        async def running() -> T:
            task = asyncio.create_task(self.dispatcher.run())
            try:
                found = await use(self)
                if task.done():
                    await task
                return found
            finally:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)

        return asyncio.run(running())

    async def settles(self, count: int, *, stores: bool = True) -> None:
        """Until so many are settled."""
        await self.until(lambda: len(self.settled) >= count, stores=stores)

    def drain(self, count: int, *, stores: bool = True) -> None:
        """Run until so many are settled; once a life, since a dispatcher belongs to one loop."""

        async def use(_: Box) -> None:
            await self.settles(count, stores=stores)

        self.run(use)

    def next_life(self, *rules: Rule, budget_bytes: int = 1 << 20, state: State | None = None) -> Box:
        """What a process started now finds: what was not synced is lost; the stream is the same."""
        if isinstance(self.state, MemoryState):
            self.state.crash()
        self.stream.clear_rules()
        self.stream.script(*rules)
        return Box(
            state or self.state, flow_id=self.flow_id, budget_bytes=budget_bytes, durable=self.durable,
            stream=self.stream,
        )  # fmt: skip

    def heads(self) -> list[int]:
        """The stored heads."""
        stored = self.state.get_many([KEYS.named(HEADS, self.flow_id)])[0]
        return msgspec.msgpack.decode(stored, type=list[int]) if stored else [0] * 64
