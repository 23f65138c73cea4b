"""Compiled flows and snapshots: the invariants F1 to F3, and the quick questions a step asks."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import canonical, paths
from headrace.core.flow import CompiledFlow, Consent, FlowAlerts, MappedSegment, PartitionKey, Snapshot

SEGMENT = MappedSegment(
    name="n", created_at_ms=1, updated_at_ms=2, mapping_created_ms=3000, mapping_updated_ms=4000, start_ms=5, end_ms=6
)
DEFAULTS: dict[str, Any] = {
    "id": "f",
    "name": "Flow",
    "spec_id": "spec",
    "segments": {"ups": {"s": SEGMENT, "t": MappedSegment()}},
    "paths": ("a.b", "c"),
}


def built(**changes: Any) -> CompiledFlow:
    return canonical.build(**{**DEFAULTS, **changes})


def with_segment(**changes: Any) -> dict[str, Any]:
    return {"segments": {"ups": {"s": msgspec.structs.replace(SEGMENT, **changes), "t": MappedSegment()}}}


CHANGES: list[dict[str, Any]] = [
    {"segments": {"ups": {"s": SEGMENT}}},
    {"segments": {"other": {"s": SEGMENT, "t": MappedSegment()}}},
    with_segment(start_ms=50),
    with_segment(end_ms=60),
    {"paths": ("c", "a.b")},
    {"paths": ("a.b",)},
    {"include_names": True},
    {"include_timestamps": True},
    {"status_model": "seed"},
    {"membership_scope": "mapped"},
    {"trigger_segment": False},
    {"trigger_identity": False},
    {"trigger_attribute": False},
    {"same_value": False},
    {"metadata": True},
    {"partition_key": PartitionKey("identity", namespace="ecid")},
    {"partition_key": PartitionKey("identity", namespace="email")},
    {"partition_key": PartitionKey("attribute", steps=("a",))},
    {"deliver": "joinedLeft"},
    {"consent": Consent(("a",), ("y",))},
    {"consent": Consent(("a",), (True,))},
    {"consent": Consent(("a",), (1,))},
    {"on_delete": "exit"},
]
NO_CHANGES: list[dict[str, Any]] = [
    {"id": "g"},
    {"name": "Other"},
    {"spec_id": "other"},
    {"paused": True},
    {"pause_mode": "skip"},
    {"ordering": "none"},
    {"overflow": "stop-sources"},
    {"disk_budget_bytes": 1 << 20},
    {"alerts": FlowAlerts(lag_s=5, mute=("lag",), mail_to=("a@example.com",))},
    {"segments": {"ups": {"t": MappedSegment(), "s": SEGMENT}}},
    {"paths": ("a.b", "c", "a.b.d")},
    {"paths": ("xdm:a.xdm:b", "['c']")},
    with_segment(name="m"),
    with_segment(created_at_ms=9),
    with_segment(mapping_updated_ms=9),
]


def test_f1_the_digest_changes_with_everything_that_affects_the_output() -> None:
    """Each change alone gives a digest of its own."""
    digests = [built(**change).digest for change in CHANGES]
    assert len({built().digest, *digests}) == len(CHANGES) + 1


@pytest.mark.parametrize("change", NO_CHANGES, ids=str)
def test_f1_the_digest_changes_with_nothing_else(change: dict[str, Any]) -> None:
    """Names that are not sent, order in the file, pausing and delivery order leave it alone."""
    assert built(**change).digest == built().digest


@pytest.mark.parametrize(
    "name", ["name", "created_at_ms", "updated_at_ms", "mapping_created_ms", "mapping_updated_ms"]
)
def test_f1_what_is_included_counts(name: str) -> None:
    """A name or a time counts exactly when the flow sends it."""
    included = {"include_names": True} if name == "name" else {"include_timestamps": True}
    other = {name: "other" if name == "name" else 77}
    assert built(**included).digest != built(**included, **with_segment(**other)).digest
    assert built().digest == built(**with_segment(**other)).digest


def test_f1_every_field_is_in_one_of_the_two_lists() -> None:
    """A field that is added to a flow must be put to the test here."""
    derived = canonical._DERIVED | {"digest"}
    named = {name for change in CHANGES + NO_CHANGES for name in change}
    assert named == set(CompiledFlow.__struct_fields__) - derived


def test_f2_the_version_is_of_the_content_and_not_of_its_order() -> None:
    """Flows in another order have the same version; any other content has another."""
    one, two = built(), built(id="g")
    base = canonical.snapshot([one, two])
    assert canonical.snapshot([two, one]) == base
    others = [
        canonical.snapshot([one]),
        canonical.snapshot([one, built(id="g", name="x")]),
        canonical.snapshot([one, built(id="g", alerts=FlowAlerts(lag_s=5))]),
        canonical.snapshot([one, two], merge_by="timestamp"),
        canonical.snapshot([one, two], max_identities=51),
        canonical.snapshot([one, two], unstitchable=["ip"]),
    ]
    assert len({base.version, *(other.version for other in others)}) == len(others) + 1
    assert canonical.snapshot([], unstitchable=["B", "a"]) == canonical.snapshot([], unstitchable=["A", "b"])


@st.composite
def compiled(draw: st.DrawFn) -> CompiledFlow:
    """Any flow."""
    times = st.none() | st.integers(0, 2**53)
    mapped = st.builds(MappedSegment, name=st.text(st.characters(codec="utf-8"), max_size=3), created_at_ms=times)
    names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4)
    change = draw(st.sampled_from([{}, *CHANGES, *NO_CHANGES]))
    return built(**{
        "segments": draw(st.dictionaries(names, st.dictionaries(names, mapped, max_size=3), max_size=3)),
        "paths": draw(st.lists(st.sampled_from(["a", "a.b", "c['d e']", "f.g.h"]), max_size=4)),
        "id": draw(st.sampled_from("xyz")),
        **change,
    })  # fmt: skip


@given(st.lists(compiled(), max_size=3, unique_by=lambda flow: flow.id), st.lists(st.text("aB", max_size=2)))
def test_f3_the_canonical_text_makes_the_same_snapshot(made: list[CompiledFlow], namespaces: list[str]) -> None:
    """Version, digests and everything else come back from the text."""
    before = canonical.snapshot(made, merge_by="timestamp", max_identities=7, unstitchable=namespaces)
    after = canonical.compile_canonical(canonical.canonical(before))
    assert after == before
    assert canonical.canonical(after) == canonical.canonical(before)


def test_a_text_of_an_older_version_keeps_its_version_and_digests() -> None:
    """Fields that were not there yet take their defaults; what was hashed then stays."""
    old = b'{"format":1,"merge_by":"arrival","max_identities":50,"unstitchable":[],"flows":[{"id":"f","name":"n",'
    old += b'"spec_id":"s","segments":{"ups":{"a":{}}},"digest":"0123456789abcdef"}]}'
    made = canonical.compile_canonical(old)
    assert made.flows[0].digest == "0123456789abcdef"
    assert made.flows[0].same_value is True
    assert made.version == canonical.compile_canonical(old).version != canonical.snapshot(made.flows).version


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"format":2,"merge_by":"a","max_identities":1,"unstitchable":[],"flows":[]}',
        b'{"format":1,"merge_by":"a","max_identities":1,"unstitchable":[],"flows":[{"id":1}]}',
    ],
)
def test_a_text_that_is_none_is_refused(text: bytes) -> None:
    """What ``canonical`` did not write, or a later version wrote, is a ValueError."""
    with pytest.raises(ValueError, match=r"canonical|format"):
        canonical.compile_canonical(text)


def test_build_refuses_a_text_that_is_no_path() -> None:
    """Whoever builds a flow by hand learns of a wrong path."""
    with pytest.raises(ValueError, match=r"'a\.\.b' is not a path"):
        built(paths=("a..b",))


def test_a_flow_is_dated_when_an_audience_has_a_start_or_an_end() -> None:
    """One date of one audience is enough; none is none."""
    for start, end, dated in ((None, None, False), (1, None, True), (None, 1, True)):
        mapped = MappedSegment(start_ms=start, end_ms=end)
        assert built(segments={"ups": {"s": mapped, "t": MappedSegment()}}).dated is dated


@pytest.mark.parametrize(
    ("change", "plain"),
    [
        ({}, True),
        ({"metadata": True}, True),
        ({"status_model": "seed"}, False),
        ({"membership_scope": "mapped"}, False),
        ({"deliver": "joinedLeft"}, False),
        ({"include_names": True}, False),
        ({"include_timestamps": True}, False),
    ],
)
def test_a_flow_is_plain_when_it_sends_all_memberships_as_they_are(change: dict[str, Any], plain: bool) -> None:
    """Only then may flows share what was rendered."""
    assert built(**change).plain is plain


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=4), min_size=1, max_size=6))
def test_the_plan_is_the_text_between_the_values(mapped: list[list[str]]) -> None:
    """With every mapped attribute there, plan and values make the text of the projection."""
    flow = built(paths=[".".join(steps) for steps in mapped])
    profile: dict[str, Any] = {}
    for number, (_, steps) in enumerate(flow.plan):
        here = profile
        for step in steps[:-1]:
            here = here.setdefault(step, {})
        here[steps[-1]] = [number]
    values = [before + msgspec.json.encode(paths.read(steps, profile)) for before, steps in flow.plan]
    text = b"".join(values) + b"}" * len(flow.plan[-1][1])
    assert text == msgspec.json.encode(paths.project(flow.tree, profile))


@pytest.mark.parametrize(
    ("start", "end", "now", "active"),
    [
        (None, None, 0, True),
        (10, None, 9, False),
        (10, None, 10, True),
        (None, 10, 9, True),
        (None, 10, 10, False),
    ],
)
def test_an_audience_is_active_from_its_start_up_to_its_end(
    start: int | None, end: int | None, now: int, active: bool
) -> None:
    """The start is included and the end is not."""
    assert MappedSegment(start_ms=start, end_ms=end).active(now) is active


def concerned(snapshot: Snapshot, attributes: dict[str, Any], memberships: list[tuple[str, str]]) -> bool:
    names = {path.split(".")[0] for flow in snapshot.flows for path in flow.paths}
    mapped = {(ns, sid) for flow in snapshot.flows for ns, ids in flow.segments.items() for sid in ids}
    return bool(names & attributes.keys() or mapped & set(memberships))


@given(
    st.dictionaries(st.sampled_from("acz"), st.none()),
    st.lists(st.tuples(st.sampled_from(["ups", "aam"]), st.sampled_from("stu")), max_size=2),
)
def test_concerns_is_false_only_when_no_flow_maps_anything_stated(
    attributes: dict[str, Any], memberships: list[tuple[str, str]]
) -> None:
    """The quick question answers as a look at each flow would."""
    snapshot = canonical.snapshot([built(), built(id="g", segments={"aam": {"u": SEGMENT}}, paths=("q",))])
    assert snapshot.concerns(attributes, memberships) is concerned(snapshot, attributes, memberships)
    assert snapshot.by_id["g"].paths == ("q",)
