"""What every runtime promises, as tests: U1 to U5 of ``headrace.runtimes.base``.

A test module subclasses ``RuntimeContract`` and says with the fixture ``disk`` what lies below.
"""

from __future__ import annotations

import asyncio
import random

import pytest

from headrace.clock import Manual
from headrace.core.link import name
from headrace.core.model import Identity
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.errors import StorageError
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from headrace.state import reading
from tests.alerts.logged import logged
from tests.runtimes.road import KEY, KEYS, Disk, Lines, PowerCut, Road, flow, members, snapshot, update


def joining(count: int, seed: int) -> list[bytes]:
    """Updates about people who are joined, enter and leave, in an order drawn from *seed*."""
    rng = random.Random(seed)
    people = [f"email:e{n}" for n in range(5)] + [f"ecid:c{n}" for n in range(5)]
    return [
        update(n, *rng.sample(people, rng.choice([1, 1, 1, 1, 2])), vip=rng.choice([True, True, True, False, None]))
        for n in range(count)
    ]


class RuntimeContract:
    """The suite; ``disk`` is a fixture of the module, empty at first."""

    def test_the_whole_road(self, disk: Disk) -> None:
        """Everything arrives once, in order, and the totals say so."""
        road = Road(disk, Lines(joining(200, 1)), snapshot(flow("f"), flow("g", paths=("n",))))
        report = road.run()
        assert report.drained
        verdict = road.judged()
        assert verdict.ok, verdict
        assert verdict.duplicates.count == 0
        totals = road.engine.totals
        assert (totals.received, totals.accepted, road.source.acknowledged) == (200, 200, 200)
        assert totals.flows["f"].delivered == len(road.arrived("f")) == totals.flows["f"].exported
        assert reading.totals(disk.open(), KEYS) == totals

    def test_u1_nothing_is_acknowledged_that_could_not_be_synced(self, disk: Disk) -> None:
        """A disk that refuses the sync stops the run with its error; nothing of the batch is acknowledged or sent."""
        road = Road(disk, Lines(members(30, 5)), batch_updates=10)

        def broken() -> None:
            road.state.sync_fault = StorageError(problem="no space left on device")

        with pytest.raises(StorageError, match="no space left"):
            road.life(lambda engine: engine.run(until_drained=True), prepare=broken)
        assert (road.source.acknowledged, road.arrived()) == (0, [])
        road.run()
        verdict = road.judged()
        assert verdict.ok, verdict

    def test_u1_nothing_is_acknowledged_that_could_not_be_committed(self, disk: Disk) -> None:
        """The same for a commit that is refused in the middle of a run."""
        road = Road(disk, Lines(members(100, 5), sizes=lambda: 10), batch_updates=10)

        async def use(engine: Engine) -> Report:
            def later() -> None:
                if road.source.acknowledged >= 40:
                    road.state.commit_fault = StorageError(problem="input/output error")

            engine.on_commit.append(later)
            return await engine.run(until_drained=True)

        with pytest.raises(StorageError, match="input/output"):
            road.life(use)
        assert 40 <= road.source.acknowledged < 100
        acknowledged = road.source.acknowledged
        road.run()
        assert road.source.opened_at[-1] >= acknowledged
        verdict = road.judged()
        assert verdict.ok, verdict

    def test_u2_u3_a_power_cut_at_any_step(self, disk: Disk) -> None:
        """Cut before and after each commit and sync in turn: nothing acknowledged is lost, and the order holds."""
        road = Road(disk, Lines(joining(60, 3), sizes=lambda: 7), batch_updates=20, limits=Limits(records=3))
        cut, lives = 1, 0
        while True:
            try:
                lives += 1
                report = road.run(cut=cut)
            except PowerCut:
                # Each life gets a little further than the one before.
                cut += 1
                continue
            assert report.drained
            break
        assert lives > 8
        verdict = road.judged()
        assert verdict.ok, verdict

    def test_u3_a_merge_waits_over_a_restart(self, disk: Disk) -> None:
        """The absorbed profile's exports are refused, the process restarts with hardly any memory: still in order."""
        bodies = [update(n, f"email:{'ab'[n % 2]}", vip=True) for n in range(40)]
        bodies += [update(40, "email:a", "email:b"), *(update(n, "email:b") for n in range(41, 60))]
        road = Road(disk, Lines(bodies, sizes=lambda: 4), flow_memory_bytes=0, limits=Limits(records=2))
        absorbed = name(KEY, Identity("email", "b"))
        for passed in (0, 7):
            road.stream().script(Rule(Verdict.RETRY, key=absorbed, nth=1 + passed, times=None))

            async def stopped(engine: Engine) -> Report:
                engine.on_commit.append(lambda: engine.stop(0.0) if road.source.acknowledged == 60 else None)
                return await engine.run()

            report = road.life(stopped)
            assert not report.drained
            assert not [data for data in road.arrived() if b'"n":40' in data]
            road.stream().clear_rules()
        road.run()
        verdict = road.judged()
        assert verdict.ok, verdict

    def test_u4_totals_add_up_at_every_commit(self, disk: Disk) -> None:
        """Under refusals of every kind and with updates refused, what is stored adds up each time it is read."""
        bodies = joining(120, 5)
        bodies[10:10] = [b"no json", b"[]", update(0), update(0, "email:")]
        road = Road(disk, Lines(bodies), snapshot(flow("f"), flow("g")), limits=Limits(records=4), batch_updates=10)
        road.stream("f").script(
            Rule(Verdict.RETRY, nth=3, times=5), Rule(Verdict.UNKNOWN, nth=20, times=4, written=True),
            Rule(Verdict.REJECTED, nth=40, times=3),
        )  # fmt: skip
        road.stream("g").script(Rule(Verdict.SPLIT, nth=5, request=True, times=3))
        seen = 0

        async def use(engine: Engine) -> Report:
            def look() -> None:
                nonlocal seen
                seen += 1
                t = reading.totals(disk.open(), KEYS)
                assert t == engine.totals
                assert t.received == t.accepted + t.repeats + sum(t.refused.values())
                for f in t.flows.values():
                    assert f.accepted == f.exported + sum(f.held.values()) == t.accepted
                    assert f.exported == f.delivered + f.dead_lettered + f.pending + sum(f.discarded.values())
                    assert f.pending >= 0

            engine.on_commit.append(look)
            return await engine.run(until_drained=True)

        assert road.life(use).drained
        assert seen > 10
        t = road.engine.totals
        assert sum(t.refused.values()) == 4 == len(road.source.refused)
        assert t.flows["f"].dead_lettered == 3
        assert t.flows["f"].possible_duplicates == 4
        assert t.dead_letters == 4 + 3 + t.flows["g"].dead_lettered

    def test_an_unclean_stop_is_told_at_the_next_start_alone(self, disk: Disk) -> None:
        """With how many exports waited, and how many of them are counted as possible duplicates."""
        road = Road(disk, Lines(joining(60, 3)), batch_updates=10)
        with pytest.raises(PowerCut):
            road.run(cut=20)
        with logged() as found:
            road.run()
        (told,) = (line["event"] for line in found.lines if "unclean stop" in line["event"])
        again = road.engine.totals.flows["f"].possible_duplicates
        assert again > 0
        assert f"at most {again} of them may be sent again" in told
        with logged() as found:
            road.run()
        assert "unclean" not in found.text

    def test_u5_a_graceful_stop_sends_nothing_twice(self, disk: Disk) -> None:
        """Stopped again and again in the middle, with exports waiting on disk: each arrives exactly once."""
        road = Road(
            disk, Lines(members(300, 20), sizes=lambda: 10), flow_memory_bytes=3000, limits=Limits(records=5),
            batch_updates=10,
        )  # fmt: skip
        for lives in range(1, 100):
            stop_at = 30 * lives

            async def use(engine: Engine, stop_at: int = stop_at) -> Report:
                engine.on_commit.append(lambda: engine.stop() if road.source.acknowledged >= stop_at else None)
                return await engine.run(until_drained=True)

            assert road.life(use).drained
            if road.source.acknowledged == 300:
                break
        verdict = road.judged()
        assert verdict.ok, verdict
        assert (verdict.duplicates.count, len(road.arrived())) == (0, 300)
        assert road.source.opened_at == sorted(road.source.opened_at)

    def test_u5_a_finished_run_is_finished(self, disk: Disk) -> None:
        """Run again, it reads nothing and sends nothing; with more input it goes on where it was."""
        road = Road(disk, Lines(members(50, 5)))
        road.run()
        road.run()
        assert (len(road.arrived()), road.source.opened_at) == (50, [0, 50])
        road.source.bodies += members(10, 5, first=50)
        road.run()
        verdict = road.judged()
        assert verdict.ok, verdict
        assert verdict.duplicates.count == 0

    def test_u5_a_drain_that_runs_out_keeps_the_rest(self, disk: Disk) -> None:
        """A destination that refuses everything: the report says so, and the next process sends all of it once."""
        road = Road(disk, Lines(members(40, 5)))
        road.stream().script(Rule(Verdict.RETRY, times=None))

        async def stopped(engine: Engine) -> Report:
            engine.on_commit.append(lambda: engine.stop() if road.source.acknowledged == 40 else None)
            return await engine.run()

        report = road.life(stopped)
        assert (report.drained, report.timed_out, report.flows[0].pending) == (False, True, 40)
        road.stream().clear_rules()
        assert road.run().drained
        verdict = road.judged()
        assert verdict.ok, verdict
        assert verdict.duplicates.count == 0

    def test_u5_requests_under_way_are_answered_when_the_drain_runs_out(self, disk: Disk) -> None:
        """What was sent and is answered within the grace is settled, and not sent again."""
        road = Road(disk, Lines(members(40, 40)), clock=Manual(), linger_s=0.0, drain_timeout_s=1.0)

        async def use(engine: Engine) -> Report:
            road.held = held = asyncio.Event()
            running = asyncio.create_task(engine.run())
            while road.waiting < 1:
                await asyncio.sleep(0)
            engine.stop()
            turn = 0
            while not running.done():
                turn += 1
                await asyncio.sleep(0)
                if turn % 10 == 0:
                    road.clock.advance(0.02)
                if turn == 1000:
                    held.set()
            return await running

        report = road.life(use)
        assert (report.timed_out, report.drained) == (True, True)
        road.clock, road.held = Manual(auto=True), None
        road.run()
        assert len(road.arrived()) == 40
