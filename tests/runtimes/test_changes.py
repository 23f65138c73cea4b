"""Configurations that change between batches, destinations that stop accepting, and writers that break."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from headrace.clock import Manual
from headrace.core.flow import Snapshot
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.errors import BugError
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from tests.runtimes.road import Lines, MemoryDisk, Road, flow, members, snapshot


async def wound(clock: Manual, work: Awaitable[Report]) -> Report:
    """Move the time on in small steps while something runs, so that nobody's wait passes another's by."""
    running = asyncio.ensure_future(work)
    while not running.done():
        for _ in range(20):
            await asyncio.sleep(0)
        clock.advance(0.01)
    return await running


def changing(
    road: Road, changes: dict[int, Callable[[Engine], Awaitable[None]]], total: int
) -> Report:  # fmt: skip
    """A life in which, once so many updates are acknowledged, a change is made; stopped after *total*."""

    async def change(engine: Engine) -> None:
        for count, made in changes.items():
            while road.source.acknowledged < count:
                await asyncio.sleep(0)
            await made(engine)
        while road.source.acknowledged < total:
            await asyncio.sleep(0)
        engine.stop()

    async def use(engine: Engine) -> Report:
        changed = asyncio.create_task(change(engine))
        report = await wound(road.clock, engine.run())
        await changed
        return report

    return road.life(use)


def to(
    road: Road, configuration: Snapshot, identity: str = "", stream: str = ""
) -> Callable[[Engine], Awaitable[None]]:
    """The change to another configuration; the next life has it too."""

    async def made(engine: Engine) -> None:
        road.configuration = configuration
        await engine.reconfigure(configuration, road.targets(configuration, identity, stream))
        assert engine.snapshot is configuration

    return made


def numbers(road: Road, stream: str) -> list[int]:
    """The values of ``n`` that a stream got, in order."""
    return [int(data.split(b'"n":')[1].split(b",")[0].split(b"}")[0]) for data in road.arrived(stream)]


def road_of(configuration: Snapshot, count: int = 200, limits: Limits | None = None) -> Road:
    source = Lines(members(count, 10), sizes=lambda: 5, ends=False)
    return Road(MemoryDisk(), source, configuration, clock=Manual(), batch_updates=5, limits=limits, linger_s=0.005)


def test_a_flow_that_is_added_exports_from_then_on() -> None:
    """All that is decided after the change, nothing twice, and the other flow does not notice."""
    road = road_of(snapshot(flow("f")))
    assert changing(road, {50: to(road, snapshot(flow("f"), flow("g")))}, 200).drained
    assert sorted(numbers(road, "f")) == list(range(200))
    got = numbers(road, "g")
    assert 0 < len(got) <= 150
    assert sorted(got) == list(range(200 - len(got), 200))


def test_a_flow_that_is_removed_keeps_what_waits_until_it_comes_back() -> None:
    """Its exports stay in the outbox over a restart; back again, it sends them, in order and once."""
    road = road_of(snapshot(flow("f"), flow("g")))
    road.stream("g").script(Rule(Verdict.HALT, times=None))
    both = road.configuration
    assert changing(road, {100: to(road, snapshot(flow("f")))}, 200).drained
    waiting = road.engine.totals.flows["g"].pending
    assert 100 <= waiting < 200
    assert numbers(road, "g") == []
    road.stream("g").clear_rules()
    assert changing(road, {}, 200).drained
    assert numbers(road, "g") == []
    assert changing(road, {200: to(road, both)}, 200).drained
    got = numbers(road, "g")
    assert len(got) == waiting
    for n in range(10):
        assert [g for g in got if g % 10 == n] == sorted(g for g in got if g % 10 == n)
    assert road.engine.totals.flows["g"].pending == 0


def test_a_changed_target_gets_what_was_not_settled() -> None:
    """From the change on the new stream is written; together both hold every change once, in order."""
    configuration = snapshot(flow("f"))
    road = road_of(configuration, limits=Limits(records=3, in_flight=2))
    assert changing(road, {100: to(road, configuration, "other", "new")}, 200).drained
    old, new = numbers(road, "f"), numbers(road, "new")
    assert (len(old) > 0, len(new) > 0) == (True, True)
    assert sorted(old + new) == list(range(200))
    for n in range(10):
        assert [g for g in old + new if g % 10 == n] == list(range(n, 200, 10))


def test_what_is_answered_while_a_flow_closes_is_not_sent_again() -> None:
    """The answers come within the grace, and no update follows that would have them stored: the new flow knows."""
    road = Road(MemoryDisk(), Lines(members(40, 40), ends=False), clock=Manual(), linger_s=0.005)
    configuration = road.configuration

    async def use(engine: Engine) -> Report:
        road.held = held = asyncio.Event()

        async def change() -> None:
            while not road.waiting:
                await asyncio.sleep(0)
            changing = asyncio.ensure_future(to(road, configuration, "other", "new")(engine))
            for _ in range(50):
                await asyncio.sleep(0)
            assert not changing.done()
            held.set()
            await changing
            engine.stop()

        changed = asyncio.create_task(change())
        report = await wound(road.clock, engine.run())
        await changed
        return report

    assert road.life(use).drained
    assert (sorted(numbers(road, "f")), numbers(road, "new")) == (list(range(40)), [])


def test_a_halted_flow_goes_on_with_a_changed_target() -> None:
    """Access was denied; with new credentials nothing waits for the old halt's pause."""
    configuration = snapshot(flow("f"))
    road = road_of(configuration)
    road.stream("f").script(Rule(Verdict.HALT, times=None, code="AccessDeniedException"))
    begun = road.clock.monotonic_s()
    assert changing(road, {200: to(road, configuration, "other", "new")}, 200).drained
    assert sorted(numbers(road, "new")) == list(range(200))
    assert road.clock.monotonic_s() - begun < 5


@pytest.mark.parametrize("mode", ["keep", "skip"])
def test_a_paused_flow_keeps_or_skips(mode: str) -> None:
    """keep: what changes meanwhile is sent after the pause; skip: it is held, counted, and never sent."""
    running, paused = snapshot(flow("f", pause_mode=mode)), snapshot(flow("f", pause_mode=mode, paused=True))
    road = road_of(running)
    seen: dict[str, int] = {}

    async def pause(engine: Engine) -> None:
        await to(road, paused)(engine)
        seen["paused"] = road.engine.totals.accepted
        seen["sent"] = len(road.arrived())

    async def resume(engine: Engine) -> None:
        assert len(road.arrived()) <= seen["sent"]
        seen["resumed"] = road.engine.totals.accepted
        await to(road, running)(engine)

    assert changing(road, {60: pause, 140: resume}, 200).drained
    got = numbers(road, "f")
    held = road.engine.totals.flows["f"].held.get("paused", 0)
    if mode == "keep":
        assert (sorted(got), held) == (list(range(200)), 0)
    else:
        assert len(got) == 200 - held
        assert held >= seen["resumed"] - seen["paused"] > 0
    assert len(set(got)) == len(got)


def test_i6_closing_one_flow_does_not_hold_up_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a hanging destination is given its grace, updates are decided and the other flow goes on."""
    both, one = snapshot(flow("f"), flow("g")), snapshot(flow("f"))
    road = road_of(both)
    hung = asyncio.Event()
    moved: list[int] = []

    async def use(engine: Engine) -> Report:
        async def change() -> None:
            while road.source.acknowledged < 50:
                await asyncio.sleep(0)
            monkeypatch.setattr(engine.flows["g"].writer, "write", lambda _: hung.wait())
            while road.source.acknowledged < 100:
                await asyncio.sleep(0)
            before = road.source.acknowledged
            await to(road, one)(engine)
            moved.append(road.source.acknowledged - before)
            while road.source.acknowledged < 200:
                await asyncio.sleep(0)
            engine.stop()

        changed = asyncio.create_task(change())
        report = await wound(road.clock, engine.run())
        await changed
        return report

    assert road.life(use).drained
    assert moved == [100]
    assert sorted(numbers(road, "f")) == list(range(200))


@pytest.mark.parametrize("others", [(), ("f",)], ids=["alone", "beside another"])
def test_a_run_ends_when_all_that_is_left_is_halted(others: tuple[str, ...]) -> None:
    """Alone, nothing wakes a run up but the halt itself: it reports why, and the rest is kept."""
    configuration = snapshot(*(flow(flow_id) for flow_id in (*others, "g")))
    road = Road(MemoryDisk(), Lines(members(20, 20)), configuration, clock=Manual(), linger_s=0.01)
    road.stream("g").script(Rule(Verdict.HALT, times=None, code="AccessDeniedException", detail="not allowed"))
    begun = road.clock.monotonic_s()
    report = road.life(lambda engine: wound(road.clock, engine.run(until_drained=True)))
    # Less than any probe's pause: the halt alone has ended the run.
    assert road.clock.monotonic_s() - begun < 5
    by_id = {f.flow_id: f for f in report.flows}
    assert all(by_id[flow_id].pending == 0 and not by_id[flow_id].halted for flow_id in others)
    assert (by_id["g"].pending, by_id["g"].halted) == (20, "AccessDeniedException: not allowed")
    assert not report.drained
    road.stream("g").clear_rules()
    road.clock = Manual(auto=True)
    assert road.run().drained
    assert len(road.arrived("g")) == 20


def test_a_writer_that_breaks_its_contract_stops_the_engine() -> None:
    """BugError, and nothing is lost: the next process, whose writer is whole, sends everything."""
    road = Road(MemoryDisk(), Lines(members(20, 4)))
    road.fault = ValueError("not an answer")
    with pytest.raises(BugError, match="W1"):
        road.run()
    road.fault = None
    assert road.run().drained
    verdict = road.judged()
    assert verdict.ok, verdict
