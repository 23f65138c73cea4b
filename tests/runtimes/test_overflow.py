"""A flow over its budget: C1 to C3, with a destination that is down for long and budgets of a few exports."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from headrace.clock import Manual
from headrace.core.flow import Consent, Snapshot
from headrace.core.link import name
from headrace.core.model import Backfill, Delete, Identity, Tick
from headrace.core.step import CATCH_UP
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.overflow import Overflow
from headrace.runtimes.embedded.refold import refold
from headrace.state.keys import STALE
from headrace.state.memory import MemoryState
from headrace.testing.fold import FlowPlan, fold
from headrace.testing.judge import content, judge
from tests.runtimes.crowds import people
from tests.runtimes.latest import differing, order_broken
from tests.runtimes.road import (
    KEY,
    KEYS,
    VIP,
    Arrived,
    Disk,
    Lines,
    MemoryDisk,
    PowerCut,
    Road,
    flow,
    members,
    refuse,
    snapshot,
    update,
)

PLAN = FlowPlan([VIP], ("n",))
BUDGET_BYTES = 8000
"""About twenty exports."""
DOWN = Rule(Verdict.RETRY, times=None)


def tight(flow_id: str = "f", **settings: Any) -> Any:
    """A flow with a tiny budget, whose messages tell their export ids."""
    return flow(flow_id, **({"metadata": True, "disk_budget_bytes": BUDGET_BYTES} | settings))


def stale(road: Road, flow_id: str = "f") -> set[str]:
    """Profile ids that are marked."""
    start = KEYS.prefix + STALE + flow_id.encode() + b"\0"
    return {key[len(start) :].decode() for key, _ in road.disk.open().scan(start, start + b"\xff")}


class Outage:
    """A destination that is down until so many updates are acknowledged, over all lives.

    Attributes:
        told: What became of the budget: (flow id, word).
        seen: Stale marks were there at some commit.
    """

    def __init__(self, road: Road, until: int, flow_id: str = "f") -> None:
        self.road, self.until, self.flow_id = road, until, flow_id
        self.told: list[tuple[str, str]] = []
        self.seen = 0
        refuse(road, DOWN, flow_id=flow_id)

    def prepare(self) -> None:
        """Watch the engine of a new life."""
        engine = self.road.engine
        engine.on_overflow.append(lambda flow_id, now: self.told.append((flow_id, now)))
        engine.on_commit.append(self.look)

    def look(self) -> None:
        """Called at every commit."""
        counted = self.road.engine.totals.flows[self.flow_id]
        marked = len(stale(self.road, self.flow_id))
        self.seen = max(self.seen, marked)
        assert marked <= counted.held.get(CATCH_UP, 0)
        if self.road.source.acknowledged >= self.until:
            self.road.stream(self.flow_id).clear_rules()

    def run(self, cut: int | None = None) -> Report:
        """One life to the end of everything."""
        return self.road.life(
            lambda engine: engine.run(until_drained=True), cut=cut, prepare=self.prepare
        )  # fmt: skip


def settled(road: Road, flow_id: str = "f") -> None:
    """Everything is told, nothing is marked, the totals add up, and the journal comes to the same."""
    assert differing(road.source.bodies, PLAN, road.arrived(flow_id)) == []
    assert order_broken(road.arrived(flow_id)) == []
    assert stale(road, flow_id) == set()
    counted = road.engine.totals.flows[flow_id]
    assert counted.exported == counted.delivered
    assert counted.pending == 0
    assert counted.accepted == counted.exported + sum(counted.held.values())
    assert road.engine.flows[flow_id].outbox.stored_bytes == 0
    compared = refold(road.disk.open(), KEYS, KEY)
    assert compared.same, compared
    assert compared.first == 1


# -- C1, C2 ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_c1_after_an_outage_the_last_message_is_the_current_state(disk: Disk, seed: int) -> None:
    """Down for most of the input, with people who enter, leave and join meanwhile: all is made up for, once."""
    bodies = people(600, seed, 30)
    road = Road(disk, Lines(bodies, sizes=lambda: 10), snapshot(tight()), batch_updates=10, seed=seed)
    outage = Outage(road, 450)
    assert outage.run().drained
    settled(road)
    words = [now for _, now in outage.told]
    assert (words[:2], words[-1]) == (["over", "catching-up"], "recovered")
    counted = road.engine.totals.flows["f"]
    assert counted.held[CATCH_UP] > 200
    assert outage.seen > 20
    assert 0 < counted.triggers[CATCH_UP] <= counted.held[CATCH_UP]
    assert len(road.arrived()) < 400
    assert road.engine.totals.joined > 10


@pytest.mark.parametrize("seed", range(3))
def test_c1_a_catch_up_that_overflows_again(disk: Disk, seed: int) -> None:
    """More is to be made up for than the budget holds, and updates go on: it still converges."""
    bodies = people(1500, seed, crowd=200)
    road = Road(
        disk, Lines(bodies, sizes=lambda: 10), snapshot(tight(disk_budget_bytes=4000)), batch_updates=10,
        limits=Limits(records=3, in_flight=1), seed=seed,
    )  # fmt: skip
    outage = Outage(road, 1000)
    assert outage.run().drained
    settled(road)
    assert [now for _, now in outage.told].count("over") > 2


@pytest.mark.parametrize("seed", range(4))
def test_c2_power_cuts_during_the_overflow_and_the_catch_up(disk: Disk, seed: int) -> None:
    """Cut off at drawn steps, again and again: nothing that was held back is forgotten."""
    rng = random.Random(seed)
    bodies = people(500, seed, crowd=60)
    road = Road(disk, Lines(bodies, sizes=lambda: 10), snapshot(tight()), batch_updates=10, seed=seed)
    outage = Outage(road, 350)
    cuts = 0
    while cuts < 40:
        try:
            if outage.run(cut=rng.randrange(5, 90)).drained:
                break
        except PowerCut:
            cuts += 1
    else:
        assert outage.run().drained
    assert cuts > 3
    settled(road)


def test_c2_a_graceful_restart_in_the_middle_of_the_overflow(disk: Disk) -> None:
    """The next process knows that the flow is over its budget before it decides anything."""
    bodies = members(600, 100)
    road = Road(disk, Lines(bodies, sizes=lambda: 10), snapshot(tight()), batch_updates=10)
    outage = Outage(road, 500)

    async def stopped(engine: Engine) -> Report:
        engine.on_commit.append(lambda: engine.stop(0.0) if road.source.acknowledged >= 200 else None)
        return await engine.run()

    assert not road.life(stopped, prepare=outage.prepare).drained
    marked = stale(road)
    assert len(marked) > 5
    exported = road.engine.totals.flows["f"].exported

    async def begun(engine: Engine) -> Report:
        engine.on_commit.append(lambda: engine.stop(0.0) if road.source.acknowledged >= 300 else None)
        return await engine.run()

    road.life(begun, prepare=outage.prepare)
    assert road.engine.totals.flows["f"].exported == exported
    assert stale(road) >= marked
    assert outage.run().drained
    settled(road)


def test_c2_a_restart_in_the_middle_of_catching_up_goes_on_without_input(disk: Disk) -> None:
    """The source has ended and the outbox is empty; the marks alone make the next process go on."""
    bodies = members(400, 300)
    road = Road(
        disk, Lines(bodies, sizes=lambda: 10), snapshot(tight(disk_budget_bytes=2000)), batch_updates=10
    )  # fmt: skip
    outage = Outage(road, 400)

    async def stopped(engine: Engine) -> Report:
        engine.on_overflow.append(lambda _flow, now: engine.stop() if now == "catching-up" else None)
        return await engine.run()

    report = road.life(stopped, prepare=outage.prepare)
    assert not report.timed_out, "a stop catches up no further"
    assert report.drained
    assert len(stale(road)) > 200
    again = Outage(road, 0)
    assert again.run().drained
    settled(road)


def test_c2_a_profile_that_was_passed_and_absorbs_a_stale_one_is_made_up_for() -> None:
    """Marks that appear behind the place that a catch-up has reached are found before it counts as done."""
    state = MemoryState()
    road = Road(MemoryDisk(), Lines(members(1, 1)), snapshot(tight()))
    road.run()
    submitted: list[Backfill] = []
    told: list[str] = []
    overflow = Overflow(state, KEYS, submitted.append, lambda _flow, now: told.append(now))

    def mark(*profiles: str) -> None:
        batch = state.batch()
        for profile in profiles:
            batch.put(KEYS.stale("f", profile), b"")
        state.commit(batch)

    def decide() -> None:
        while submitted:
            command = submitted.pop()
            batch = state.batch()
            batch.delete(KEYS.stale("f", command.profile_id))
            state.commit(batch)
            overflow.done(command)

    mark("b", "d")
    flows = road.engine.flows
    overflow.open(flows["f"], 7)
    overflow.look(flows, 7)
    assert [command.profile_id for command in submitted] == ["b", "d"]
    mark("a")
    decide()
    overflow.look(flows, 8)
    assert [command.profile_id for command in submitted] == ["a"]
    assert told == ["catching-up"]
    decide()
    overflow.look(flows, 9)
    assert told == ["catching-up", "recovered"]


# -- what else can be held back -------------------------------------------------------------------


def held_back(road: Road, during: Callable[[Engine], None]) -> Outage:
    """Run with the destination down; *during* is called once the flow is over its budget and all is read."""
    outage = Outage(road, 10**9)
    called: list[int] = []

    async def use(engine: Engine) -> Report:
        def look() -> None:
            if road.source.acknowledged < len(road.source.bodies):
                return
            if not called:
                assert "f" in engine.overflow.overflowing
                during(engine)
            called.append(1)
            if len(called) == 5:
                road.stream().clear_rules()

        engine.on_commit.append(look)
        ticking = asyncio.create_task(_nudge(engine))
        try:
            return await engine.run(until_drained=True)
        finally:
            ticking.cancel()

    assert road.life(use, prepare=outage.prepare).drained
    return outage


async def _nudge(engine: Engine) -> None:
    """Inputs about nobody, so that commits go on."""
    for _ in range(200):
        for _turn in range(20):
            await asyncio.sleep(0)
        engine.submit(Tick("nobody"))


def told_of(road: Road, identity: str) -> list[bytes]:
    """Messages that name an identity."""
    return [data for data in road.arrived() if b'"%s"' % identity.encode() in data]


def test_a_consent_withdrawn_during_an_overflow_is_told() -> None:
    """That consent is gone reaches the destination after the outage, and nothing of what waited before."""
    consenting = [update(n, f"email:u{n}", vip=True, ok="y") for n in range(60)]
    road = Road(
        MemoryDisk(), Lines([*consenting, update(60, "email:u0", ok="n")], sizes=lambda: 10),
        snapshot(tight(consent=Consent(("ok",), ("y",)))), batch_updates=10,
    )  # fmt: skip
    held_back(road, lambda _engine: None)
    assert road.engine.totals.flows["f"].held[CATCH_UP] > 10
    (told,) = told_of(road, "u0")
    assert b'"exited"' in told
    assert b'"realized"' not in told
    assert road.engine.totals.flows["f"].discarded == {"consent-withdrawn": 1}
    # Of those that were never told of, nothing is.
    assert stale(road) == set()


def test_a_consent_withdrawn_before_anything_was_told_stays_untold() -> None:
    """A profile that entered and withdrew during the overflow is not mentioned at all."""
    consenting = [update(n, f"email:u{n}", vip=True, ok="y") for n in range(60)]
    road = Road(
        MemoryDisk(), Lines([*consenting, update(60, "email:u59", ok="n")], sizes=lambda: 10),
        snapshot(tight(consent=Consent(("ok",), ("y",)))), batch_updates=10,
    )  # fmt: skip
    held_back(road, lambda _engine: None)
    assert told_of(road, "u59") == []
    assert len(told_of(road, "u58")) == 1


def test_time_that_runs_out_during_an_overflow_is_told() -> None:
    """A membership that ends while the flow holds back: the exit follows."""
    bodies = members(60, 60)
    ending = bodies[0].replace(b'"lastQ', b'"validUntil":"2023-11-14T23:00:00Z","lastQ')
    assert ending != bodies[0]
    road = Road(MemoryDisk(), Lines([ending, *bodies[1:]], sizes=lambda: 10), snapshot(tight()), batch_updates=10)
    held_back(road, lambda _engine: road.clock.advance(3600))
    first, last = told_of(road, "u0")
    assert b'"realized"' in first
    assert b'"exited"' in last


def test_a_backfill_and_a_deletion_during_an_overflow() -> None:
    """A backfill that was held back is made up for; of a profile deleted meanwhile only its exit is told."""
    road = Road(
        MemoryDisk(), Lines(members(60, 60), sizes=lambda: 10), snapshot(tight(on_delete="exit")), batch_updates=10
    )  # fmt: skip
    first, second, last = (name(KEY, Identity("email", f"u{n}")) for n in (0, 1, 59))

    def during(engine: Engine) -> None:
        engine.submit(Backfill(first, "f", "run"))
        engine.submit(Delete(second))
        engine.submit(Delete(last))

    held_back(road, during)
    assert len(told_of(road, "u0")) == 2
    assert b'"exited"' in told_of(road, "u1")[-1]
    assert told_of(road, "u59") == [], "it was never told of, so its end is not either"
    assert stale(road) == set()


def test_c2_a_profile_that_absorbs_a_stale_one_is_stale() -> None:
    """The merge itself exports nothing, since identities trigger nothing; what was held back of one side follows."""
    joining = update(61, "email:u0", "email:u1").replace(b'"n":', b'"unmapped":')
    road = Road(
        MemoryDisk(), Lines([*members(60, 60), update(60, "email:u1", vip=True), joining], sizes=lambda: 10),
        snapshot(tight(trigger_identity=False)), batch_updates=10,
    )  # fmt: skip
    marked: list[set[str]] = []
    held_back(road, lambda _engine: marked.append(stale(road)))
    survivor, absorbed = (name(KEY, Identity("email", f"u{n}")) for n in (0, 1))
    assert survivor in marked[0]
    assert absorbed not in marked[0]
    last = told_of(road, "u0")[-1]
    assert b'"u1"' in last
    assert b'"n":60' in last


# -- C3 -------------------------------------------------------------------------------------------


def test_c3_another_flow_neither_waits_nor_loses_anything(disk: Disk) -> None:
    """While one flow is over its budget, the other gets every message in order, before the outage ends."""
    bodies = people(600, 3, 30)
    road = Road(
        disk, Lines(bodies, sizes=lambda: 10), snapshot(tight("f"), flow("g", metadata=True)), batch_updates=10
    )  # fmt: skip
    outage = Outage(road, 600)
    late: list[int] = []
    waiting: list[int] = []

    async def use(engine: Engine) -> Report:
        def look() -> None:
            counted = engine.totals.flows["g"]
            waiting.append(counted.pending)
            assert CATCH_UP not in counted.held
            if road.stream("f").accepted:
                late.append(counted.pending)

        engine.on_commit.append(look)
        return await engine.run(until_drained=True)

    assert road.life(use, prepare=outage.prepare).drained
    settled(road)
    settled(road, "g")
    folded = fold(bodies, {"g": PLAN})
    verdict = judge(
        {"g": folded.expected("g")}, [Arrived("g", data) for data in road.arrived("g")], identify=content,
        joins=folded.joins,
    )  # fmt: skip
    assert verdict.ok, verdict
    assert verdict.duplicates.count == 0
    assert max(waiting) < 200, "g kept up all the while"


# -- stop-sources ---------------------------------------------------------------------------------


def test_stop_sources_holds_reading_and_goes_on_when_there_is_room(disk: Disk) -> None:
    """No more is read than the budget and what was under way; later every message arrives, none made up for."""
    bodies = people(600, 4, 30)
    road = Road(
        disk, Lines(bodies, sizes=lambda: 10), snapshot(tight(overflow="stop-sources")), batch_updates=10,
        clock=Manual(),
    )  # fmt: skip
    outage = Outage(road, 10**9)

    async def use(engine: Engine) -> Report:
        running = asyncio.create_task(engine.run(until_drained=True))

        async def turns(reached: Callable[[], bool]) -> None:
            for turn in range(100_000):
                if reached():
                    return
                await asyncio.sleep(0 if turn % 50 else 0.001)  # threads that sync take their time
                if turn % 5 == 0:
                    road.clock.advance(0.01)
            raise AssertionError("hangs")

        await turns(lambda: engine.overflow.sources_held)
        begun = road.clock.monotonic_s()
        await turns(lambda: road.clock.monotonic_s() > begun + 20)  # what was read before is decided
        held_at = road.source.acknowledged
        await turns(lambda: road.clock.monotonic_s() > begun + 60)
        assert road.source.acknowledged == held_at < 200
        assert not running.done()
        road.stream().clear_rules()
        await turns(running.done)
        return await running

    assert road.life(use, prepare=outage.prepare).drained
    verdict = road.judged()
    assert verdict.ok, verdict
    words = [now for _, now in outage.told]
    assert words[0] == "stopped"
    assert words[-1] == "recovered"
    assert words.count("stopped") == words.count("recovered")
    assert stale(road) == set()


Until = Callable[[Callable[[], bool]], Any]
"""Turns the loop until something is so."""


def waiting(engine: Engine) -> bool:
    """Whether any export waits."""
    return any(each.pending for each in engine.totals.flows.values())


def turning(road: Road, use: Callable[[Engine, Until], Any]) -> Report:
    """Run without end while a script turns the loop and moves the time until something is so; then stop."""

    async def life(engine: Engine) -> Report:
        running = asyncio.create_task(engine.run())

        async def until(reached: Callable[[], bool]) -> None:
            for turn in range(100_000):
                if reached():
                    return
                await asyncio.sleep(0 if turn % 50 else 0.001)  # threads that sync take their time
                if turn % 5 == 0:
                    road.clock.advance(0.01)
                if running.done():
                    await running
            raise AssertionError("hangs")

        await use(engine, until)
        engine.stop(5.0)
        await until(running.done)
        return await running

    return road.life(life)


def reconfigured(engine: Engine, road: Road, configuration: Snapshot) -> asyncio.Task[None]:
    """Ask for another configuration."""
    road.configuration = configuration
    return asyncio.create_task(engine.reconfigure(configuration, road.targets(configuration)))


def test_sources_go_on_when_the_flow_that_held_them_is_gone() -> None:
    """Taken out of the configuration while its destination is down: the other flow gets the rest of the input."""
    bodies = members(300, 20)
    road = Road(
        MemoryDisk(), Lines(bodies, sizes=lambda: 10), snapshot(tight("f", overflow="stop-sources"), flow("g")),
        batch_updates=10, clock=Manual(),
    )  # fmt: skip
    refuse(road, DOWN)

    async def use(engine: Engine, until: Until) -> None:
        await until(lambda: engine.overflow.sources_held)
        changed = reconfigured(engine, road, snapshot(flow("g")))
        await until(changed.done)
        await changed
        await until(lambda: road.source.acknowledged == 300 and len(road.arrived("g")) == 300)
        assert not engine.overflow.sources_held

    turning(road, use)
    assert len(road.arrived("g")) == 300


def test_a_policy_that_changes_during_the_overflow_makes_up_for_what_was_held_back() -> None:
    """From catch-up to stop-sources while over the budget: what is stale is exported all the same."""
    bodies = members(300, 40)
    road = Road(
        MemoryDisk(), Lines(bodies, sizes=lambda: 10, ends=False), snapshot(tight("f")), batch_updates=10,
        clock=Manual(),
    )  # fmt: skip
    refuse(road, DOWN)

    async def use(engine: Engine, until: Until) -> None:
        await until(lambda: engine.overflow.overflowing == {"f"})
        changed = reconfigured(engine, road, snapshot(tight("f", overflow="stop-sources")))
        await until(changed.done)
        await changed
        assert engine.overflow.overflowing == set()
        road.stream().clear_rules()
        await until(lambda: road.source.acknowledged == 300)
        await until(lambda: not engine.overflow.catching_up and not engine.overflow.sources_held)
        await until(lambda: not waiting(engine))

    turning(road, use)
    settled(road)


def test_a_flow_that_comes_back_makes_up_for_what_it_had_held_back() -> None:
    """Taken out while over its budget, with steps of its catch-up queued, and put back: its marks were kept."""
    bodies = members(300, 100)
    road = Road(
        MemoryDisk(), Lines(bodies, sizes=lambda: 10, ends=False), snapshot(tight("f"), tight("g")),
        batch_updates=10, clock=Manual(),
    )  # fmt: skip
    refuse(road, DOWN)
    both = road.configuration

    async def use(engine: Engine, until: Until) -> None:
        await until(lambda: engine.overflow.overflowing == {"f"})
        await until(lambda: len(stale(road)) > 30)
        marked = stale(road)
        for profile in sorted(marked):
            engine.submit(Backfill(profile, "f", "7", CATCH_UP))
        changed = reconfigured(engine, road, snapshot(tight("g")))
        await until(changed.done)
        await changed
        road.stream().clear_rules()
        changed = reconfigured(engine, road, both)
        await until(changed.done)
        await changed
        await until(lambda: road.source.acknowledged == 300)
        await until(lambda: not engine.overflow.catching_up)
        await until(lambda: not waiting(engine))

    turning(road, use)
    settled(road)
    settled(road, "g")
