"""Folding updates into profiles and profiles into each other: the invariants M1 and M2, and each rule by example."""

from __future__ import annotations

import copy
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.envelope import Envelope, encode
from headrace.core.export import bucket_of
from headrace.core.flow import Consent
from headrace.core.merge import add_identities, fold_attributes, fold_memberships, join, merged, newer_fields
from headrace.core.model import FORMAT, Delete, FlowMark, Identity, Membership, MembershipChange
from headrace.core.times import from_ms

from .driving import NOW_MS, T1, T2, Profiles, flow, snapshot, update
from .values import ATTRIBUTES, HISTORIES, PATCHES

MEMBER, LATER, NOW = "2025-01-01T00:00:00.000Z", "2025-01-02T00:00:00.000Z", from_ms(NOW_MS)


def text(value: Any) -> bytes:
    """JSON: tells 1 from 1.0 and true, and one order of keys from another."""
    return msgspec.json.encode(value)


def folded(attributes: Any, patch: Any) -> tuple[Any, dict[str, int]]:
    notes: dict[str, int] = {}
    return merged(attributes, patch, notes), notes


@given(ATTRIBUTES, PATCHES)
def test_m1_nothing_given_is_changed_and_what_did_not_change_is_the_same_object(attributes: Any, patch: Any) -> None:
    """Attributes and patch stay as they were; fields that the patch leaves alone are shared."""
    before, said = copy.deepcopy(attributes), copy.deepcopy(patch)
    new, _ = folded(attributes, patch)
    assert text((attributes, patch)) == text((before, said))
    for key in attributes.keys() - patch.keys():
        assert new[key] is attributes[key]
    if text(new) == text(attributes):
        assert new is attributes


@given(ATTRIBUTES, PATCHES)
def test_m2_folding_twice_gives_the_same_as_once(attributes: Any, patch: Any) -> None:
    """The second time nothing changes, and the very same object comes back."""
    once, _ = folded(attributes, patch)
    again, notes = folded(once, copy.deepcopy(patch))
    assert again is once
    assert notes == {}
    assert fold_attributes(once, {}, patch, 7, timed=False, notes={}) == (once, {})


@given(ATTRIBUTES, PATCHES)
def test_no_null_is_ever_stored_outside_arrays(attributes: Any, patch: Any) -> None:
    """Null removes, at any depth; what is left holds none."""

    def nulls(value: Any) -> bool:
        return value is None or (isinstance(value, dict) and any(map(nulls, value.values())))

    assert not nulls(folded(attributes, patch)[0])


CASES: list[tuple[Any, Any, Any, int]] = [
    ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}, 0),
    ({"a": 1}, {"a": 2}, {"a": 2}, 0),
    ({"a": 1, "b": 2}, {"a": None}, {"b": 2}, 0),
    ({"a": 1}, {"z": None}, {"a": 1}, 0),
    ({"a": {"x": 1}}, {"a": {"y": 2}}, {"a": {"x": 1, "y": 2}}, 0),
    ({"a": {"x": 1}}, {"a": {"x": None}}, {"a": {}}, 0),
    ({}, {"a": {"x": None, "y": 1}}, {"a": {"y": 1}}, 0),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}, 0),
    ({"a": [1]}, {"a": [None, {"x": None}]}, {"a": [None, {"x": None}]}, 0),
    ({"a": {"x": 1}}, {"a": 5}, {"a": 5}, 1),
    ({"a": {"x": 1}}, {"a": [5]}, {"a": [5]}, 1),
    ({"a": 5}, {"a": {"x": 1}}, {"a": {"x": 1}}, 1),
    ({"a": [5]}, {"a": {}}, {"a": {}}, 1),
    ({"a": 5}, {"a": [5]}, {"a": [5]}, 0),
    ({"a": {"b": {"c": 1}}}, {"a": {"b": 2}}, {"a": {"b": 2}}, 1),
    ({"a": 1}, {"a": 1.0}, {"a": 1.0}, 0),
    ({"a": 1}, {"a": True}, {"a": True}, 0),
    ({"a": 0.0}, {"a": -0.0}, {"a": -0.0}, 0),
    ({"a": [1]}, {"a": [True]}, {"a": [True]}, 0),
    ({"a": "1"}, {"a": 1}, {"a": 1}, 0),
]


@pytest.mark.parametrize(("attributes", "patch", "expected", "conflicts"), CASES, ids=str)
def test_rules_of_attributes(attributes: Any, patch: Any, expected: Any, conflicts: int) -> None:
    """Null removes, objects merge, arrays replace, object against another kind replaces and is counted."""
    new, notes = folded(attributes, patch)
    assert text(new) == text(expected)
    assert notes == ({"type-conflict": conflicts} if conflicts else {})


@pytest.mark.parametrize(
    ("patch", "expected"),
    [
        ({"a": 2}, {"a": 9, "b": 2}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": None}, {"a": 9, "b": 2}),
        ({"b": {"x": 1}}, {"a": 1, "b": 2}),
        ({"b": {"y": 1}}, {"a": 1, "b": 9}),
        ({"z": None}, {"a": 1, "b": 2}),
        ({"z": {}}, {"a": 1, "b": 2, "z": 9}),
    ],
    ids=str,
)
def test_a_stamp_is_of_the_input_that_gave_the_present_value(patch: Any, expected: dict[str, int]) -> None:
    """Another value, and a removal, take the input's ordinal; the same value, and removing nothing, do not."""
    old = {"a": 1, "b": {"x": 1}}
    assert fold_attributes(old, {"a": 1, "b": 2}, patch, 9, timed=False, notes={})[1] == expected


@pytest.mark.parametrize(
    ("stamp", "patch", "left", "attributes", "stamps", "late"),
    [
        (9, {"a": 2}, {"a": 2}, {"a": 2, "b": 1}, {"a": 9, "b": 7}, 0),
        (5, {"a": 2, "b": 2}, {"a": 2}, {"a": 2, "b": 1}, {"a": 5, "b": 7}, 1),
        (4, {"a": 2, "b": None}, {}, {"a": 1, "b": 1}, {"a": 5, "b": 7}, 2),
        (9, {"a": 1}, {"a": 1}, {"a": 1, "b": 1}, {"a": 9, "b": 7}, 0),
        (9, {"z": None}, {"z": None}, {"a": 1, "b": 1}, {"a": 5, "b": 7, "z": 9}, 0),
        (7, {"b": None}, {"b": None}, {"a": 1}, {"a": 5, "b": 7}, 0),
    ],
    ids=str,
)
def test_fields_by_timestamp(
    stamp: int, patch: Any, left: Any, attributes: Any, stamps: dict[str, int], late: int
) -> None:
    """A field older than the stored one is ignored and counted; of equal times the one that arrives wins."""
    notes: dict[str, int] = {}
    old = {"a": 5, "b": 7}
    newer = newer_fields(patch, old, stamp, notes)
    assert newer == left
    assert notes == ({"older-field": late} if late else {})
    assert fold_attributes({"a": 1, "b": 1}, old, newer, stamp, timed=True, notes={}) == (attributes, stamps)


@given(
    st.permutations([(t, {"a": v}) for t, v in ((1, 1), (2, None), (3, 3), (4, [4]), (5, None), (6, "6"), (7, None))])
)
def test_by_timestamp_the_order_of_arrival_does_not_matter(writes: list[tuple[int, Any]]) -> None:
    """Whole fields written or removed at different times come to the state of the latest, in any order."""
    attributes: dict[str, Any] = {}
    stamps: dict[str, int] = {}
    for stamp, patch in writes:
        newer = newer_fields(patch, stamps, stamp, {})
        attributes, stamps = fold_attributes(attributes, stamps, newer, stamp, timed=True, notes={})
    assert (attributes, stamps) == ({}, {"a": 7})


HAD = Membership(True, MEMBER, None, 3)


@pytest.mark.parametrize(
    ("had", "change", "now", "moved"),
    [
        (None, (True, MEMBER), Membership(True, MEMBER, None, 9, NOW_MS), (None, True)),
        (None, (True, None), Membership(True, NOW, None, 9, NOW_MS), (None, True)),
        (None, (False, None), Membership(False, NOW, None, 9, NOW_MS), (None, False)),
        (HAD, (True, None), HAD, None),
        (HAD, (True, MEMBER), HAD, None),
        (HAD, (False, None), Membership(False, NOW, None, 9, NOW_MS), (True, False)),
        (HAD, (False, MEMBER), Membership(False, MEMBER, None, 9, NOW_MS), (True, False)),
        (HAD, (True, LATER), Membership(True, LATER, None, 9, NOW_MS), (True, True)),
        (HAD, (False, "2024-12-31T23:59:59.999Z"), HAD, "older"),
        (HAD, (True, None, LATER), Membership(True, NOW, LATER, 9, NOW_MS), (True, True)),
        (Membership(True, MEMBER, LATER, 3), (True, None), Membership(True, MEMBER, LATER, 3), None),
        (Membership(True, MEMBER, LATER, 3), (True, MEMBER), Membership(True, MEMBER, None, 9, NOW_MS), (True, True)),
        (Membership(True, "2030-01-01T00:00:00.000Z", None, 3), (False, None),
         Membership(False, "2030-01-01T00:00:00.000Z", None, 9, NOW_MS), (True, False)),
    ],
)  # fmt: skip
def test_rules_of_memberships(had: Membership | None, change: tuple[Any, ...], now: Membership, moved: Any) -> None:
    """The later time wins, of equal times the one that arrives; without a time it is now, when that is news."""
    notes: dict[str, int] = {}
    old = {"ups": {"vip": had}} if had else {}
    new, found = fold_memberships(old, [MembershipChange("ups", "vip", *change)], 9, NOW_MS, notes)
    assert new == {"ups": {"vip": now}}
    told = [(m.namespace, m.segment_id, m.before, m.after) for m in found]
    assert told == ([("ups", "vip", *moved)] if isinstance(moved, tuple) else [])
    assert notes == ({"older-membership": 1} if moved == "older" else {})
    assert (new is old) == (not isinstance(moved, tuple))


@given(st.lists(st.tuples(st.sampled_from(["ups", "aam", "x"]), st.text(max_size=2)), max_size=8))
def test_memberships_and_identities_are_kept_in_order(named: list[tuple[str, str]]) -> None:
    """Whatever order they come in, namespaces and ids are sorted, and nothing given is changed."""
    memberships: dict[str, dict[str, Membership]] = {}
    identities: dict[str, list[str]] = {}
    for namespace, segment_id in named:
        before = copy.deepcopy((memberships, identities))
        change = MembershipChange(namespace, segment_id, True, None)
        new = fold_memberships(memberships, [change], 1, NOW_MS, {})[0]
        known = add_identities(identities, [Identity(namespace, segment_id)])
        assert (memberships, identities) == before
        memberships, identities = new, known
    expected = {n: sorted({s for m, s in named if m == n}) for n in sorted({n for n, _ in named})}
    assert [(n, list(s)) for n, s in memberships.items()] == list(expected.items())
    assert list(identities.items()) == list(expected.items())
    assert add_identities(identities, [Identity(*each) for each in named]) is identities


def joined(*lines: bytes) -> Envelope:
    """The one profile that the lines come to."""
    profiles = Profiles(snapshot())
    profiles.apply(*lines)
    (profile_id,) = profiles.stored
    return profiles.profile(profile_id)


def test_the_side_with_the_newer_value_lies_on_top() -> None:
    """For each top-level field on its own; writing the same again does not make a value newer."""
    found = joined(
        update("A:1", x={"p": 1, "q": 1}, y={"p": 1}, z=1),
        update("B:1", x={"p": 2, "r": 2}, y={"p": 2}, z=2),
        update("A:1", y={"s": 3}, z=1),
        update("A:1", "B:1"),
    )
    assert found.attributes == {"x": {"p": 2, "q": 1, "r": 2}, "y": {"p": 1, "s": 3}, "z": 2}
    assert found.stamps == {"x": 2, "y": 3, "z": 2}


@pytest.mark.parametrize(("removed_last", "expected"), [(True, {}), (False, {"x": 2})])
def test_a_removal_counts_as_a_value(removed_last: bool, expected: dict[str, int]) -> None:
    """A field that one profile lost takes an older value of the other away, and not a newer one."""
    write, remove = update("B:1", x=2), update("A:1", x=None)
    lines = [write, remove] if removed_last else [remove, write]
    assert joined(update("A:1", x=1), *lines, update("A:1", "B:1")).attributes == expected
    mirrored = [line.replace(b'"A"', b'"C"') for line in lines]
    assert joined(update("B:1"), update("C:1", x=1), *mirrored, update("C:1", "B:1")).attributes == expected


def test_of_three_profiles_the_newest_lies_on_top() -> None:
    """Joined by one update they are laid in the order of their values, not of the profiles."""
    found = joined(
        update("A:1", y=0), update("B:1", x={"p": 2}), update("C:1", x={"p": 3}), update("A:1", x={"q": 4}),
        update("A:1", "B:1", "C:1"),
    )  # fmt: skip
    assert found.attributes["x"] == {"p": 3, "q": 4}
    assert found.stamps["x"] == 4


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (("realized", T1), ("exited", T2), False),
        (("realized", T2), ("exited", T1), True),
        (("realized", T1), ("exited", T1), False),
        (("exited", T1), ("realized", T1), True),
    ],
)
def test_memberships_of_joined_profiles(one: Any, other: Any, expected: bool) -> None:
    """The later time wins; of equal times the later arrival, wherever the profiles were joined."""
    first, second = update("A:1", into={"vip": one}), update("B:1", into={"vip": other})
    both = update("A:1", "B:1")
    for order in ((first, second, both), (both, first, second)):
        assert joined(*order).memberships["ups"]["vip"].member is expected


def stated(line: bytes) -> list[tuple[str, str, str, str | None]]:
    """The memberships of an update: namespace, id, status, time."""
    found: Any = msgspec.json.decode(line).get("segmentMembership", {})
    return [(n, s, m["status"], m.get("lastQualificationTime")) for n, ids in found.items() for s, m in ids.items()]


@given(HISTORIES)
def test_memberships_do_not_depend_on_where_profiles_were_joined(history: list[bytes]) -> None:
    """With times stated, and nothing said twice, joining everybody first or last gives the same."""
    seen: set[tuple[str, str, str, str | None]] = set()
    lines = []
    for line in history:
        said = stated(line)
        if all(time for *_, time in said) and seen.isdisjoint(said):
            seen.update(said)
            lines.append(line)
    everybody = update("ECID:1", "ECID:2", "ECID:3", "Email:1", "Email:2")
    first, last = joined(everybody, *lines), joined(*lines, everybody)
    assert first.identities == last.identities
    assert [
        (namespace, segment_id, m.member, m.since)
        for namespace, ids in first.memberships.items()
        for segment_id, m in ids.items()
    ] == [
        (namespace, segment_id, m.member, m.since)
        for namespace, ids in last.memberships.items()
        for segment_id, m in ids.items()
    ]


def test_joined_marks_name_what_must_be_settled_first() -> None:
    """Each export of an absorbed profile is waited for by the survivor's next one, through chains of merges."""
    profiles = Profiles(snapshot(flow("vip", id="f"), flow("new", id="g")))
    profiles.apply(
        update("A:1"),
        update("B:1", into={"vip": "realized"}),
        update("C:1", into={"vip": "realized"}),
        update("D:1"),
    )
    b, c = (profiles.exports["f"][n] for n in (0, 1))
    (b_mark, c_mark) = (profiles.of(i).marks["f"] for i in ("b:1", "c:1"))
    assert (b_mark, c_mark) == (FlowMark(1, 2, b_mark.bucket), FlowMark(1, 3, c_mark.bucket))
    profiles.apply(update("B:1", "C:1", into={"vip": ("exited", "2030-01-01T00:00:00Z")}))
    left = profiles.exports["f"][-1]
    assert (left.seq, left.after, left.cause.absorbed) == (2, [(c_mark.bucket, 3)], [c.profile_id])
    profiles.apply(update("B:1", "D:1"), update("A:1", "B:1"))
    mark = profiles.of("a:1").marks["f"]
    assert (mark.seq, mark.ordinal) == (0, 0)
    assert mark.after == [(b_mark.bucket, 5)]
    assert mark.absorbed == [b.profile_id]
    profiles.apply(update("A:1", into={"vip": ("realized", "2031-01-01T00:00:00Z"), "new": "realized"}))
    export = profiles.exports["f"][-1]
    assert (export.profile_id, export.seq) == (profiles.born[0], 1)
    assert export.after == [(b_mark.bucket, 5)]
    assert export.cause.absorbed == [b.profile_id]
    assert profiles.exports["g"][-1].after == []
    assert profiles.of("a:1").marks["f"].after == []


def silent() -> Profiles:
    """Profile B, never exported, has absorbed C, which was, without an export; then A absorbs B, likewise."""
    loud: dict[str, Any] = {"consent": Consent(("c",), ("y",)), "on_delete": "exit"}
    quiet: dict[str, Any] = {"trigger_segment": False, "trigger_identity": False, "trigger_attribute": False}
    profiles = Profiles(snapshot(flow("vip", **loud)))
    profiles.apply(update("A:1"), update("B:1"), update("C:1", into={"vip": "realized"}, c="y"))
    profiles.config = snapshot(flow("vip", **loud, **quiet))
    assert profiles.held(update("B:1", "C:1")) == ["trigger-off"]
    assert profiles.held(update("A:1", "B:1")) == ["trigger-off"]
    profiles.config = snapshot(flow("vip", **loud))
    return profiles


@pytest.mark.parametrize("how", ["changed", "withdrawn", "deleted"])
def test_what_was_absorbed_in_silence_is_not_forgotten(how: str) -> None:
    """Through a chain of merges without exports, the first export waits for the last of all and names them."""
    profiles = silent()
    a, b, c = profiles.born
    first = profiles.exports["f"][0]
    assert first.profile_id == c
    what: Any = {"changed": update("A:1", "D:1"), "withdrawn": update("A:1", c="n"), "deleted": Delete(a)}[how]
    assert profiles.held(what) == [""]
    export = profiles.exports["f"][-1]
    assert (export.seq, export.after, export.cause.absorbed) == (1, [(bucket_of(c), 3)], [b, c])
    assert export.cause.left == ([] if how == "changed" else ["ups/vip"])


def test_of_equal_timestamps_the_older_profile_lies_on_top() -> None:
    """With mergeBy timestamp two profiles may have a field of the very same time."""
    profiles = Profiles(snapshot(merge_by="timestamp"))
    profiles.apply(update("A:1", x={"p": 1, "q": 1}), update("B:1", x={"p": 2, "r": 2}), update("A:1", "B:1"))
    assert profiles.of("a:1").attributes == {"x": {"p": 1, "q": 1, "r": 2}}


def test_joining_shares_and_changes_nothing() -> None:
    """The envelopes that are joined stay as they were."""
    one = Envelope(FORMAT, "a", 1, 1, {"a": ["1"]}, {"x": {"p": 1}}, {"x": 1}, {"ups": {"vip": HAD}}, {}, 1)
    other = Envelope(
        FORMAT, "b", 2, 1, {"b": ["1"]}, {"x": {"q": 1}}, {"x": 2}, {"ups": {"vip": HAD, "z": HAD}},
        {"f": FlowMark(1, 2, 3)}, 2,
    )  # fmt: skip
    before = (encode(one), encode(other))
    notes: dict[str, int] = {}
    found = join(one, [other], notes)
    assert (encode(one), encode(other)) == before
    assert found.attributes == {"x": {"p": 1, "q": 1}}
    assert (found.profile_id, found.epoch, found.version) == ("a", 1, 1)
    assert notes == {"merged": 1}
