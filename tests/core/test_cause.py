"""Why a flow exports or does not: the triggers of spec 1.3 with their switches, and the invariants W1 and W2."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.core import canonical
from headrace.core.flow import Consent, MappedSegment
from headrace.core.model import Delete, Export
from headrace.core.reasons import HELD

from .driving import DAY_MS, NOW_MS, T1, T2, T3, Profiles, flow, snapshot, update

JOIN, LEAVE = update("A:1", into={"vip": ("realized", T1)}), update("A:1", into={"vip": ("exited", T2)})
CONSENT = Consent(("consents", "val"), ("y", True))
YES: dict[str, Any] = {"consents": {"val": "y"}}
NO: dict[str, Any] = {"consents": {"val": "n"}}
NULL: dict[str, Any] = {"consents": {"val": None}}


def reasons(*lines: bytes, **settings: Any) -> list[str]:
    """For each line the reason why the flow did not export, "" where it did."""
    profiles = Profiles(snapshot(flow("vip", "aam/vip", **({"paths": ("x", "y.z")} | settings))))
    return [profiles.held(line)[0] for line in lines]


def last(*lines: bytes, **settings: Any) -> Export:
    profiles = Profiles(snapshot(flow("vip", "aam/vip", **({"paths": ("x", "y.z")} | settings))))
    assert profiles.held(*lines) == [""]
    return profiles.exports["f"][-1]


@pytest.mark.parametrize(
    ("stated", "expected"),
    [
        (["realized"], [""]),
        (["existing"], [""]),
        (["exited"], ["not-a-member"]),
        (["realized", "existing"], ["", "no-relevant-change"]),
        (["realized", "exited"], ["", ""]),
        (["existing", "exited"], ["", ""]),
        (["realized", "exited", "exited"], ["", "", "no-relevant-change"]),
        (["exited", "realized", "exited", "realized"], ["not-a-member", "", "", ""]),
    ],
)
def test_w1_statuses(stated: list[str], expected: list[str]) -> None:
    """Entering and leaving export; staying, and an exit of one that was never in, do not."""
    times = (T1, T2, T3, "2025-01-04T00:00:00Z")
    lines = [update("A:1", into={"vip": each}) for each in zip(stated, times, strict=False)]
    assert reasons(*lines) == expected
    assert reasons(*(update("A:1", into={"aam/vip": each}) for each in zip(stated, times, strict=False))) == expected


@pytest.mark.parametrize(
    ("line", "triggers", "paths"),
    [
        (update("A:1", "B:1"), ["identity"], []),
        (update("A:1", x=1), ["attribute"], ["x"]),
        (update("A:1", x=0), ["attribute"], ["x"]),
        (update("A:1", x=None, y=5), ["attribute"], ["x", "y.z"]),
        (update("A:1", "B:1", y={"z": 1}), ["identity", "attribute"], ["y.z"]),
        (update("A:1", "B:1", into={"aam/vip": "realized"}, x=1), ["segment", "identity", "attribute"], ["x"]),
        (update("A:1", into={"aam/vip": "realized"}), ["segment"], []),
        (update("A:1", into={"vip": ("exited", T2)}, x=1), ["segment"], ["x"]),
        (update("A:1", into={"vip": ("exited", T2), "aam/vip": "realized"}, x=1), ["segment", "attribute"], ["x"]),
    ],
)
def test_w1_what_fires_for_a_member(line: bytes, triggers: list[str], paths: list[str]) -> None:
    """Each trigger alone and together, in one export; on leaving the last audience only the first counts."""
    member = update("A:1", into={"vip": ("realized", T1)}, x=0)
    export = last(member, line)
    assert (export.cause.kind, export.cause.triggers, export.cause.paths) == ("live", triggers, paths)
    assert export.seq == 2


@pytest.mark.parametrize(
    "line",
    [
        update("A:1", z=1), update("A:1", y={"w": 1}), update("A:1", y={}), update("A:1"), update("a:1"),
        update("A:1", into={"other": "realized"}),
    ],
)  # fmt: skip
def test_w1_what_does_not_fire(line: bytes) -> None:
    """What is not mapped, and what says nothing new of audiences and identities, exports nothing."""
    assert reasons(JOIN, line) == ["", "no-relevant-change"]


def test_w1_who_is_in_no_mapped_audience_is_not_exported() -> None:
    """Identities and attributes of others are kept, and sent when they enter."""
    lines = [update("A:1", x=1), update("A:1", "B:1"), update("A:1", into={"other": "realized"}), JOIN, LEAVE,
             update("A:1", x=2), update("A:1", "C:1")]  # fmt: skip
    no = "not-a-member"
    assert reasons(*lines) == [no, no, "no-relevant-change", "", "", no, no]


def test_switches_of_triggers() -> None:
    """A trigger that is off explains itself; the others go on."""
    lines = [JOIN, update("A:1", "B:1"), update("A:1", x=1), LEAVE]
    off = "trigger-off"
    assert reasons(*lines, trigger_segment=False) == ["", "", "", off]
    assert reasons(JOIN, update("A:1", into={"aam/vip": "realized"}), trigger_segment=False) == ["", off]
    assert reasons(*lines, trigger_identity=False) == ["", off, "", ""]
    assert reasons(*lines, trigger_attribute=False) == ["", "", off, ""]
    nothing = {"trigger_segment": False, "trigger_identity": False, "trigger_attribute": False}
    assert reasons(*lines, **nothing) == [off] * 4


def test_joined_left_delivers_entering_and_leaving_only() -> None:
    """Other changes are explained as switched off; the message holds the audiences entered and left by the input."""
    lines = [update("A:1", into={"vip": "realized", "other": "realized"}), update("A:1", "B:1"), update("A:1", x=1),
             update("A:1", into={"vip": ("exited", "2030-01-01T00:00:00Z"), "aam/vip": "realized"}, x=3)]  # fmt: skip
    assert reasons(*lines, deliver="joinedLeft") == ["", "trigger-off", "trigger-off", ""]
    profiles = Profiles(snapshot(flow("vip", "aam/vip", deliver="joinedLeft")))
    profiles.apply(*lines)
    first, second = (message["segmentMembership"] for message in profiles.messages())
    assert first["ups"].keys() == {"vip"}
    assert {n: {s: m["status"] for s, m in ids.items()} for n, ids in second.items()} == {
        "ups": {"vip": "exited"},
        "aam": {"vip": "realized"},
    }


@pytest.mark.parametrize(
    ("before", "after", "differs"),
    [
        (1, 1, False), (1, 2, True), (1, 1.0, True), (1, True, True), (0.0, -0.0, True), ("1", 1, True),
        ([1], [1], False), ([1], [True], True), ({"p": 1}, {"p": 1}, False), ({"p": 1}, {"q": 1}, True),
        ({"p": 1}, {"p": None}, True), (None, None, False), (1, None, True), (None, 1, True),
    ],
)  # fmt: skip
def test_same_value(before: Any, after: Any, differs: bool) -> None:
    """With sameValue false only another value exports, as JSON sees it; by default every write does."""
    member = update("A:1", into={"vip": "realized"}, x=before, y={"z": before})
    for line in (update("A:1", x=after), update("A:1", y={"z": after})):
        assert reasons(member, line, same_value=False) == ["", "" if differs else "same-value"]
        assert reasons(member, line) == ["", ""]
    assert reasons(member, update("A:1", "B:1", x=before), same_value=False) == ["", ""]


def test_an_older_field_is_no_write() -> None:
    """With mergeBy timestamp a field that is ignored exports nothing, and one beside it does."""

    def at(day: int, **fields: Any) -> bytes:
        inner = update("A:1", **fields)
        return b'{"header":{"createdAt":"2025-01-%02dT00:00:00Z"},"body":{"xdmEntity":%b}}' % (day, inner)

    profiles = Profiles(snapshot(flow("vip", paths=("x", "y")), merge_by="timestamp"))
    lines = [at(2, into={"vip": "realized"}, x=1), at(1, x=2), at(1, x=3, y=4), at(3, x=5)]
    assert [profiles.held(line)[0] for line in lines] == ["", "no-relevant-change", "", ""]
    assert [export.cause.paths for export in profiles.exports["f"]] == [["x"], ["y"], ["x"]]
    assert [(m.get("x"), m.get("y")) for m in profiles.messages()] == [(1, None), (1, 4), (5, 4)]


def consenting(*lines: bytes, **settings: Any) -> Profiles:
    profiles = Profiles(snapshot(flow("vip", paths=("x",), consent=CONSENT, **settings)))
    profiles.apply(*lines)
    return profiles


@pytest.mark.parametrize(
    ("said", "allowed"),
    [("y", True), (True, True), ("n", False), (1, False), (None, False), ({"y": 1}, False), (["y"], False)],
)
def test_w2_only_the_allowed_values_consent(said: Any, allowed: bool) -> None:
    """Compared with their type; no value is no consent."""
    profiles = consenting()
    assert profiles.held(update("A:1", into={"vip": "realized"}, consents={"val": said})) == [
        "" if allowed else "consent"
    ]


def test_w2_a_consent_withdrawn_sends_one_exit_and_then_nothing() -> None:
    """Although no flow maps the consent itself; every mapped membership is exited, and no other is sent."""
    profiles = consenting(update("A:1", into={"vip": ("realized", T1), "other": ("realized", T1)}, **YES))
    assert profiles.held(update("A:1", **NO)) == [""]
    export, told = profiles.exports["f"][-1], profiles.messages()[-1]
    assert (export.cause.triggers, export.cause.left) == (["consent"], ["ups/vip"])
    assert told["segmentMembership"] == {"ups": {"vip": {"lastQualificationTime": T1, "status": "exited"}}}
    for line in (update("A:1", x=1), update("A:1", "B:1"), LEAVE, JOIN, update("A:1", **NULL), update("A:1", **NO)):
        assert profiles.held(line)[0] in ("consent", "no-relevant-change")
    assert profiles.held(Delete(profiles.born[0])) == ["no-relevant-change"]
    assert len(profiles.exports["f"]) == 2


@pytest.mark.parametrize("lines", [
    [update("A:1", **YES)],
    [update("A:1", into={"vip": ("realized", T1)})],
    [update("A:1", into={"vip": ("realized", T1)}, **YES), LEAVE],
])  # fmt: skip
def test_w2_who_was_not_told_of_as_a_member_does_not_leave(lines: list[bytes]) -> None:
    """Never exported, or exited already: there is nothing to take back."""
    profiles = consenting(*lines)
    assert profiles.held(update("A:1", x=1, **NO))[0] == "consent"
    assert profiles.held(update("A:1", **NULL))[0] == "no-relevant-change"


def test_w2_consent_given_is_entering() -> None:
    """A member who consents, for the first time or again, is exported at once as one who entered."""
    profiles = consenting(update("A:1", into={"vip": ("realized", T1)}), status_model="seed")
    assert profiles.exports["f"] == []
    for number, line in enumerate((YES, NO, YES)):
        assert profiles.held(update("A:1", **line)) == [""]
        status = profiles.messages()[number]["segmentMembership"]["ups"]["vip"]["status"]
        assert status == ("exited" if line is NO else "realized")
    assert profiles.exports["f"][-1].cause.joined == ["ups/vip"]
    assert profiles.held(update("A:1", **YES)) == ["no-relevant-change"]
    assert profiles.held(update("A:1", x=1)) == [""]
    assert profiles.messages()[-1]["segmentMembership"]["ups"]["vip"]["status"] == "existing"


def test_w2_a_merge_may_take_the_consent_of_the_absorbed_profile_away() -> None:
    """A consumer that was told of the absorbed profile as a member is told that it left."""
    profiles = consenting(update("A:1"), update("B:1", into={"vip": "realized"}, **YES), update("A:1", **NO))
    assert profiles.held(update("A:1", "B:1")) == [""]
    export = profiles.exports["f"][-1]
    assert (export.cause.triggers, export.cause.left, export.cause.absorbed) == (
        ["consent"],
        ["ups/vip"],
        [profiles.born[1]],
    )
    assert profiles.messages()[-1]["segmentMembership"]["ups"]["vip"]["status"] == "exited"


def test_a_paused_flow_keeps_or_skips() -> None:
    """Kept exports are made and wait; skipped changes are explained; a withdrawal and a deletion are not skipped."""
    assert reasons(JOIN, update("A:1", x=1), paused=True) == ["", ""]
    assert reasons(JOIN, update("A:1", z=1), paused=True, pause_mode="skip") == ["paused", "no-relevant-change"]
    assert reasons(JOIN, pause_mode="skip") == [""]
    running, paused = (
        snapshot(flow("vip", consent=CONSENT, pause_mode="skip", on_delete="exit", paused=paused))
        for paused in (False, True)
    )
    profiles = Profiles(running)
    profiles.apply(update("A:1", into={"vip": "realized"}, **YES))
    profiles.config = paused
    assert profiles.held(Delete("unknown")) == ["unknown-profile"]
    assert profiles.held(update("A:1", **NO)) == [""], "a withdrawal is told whatever the pause"
    profiles.apply(update("A:1", **YES))
    assert profiles.held(Delete(profiles.born[0])) == [""], "there is nobody left of whom a catch-up could tell"


def test_an_audience_counts_between_its_dates() -> None:
    """Before its start and after its end an audience is as if it were not mapped."""
    dated = MappedSegment(
        start_date="2026-01-02", end_date="2026-01-02", start_ms=NOW_MS + DAY_MS, end_ms=NOW_MS + 2 * DAY_MS
    )
    of = canonical.build(
        id="f", name="F", spec_id="s", segments={"ups": {"vip": dated, "always": MappedSegment()}}, paths=("x",)
    )
    profiles = Profiles(snapshot(of))
    assert of.dated
    assert profiles.held(update("A:1", into={"vip": "realized"})) == ["no-relevant-change"] or profiles.last.held == [
        "not-a-member"
    ]
    assert profiles.held(update("A:1", x=1)) == ["not-a-member"]
    profiles.now_ms = NOW_MS + DAY_MS
    assert profiles.held(update("A:1", x=1)) == [""]
    assert profiles.held(update("A:1", into={"vip": "exited"})) == [""]
    assert profiles.held(update("A:1", into={"vip": "realized"})) == [""]
    profiles.now_ms = NOW_MS + 2 * DAY_MS - 1
    assert profiles.held(update("A:1", x=1)) == [""]
    profiles.now_ms += 1
    assert profiles.held(update("A:1", x=1)) == ["not-a-member"]
    assert profiles.held(update("A:1", into={"vip": "exited"})) == ["no-relevant-change"]
    assert profiles.held(update("A:1", into={"always": "realized"})) == [""]


def test_a_merge_enters_and_leaves_for_the_survivor() -> None:
    """The survivor enters what only the absorbed one was in; it leaves what any of them was in and is in no more."""
    profiles = Profiles(snapshot(flow("vip", "new", "aam/vip", status_model="seed")))
    profiles.apply(
        update("A:1", into={"vip": ("realized", T1), "new": ("exited", T3)}),
        update("B:1", into={"new": ("realized", T1), "aam/vip": ("realized", T1), "vip": ("realized", T1)}),
    )
    assert profiles.held(update("A:1", "B:1")) == [""]
    cause = profiles.exports["f"][-1].cause
    assert (cause.triggers, cause.joined, cause.left) == (["segment", "identity"], ["aam/vip"], ["ups/new"])
    assert cause.absorbed == [profiles.born[1]]
    part = profiles.messages()[-1]["segmentMembership"]
    assert {f"{n}/{s}": m["status"] for n, ids in part.items() for s, m in ids.items()} == {
        "aam/vip": "realized", "ups/new": "exited", "ups/vip": "existing",
    }  # fmt: skip


def test_every_reason_is_of_the_closed_list() -> None:
    """The reasons that steps give are those that have a meaning written down."""
    assert {
        "not-a-member",
        "no-relevant-change",
        "trigger-off",
        "same-value",
        "consent",
        "paused",
        "unknown-profile",
    } <= set(HELD)
