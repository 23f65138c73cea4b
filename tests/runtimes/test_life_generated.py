"""I8 through all that happens to a profile and to an export, drawn at random: totals add up at every commit.

And between lives they are the same wherever they are shown: metrics, status, tables, ledger and outbox.
"""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.bootstrap.acting import acting
from headrace.core.flow import Consent
from headrace.destinations.base import Verdict
from headrace.destinations.memory import Rule
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.refold import refold
from headrace.state import reading
from tests.runtimes.living import live, quiet
from tests.runtimes.road import KEY, KEYS, MemoryDisk, Road, flow, snapshot, update
from tests.runtimes.test_same_totals import held_to_one_another

PEOPLE = [f"email:p{n}" for n in range(8)]
FULL = (
    flow("f", metadata=True, on_delete="exit"),
    flow("g", consent=Consent(("ok",), ("y",)), on_delete="exit", disk_budget_bytes=4000),
    flow("h", pause_mode="skip"),
)


def bodies(rng: random.Random, count: int) -> list[bytes]:
    """Updates about people who enter, leave, join, consent and withdraw; some are none."""
    made = []
    for _ in range(count):
        n = rng.randrange(10**6)
        who = rng.sample(PEOPLE, rng.choice([1, 1, 1, 2]))
        said = {"ok": rng.choice(["y", "n"])} if rng.random() < 0.5 else {}
        vip = rng.choice([True, True, False, None])
        made.append(rng.choice([b"no json", *[update(n, *who, vip=vip, at=n % 40_000, **said)] * 9]))
    return made


def acts(rng: random.Random, road: Road) -> list[Callable[[Engine], Any]]:
    """What operators and time do, drawn."""

    def asking(request: str, **arguments: Any) -> Callable[[Engine], Any]:
        async def ask(engine: Engine) -> None:
            try:
                answer = acting(road.state, KEYS, engine)[request](arguments)
                if inspect.isawaitable(answer):
                    await answer
            except RefusedError:
                pass

        return ask

    def more(engine: Engine) -> None:
        road.source.bodies.extend(bodies(rng, 12))

    async def configured(engine: Engine) -> None:
        road.configuration = snapshot(*rng.sample(FULL, rng.randint(1, 3)))
        await engine.reconfigure(road.configuration, road.targets(road.configuration))

    def refusing(engine: Engine) -> None:
        kinds = [Verdict.RETRY, Verdict.UNKNOWN, Verdict.REJECTED]
        stream = road.stream(rng.choice("fgh"))
        stream.script(Rule(rng.choice(kinds), nth=len(stream.accepted) + 1, times=rng.randint(1, 4)))

    flow_id, person = rng.choice("fgh"), rng.choice(PEOPLE)[6:]
    options: list[Callable[[Engine], Any]] = [
        more, more, more, refusing, configured,
        lambda _: road.clock.advance(rng.choice([1, 86_400, 31 * 86_400])),
        asking("backfill-start", flow=flow_id, kind=rng.choice(["backfill", "resend"])),
        asking("flow-pause", flow=flow_id, mode=rng.choice(["keep", "skip"])),
        asking("flow-resume", flow=flow_id, catch_up=rng.random() < 0.5),
        asking("dead-letter-replay", original=rng.random() < 0.3),
        asking("profile-delete", namespace="email", id=person),
        asking("profile-unlink", namespace="email", id=person),
    ]  # fmt: skip
    return [rng.choice(options) for _ in range(rng.randint(3, 7))]


@settings(max_examples=40)
@given(st.integers(0, 2**32))
def test_i8_totals_add_up_through_a_whole_life(seed: int) -> None:
    """Checked at every commit by the engine itself, at the end against what is stored; the journal folds to it."""
    rng = random.Random(seed)
    road = quiet(MemoryDisk(), bodies(rng, 30), snapshot(*FULL), auto_backfill=True, dead_letter_cap=20)
    for _ in range(3):
        live(road, *acts(rng, road))
        held_to_one_another(road)
    totals = reading.totals(road.disk.open(), KEYS)
    assert totals == road.engine.totals
    assert totals.received == totals.accepted + totals.repeats + sum(totals.refused.values())
    for f in totals.flows.values():
        assert f.accepted == f.exported + sum(f.held.values())
        assert f.exported == f.delivered + f.dead_lettered + f.pending + sum(f.discarded.values())
        assert f.pending >= 0
    assert totals.dead_letters == len(list(reading.dead_letters(road.disk.open(), KEYS, limit=10_000)))
    compared = refold(road.disk.open(), KEYS, KEY)
    assert not compared.differing, (seed, compared)
