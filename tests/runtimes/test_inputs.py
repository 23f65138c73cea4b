"""What comes in beside plain updates: refused ones, repeats, commands, and what time removes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from headrace.clock import Manual
from headrace.core.link import name
from headrace.core.model import Backfill, Delete, Identity, Replay, Tick
from headrace.errors import SourceUnreadableError
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.decision import Command
from headrace.runtimes.embedded.engine import Engine
from headrace.state import reading
from headrace.state.keys import JOURNAL, LEDGER, TIMER, UPDATE_ID
from tests.runtimes.road import KEY, KEYS, Lines, MemoryDisk, Road, flow, members, snapshot, update

BAD = {
    b"": "not-json",
    b"{": "not-json",
    b'{"a":"\xff"}': "not-json",
    b"[1]": "not-an-object",
    b"{}": "no-identity",
    update(0, "email:"): "bad-identity",
    update(0, "email:" + "x" * 1025): "bad-identity",
    b'{"identityMap":{"email":[{"id":"a"}]},"segmentMembership":{"ups":{"vip":{"status":"no"}}}}': "bad-membership",
    b'{"identityMap":{"email":[{"id":"a"}]},"n":123456789012345678901234567890}': "number-out-of-range",
    b"[" * 100_000: "too-deep",
    b'{"identityMap":' + b" " * 1_100_000 + b"}": "too-large",
}  # fmt: skip


def profile(identity: str) -> str:
    """The profile id that an identity names."""
    namespace, _, key = identity.partition(":")
    return name(KEY, Identity(namespace, key))


def mixed() -> list[bytes]:
    """Each bad update between two good ones."""
    bodies: list[bytes] = []
    for number, bad in enumerate(BAD):
        bodies += [update(number, f"email:u{number % 3}", vip=True), bad]
    return bodies


def test_refused_updates_are_dead_letters_and_their_neighbours_pass() -> None:
    """Each with its place, its reason, its first bytes and its source; every good update arrives."""
    road = Road(MemoryDisk(), Lines(mixed()))
    assert road.run().drained
    letters = {letter.place: letter for letter in reading.dead_letters(road.disk.open(), KEYS, limit=100)}
    assert {place: letter.reason for place, letter in letters.items()} == {
        f"line {2 * number + 2}": reason for number, reason in enumerate(BAD.values())
    }
    for number, bad in enumerate(BAD):
        letter = letters[f"line {2 * number + 2}"]
        assert (letter.kind, letter.source, letter.body) == ("update", "lines", bad[:65_536])
        assert letter.detail
    assert sorted(road.source.refused) == [(2 * n + 1, reason) for n, reason in enumerate(BAD.values())]
    assert len(road.arrived()) == len(BAD)
    totals = road.engine.totals
    assert (totals.received, totals.accepted, totals.dead_letters) == (2 * len(BAD), len(BAD), len(BAD))


def test_a_source_whose_sender_is_told_makes_no_dead_letters() -> None:
    """``keep_refused`` False: the refusals are told with the acknowledgement, and counted, and not kept."""
    road = Road(MemoryDisk(), Lines(mixed(), kept=False))
    assert road.run().drained
    assert list(reading.dead_letters(road.disk.open(), KEYS, limit=100)) == []
    assert sorted(road.source.refused) == [(2 * n + 1, reason) for n, reason in enumerate(BAD.values())]
    assert (sum(road.engine.totals.refused.values()), road.engine.totals.dead_letters) == (len(BAD), 0)


def test_an_update_seen_before_changes_nothing() -> None:
    """Its ``_id`` or the id given beside it: once within a batch, across batches, and across lives."""
    bodies = [
        update(1, "email:a", vip=True, update_id="one"),
        update(2, "email:a", vip=True, update_id="one"),
        update(3, "email:a", vip=True),
        update(4, "email:b", vip=True, update_id="two"),
        update(5, "email:b", vip=True),
    ]
    ids = [None, None, "two", None, "one"]
    road = Road(MemoryDisk(), Lines(bodies, ids=ids))
    road.run()
    assert (road.engine.totals.repeats, road.engine.totals.accepted, len(road.arrived())) == (3, 2, 2)
    assert road.source.acknowledged == 5
    road.source.bodies += [update(6, "email:c", vip=True, update_id="two"), update(7, "email:c", vip=True)]
    road.source.ids = [*ids, None, "three"]
    road.run()
    assert (road.engine.totals.repeats, road.engine.totals.accepted) == (4, 3)
    assert [b'"n":%d' % n in data for n, data in zip((1, 3, 7), road.arrived(), strict=True)] == [True, True, True]


def test_a_refused_update_does_not_use_its_id_up() -> None:
    """Sent again, mended, under the same id, it is applied."""
    too_big = b'{"identityMap":{"email":[{"id":"a"}]},"_id":"x","n":123456789012345678901234567890}'
    bodies = [too_big, update(1, "email:a", vip=True, update_id="x"), update(2, "email:a", update_id="x")]
    road = Road(MemoryDisk(), Lines(bodies))
    road.run()
    totals = road.engine.totals
    assert (sum(totals.refused.values()), totals.accepted, totals.repeats) == (1, 1, 1)


def moved_on(road: Road, seconds: float, *bodies: bytes) -> None:
    """Move the clock, then let further updates in; with a later minute the sweep is due too."""
    road.clock.advance(seconds)
    road.source.bodies += bodies
    road.run()


def test_an_id_is_forgotten_after_its_window() -> None:
    """Within it a repeat, after it an update; and then it is remembered for a whole window again."""
    road = Road(MemoryDisk(), Lines([update(0, "email:a", vip=True, update_id="x")]), dedup_window_ms=100_000)
    road.run()
    again = update(1, "email:a", vip=True, update_id="x")
    moved_on(road, 90, again)
    assert (road.engine.totals.repeats, road.engine.totals.accepted) == (1, 1)
    moved_on(road, 11, again)
    assert (road.engine.totals.repeats, road.engine.totals.accepted) == (1, 2)
    # The first life of the id is swept only now; it must not take the second one's memory with it.
    moved_on(road, 61, update(2, "email:b", vip=True))
    moved_on(road, 30, again)
    assert (road.engine.totals.repeats, road.engine.totals.accepted) == (2, 3)


def test_what_is_too_old_is_swept() -> None:
    """Journal, ledger and update ids go with their age, a little late, and never before; profiles and totals stay."""
    disk = MemoryDisk()
    bodies = [update(n, f"email:u{n}", vip=True, update_id=f"{n}") for n in range(20)]
    road = Road(disk, Lines(bodies), journal_ms=3_600_000, ledger_ms=3_600_000, dedup_window_ms=1_800_000)
    road.run()

    def kept(space: bytes) -> list[bytes]:
        return [key for key, _ in disk.state.scan(*KEYS.space(space))]

    journal, ledger = kept(JOURNAL), kept(LEDGER)
    assert (len(kept(UPDATE_ID)), len(kept(TIMER)) > 0) == (20, True)
    moved_on(road, 1700, update(20, "email:u0", vip=True))
    assert len(kept(UPDATE_ID)) == 20
    moved_on(road, 200, update(21, "email:u0", vip=True))
    assert kept(UPDATE_ID) == kept(TIMER) == []
    moved_on(road, 1600, update(22, "email:u0", vip=True))
    assert set(journal) < set(kept(JOURNAL))
    assert set(ledger) < set(kept(LEDGER))
    young = kept(JOURNAL)[-1]
    moved_on(road, 1000, update(23, "email:u0", vip=True))
    moved_on(road, 1000, update(24, "email:u0", vip=True))
    assert not {*journal, *ledger} & {*kept(JOURNAL), *kept(LEDGER)}
    assert young in kept(JOURNAL)
    assert road.engine.totals.profiles == 20
    assert len(road.arrived()) == 25


def test_a_source_that_breaks_off_ends_the_run_with_its_error() -> None:
    """A run that lost its source must not pass for finished; what was read before is kept, and read on later."""
    road = Road(MemoryDisk(), Lines(members(30, 5), sizes=lambda: 10))
    road.source.fault = SourceUnreadableError(source="lines", problem="the gzip data is cut off")
    with pytest.raises(SourceUnreadableError, match="cut off"):
        road.run()
    road.source.fault = None
    assert road.run().drained
    assert road.judged().ok


# -- commands -------------------------------------------------------------------------------------


def commanded(road: Road, commands: Sequence[Command]) -> Report:
    """A life in which commands are submitted, and nothing else comes."""

    async def use(engine: Engine) -> Report:
        for command in commands:
            engine.submit(command)
        return await engine.run(until_drained=True)

    return road.life(use)


def test_a_backfill_exports_the_current_state_to_one_flow() -> None:
    """Of members only; the other flow gets nothing; each has its own id, and the totals know the kind."""
    road = Road(MemoryDisk(), Lines([*members(3, 3), update(3, "email:u9")]), snapshot(flow("f"), flow("g")))
    road.run()
    wanted = [Backfill(profile(f"email:u{n}"), "f", "run-1") for n in (0, 1, 9)]
    assert commanded(road, [*wanted, Backfill("0" * 32, "f", "run-1")]).drained
    assert (len(road.arrived("f")), len(road.arrived("g"))) == (5, 3)
    assert sorted(road.arrived("f")[3:]) == sorted(road.arrived("f")[:2])
    totals = road.engine.totals
    assert totals.flows["f"].triggers["backfill"] == 2
    assert totals.flows["f"].held["not-a-member"] == 2
    assert totals.flows["f"].held["unknown-profile"] == 1
    assert (totals.received, totals.accepted) == (8, 8)


def test_a_replay_exports_in_place_of_a_dead_letter() -> None:
    """Whether or not the profile is a member."""
    road = Road(MemoryDisk(), Lines([update(0, "email:a", vip=True), update(1, "email:a", vip=False)]))
    road.run()
    assert commanded(road, [Replay(profile("email:a"), "f", "1-1")]).drained
    assert road.arrived()[2] == road.arrived()[1]
    assert road.engine.totals.flows["f"].triggers["replay"] == 1


def test_a_deleted_profile_is_forgotten() -> None:
    """Its identities name a new profile afterwards, of another epoch; onDelete exit tells that it left."""
    road = Road(MemoryDisk(), Lines(members(2, 2)), snapshot(flow("f", on_delete="exit"), flow("g")))
    road.run()
    assert commanded(road, [Delete(profile("email:u0"))]).drained
    assert road.engine.totals.profiles == 1
    assert b'"status":"exited"' in road.arrived("f")[-1]
    assert (len(road.arrived("f")), len(road.arrived("g"))) == (3, 2)
    road.source.bodies += [update(2, "email:u0")]
    road.run()
    assert road.engine.totals.profiles == 2
    assert len(road.arrived("f")) == 3, "the new profile is in no audience"


def test_a_tick_ends_what_has_run_out() -> None:
    """A membership whose validUntil has passed leaves, at the tick and not before."""
    ends = b'{"status":"realized","lastQualificationTime":"2023-01-01T00:00:00Z","validUntil":"2023-11-15T00:00:00Z"}'
    body = b'{"identityMap":{"email":[{"id":"a"}]},"n":1,"segmentMembership":{"ups":{"vip":' + ends + b"}}}"
    road = Road(MemoryDisk(), Lines([body]), clock=Manual(1_699_990_000_000, auto=True))
    road.run()
    assert commanded(road, [Tick(profile("email:a"))]).drained
    assert len(road.arrived()) == 1
    road.clock.advance(100_000)
    assert commanded(road, [Tick(profile("email:a")), Tick("0" * 32)]).drained
    assert b'"status":"exited"' in road.arrived()[1]
    assert road.engine.totals.accepted == 5, "with the timer's own, which found the profile first or not at all"
