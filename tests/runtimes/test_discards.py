"""Exports that are not sent any more: R1 and R2 of ``runtimes.embedded.discards``, by consent and by deletion."""

from __future__ import annotations

import random
from typing import Any

import msgspec
import pytest

from headrace.core.flow import Consent, Snapshot
from headrace.core.link import name
from headrace.core.model import Delete, Identity
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.memory import Rule
from headrace.runtimes.embedded.engine import Engine
from headrace.state.keys import DISCARD
from tests.runtimes.living import asked, live, more, moves_on, passes, quiet, same
from tests.runtimes.road import (
    KEY,
    KEYS,
    Disk,
    Lines,
    Road,
    flow,
    refuse,
    snapshot,
    update,
)

DOWN = Rule(Verdict.RETRY, times=None)


def consenting(**settings: Any) -> Snapshot:
    """Two flows that ask for a consent, one of which tells of deletions, and one that asks for none."""
    asked_for = {"consent": Consent(("ok",), ("y",)), "metadata": True}
    return snapshot(
        flow("f", **asked_for, on_delete="exit", **settings), flow("g", **asked_for, **settings), flow("h")
    )


def marks(road: Road) -> int:
    """Marks that are stored."""
    return len(list(road.disk.open().scan(*KEYS.space(DISCARD))))


def about(road: Road, flow_id: str, who: str) -> list[str]:
    """Statuses of the audience in a flow's messages about a person; repeats dropped."""
    found = [msgspec.json.decode(data) for data in dict.fromkeys(road.arrived(flow_id))]
    return [m["segmentMembership"]["ups"]["vip"]["status"] for m in found if who in str(m["identityMap"])]


def test_r1_a_withdrawal_gives_up_what_waits(disk: Disk) -> None:
    """With the destination down: of ten exports that wait one exit remains; others and other flows lose nothing."""
    road = quiet(disk, [], consenting(), flow_memory_bytes=4000)
    for flow_id in "fgh":
        refuse(road, DOWN, flow_id=flow_id)
    bodies = [update(n, f"email:u{n % 2}", vip=True, ok="y") for n in range(20)]

    async def act(engine: Engine) -> None:
        road.source.bodies += [*bodies, update(20, "email:u0", ok="n"), update(21, "email:u0", vip=True)]
        while road.source.acknowledged < 22:
            await moves_on(road, 0.01)
        for flow_id in "fgh":
            road.stream(flow_id).clear_rules()

    live(road, act)
    assert about(road, "f", "u0") == about(road, "g", "u0") == ["exited"]
    assert about(road, "f", "u1") == about(road, "g", "u1") == ["realized"] * 10
    assert len(about(road, "h", "u0")) == 12
    for flow_id in "fg":
        assert road.engine.totals.flows[flow_id].discarded == {"consent-withdrawn": 10}
    same(road)
    assert marks(road) == 2
    live(road, passes(road, 100), more(road, [update(30, "email:u1", vip=True, ok="y")]), passes(road, 100),
         more(road, [update(31, "email:u1", vip=True, ok="y")]))  # fmt: skip
    assert marks(road) == 0, "R2: forgotten once everything has left"


def test_r2_a_withdrawal_during_a_pause_over_restarts(disk: Disk) -> None:
    """Kept exports of a paused flow are given up when it goes on in another process."""
    bodies = [update(n, f"email:u{n % 2}", vip=True, ok="y") for n in range(20)]
    road = quiet(disk, bodies[:2], consenting(), flow_memory_bytes=0)
    live(road, asked("flow-pause", flow="f"), more(road, bodies[2:]))
    live(road, more(road, [update(20, "email:u0", ok="n")]))
    assert about(road, "f", "u0") == ["realized"]
    assert about(road, "g", "u0") == ["realized"] * 10 + ["exited"]
    live(road, asked("flow-resume", flow="f"))
    assert about(road, "f", "u0") == ["realized", "exited"]
    assert about(road, "f", "u1") == ["realized"] * 10
    assert road.engine.totals.flows["f"].discarded == {"consent-withdrawn": 9}
    same(road)


def test_r1_a_deletion_gives_up_what_waits(disk: Disk) -> None:
    """The flow that tells of deletions sends one exit; the others send nothing more at all."""
    road = quiet(disk, [], consenting())
    for flow_id in "fgh":
        refuse(road, DOWN, flow_id=flow_id)

    async def act(engine: Engine) -> None:
        road.source.bodies += [update(n, f"email:u{n % 2}", vip=True, ok="y") for n in range(20)]
        while road.source.acknowledged < 20:
            await moves_on(road, 0.01)
        engine.submit(Delete(name(KEY, Identity("email", "u0"))))
        await moves_on(road)
        for flow_id in "fgh":
            road.stream(flow_id).clear_rules()

    live(road, act)
    assert [about(road, flow_id, "u0") for flow_id in "fgh"] == [["exited"], [], []]
    assert [len(about(road, flow_id, "u1")) for flow_id in "fgh"] == [10, 10, 10]
    assert {f.discarded["profile-deleted"] for f in road.engine.totals.flows.values()} == {10}
    same(road)


@pytest.mark.parametrize("seed", range(4))
def test_a_withdrawal_under_faults_and_power_cuts(disk: Disk, seed: int) -> None:
    """One exit export per flow, acknowledged, and nothing after it, whatever is refused or cut off when."""
    rng = random.Random(seed)
    bodies: list[bytes] = []
    gone = [f"email:u{n}" for n in range(10)]
    for n in range(200):
        bodies.append(update(n, rng.choice([*gone, "email:stays"]), vip=True, ok="y"))
    for n, who in enumerate(gone):
        at = rng.randrange(150, len(bodies))
        bodies.insert(at, update(1000 + n, who, ok="n"))
        bodies[at + 1 :] = [body for body in bodies[at + 1 :] if f'"{who[6:]}"'.encode() not in body]
        bodies.append(update(2000 + n, who, vip=True))
    road = Road(
        disk, Lines(bodies, sizes=lambda: rng.randrange(1, 9)), consenting(), seed=seed, batch_updates=10,
        limits=Limits(records=5), turns=lambda: rng.randrange(4),
    )  # fmt: skip
    for flow_id in "fg":
        rules = [Rule(rng.choice([Verdict.RETRY, Verdict.RETRY, Verdict.UNKNOWN]), nth=rng.randint(1, 150),
                      times=rng.randint(1, 6)) for _ in range(20)]  # fmt: skip
        road.stream(flow_id).script(*rules)
    road.run_through([rng.randrange(4, 60) for _ in range(6)])
    same(road)
    for flow_id in "fg":
        for who in gone:
            said = about(road, flow_id, who[6:])
            told = f'"{who[6:]}"'.encode()
            if said:
                assert said.count("exited") == 1, (who, said)
                last = [data for data in road.arrived(flow_id) if told in data][-1]
                assert b'"exited"' in last, "something came after the exit"
        assert road.engine.totals.flows[flow_id].pending == 0
