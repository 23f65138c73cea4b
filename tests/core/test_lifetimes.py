"""Memberships that end by themselves: E1 to E3 of ``core.lifetimes``, generated; and each rule by name."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.envelope import decode
from headrace.core.glance import glance
from headrace.core.lifetimes import end_ms, ends, has_run_out, run_out
from headrace.core.merge import Moved
from headrace.core.model import FOREVER, Lifetimes, Membership, Tick
from headrace.core.times import canonical, from_ms, to_ms

from .driving import DAY_MS, NOW_MS, Profiles, flow, snapshot, update

START_MS = NOW_MS
TIMES = st.integers(-40 * 24, 40 * 24).map(lambda hours: from_ms(START_MS + hours * 3_600_000))
RULES = st.builds(
    Lifetimes, valid_until=st.booleans(), external_days=st.sampled_from([0, 1, 30]),
    exited_days=st.sampled_from([0, 1, 30]),
)  # fmt: skip


@st.composite
def stated(draw: st.DrawFn) -> dict[str, Any]:
    """A membership as an update states it."""
    made: dict[str, Any] = {"status": draw(st.sampled_from(["realized", "exited"]))}
    if draw(st.booleans()):
        made["lastQualificationTime"] = draw(TIMES)
    if draw(st.booleans()):
        made["validUntil"] = draw(TIMES)
    return made


def flat(profiles: Profiles) -> dict[str, tuple[bool, str]]:
    """Memberships of the only profile: member, since."""
    (stored,) = profiles.stored.values()
    return {f"{n}/{i}": (m.member, m.since) for n, ids in decode(stored).memberships.items() for i, m in ids.items()}


@given(TIMES, TIMES, st.integers(0, 50 * 24))
def test_e1_late_arrival_is_stored_as_a_tick_would_have_left_it(since: str, until: str, later: int) -> None:
    """The same membership, received in time and ticked, or received too late: the same status and time."""
    late_ms = to_ms(until) + later * 3_600_000
    intime, late = Profiles(snapshot(flow("vip"))), Profiles(snapshot(flow("vip")), now_ms=late_ms)
    intime.now_ms = to_ms(until) - 1
    change = update("A:1", into={"vip": {"status": "realized", "lastQualificationTime": since, "validUntil": until}})
    intime.apply(change)
    intime.now_ms = to_ms(until)
    intime.apply(Tick(intime.born[0]))
    late.apply(change)
    assert flat(intime) == flat(late)
    assert late.last.held == ["not-a-member"] or late.last.held == ["no-relevant-change"]


@given(st.lists(st.tuples(st.sampled_from(["vip", "aam/x"]), stated(), st.integers(0, 20 * 24)), max_size=6), RULES)
def test_e2_e3_ticking_at_the_named_times_leaves_nothing_behind(
    history: list[tuple[str, dict[str, Any], int]], rules: Lifetimes
) -> None:
    """Ticks at the times that steps named, and at no others, keep a profile as a tick every hour would."""
    config = snapshot(flow("vip", "aam/x"), lifetimes=rules)
    profiles = Profiles(config, now_ms=START_MS)
    timers: set[int] = set()

    def wait(until_ms: int) -> None:
        while timers and min(timers) <= until_ms:
            at_ms = min(timers)
            timers.discard(at_ms)
            profiles.now_ms = max(profiles.now_ms, at_ms)
            timers.update(profiles.apply(Tick(profiles.born[0])).ends)
        profiles.now_ms = max(profiles.now_ms, until_ms)

    for segment, membership, hours in history:
        timers.update(profiles.apply(update("A:1", into={segment: membership})).ends)
        for hour in range(hours):
            wait(profiles.now_ms + 3_600_000)
            if profiles.stored and hour % 7 == 0:
                (stored,) = profiles.stored.values()
                assert not has_run_out(decode(stored).memberships, profiles.now_ms, rules)
    if profiles.stored:
        wait(profiles.now_ms + 100 * DAY_MS)
        (stored,) = profiles.stored.values()
        leaving, kept = run_out(decode(stored).memberships, profiles.now_ms, rules)
        assert leaving == []
        assert kept == decode(stored).memberships


@pytest.mark.parametrize(
    ("namespace", "m", "days"),
    [
        ("aam", Membership(True, from_ms(START_MS)), 30),
        ("aam", Membership(True, from_ms(START_MS - 9 * DAY_MS), None, 0, START_MS), 30),
        ("ups", Membership(True, from_ms(START_MS)), None),
        ("ups", Membership(False, from_ms(START_MS)), 30),
        ("aam", Membership(False, from_ms(START_MS), from_ms(START_MS + DAY_MS)), 30),
        ("ups", Membership(True, from_ms(START_MS), from_ms(START_MS + DAY_MS)), 1),
        ("aam", Membership(True, from_ms(START_MS), from_ms(START_MS + DAY_MS)), 1),
    ],
)
def test_the_rules(namespace: str, m: Membership, days: int | None) -> None:
    """30 days from the later of qualification and receipt; validUntil before them; the platform's own have no end."""
    at_ms = end_ms(namespace, m, Lifetimes())
    assert at_ms == (START_MS + days * DAY_MS if days else 0)
    assert end_ms(namespace, m, FOREVER) == 0
    moved = [Moved(namespace, "s", None, True), Moved(namespace, "gone", True, False)]
    assert ends(moved, {namespace: {"s": m}}, Lifetimes()) == ([at_ms] if days else [])


def test_an_exited_membership_is_removed_without_an_export() -> None:
    """After its 30 days, together with its namespace when it was the last; the profile's version tells."""
    profiles = Profiles(snapshot(flow("vip", "aam/x")))
    profiles.apply(update("A:1", into={"vip": "exited", "aam/x": "realized"}))
    profiles.now_ms += 30 * DAY_MS
    assert profiles.held(Tick(profiles.born[0])) == [""]
    assert profiles.last.exports[0][2].cause.left == ["aam/x"]
    assert flat(profiles) == {"aam/x": (False, from_ms(profiles.now_ms))}
    profiles.now_ms += 30 * DAY_MS
    assert profiles.held(Tick(profiles.born[0])) == ["no-relevant-change"]
    assert (flat(profiles), profiles.last.changed, profiles.last.ends) == ({}, True, [])


def test_a_rule_that_is_off_does_nothing() -> None:
    """validUntil in the past is kept as it came, and no tick changes anything."""
    profiles = Profiles(snapshot(flow("vip"), lifetimes=FOREVER))
    profiles.apply(update("A:1", into={"vip": {"status": "realized", "validUntil": "2020-01-01T00:00:00Z"}}))
    assert flat(profiles)["ups/vip"][0]
    assert profiles.last.ends == []
    profiles.now_ms += 1000 * DAY_MS
    assert profiles.held(Tick(profiles.born[0])) == ["no-relevant-change"]


def test_a_text_without_rules_is_of_a_time_without_them() -> None:
    """Journals of before come to what they came to then."""
    from headrace.core import canonical

    old = b'{"format":1,"merge_by":"arrival","max_identities":50,"unstitchable":[],"flows":[]}'
    assert canonical.compile_canonical(old).lifetimes == FOREVER
    assert canonical.compile_canonical(canonical.canonical(snapshot())).lifetimes == Lifetimes()


def test_a_glance_sees_what_is_stored() -> None:
    """Its fields are the envelope's, at the same places."""
    profiles = Profiles(snapshot(flow("vip", paths=("x",))))
    profiles.apply(update("A:1", into={"vip": "realized"}, x={"y": [1, {"z": None}]}))
    (stored,) = profiles.stored.values()
    seen, whole = glance(stored), decode(stored)
    assert msgspec.msgpack.encode(seen) == stored
    assert (seen.profile_id, seen.memberships, seen.marks, seen.ordinal) == (
        whole.profile_id, whole.memberships, whole.marks, whole.ordinal
    )  # fmt: skip
    assert msgspec.msgpack.decode(seen.identities) == whole.identities
    assert canonical("2026-01-01T00:00:00Z") in str(seen.memberships)
