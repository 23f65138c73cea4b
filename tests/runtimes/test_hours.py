"""What an engine tells of each hour: totals at its end, and what was seen within it."""

from __future__ import annotations

import asyncio

import msgspec

from headrace.clock import Manual
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.hours import HOUR_MS, KEPT, Hours
from tests.runtimes.road import Lines, MemoryDisk, Road, flow, members, snapshot

START_MS = 1_767_225_600_000


def test_an_hour_is_closed_with_the_totals_of_its_end() -> None:
    """What happens later is in the next hour; latencies and audiences are those of the hour alone."""
    way = Road(MemoryDisk(), Lines(members(10, 10)), snapshot(flow("a")))
    clock = Manual(START_MS + HOUR_MS // 2)

    async def use(engine: Engine) -> None:
        hours = Hours(engine, clock)
        await engine.run(until_drained=True)
        first = hours.answer()
        assert first["past"] == []
        assert first["current"]["start_ms"] == START_MS
        seen = first["current"]["flows"]["a"]
        assert seen["totals"]["delivered"] == 10
        assert seen["totals"]["delivered_bytes"] == seen["totals"]["bytes"] > 0
        assert seen["segments"] == {"ups/vip": 10}
        assert seen["latency"][3] == 10
        clock.advance(HOUR_MS / 1000)
        second = hours.answer()
        assert second["past"] == [first["current"]]
        assert second["current"]["start_ms"] == START_MS + HOUR_MS
        assert second["current"]["flows"]["a"] == {"totals": seen["totals"], "latency": None, "segments": {}}
        assert second["life"] == first["life"] == START_MS + HOUR_MS // 2
        assert msgspec.json.decode(msgspec.json.encode(second)) == second

    way.life(use)


def test_hours_close_by_themselves_and_the_latest_are_kept() -> None:
    """The task closes each hour as it ends; of many, the last are kept."""
    way = Road(MemoryDisk(), Lines(members(1, 1)), snapshot(flow("a")))
    clock = Manual(START_MS, auto=True)

    async def use(engine: Engine) -> None:
        hours = Hours(engine, clock)
        await engine.run(until_drained=True)
        keeping = asyncio.create_task(hours.keep())
        while clock.now_ms() < START_MS + (KEPT + 5) * HOUR_MS:
            await asyncio.sleep(0)
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        answer = hours.answer()
        starts = [each["start_ms"] for each in answer["past"]]
        assert len(starts) == KEPT
        assert starts == list(range(starts[0], answer["current"]["start_ms"], HOUR_MS))

    way.life(use)
