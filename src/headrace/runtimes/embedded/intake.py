"""The sources: opened where they stand, read as long as there is room, and closed.

Back-pressure is here: a source is not asked for more while a whole batch waits to be decided, or while a flow that
is over its budget holds the sources. What was taken is acknowledged by whoever commits it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Final

from headrace.clock import Clock
from headrace.runtimes.embedded.work import Work
from headrace.sources.base import Batch as SourceBatch
from headrace.sources.base import Source
from headrace.state.base import State
from headrace.state.keys import POSITION, Keys

_LET_GO_S: Final = 1.0
"""How long a source may take to close when the engine has failed."""


class Intake:
    """See the module.

    Args:
        sources: Where updates come from.
        state: Where their positions lie.
        keys: Of the sandbox.
        clock: Time.
        work: Told of what came, and of a source that failed.
        held: Whether the sources are held back.
        most: Updates that are decided at once; so many wait at the most, and a batch of each source.

    Attributes:
        reading: Sources that have not ended.
        oldest_s: When what was taken last had come, ``Clock.monotonic_s`` of its first batch.
    """

    def __init__(
        self, sources: Sequence[Source], *, state: State, keys: Keys, clock: Clock, work: Work,
        held: Callable[[], bool], most: int,
    ) -> None:  # fmt: skip
        self._sources = list(sources)
        self._state, self._keys, self._clock, self._work = state, keys, clock, work
        self._held, self._most = held, most
        self._batches: deque[tuple[SourceBatch, float]] = deque()
        """What came, and when."""
        self._updates = 0
        self._room = asyncio.Event()
        self._opened: list[Source] = []
        self._pulls: list[asyncio.Task[None]] = []
        self.reading = 0
        self.oldest_s = 0.0

    @property
    def waiting(self) -> bool:
        """True while batches are not taken."""
        return bool(self._batches)

    async def begin(self) -> None:
        """Open every source where its stored position says, then read them all."""
        for source in self._sources:
            stored = self._state.get_many([self._keys.named(POSITION, source.id)])[0]
            await source.open(stored)
            self._opened.append(source)
            self._store_position(source)
        self.reading = len(self._sources)
        self._pulls = [asyncio.create_task(self._pull(s), name=f"read {s.id}") for s in self._sources]
        for task in self._pulls:
            task.add_done_callback(self._work.watch)

    def _store_position(self, source: Source) -> None:
        """A source told to skip what is there may give no batch for long: where it stands is kept at once."""
        position = source.position()
        if position is not None:
            write = self._state.batch()
            write.put(self._keys.named(POSITION, source.id), position)
            self._state.commit(write)

    async def _pull(self, source: Source) -> None:
        """Read one source, as long as there is room."""
        work = self._work
        try:
            while not work.stopping:
                while (self._updates >= self._most or self._held()) and not work.stopping:
                    self._room.clear()
                    await self._room.wait()
                batch = await source.read(self._most)
                if batch is None:
                    break
                self._batches.append((batch, self._clock.monotonic_s()))
                self._updates += len(batch.bodies)
                work.wake()
        except Exception as error:
            # Noted before the source counts as ended: a run that lost one must not pass for finished.
            work.failed(error)
            raise
        finally:
            self.reading -= 1
            work.wake()

    def take(self) -> list[SourceBatch]:
        """The batches that came first: one, and more up to the most that is decided at once."""
        taken: list[SourceBatch] = []
        room = self._most
        while self._batches and (not taken or len(self._batches[0][0].bodies) <= room):
            batch, arrived_s = self._batches.popleft()
            if not taken:
                self.oldest_s = arrived_s
            taken.append(batch)
            room -= len(batch.bodies)
        self._updates -= sum(len(b.bodies) for b in taken)
        self._room.set()
        return taken

    def look(self) -> None:
        """Read on, if there is room now: the sources may be held no more, or the engine may be stopping."""
        self._room.set()

    def end(self) -> asyncio.Future[list[Any]]:
        """Close the sources; done when they are, and nothing more comes.

        A source may wait, while it closes, for what it handed over to be acknowledged.
        """
        return asyncio.gather(*(source.close() for source in self._sources), *self._pulls, return_exceptions=True)

    async def let_go(self) -> None:
        """Read no more, whatever the sources are at."""
        for task in self._pulls:
            task.cancel()
        await asyncio.gather(*self._pulls, return_exceptions=True)
        for source in self._opened:
            # After a failure nothing is acknowledged any more: who waits for it is told so soon.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(source.close(), _LET_GO_S)
