"""Generated lives: updates, refusals, power cuts, stops and commands as they come; judged by the independent fold."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.core.flow import PartitionKey
from headrace.core.link import name
from headrace.core.model import Backfill, Delete, Identity, Tick
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.decision import Command
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.refold import refold
from tests.runtimes.road import KEY, KEYS, Lines, MemoryDisk, PowerCut, Road, flow, snapshot, update

RETRIED = (Verdict.RETRY, Verdict.RETRY, Verdict.UNKNOWN, Verdict.HALT)
PEOPLE = [f"email:e{n}" for n in range(6)] + [f"ecid:c{n}" for n in range(6)]

refusals = st.lists(
    st.builds(
        Rule, verdict=st.sampled_from(RETRIED), nth=st.integers(1, 40), times=st.integers(1, 8),
        request=st.booleans(), wait_s=st.sampled_from([0.0, 0.0, 2.0]),
    ),
    max_size=5,
)  # fmt: skip
"""Refusals that pass: whatever they hit, every export arrives in the end."""

cuts = st.lists(st.integers(1, 40), max_size=6)
seeds = st.integers(0, 1 << 30)

fewer = settings(max_examples=settings().max_examples // 4)
"""A life takes some 50 ms."""


def history(rng: random.Random, count: int) -> list[bytes]:
    """Updates about few people who are joined, enter, leave and change their partition key."""
    bodies = []
    for n in range(count):
        ids = rng.sample(PEOPLE, rng.choice([1, 1, 1, 2, 3]))
        more = {"pk": f"k{rng.randrange(5)}"} if rng.random() < 0.3 else {}
        bodies.append(update(n, *ids, vip=rng.choice([True, True, False, None]), at=max(0, n - 5 * (n % 2)), **more))
    return bodies


def generated(seed: int, script: list[Rule], *, bodies: list[bytes] | None = None) -> Road:
    """A road of three flows, two of which spread a profile over partition keys, with everything drawn from *seed*."""
    rng = random.Random(seed)
    configuration = snapshot(
        flow("f"),
        flow("g", partition_key=PartitionKey("attribute", steps=("pk",))),
        flow("h", partition_key=PartitionKey("identity", namespace="email")),
    )
    road = Road(
        MemoryDisk(),
        Lines(history(rng, rng.randint(1, 60)) if bodies is None else bodies, sizes=lambda: rng.randint(1, 12)),
        configuration,
        limits=Limits(records=rng.randint(1, 6), in_flight=rng.randint(1, 3)),
        turns=lambda: rng.randrange(5),
        seed=seed,
        batch_updates=rng.choice([3, 10, 50]),
        flow_memory_bytes=rng.choice([0, 2000, 1 << 20]),
        cached_profiles=rng.choice([1, 5, 1000]),
    )
    for f in configuration.flows:
        road.stream(f.id).script(*script)
    return road


@fewer
@given(seeds, refusals, cuts)
def test_u1_to_u4_through_power_cuts_and_refusals(seed: int, script: list[Rule], cut: list[int]) -> None:
    """Whatever is refused and wherever the power is cut: nothing is lost, nothing is surprising, order holds."""
    road = generated(seed, script)
    road.run_through(cut)
    verdict = road.judged()
    assert verdict.ok, verdict
    assert road.source.acknowledged == len(road.source.bodies)
    compared = refold(road.disk.open(), KEYS, KEY)
    assert compared.same, compared
    assert compared.inputs == len(road.source.bodies)


@fewer
@given(seeds, refusals)
def test_u5_without_cuts_and_unknown_fates_nothing_is_sent_twice(seed: int, script: list[Rule]) -> None:
    """Stopped gracefully in between, with refusals of every certain kind: each message arrives exactly once."""
    certain = [rule for rule in script if rule.verdict != Verdict.UNKNOWN]
    road = generated(seed, certain)
    stop_at = len(road.source.bodies) // 2

    async def stopped(engine: Engine) -> Report:
        engine.on_commit.append(lambda: engine.stop() if road.source.acknowledged >= stop_at else None)
        return await engine.run(until_drained=True)

    road.life(stopped)
    road.run_through()
    verdict = road.judged()
    assert verdict.ok, verdict
    assert verdict.duplicates.count == 0, verdict


@fewer
@given(seeds, st.lists(st.sampled_from(list(Verdict)), max_size=30))
def test_u4_and_the_journal_with_refusals_for_good_commands_and_repeats(seed: int, verdicts: list[Verdict]) -> None:
    """Dead letters, repeats, refused updates, deletions, backfills: totals add up, and the journal folds to it."""
    rng = random.Random(seed)
    bodies = [
        rng.choice([body, body, body, b"no json", update(n, rng.choice(PEOPLE), vip=True, update_id=f"{n % 7}")])
        for n, body in enumerate(history(rng, 40))
    ]
    script = [Rule(verdict, nth=rng.randint(1, 60)) for verdict in verdicts if verdict]
    road = generated(seed, script, bodies=bodies)

    async def use(engine: Engine) -> Report:
        def submit() -> None:
            if rng.random() < 0.3 and road.source.acknowledged < len(bodies):
                namespace, _, key = rng.choice(PEOPLE).partition(":")
                who = name(KEY, Identity(namespace, key))
                backfill = Backfill(who, rng.choice("fgh"), f"run{rng.randrange(9)}")
                made: list[Command] = [Tick(who), Delete(who), backfill]
                engine.submit(rng.choice(made))

        engine.on_commit.append(submit)
        return await engine.run(until_drained=True)

    for _ in range(20):
        if road.life(use).drained:
            break
    else:
        raise AssertionError("never drained")
    compared = refold(road.disk.open(), KEYS, KEY)
    assert compared.same, compared
    assert compared.exports == sum(f.exported for f in road.engine.totals.flows.values())
    for flow_id, f in road.engine.totals.flows.items():
        assert f.pending == 0
        assert f.dead_lettered == f.exported - f.delivered - sum(f.discarded.values())
        assert len(road.arrived(flow_id)) == f.delivered


@pytest.mark.slow
def test_u2_u3_a_long_life_with_many_cuts() -> None:
    """2,000 updates through 150 power cuts at drawn steps, and refusals all the way."""
    rng = random.Random(7)
    rules = [Rule(Verdict.RETRY, nth=n, times=3) for n in range(5, 3000, 40)]
    rules += [Rule(Verdict.UNKNOWN, nth=n, written=True) for n in range(17, 3000, 60)]
    road = generated(7, rules, bodies=history(rng, 2000))
    for _ in range(150):
        try:
            road.run(cut=rng.randint(5, 60))
        except PowerCut:
            continue
    road.run_through()
    verdict = road.judged()
    assert verdict.ok, verdict
    compared = refold(road.disk.open(), KEYS, KEY)
    assert compared.same, compared
