"""The contract of a source (S1 to S5 of headrace/sources/base.py), run on each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

import msgspec
import pytest

from headrace.sources.base import Batch, Source

BOUND_S = 20
"""Nothing here takes as long; a wait this long is a failure."""


class Scene(Protocol):
    """A source and whoever feeds it."""

    resumes: bool

    async def source(self) -> Source:
        """A source that is not open yet."""
        ...

    async def offer(self, source: Source, bodies: Sequence[bytes]) -> None:
        """Give the open *source* updates; returns once it can read them all."""
        ...

    async def end(self, source: Source) -> None:
        """No more will come."""
        ...

    def answered(self) -> int | None:
        """How many of the updates have been answered; None where nobody is told."""
        ...

    async def settle(self) -> None:
        """Wait until all that was offered is answered."""
        ...


def updates(count: int) -> list[bytes]:
    """Distinct updates."""
    return [msgspec.json.encode({"identityMap": {"crm": [{"id": f"p{number}"}]}}) for number in range(count)]


async def taken(source: Source, most: int) -> Batch:
    """One batch, which must be there."""
    batch = await asyncio.wait_for(source.read(most), BOUND_S)
    assert batch is not None
    assert len(batch.bodies) > 0
    return batch


async def drained(source: Source, count: int, most: int) -> list[Batch]:
    """Batches until *count* updates were read; none is acknowledged."""
    batches: list[Batch] = []
    while sum(len(batch.bodies) for batch in batches) < count:
        batches.append(await taken(source, most))
    return batches


def flat(batches: Sequence[Batch]) -> list[bytes]:
    """Their bodies, without white space around them."""
    return [bytes(body).strip() for batch in batches for body in batch.bodies]


Run = Callable[[Scene], Awaitable[None]]


class SourceContract:
    """Subclass and implement ``scene``."""

    def scene(self) -> Scene:
        """A fresh scene."""
        raise NotImplementedError

    @pytest.fixture
    def run(self) -> Callable[[Run], None]:
        """Runs a test's coroutine on a fresh scene."""

        def start(test: Run) -> None:
            asyncio.run(asyncio.wait_for(self._run(test), 2 * BOUND_S))

        return start

    async def _run(self, test: Run) -> None:
        await test(self.scene())

    @pytest.mark.parametrize("most", [1, 7, 1000])
    def test_s2_gives_updates_in_order_each_once(self, run: Callable[[Run], None], most: int) -> None:
        """S2, S5: whatever ``most`` is, all come, in order, once, and no more than that at a time."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            bodies = updates(40)
            await scene.offer(source, bodies)
            batches = await drained(source, 40, most)
            assert flat(batches) == bodies
            assert all(len(batch.bodies) <= most for batch in batches)
            assert all(batch.source == source.id for batch in batches)
            for batch in batches:
                batch.acknowledge(())
            await scene.settle()
            await source.close()

        run(test)

    def test_s2_waits_while_there_is_none(self, run: Callable[[Run], None]) -> None:
        """S2: a read begun before there is anything returns with what comes later."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            reading = asyncio.ensure_future(source.read(10))
            for _ in range(20):
                await asyncio.sleep(0)
            assert not reading.done()
            await scene.offer(source, updates(1))
            batch = await asyncio.wait_for(reading, BOUND_S)
            assert batch is not None
            assert flat([batch]) == updates(1)
            batch.acknowledge(())
            await scene.settle()
            await source.close()

        run(test)

    def test_s2_a_cancelled_read_loses_nothing(self, run: Callable[[Run], None]) -> None:
        """S2: a read that was cancelled while it waited leaves everything to the next."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            for turns in range(6):
                reading = asyncio.ensure_future(source.read(10))
                for _ in range(turns):
                    await asyncio.sleep(0)
                reading.cancel()
                await asyncio.wait([reading])
            await scene.offer(source, updates(3))
            batches = await drained(source, 3, 10)
            assert flat(batches) == updates(3)
            for batch in batches:
                batch.acknowledge(())
            await scene.settle()
            await source.close()

        run(test)

    def test_s2_ends_with_none(self, run: Callable[[Run], None]) -> None:
        """S2: after the end a read returns None, and again."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            await scene.offer(source, updates(2))
            for batch in await drained(source, 2, 10):
                batch.acknowledge(())
            await scene.settle()
            await scene.end(source)
            assert await asyncio.wait_for(source.read(10), BOUND_S) is None
            assert await asyncio.wait_for(source.read(10), BOUND_S) is None
            await source.close()

        run(test)

    def test_s3_answers_only_after_acknowledge(self, run: Callable[[Run], None]) -> None:
        """S3: nobody is told of an update before its batch was acknowledged."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            await scene.offer(source, updates(5))
            batches = await drained(source, 5, 2)
            for _ in range(50):
                await asyncio.sleep(0)
            assert scene.answered() in (0, None)
            for batch in batches:
                batch.acknowledge(())
            await scene.settle()
            assert scene.answered() in (5, None)
            await source.close()

        run(test)

    def test_s4_goes_on_after_each_batch(self, run: Callable[[Run], None]) -> None:
        """S4: opened with a batch's position, another source of the same id goes on right after that batch."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            bodies = updates(9)
            await scene.offer(source, bodies)
            batches = await drained(source, 9, 2)
            for batch in batches:
                batch.acknowledge(())
            await scene.settle()
            await source.close()
            if not scene.resumes:
                assert all(batch.position is None for batch in batches)
                return
            for count in range(1, len(batches)):
                again = await scene.source()
                assert again.id == source.id
                await again.open(batches[count - 1].position)
                before = len(flat(batches[:count]))
                assert flat(await drained(again, 9 - before, 100)) == bodies[before:]
                await again.close()

        run(test)

    def test_places_tell_updates_apart(self, run: Callable[[Run], None]) -> None:
        """Each update of a run has a place of its own, in words."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            await scene.offer(source, updates(6))
            batches = await drained(source, 6, 4)
            places = [batch.place(index) for batch in batches for index in range(len(batch.bodies))]
            assert len(set(places)) == 6
            assert all(places)
            for batch in batches:
                batch.acknowledge(())
            await scene.settle()
            await source.close()

        run(test)

    def test_close_ends_a_pending_read(self, run: Callable[[Run], None]) -> None:
        """A read that waits when the source is closed returns None, and closing again is harmless."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            reading = asyncio.ensure_future(source.read(10))
            for _ in range(20):
                await asyncio.sleep(0)
            await source.close()
            assert await asyncio.wait_for(reading, BOUND_S) is None
            await source.close()
            assert await source.read(10) is None

        run(test)

    def test_progress_grows(self, run: Callable[[Run], None]) -> None:
        """What is done grows as updates are read, and never passes all of it."""

        async def test(scene: Scene) -> None:
            source = await scene.source()
            await source.open(None)
            before, _ = source.progress()
            await scene.offer(source, updates(3))
            for batch in await drained(source, 3, 10):
                batch.acknowledge(())
            done, whole = source.progress()
            assert done > before
            assert whole is None or done <= whole
            await scene.settle()
            await source.close()

        run(test)
