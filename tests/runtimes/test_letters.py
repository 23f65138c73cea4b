"""Replay of dead letters, and the cap on them."""

from __future__ import annotations

import msgspec
import pytest

from headrace.destinations.base import Verdict
from headrace.destinations.memory import Rule
from headrace.errors import RefusedError
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.letters import Filter, Outcome, Wanted
from headrace.runtimes.embedded.seen import seen
from tests.runtimes.living import asked, letters, live, more, quiet, same
from tests.runtimes.road import (
    KEY,
    KEYS,
    Disk,
    MemoryDisk,
    PowerCut,
    Road,
    flow,
    members,
    refuse,
    snapshot,
    update,
)


def rejecting(road: Road, times: int | None = None) -> None:
    """The destination will never take what comes from now on, so often."""
    refuse(road, Rule(Verdict.REJECTED, times=times))


def sent(road: Road) -> list[tuple[str, int, str, int]]:
    """(first identity, n, cause, seq) of each message."""
    read = [msgspec.json.decode(data) for data in road.arrived()]
    return [
        (m["identityMap"]["email"][0]["id"], m["n"], m["_headrace"]["cause"]["kind"], m["_headrace"]["seq"])
        for m in read
    ]


def test_an_export_is_replayed_as_the_present_state(disk: Disk) -> None:
    """Of a profile that exported since, and of one that did not; a dry run only counts."""
    road = quiet(disk, [], snapshot(flow("f", metadata=True)))
    rejecting(road, 2)
    road.source.bodies += members(2, 2)
    live(road)
    road.source.bodies += [update(7, "email:u0", vip=True)]
    (dry, wet) = live(
        road,
        asked("dead-letter-replay", filter={"flow": "f"}, dry_run=True),
        asked("dead-letter-replay", filter={"flow": "f"}),
    )
    assert dry == {"updates": 0, "exports": 2, "left": {}, "dry_run": True}
    assert wet == dry | {"dry_run": False}
    assert sorted(sent(road)) == [("u0", 7, "live", 2), ("u0", 7, "replay", 3), ("u1", 1, "replay", 2)]
    assert letters(road) == []
    counted = road.engine.totals.flows["f"]
    assert (counted.exported, counted.delivered, counted.dead_lettered) == (5, 3, 2)
    same(road)


def test_the_original_message_is_sent_as_it_was(disk: Disk) -> None:
    """The kept bytes under their partition key; the ledger says original."""
    road = quiet(disk, [], snapshot(flow("f", metadata=True)))
    rejecting(road, 1)
    road.source.bodies += [update(0, "email:a", vip=True), update(1, "email:a", vip=True)]
    live(road)
    (letter,) = letters(road)
    assert letter.export is not None
    live(road, asked("dead-letter-replay", ids=[letter.id], original=True))
    assert road.arrived()[-1] == letter.export.data
    assert road.stream().accepted[-1].key == letter.export.key
    assert road.engine.totals.flows["f"].triggers["original"] == 1
    assert letters(road) == []
    same(road)


def test_updates_are_decided_again(disk: Disk) -> None:
    """Those that are right by now are applied; one that is refused still stays, and is not kept twice."""
    road = quiet(disk, [b"no json", b"[]", update(0), update(1, "email:a", vip=True)])
    live(road)
    before = letters(road)
    assert len(before) == 3
    (answer,) = live(road, asked("dead-letter-replay", filter={"kind": "update"}, wait=True))
    assert answer["updates"] == 3
    assert answer["decided"] == Outcome(applied=0, refused=3, done=True)
    assert [letter.id for letter in letters(road)] == [letter.id for letter in before]
    assert sum(road.engine.totals.refused.values()) == 6
    same(road)
    # As after a release that understands them: a letter's bytes are an update that can be applied.
    write = disk.open().batch()
    at_ms, _, number = before[0].id.partition("-")
    before[0].body = update(9, "email:a", vip=True)
    write.put(KEYS.numbered(b"D", int(at_ms), int(number)), msgspec.msgpack.encode(before[0]))
    disk.open().commit(write)
    (answer,) = live(road, asked("dead-letter-replay", ids=[before[0].id], wait=True))
    assert answer["decided"] == Outcome(applied=1, refused=0, done=True)
    assert b'"n":9' in road.arrived()[-1]
    assert [letter.id for letter in letters(road)] == [letter.id for letter in before[1:]]
    same(road)


def test_what_cannot_be_replayed_stays(disk: Disk) -> None:
    """Its flow or its profile is gone, or too little of it was kept."""
    road = quiet(disk, [b"[" * 70_000], snapshot(flow("f"), flow("g", on_delete="nothing")))
    refuse(road, Rule(Verdict.REJECTED, times=None), flow_id="g")
    road.source.bodies += members(2, 2)
    live(road)

    def deleted(engine: Engine) -> None:
        from headrace.core.link import name
        from headrace.core.model import Delete, Identity

        engine.submit(Delete(name(KEY, Identity("email", "u0"))))

    (_, answer) = live(road, deleted, asked("dead-letter-replay"))
    assert answer["left"] == {"truncated": 1, "profile-gone": 1}
    road.configuration = snapshot(flow("f"))
    (answer,) = live(road, asked("dead-letter-replay", dry_run=True))
    assert answer["left"]["flow-gone"] == 2

    def unknown(engine: Engine) -> None:
        with pytest.raises(RefusedError, match="no dead letter 1-1"):
            engine.letters.replay(Wanted(ids=["1-1"]))

    live(road, unknown)


def test_a_replay_goes_on_over_power_cuts() -> None:
    """Cut before and after each commit and sync: each letter is replayed once, and none is left."""
    count = 450  # more than is replayed at once
    road = quiet(MemoryDisk(), [], snapshot(flow("f", metadata=True)), page_rows=1000)
    rejecting(road, count)
    road.source.bodies += members(count, count)
    live(road)
    assert len(letters(road)) == count
    cut, lives, begun = 1, 0, False

    def begin(engine: Engine) -> None:
        nonlocal begun
        if not begun:
            engine.letters.replay(Wanted(filter=Filter(kind="export")))
            begun = True

    while True:
        try:
            lives += 1
            live(road, begin, cut=cut)
        except PowerCut:
            cut += 1
            continue
        break
    assert lives > 8
    assert letters(road) == []
    assert sorted({n for _, n, _, _ in sent(road)}) == list(range(count))
    assert road.engine.totals.flows["f"].exported == 2 * count
    same(road)


@pytest.mark.parametrize("cap", [0, 10])
def test_a_cap_pauses_the_flow(disk: Disk, cap: int) -> None:
    """A bad release: so many dead letters and what was under way, and the rest waits; resumed, it goes on."""
    road = quiet(disk, [], snapshot(flow("f"), flow("g")), dead_letter_cap=cap)
    rejecting(road)
    road.source.bodies += members(5, 300)
    answers = live(road, more(road, members(295, 300, first=5)), asked("flows"))
    rejected = road.engine.totals.flows["f"].dead_lettered
    assert len(road.arrived("g")) == 300
    if not cap:
        assert rejected == 300
        return
    assert 10 <= rejected < 300
    (told,) = (one for one in answers[-1] if one["flow"] == "f")
    assert told["pause"]["reason"] == "dead-letters"
    assert {one.id: (one.paused, one.capped) for one in seen(road.engine, 0).flows}["f"] == (True, True)
    assert road.engine.totals.flows["f"].pending == 300 - rejected
    road.stream().clear_rules()
    live(road)
    assert road.arrived() == []
    live(road, asked("flow-resume", flow="f"), asked("dead-letter-replay", filter={"flow": "f"}))
    assert len(road.arrived()) == 300
    assert letters(road) == []
    same(road)
