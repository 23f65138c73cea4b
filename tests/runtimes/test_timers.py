"""Time that passes: T1 and T2 of ``runtimes.embedded.timers``, on a clock that is moved, with restarts in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.core.lifetimes import end_ms
from headrace.core.times import from_ms
from tests.runtimes.living import live, passes, profiles, quiet, same, timers
from tests.runtimes.road import Disk, MemoryDisk, PowerCut, Road, flow, snapshot, update

START_MS = 1_700_000_000_000
HOUR_S = 3600.0
DAY_S = 24 * HOUR_S


def person(number: int, namespace: str = "ups", segment: str = "vip", **membership: Any) -> bytes:
    """An update about one person who is in an audience."""
    return msgspec.json.encode(
        {
            "identityMap": {"email": [{"id": f"u{number}"}]},
            "n": number,
            "segmentMembership": {namespace: {segment: {"status": "realized", **membership}}},
        }
    )


def statuses(road: Road, flow_id: str = "f") -> list[str]:
    """The status of the audience in each message, in order."""
    read = [msgspec.json.decode(data)["segmentMembership"] for data in road.arrived(flow_id)]
    return [m["status"] for message in read for ids in message.values() for m in ids.values()]


def until(seconds: float) -> str:
    return from_ms(START_MS + int(seconds * 1000))


@pytest.mark.parametrize("restart", [False, True])
def test_a_membership_with_an_end_leaves_then(disk: Disk, *, restart: bool) -> None:
    """One hour later although no update came; not a minute before; after a restart in between too."""
    road = quiet(disk, [person(n, validUntil=until(HOUR_S)) for n in range(30)])
    if restart:
        live(road, passes(road, HOUR_S - 60))
        assert statuses(road) == ["realized"] * 30
        live(road, passes(road, 61))
    else:
        told: list[list[str]] = []
        live(
            road,
            passes(road, HOUR_S - 60),
            lambda _: told.append(statuses(road)),
            passes(road, 61),
        )
        assert told == [["realized"] * 30]
    assert statuses(road) == ["realized"] * 30 + ["exited"] * 30
    assert road.engine.totals.received == 60
    assert all(not m.member for p in profiles(road) for m in p.memberships["ups"].values())
    assert same(road).first == 1


def test_an_end_that_passed_while_nothing_ran_is_told_at_the_next_start(disk: Disk) -> None:
    """The process is down at that time."""
    road = quiet(disk, [person(1, validUntil=until(HOUR_S))])
    live(road)
    road.clock.advance(10 * DAY_S)
    live(road)
    assert statuses(road) == ["realized", "exited"]
    same(road)


def test_thirty_days(disk: Disk) -> None:
    """An external membership ends after 30 days, its exit is removed after 30 more; a restart between each."""
    mapped = snapshot(flow(segments={"crm": {"list": _mapped()}}))
    road = quiet(disk, [person(1, "crm", "list", lastQualificationTime="2020-01-01T00:00:00Z")], mapped)
    live(road, passes(road, 30 * DAY_S - 120))
    assert statuses(road) == ["realized"]
    live(road, passes(road, 121))
    assert statuses(road) == ["realized", "exited"]
    live(road, passes(road, 30 * DAY_S - 600))
    assert [list(p.memberships) for p in profiles(road)] == [["crm"]]
    live(road, passes(road, 601))
    assert [p.memberships for p in profiles(road)] == [{}]
    assert statuses(road) == ["realized", "exited"]
    assert timers(road) == {}
    same(road)


def _mapped() -> Any:
    from headrace.core.flow import MappedSegment

    return MappedSegment()


def test_a_membership_that_arrives_too_late_is_stored_as_exited(disk: Disk) -> None:
    """Nothing is exported, and the only timer is that of its removal."""
    road = quiet(disk, [person(1, validUntil=until(-1))])
    live(road)
    assert road.arrived() == []
    (profile,) = profiles(road)
    assert not profile.memberships["ups"]["vip"].member
    (due_ms,) = timers(road)
    assert 0 <= due_ms - START_MS - 30 * 86_400_000 <= 10_000


def test_an_end_that_is_put_off_does_not_come(disk: Disk) -> None:
    """A later update moves validUntil; the overtaken timer makes no input at all."""
    later = person(1, validUntil=until(9 * HOUR_S), lastQualificationTime=until(1))
    road = quiet(disk, [person(1, validUntil=until(HOUR_S), lastQualificationTime=until(0)), later])
    live(road, passes(road, 2 * HOUR_S))
    assert statuses(road) == ["realized", "realized"][: len(road.arrived())]
    assert road.engine.totals.received == 2
    assert list(timers(road)) == [START_MS + 9 * 3_600_000]
    live(road, passes(road, 8 * HOUR_S))
    assert statuses(road)[-1] == "exited"


def test_t1_every_membership_that_will_end_has_a_timer(disk: Disk) -> None:
    """After joins, exits and restatements: at its time, or up to a second later, under the profile's present id."""
    bodies = [person(n, validUntil=until(HOUR_S * n + 0.5)) for n in range(40)]
    bodies += [person(n, segment="other", validUntil=until(DAY_S * n)) for n in range(20)]
    bodies += [update(n, f"email:u{n}", f"email:u{n + 1}") for n in range(0, 40, 4)]
    bodies += [update(n, f"email:u{n}", vip=False) for n in range(30, 40)]
    road = quiet(disk, bodies)
    live(road)
    stored = timers(road)
    rules = road.configuration.lifetimes
    expected = 0
    for profile in profiles(road):
        for namespace, ids in profile.memberships.items():
            for m in ids.values():
                at_ms = end_ms(namespace, m, rules)
                if at_ms:
                    expected += 1
                    assert profile.profile_id in stored[-(-at_ms // 1000) * 1000]
    assert expected >= 45


def test_t2_a_power_cut_at_any_step(tmp_path: Path) -> None:
    """Cut before and after each commit and sync while timers fire: everybody leaves, once."""
    count = 700  # more than one round's
    bodies = [person(n, validUntil=until(HOUR_S)) for n in range(count)]
    cut, lives = 1, 0
    road = quiet(MemoryDisk(), bodies)
    live(road)
    road.clock.advance(HOUR_S)
    while True:
        try:
            lives += 1
            live(road, cut=cut)
        except PowerCut:
            cut += 1
            continue
        break
    assert lives > 8
    left = road.engine.totals.flows["f"]
    assert left.held.get("no-relevant-change", 0) == 0
    assert (road.engine.totals.received, left.exported) == (2 * count, 2 * count)
    assert timers(road).keys() == {max(timers(road))}
    same(road)
