"""What waits of a flow that was deleted is discarded, counted, and never sent."""

from __future__ import annotations

import asyncio

from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from tests.runtimes.road import Lines, MemoryDisk, Road, flow, members, snapshot

BOTH = snapshot(flow("a"), flow("b"))


def test_what_waits_of_a_deleted_flow_is_discarded() -> None:
    """While the flow is there nothing is discarded; afterwards all of it, counted; made again it begins empty."""
    road = Road(MemoryDisk(), Lines(members(40, 10)), BOTH, drain_timeout_s=0.0)

    async def held(engine: Engine) -> Report:
        road.held = asyncio.Event()
        running = asyncio.create_task(engine.run())
        while road.source.acknowledged < 40:
            await asyncio.sleep(0)
        assert engine.discard_flow("a") == 0
        assert engine.discard_flow("unknown") == 0
        engine.stop(0.0)
        return await running

    road.life(held)
    road.held = None
    road.configuration = snapshot(flow("b"))

    async def deleted(engine: Engine) -> int:
        await engine.run(until_drained=True)
        count = engine.discard_flow("a")
        assert engine.discard_flow("a") == 0
        assert engine.totals.flows["a"].discarded == {"flow-deleted": count}
        assert engine.totals.flows["a"].pending == 0
        return count

    assert road.life(deleted) == 40
    road.configuration = BOTH

    async def again(engine: Engine) -> Report:
        return await engine.run(until_drained=True)

    report = road.life(again)
    assert report.drained
    assert len(road.stream("b").accepted) >= 40
    assert not road.stream("a").accepted
