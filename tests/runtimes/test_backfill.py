"""Runs over the profiles: B1 to B3 of ``runtimes.embedded.backfill``, and audiences that become new to a flow."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace.bootstrap.acting import acting
from headrace.core.flow import CompiledFlow, MappedSegment, Snapshot
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.refold import refold
from headrace.runtimes.embedded.runs import Order, shown
from headrace.state.runs import Run
from headrace.testing.fold import FlowPlan
from tests.runtimes.crowds import people
from tests.runtimes.latest import differing, order_broken
from tests.runtimes.living import live, moves_on, passes, quiet
from tests.runtimes.road import (
    KEY,
    KEYS,
    VIP,
    Disk,
    Lines,
    MemoryDisk,
    PowerCut,
    Road,
    flow,
    refuse,
    snapshot,
    update,
)

PLAN = FlowPlan([VIP], ("n",))


def begin(**order: Any) -> Callable[[Engine], Run]:
    """Start a run."""
    return lambda engine: engine.runs.start(Order(**({"flow": "f"} | order)))


def the_run(road: Road, run_id: str = "") -> Run:
    """The latest run, or one."""
    return next(road.engine.runs.listed(run_id=run_id))


def told(road: Road, flow_id: str = "f") -> list[str]:
    """First identity of each message."""
    read = [msgspec.json.decode(data) for data in road.arrived(flow_id)]
    return [next(ids[0]["id"] for ids in message["identityMap"].values()) for message in read]


def others() -> Snapshot:
    """A configuration whose flow tells nobody of the audience."""
    return snapshot(flow("f", segments={"ups": {"other": MappedSegment()}}))


def settled(road: Road, flow_id: str = "f") -> None:
    """The last message about everybody is the present state, in order; totals and journal agree."""
    assert differing(road.source.bodies, PLAN, road.arrived(flow_id)) == []
    assert order_broken(road.arrived(flow_id)) == []
    counted = road.engine.totals.flows[flow_id]
    assert counted.pending == 0
    assert counted.accepted == counted.exported + sum(counted.held.values())
    compared = refold(road.disk.open(), KEYS, KEY)
    assert compared.same, compared


def metadata(flow_id: str = "f", **settings: Any) -> CompiledFlow:
    return flow(flow_id, metadata=True, **settings)


# -- audiences that are new -----------------------------------------------------------------------


def test_a_new_flow_tells_of_those_who_qualified_before(disk: Disk) -> None:
    """Its members, once each; the other flow is not concerned; the run says what it did."""
    road = quiet(disk, people(300), snapshot(metadata("g")), auto_backfill=True)
    live(road)
    before = len(road.arrived("g"))
    road.configuration = snapshot(metadata("f"), metadata("g"))
    live(road)
    settled(road)
    assert len(road.arrived("g")) == before
    run = the_run(road)
    totals = road.engine.totals
    assert (run.state, run.kind, run.automatic, run.segments) == ("done", "backfill", True, [VIP])
    assert (run.scanned, run.exported) == (totals.profiles, len(road.arrived("f")))
    assert run.scanned == run.exported + sum(run.excluded.values())
    assert b'"kind":"backfill"' in road.arrived("f")[0]
    live(road)
    assert len(road.arrived("f")) == run.exported, "once"


def test_an_audience_that_is_mapped_while_the_engine_runs(disk: Disk) -> None:
    """Another configuration is put in force: the members of what is new to the flow are exported."""
    road = quiet(disk, people(200), others(), auto_backfill=True)

    async def changed(engine: Engine) -> None:
        road.configuration = snapshot(metadata())
        await engine.reconfigure(road.configuration, road.targets(road.configuration))

    live(road, changed)
    settled(road)
    assert the_run(road).exported == len(road.arrived()) > 10


def test_automatic_backfill_can_be_off(disk: Disk) -> None:
    """Then nothing is sent by itself, and what is new meanwhile is not made up for when it is on again."""
    road = quiet(disk, people(100), others())
    live(road)
    road.configuration = snapshot(metadata())
    live(road)
    assert (road.arrived(), list(road.engine.runs.listed())) == ([], [])
    live(road, begin())
    settled(road)


def test_a_start_date_brings_the_members_on_its_day(disk: Disk) -> None:
    """Not before, although they are in the audience; after the end date nothing more is exported."""
    start = 1_700_000_000_000 + 86_400_000
    dated = MappedSegment(start_date="2023-11-16", start_ms=start, end_date="2023-11-17", end_ms=start + 86_400_000)
    configuration = snapshot(metadata(segments={"ups": {"vip": dated}}))
    road = quiet(disk, people(100), configuration, auto_backfill=True)
    live(road, passes(road, 86_000))
    assert road.arrived() == []
    live(road, passes(road, 401))
    settled(road)
    count = len(road.arrived())
    assert count == the_run(road).exported > 10
    live(road, passes(road, 86_400))
    road.source.bodies.append(update(5000, "email:late", vip=True))
    live(road)
    assert len(road.arrived()) == count


# -- scope ----------------------------------------------------------------------------------------


def test_scopes(disk: Disk) -> None:
    """By audience, identity and time of qualification; what is left out is counted by reason."""
    bodies = [update(n, f"email:u{n}", vip=True) for n in range(20)] + [update(50, "email:out", vip=False)]
    road = quiet(disk, bodies)
    live(road)
    for order, wanted in (
        ({"identities": ["email:u3", "Email:u4", "email:nobody", "email:out", "email:u3"]}, {"u3", "u4"}),
        ({"qualified_after_ms": 1_767_225_600_000 + 15 * 60_000}, {"u15", "u16", "u17", "u18", "u19"}),
        ({"qualified_before_ms": 1_767_225_600_000 + 2 * 60_000}, {"u0", "u1"}),
        ({"segments": ["vip"]}, {f"u{n}" for n in range(20)}),
        ({"segments": ["ups/vip"]}, {f"u{n}" for n in range(20)}),
    ):
        before = len(road.arrived())
        live(road, begin(kind="resend", **order))
        assert sorted(told(road)[before:]) == sorted(wanted), order
        run = the_run(road)
        assert run.scanned == run.exported + sum(run.excluded.values())
    assert road.engine.totals.flows["f"].triggers["re-send"] == 2 + 5 + 2 + 20 + 20


@pytest.mark.parametrize(
    ("order", "words"),
    [
        ({"flow": "x"}, r"no flow x \(allowed: f\)"),
        ({"segments": ["x"]}, r"maps no audience x \(allowed: vip\)"),
        ({"identities": ["x"]}, "namespace:id"),
        ({"kind": "x"}, r"allowed: backfill, resend"),
        ({"rate": -1.0}, "0 or more"),
    ],
)
def test_a_wrong_order_is_refused(order: dict[str, Any], words: str) -> None:
    """With what is allowed; nothing is begun."""
    road = quiet(MemoryDisk(), people(5))

    def act(engine: Engine) -> None:
        with pytest.raises(RefusedError, match=words):
            begin(**order)(engine)

    live(road, act)
    assert list(road.engine.runs.listed()) == []


def test_who_was_told_since_the_start_is_left_out() -> None:
    """A backfill does not tell again what a live export has told meanwhile; a re-send does."""
    for kind, again in (("backfill", 0), ("resend", 1)):
        road = quiet(MemoryDisk(), [update(n, f"email:u{n}", vip=True) for n in range(10)])

        def act(engine: Engine, kind: str = kind, road: Road = road) -> None:
            engine.runs.act(begin(kind=kind)(engine).id, "pause")
            road.source.bodies.append(update(50, "email:u0", vip=True))

        live(road, act, lambda engine: engine.runs.act("r1", "resume"))
        assert told(road)[10:].count("u0") == 1 + again
        assert len(told(road)) == 10 + 10 + again


def test_who_is_told_of_in_the_batch_that_looks_at_them_is_left_out() -> None:
    """Updates are decided before the run's inputs: what the run saw of the profile is no longer the last word."""
    road = quiet(MemoryDisk(), [update(n, f"email:u{n}", vip=True) for n in range(10)], snapshot(metadata()))
    live(road)

    def act(engine: Engine) -> None:
        begin()(engine)
        road.source.bodies += [update(50 + n, f"email:u{n}", vip=True) for n in range(10)]

    live(road, act)
    run = the_run(road)
    assert (run.exported, run.excluded) == (0, {"told-since": 10})
    assert len(told(road)) == 20
    settled(road)


# -- pause, resume, cancel, rate, backlog ---------------------------------------------------------


def test_b3_a_run_waits_for_its_flow(disk: Disk) -> None:
    """While it is paused nothing is made; once it is not, everything."""
    road = quiet(disk, people(200), snapshot(metadata("g")), auto_backfill=True)
    live(road)
    road.configuration = snapshot(metadata("f", paused=True), metadata("g"))
    (answer,) = live(road, lambda engine: [shown(run, engine.backfills.waits(run)) for run in engine.runs.listed()])
    assert (answer[0]["state"], answer[0]["waits"], answer[0]["scanned"]) == ("running", "the flow is paused", 0)
    assert answer[0]["eta_s"] is None
    road.configuration = snapshot(metadata("f"), metadata("g"))
    live(road)
    settled(road)


def test_b3_a_backlog_comes_first() -> None:
    """With the destination down, a run stops at the backlog's bound instead of filling the disk."""
    road = quiet(MemoryDisk(), people(3000, crowd=2000), snapshot(metadata(disk_budget_bytes=400_000)))
    live(road)
    refuse(road, Rule(Verdict.RETRY, times=None))

    async def act(engine: Engine) -> None:
        begin(kind="resend")(engine)
        for _ in range(2000):
            await asyncio.sleep(0)
        stored = engine.flows["f"].outbox.stored_bytes
        assert 100_000 < stored < 400_000
        assert "backlog" in engine.backfills.waits(the_run(road))
        road.stream().clear_rules()

    live(road, act)
    assert the_run(road).state == "done"
    settled(road)


def test_pause_resume_and_cancel_outlive_the_process(disk: Disk) -> None:
    """A run that was paused stays so; it goes on where it was; one that was cancelled is at its end."""
    road = quiet(disk, [update(n, f"email:u{n}", vip=True) for n in range(50)])
    live(road, begin(kind="resend", rate=1.0), lambda engine: engine.runs.act("r1", "pause"), passes(road, 100))
    done = the_run(road).exported
    assert 0 < done < 50
    assert the_run(road).state == "paused"
    live(road, passes(road, 100))
    assert the_run(road).exported == done
    live(road, lambda engine: engine.runs.act("r1", "resume"), *[passes(road, 1)] * 5)
    assert done < the_run(road).exported < 50
    live(road, lambda engine: engine.runs.act("r1", "cancel"), passes(road, 100))
    run = the_run(road)
    assert (run.state, len(road.arrived())) == ("cancelled", 50 + run.exported)

    def again(engine: Engine) -> None:
        with pytest.raises(RefusedError, match="cancelled already"):
            engine.runs.act("r1", "resume")
        with pytest.raises(RefusedError, match="no run r9"):
            engine.runs.act("r9", "pause")

    live(road, again)


def test_the_rate_is_kept_and_leaves_live_traffic_alone() -> None:
    """Ten a second for ten seconds; updates are exported at once meanwhile; the ETA is about right."""
    road = quiet(MemoryDisk(), [update(n, f"email:u{n}", vip=True) for n in range(200)])
    seen: list[tuple[int, float | None]] = []

    async def act(engine: Engine) -> None:
        run = begin(kind="resend", rate=10.0)(engine)
        for second in range(10):
            await moves_on(road, 1.0)
            seen.append((run.exported, shown(run, "")["eta_s"]))
            road.source.bodies.append(update(1000 + second, "email:live", vip=True))
        engine.runs.act(run.id, "cancel")

    live(road, act)
    for second, (exported, eta_s) in enumerate(seen, 1):
        assert 10 * second - 10 <= exported <= 10 * second + 11
        if second > 3:
            assert eta_s == pytest.approx((200 - exported) / 10, rel=0.5)
    assert told(road).count("live") in (10, 11), "the run may come to it, too"


# -- crashes and live traffic ---------------------------------------------------------------------


class Traffic:
    """Live updates and a run beside them, over lives that are cut off.

    The source gives the first part; then a flow is added, whose backfill and the rest go on together.
    """

    def __init__(self, disk: Disk, count: int, seed: int, crowd: int, cuts: list[int], **options: Any) -> None:
        self.rng = random.Random(seed)
        source = Lines(people(count, seed, crowd), sizes=lambda: self.rng.randrange(1, 15))
        self.road = Road(
            disk, source, others(), limits=Limits(records=20), turns=lambda: self.rng.randrange(3),
            seed=seed, auto_backfill=True, **({"batch_updates": 20} | options),
        )  # fmt: skip
        bodies = source.bodies
        source.bodies = bodies[: count // 2]
        assert self.road.run().drained
        source.bodies = bodies
        self.road.configuration = snapshot(metadata())
        self.lives = self.road.run_through(cuts)


@pytest.mark.parametrize("seed", range(4))
def test_b1_b2_cut_off_at_random_with_live_traffic(disk: Disk, seed: int) -> None:
    """Every member is exported, nobody with an older state after a newer one, whatever is cut off when."""
    rng = random.Random(seed)
    made = Traffic(disk, 600, seed, 60, [rng.randrange(4, 80) for _ in range(8)])
    settled(made.road)
    run = the_run(made.road)
    assert run.state == "done"
    assert run.scanned == run.exported + sum(run.excluded.values())
    assert run.exported > 5


def test_b2_a_cut_at_any_step() -> None:
    """Before and after each commit and sync of a backfill in turn: each member is exported by it once."""
    bodies = [update(n, f"email:u{n}", vip=True) for n in range(1200)]
    road = Road(MemoryDisk(), Lines(bodies), others(), auto_backfill=True, batch_updates=400)
    road.run()
    road.configuration = snapshot(metadata())
    cut, lives = 1, 0
    while True:
        try:
            lives += 1
            road.run(cut=cut)
        except PowerCut:
            cut += 1
            continue
        break
    assert lives > 8
    settled(road)
    run = the_run(road)
    assert (run.scanned, run.exported, road.engine.totals.flows["f"].exported) == (1200, 1200, 1200)
    assert sorted(set(told(road))) == sorted(f"u{n}" for n in range(1200))


def test_who_mapped_an_audience_learns_of_its_run(disk: Disk) -> None:
    """At once, however soon the run ends, and of no other one; without the automatic there is none."""
    road = quiet(disk, people(100), others(), auto_backfill=True)

    async def mapped(engine: Engine) -> Any:
        road.configuration = snapshot(metadata())
        await engine.reconfigure(road.configuration, road.targets(road.configuration))
        return await acting(road.state, KEYS, engine)["backfill-mapped"]({"flow": "f", "segments": ["vip"]})

    async def again(engine: Engine) -> Any:
        return await acting(road.state, KEYS, engine)["backfill-mapped"]({"flow": "f", "segments": ["vip", "x"]})

    assert live(road, mapped, again) == [{"runs": ["r1"], "automatic": True}] * 2
    settled(road)
    assert len(list(road.engine.runs.listed())) == 1
    assert live(road, again) == [{"runs": [], "automatic": True}], "begun by an earlier process"
    road.options = msgspec.structs.replace(road.options, auto_backfill=False)
    assert live(road, again) == [{"runs": [], "automatic": False}]
