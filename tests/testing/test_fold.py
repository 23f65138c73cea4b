"""The independent fold, on cases worked out by hand."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.testing.fold import FlowPlan, Folded, fold
from headrace.testing.judge import Join, canonical

T1, T2, T3 = "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z", "2026-01-03T00:00:00Z"
FLOW = FlowPlan(segments=[("ups", "vip")], paths=["person.name", "email"])


def update(
    *ids: str, vip: tuple[str, str] | None = None, other: tuple[str, str] | None = None, **fields: Any
) -> bytes:
    """An update about ids like ``ECID:1``; a membership is (status, time)."""
    identities: dict[str, list[dict[str, Any]]] = {}
    for text in ids:
        namespace, _, identity = text.partition(":")
        identities.setdefault(namespace, []).append({"id": identity, "primary": True})
    memberships = {
        name: {"status": stated[0], "lastQualificationTime": stated[1]}
        for name, stated in (("vip", vip), ("other", other))
        if stated
    }
    more = {"segmentMembership": {"ups": memberships}} if memberships else {}
    return msgspec.json.encode({"identityMap": identities} | more | fields)


def run(*lines: bytes, flow: FlowPlan = FLOW) -> Folded:
    return fold(lines, {"f": flow})


def counts(*lines: bytes, flow: FlowPlan = FLOW) -> dict[int, int]:
    """Messages per profile."""
    return {profile: len(messages) for profile, messages in run(*lines, flow=flow).messages["f"].items()}


def test_message() -> None:
    """The message holds mapped attributes, all memberships in whole seconds, identities in lower case and sorted."""
    folded = run(
        update(
            "ECID:2",
            "ECID:1",
            "Email:x",
            vip=("existing", "2026-01-01T02:00:00.900+02:00"),
            other=("exited", T2),
            person={"name": {"first": "Ada"}, "age": 3},
            unmapped=1,
        )
    )
    assert folded.messages["f"] == {
        0: [
            {
                "person": {"name": {"first": "Ada"}},
                "segmentMembership": {
                    "ups": {
                        "other": {"lastQualificationTime": T2, "status": "exited"},
                        "vip": {"lastQualificationTime": T1, "status": "realized"},
                    }
                },
                "identityMap": {"ecid": [{"id": "1"}, {"id": "2"}], "email": [{"id": "x"}]},
            }
        ]
    }
    assert folded.expected("f") == {0: [canonical(folded.messages["f"][0][0])]}


def test_mapped_scope_leaves_other_memberships_out() -> None:
    """With scope mapped only mapped audiences are in the message."""
    line = update("A:1", vip=("realized", T1), other=("realized", T1))
    (message,) = run(line, flow=FLOW._replace(scope="mapped")).messages["f"][0]
    assert list(message["segmentMembership"]["ups"]) == ["vip"]


@pytest.mark.parametrize(
    ("statuses", "exports"),
    [
        ([("realized", T1)], 1),
        ([("exited", T1)], 0),
        ([("realized", T1), ("existing", T2)], 1),
        ([("realized", T1), ("exited", T2)], 2),
        ([("realized", T1), ("exited", T2), ("realized", T3)], 3),
        ([("realized", T2), ("exited", T1)], 1),
        ([("realized", T2), ("exited", T2)], 2),
        ([("exited", T2), ("realized", T1)], 0),
    ],
)
def test_segment_trigger(statuses: list[tuple[str, str]], exports: int) -> None:
    """Entering and leaving export; staying, never having been in, and older news do not."""
    assert counts(*(update("A:1", vip=status) for status in statuses)) == ({0: exports} if exports else {})


def test_unmapped_audience_alone_exports_nothing() -> None:
    """A change of an audience that is not mapped is in the next message, and makes none."""
    assert counts(update("A:1", vip=("realized", T1)), update("A:1", other=("realized", T1))) == {0: 1}


@pytest.mark.parametrize(
    ("fields", "exports"),
    [
        ({"email": "a"}, 2),
        ({"email": None}, 2),
        ({"person": {"name": {"first": "x"}}}, 2),
        ({"person": {"name": None}}, 2),
        ({"person": None}, 2),
        ({"person": 5}, 2),
        ({"person": {}}, 1),
        ({"person": {"age": 1}}, 1),
        ({"unmapped": 1}, 1),
    ],
)
def test_attribute_trigger(fields: dict[str, Any], exports: int) -> None:
    """Writing a mapped path, under it or in place of what holds it exports for a member; the same value too."""
    member = update("A:1", vip=("realized", T1))
    assert counts(member, update("A:1", **fields)) == {0: exports}
    assert counts(member, update("A:1", **fields), update("A:1", **fields)) == {0: 2 * exports - 1}
    assert counts(update("A:1"), update("A:1", **fields)) == {}


def test_attributes_merge() -> None:
    """Objects merge, null removes, arrays and scalars replace, an object replaces a scalar."""
    flow = FlowPlan(segments=[("ups", "vip")], paths=["a"])
    folded = run(
        update("A:1", vip=("realized", T1), a={"x": 1, "y": {"z": [1, 2]}}),
        update("A:1", a={"y": {"z": [3], "w": 4}, "n": {"m": None, "k": 1}}),
        update("A:1", a={"x": None, "y": 7}),
        update("A:1", a={"y": {"v": 1}}),
        update("A:1", a=None),
        flow=flow,
    )
    assert [message.get("a") for message in folded.messages["f"][0]] == [
        {"x": 1, "y": {"z": [1, 2]}},
        {"x": 1, "y": {"z": [3], "w": 4}, "n": {"k": 1}},
        {"y": 7, "n": {"k": 1}},
        {"y": {"v": 1}, "n": {"k": 1}},
        None,
    ]


def test_an_empty_object_is_no_attribute() -> None:
    """An object at a mapped path that holds nothing is left out; one that holds an empty one is there."""
    flow = FlowPlan(segments=[("ups", "vip")], paths=["a", "b.c"])
    folded = run(
        update("A:1", vip=("realized", T1), a={"x": 1}, b={"c": {}}), update("A:1", a={"x": None, "y": {}}), flow=flow
    )
    messages = [{name: m[name] for name in ("a", "b") if name in m} for m in folded.messages["f"][0]]
    assert messages == [{"a": {"x": 1}}, {"a": {"y": {}}}]
    folded = run(update("A:1", vip=("realized", T1), a={"x": 1}), update("A:1", a={"x": None}), flow=flow)
    assert "a" not in folded.messages["f"][0][1]


def test_identity_trigger() -> None:
    """A new identity of a member exports; a known one, in other letters of the namespace, does not."""
    assert counts(
        update("ECID:1", vip=("realized", T1)),
        update("ecid:1"),
        update("ECID:1", "Email:x"),
        update("email:x"),
    ) == {0: 2}
    assert counts(update("A:1"), update("A:1", "B:2")) == {}


def test_triggers_can_be_off() -> None:
    """Only triggers that are on export."""
    lines = (
        update("A:1", vip=("realized", T1)),
        update("A:1", "B:1"),
        update("A:1", email="x"),
        update("A:1", vip=("exited", T2)),
    )
    for triggers, exports in ((("segment",), 2), (("identity",), 2), (("attribute",), 1), ((), 0)):
        assert counts(*lines, flow=FLOW._replace(triggers=triggers)) == ({0: exports} if exports else {})


def test_merge_keeps_the_oldest_and_lays_later_fields_on_top() -> None:
    """The profile created first survives; of each top-level field the later side wins where both have a leaf."""
    flow = FlowPlan(segments=[("ups", "vip")], paths=["a", "b"])
    folded = run(
        update("A:1", a={"x": 1, "p": 1}, b={"x": 1}),
        update("B:1", vip=("realized", T1), a={"x": 2, "q": 2}, b={"x": 2}),
        update("A:1", b={"y": 3}),
        update("A:1", "B:1"),
        flow=flow,
    )
    assert list(folded.messages["f"]) == [1, 0]
    (joined,) = folded.messages["f"][0]
    assert joined["a"] == {"x": 2, "p": 1, "q": 2}
    assert joined["b"] == {"x": 1, "y": 3}
    assert joined["identityMap"] == {"a": [{"id": "1"}], "b": [{"id": "1"}]}
    assert folded.joins["f"] == [Join(1, 0, 0)]
    assert folded.people == {0: 0, 1: 0}
    assert folded.identities == {0: (("a", "1"), ("b", "1"))}


@pytest.mark.parametrize(
    ("survivor", "absorbed", "status", "triggered"),
    [
        (None, ("realized", T1), "realized", True),
        (("exited", T1), ("realized", T2), "realized", True),
        (("exited", T2), ("realized", T1), "exited", True),
        (("realized", T1), ("exited", T2), "exited", True),
        (("realized", T2), ("exited", T1), "realized", False),
        (("realized", T1), ("realized", T2), "realized", False),
        (("exited", T1), None, "exited", False),
        (("exited", T1), ("realized", T1), "realized", True),
        (("realized", T1), ("exited", T1), "exited", True),
    ],
)
def test_merge_memberships(
    survivor: tuple[str, str] | None, absorbed: tuple[str, str] | None, status: str, triggered: bool
) -> None:
    """Of two memberships the later time wins, of equal times the later input; entering and leaving count."""
    lines = (update("A:1", vip=survivor), update("B:1", vip=absorbed), update("A:1", "B:1"))
    flow = FLOW._replace(triggers=("segment",))
    before = counts(*lines[:2], flow=flow).get(0, 0)
    folded = run(*lines, flow=flow)
    messages = folded.messages["f"].get(0, [])
    assert len(messages) - before == triggered
    if triggered:
        assert messages[-1]["segmentMembership"]["ups"]["vip"]["status"] == status


def test_three_profiles_join_at_once() -> None:
    """One update can join many; every absorbed profile is named, and later lookups find the survivor."""
    folded = run(
        update("A:1", vip=("realized", T1)),
        update("B:1", vip=("realized", T1)),
        update("C:1", vip=("realized", T1)),
        update("C:1", "A:1", "B:1"),
        update("B:1", email="x"),
    )
    assert {profile: len(messages) for profile, messages in folded.messages["f"].items()} == {0: 3, 1: 1, 2: 1}
    assert folded.joins["f"] == [Join(1, 0, 1), Join(2, 0, 1)]
    assert folded.people == {0: 0, 1: 0, 2: 0}


def test_refused_lines_are_named_and_change_nothing() -> None:
    """What is no update is counted by its line."""
    folded = run(
        b"{", b"[]", b"{}", update(), b'{"identityMap":{"A":[{"id":5}]}}', update("A:1", vip=("realized", T1))
    )
    assert folded.refused == [0, 1, 2, 3, 4]
    assert list(folded.messages["f"]) == [0]


def test_membership_without_time() -> None:
    """A membership that states no time takes the input's, when it is news; without one the fold does not guess."""
    line = b'{"identityMap":{"A":[{"id":"1"}]},"segmentMembership":{"ups":{"vip":{}}}}'
    folded = fold([line, line], {"f": FLOW}, now=T2)
    (message,) = folded.messages["f"][0]
    assert message["segmentMembership"]["ups"]["vip"] == {"lastQualificationTime": T2, "status": "realized"}
    with pytest.raises(ValueError, match="no time"):
        fold([line], {"f": FLOW})


def test_identify_keeps_digests_only() -> None:
    """For large inputs only the identities of messages are kept, the same as otherwise."""
    lines = [update("A:1", vip=("realized", T1), email="x"), update("A:1", email="y")]
    assert fold(lines, {"f": FLOW}, identify=canonical).messages["f"] == run(*lines).expected("f")


def test_messages_are_not_changed_afterwards() -> None:
    """A later update does not reach into an earlier message."""
    lines = (update("A:1", vip=("realized", T1), person={"name": {"a": 1}}), update("A:1", person={"name": {"b": 2}}))
    first, second = run(*lines).messages["f"][0]
    assert first["person"] == {"name": {"a": 1}}
    assert second["person"] == {"name": {"a": 1, "b": 2}}
