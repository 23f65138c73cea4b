"""Flows that are paused and resumed: Z1 and Z2 of ``runtimes.embedded.pauses``."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from headrace.bootstrap.acting import acting
from headrace.core.flow import Consent
from headrace.core.link import name
from headrace.core.model import Delete, Identity
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.testing.fold import FlowPlan
from tests.runtimes.crowds import people
from tests.runtimes.latest import differing, order_broken
from tests.runtimes.living import asked, live, more, quiet, same
from tests.runtimes.road import KEY, KEYS, VIP, Disk, MemoryDisk, flow, members, snapshot, update

PLAN = FlowPlan([VIP], ("n",))


def test_a_pause_that_keeps_sends_everything_afterwards(disk: Disk) -> None:
    """In the order of the changes; the other flow does not notice."""
    road = quiet(disk, members(40, 10), snapshot(flow("f"), flow("g")))
    answers = live(road, asked("flow-pause", flow="f"), more(road, members(60, 10, first=40)))
    assert (answers[0]["pause"]["mode"], answers[0]["paused"]) == ("keep", True)
    assert (len(road.arrived("f")), len(road.arrived("g"))) == (40, 100)
    assert road.engine.totals.flows["f"].pending == 60
    live(road, asked("flow-resume", flow="f"))
    verdict = road.judged()
    assert verdict.ok, verdict
    assert verdict.duplicates.count == 0
    same(road)


def test_z1_a_pause_outlives_process_and_configuration(disk: Disk) -> None:
    """Until it is resumed; a change of the configuration keeps it, and a flow that comes back is paused still."""
    road = quiet(disk, members(10, 10), snapshot(flow("f"), flow("g")))
    live(road, asked("flow-pause", flow="f", mode="keep"))

    async def changed(engine: Engine) -> None:
        for configuration in (snapshot(flow("g")), snapshot(flow("f", paths=("n", "m")), flow("g"))):
            road.configuration = configuration
            await engine.reconfigure(configuration, road.targets(configuration))

    (_, told) = live(road, changed, asked("flows"))
    assert [(one["flow"], one["paused"]) for one in told] == [("g", False), ("f", True)]
    road.source.bodies += members(10, 10, first=10)
    live(road)
    assert len(road.arrived("f")) == 10
    (answer,) = live(road, asked("flow-resume", flow="f"))
    assert (answer["pause"], answer["paused"], answer["run"]) == (None, False, None)
    assert len(road.arrived("f")) == 20
    same(road)


@pytest.mark.parametrize("by_configuration", [False, True])
def test_z2_skipped_changes_are_counted_and_made_up_for(disk: Disk, *, by_configuration: bool) -> None:
    """Who entered, left, joined and changed meanwhile: the last message about each is the present state."""
    bodies = people(600, 3)
    plain, skipping = snapshot(flow("f", metadata=True)), flow("f", metadata=True, paused=True, pause_mode="skip")
    road = quiet(disk, bodies[:200], plain)
    live(road)
    before = len(road.arrived())
    if by_configuration:
        road.configuration = snapshot(skipping)
        live(road, more(road, bodies[200:500]))
        road.configuration = plain
    else:
        live(road, asked("flow-pause", flow="f", mode="skip"), more(road, bodies[200:500]))
        live(road, asked("flow-resume", flow="f"))
    skipped = road.engine.totals.flows["f"].held["paused"]
    assert len(road.arrived()) == before
    assert skipped > 100
    (_, told) = live(road, more(road, bodies[500:]), asked("flows"))
    assert (told[0]["skipped"], told[0]["catch_up"]) == (skipped, True)
    assert differing(bodies, PLAN, road.arrived()) != [], "nothing to make up for, so this shows nothing"
    (run, told) = live(road, asked("flow-catch-up", flow="f"), asked("flows"))
    assert run["kind"] == "catch-up"
    assert (told[0]["skipped"], told[0]["catch_up"]) == (0, False)
    assert differing(bodies, PLAN, road.arrived()) == []
    assert order_broken(road.arrived()) == []
    assert len(road.arrived()) - before < 300
    assert road.engine.totals.flows["f"].triggers["catch-up"] == next(road.engine.runs.listed()).exported
    same(road)


def test_a_resumption_can_begin_the_catch_up(disk: Disk) -> None:
    """With catch_up; where nothing was skipped there is no run."""
    road = quiet(disk, people(100, 5), snapshot(flow("f", metadata=True)))
    answers = live(
        road, asked("flow-pause", flow="f", mode="skip"), asked("flow-resume", flow="f", catch_up=True),
        asked("flow-pause", flow="f", mode="skip"), more(road, people(300, 5)[100:]),
        asked("flow-resume", flow="f", catch_up=True),
    )  # fmt: skip
    assert (answers[1]["run"], answers[-1]["run"]) == (None, "r1")
    assert differing(road.source.bodies, PLAN, road.arrived()) == []
    same(road)


def test_what_a_skipping_flow_tells_afterwards_of_those_who_are_gone() -> None:
    """A consent withdrawn meanwhile is told by the catch-up; a deletion's last message waits and is sent."""
    consenting = flow("f", metadata=True, consent=Consent(("ok",), ("y",)), on_delete="exit")
    road = quiet(MemoryDisk(), [update(n, f"email:u{n}", vip=True, ok="y") for n in range(3)], snapshot(consenting))

    def deleted(engine: Engine) -> None:
        engine.submit(Delete(name(KEY, Identity("email", "u2"))))

    live(
        road, asked("flow-pause", flow="f", mode="skip"), more(road, [update(5, "email:u1", ok="n")]), deleted,
        asked("flow-resume", flow="f", catch_up=True),
    )  # fmt: skip
    gone = road.arrived()[3:]
    assert len(gone) == 2
    assert all(b'"exited"' in data and b'"realized"' not in data for data in gone)
    assert {b"u1" in data for data in gone} == {True, False}
    same(road)


@pytest.mark.parametrize(
    ("request_", "arguments", "words"),
    [
        ("flow-pause", {"flow": "x"}, r"no flow x \(allowed: f\)"),
        ("flow-pause", {"flow": "f", "mode": "x"}, r"allowed: keep, skip"),
        ("flow-resume", {"flow": "f"}, "was not paused"),
        ("flow-catch-up", {"flow": "f"}, "skipped nothing"),
    ],
)
def test_wrong_requests(request_: str, arguments: dict[str, Any], words: str) -> None:
    """Refused with what is allowed."""
    road = quiet(MemoryDisk(), members(3, 3))

    async def act(engine: Engine) -> None:
        async def ask() -> None:
            answer = asked(request_, **arguments)(engine)
            if inspect.isawaitable(answer):
                await answer

        with pytest.raises(RefusedError, match=words):
            await ask()

    live(road, act)


def test_a_folder_that_nobody_holds_can_be_told_to_pause(disk: Disk) -> None:
    """It counts from the next start; a resumption likewise."""
    road = quiet(disk, members(5, 5))
    live(road)
    alone = acting(disk.open(), KEYS, None)
    assert alone["flow-pause"]({"flow": "f", "mode": "keep"})["paused"]
    with pytest.raises(RefusedError, match="allowed: f"):
        alone["flow-pause"]({"flow": "x"})
    road.source.bodies += members(5, 5, first=5)
    live(road)
    assert len(road.arrived()) == 5
    assert not acting(disk.open(), KEYS, None)["flow-resume"]({"flow": "f"})["paused"]
    live(road)
    assert len(road.arrived()) == 10
