"""Messages: spec 1.2 with each setting, and that the fast way gives the bytes of the slow one."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given

from headrace.core import canonical, message
from headrace.core.flow import CompiledFlow, MappedSegment
from headrace.core.model import Cause, Membership
from headrace.core.paths import project

from .driving import flow
from .values import ATTRIBUTES, PATHS, VALUES

IN = Membership(True, "2025-01-01T00:00:00.500Z")
OUT = Membership(False, "2025-01-02T00:00:00.000Z", "2026-01-01T00:00:00.000Z", 9)
MEMBERSHIPS = {"aam": {"x": IN}, "ups": {"new": OUT, "vip": IN}}


def slowly(of: CompiledFlow, attributes: dict[str, Any]) -> bytes:
    """The message's attributes by projecting and encoding."""
    chosen = project(of.tree, attributes)
    return msgspec.json.encode(chosen)[:-1] + b"," if chosen else b"{"


def quickly(of: CompiledFlow, attributes: dict[str, Any]) -> bytes | None:
    """The same without projecting; None where one is missing."""
    parts: list[bytes] = []
    return b"".join(parts) if message._all_there(message.Layout(of), attributes, parts) else None


@given(PATHS, ATTRIBUTES)
def test_the_fast_way_gives_the_bytes_of_the_slow_one(paths: tuple[str, ...], attributes: dict[str, Any]) -> None:
    """Where every mapped attribute is there, and where one is missing."""
    of = flow("vip", paths=paths)
    expected = slowly(of, attributes)
    assert quickly(of, attributes) in (None, expected)
    made = message.assemble(message.Layout(of), attributes, b"{}", b"{}", None)
    assert made == expected + b'"segmentMembership":{},"identityMap":{}}'
    assert msgspec.json.decode(made)


@given(PATHS, VALUES)
def test_the_fast_way_is_taken_when_everything_is_there(paths: tuple[str, ...], value: Any) -> None:
    """A profile that has a value at every mapped path is rendered without projecting."""
    of = flow("vip", paths=paths)
    attributes: dict[str, Any] = {}
    for path in of.paths:
        here = attributes
        *above, last = path.split(".")
        for step in above:
            here = here.setdefault(step, {})
        here[last] = value
    if value == {} or not paths:
        assert quickly(of, attributes) is None
    else:
        assert quickly(of, attributes) == slowly(of, attributes)


def test_a_mapping_of_unusual_names() -> None:
    """Quotes, backslashes, dots and other letters in names are written as JSON wants them."""
    of = flow("vip", paths=("a['b.c'].d", "['\"\\\\é']"))
    attributes = {"a": {"b.c": {"d": 1}}, '"\\é': 2}
    made = message.assemble(message.Layout(of), attributes, b"{}", b"{}", None)
    assert msgspec.json.decode(made) == attributes | {"segmentMembership": {}, "identityMap": {}}
    assert made.startswith(slowly(of, attributes))


def rendered(of: CompiledFlow, entered: tuple[tuple[str, str], ...] = (), given: Any = None) -> Any:
    return msgspec.json.decode(message.membership_part(of, of.segments, given or MEMBERSHIPS, entered))


def test_the_plain_part_is_the_general_one_without_settings() -> None:
    """Flows that share the plain part would get the same from the general one."""
    assert flow("vip").plain
    assert rendered(flow("vip")) == msgspec.json.decode(message.plain_membership_part(MEMBERSHIPS))
    assert message.plain_membership_part(MEMBERSHIPS) == (
        b'{"aam":{"x":{"lastQualificationTime":"2025-01-01T00:00:00Z","status":"realized"}},'
        b'"ups":{"new":{"lastQualificationTime":"2025-01-02T00:00:00Z","status":"exited"},'
        b'"vip":{"lastQualificationTime":"2025-01-01T00:00:00Z","status":"realized"}}}'
    )


@pytest.mark.parametrize(
    ("settings", "entered", "statuses"),
    [
        ({}, (), {"aam/x": "realized", "ups/new": "exited", "ups/vip": "realized"}),
        ({"membership_scope": "mapped"}, (), {"ups/new": "exited", "ups/vip": "realized"}),
        ({"status_model": "seed"}, (), {"aam/x": "existing", "ups/new": "exited", "ups/vip": "existing"}),
        (
            {"status_model": "seed"},
            (("ups", "vip"), ("ups", "new")),
            {"aam/x": "existing", "ups/new": "exited", "ups/vip": "realized"},
        ),
    ],
)
def test_scope_and_status_model(settings: Any, entered: Any, statuses: dict[str, str]) -> None:
    """Mapped or all; realized and exited, or with existing for those that did not enter by this input."""
    part = rendered(flow("vip", "new", **settings), entered)
    assert {f"{n}/{s}": entry["status"] for n, ids in part.items() for s, entry in ids.items()} == statuses


def test_names_and_timestamps_are_of_mapped_audiences_only() -> None:
    """Each toggle adds its fields where they are known; an audience that is not mapped has neither."""
    mapped = {
        "ups": {
            "vip": MappedSegment(
                name="Very important", created_at_ms=1, updated_at_ms=2, mapping_created_ms=3, mapping_updated_ms=4
            ),
            "new": MappedSegment(),
        }
    }
    base: dict[str, Any] = {"id": "f", "name": "F", "spec_id": "s", "segments": mapped}
    vip = {"lastQualificationTime": "2025-01-01T00:00:00Z", "status": "realized"}
    new = {"lastQualificationTime": "2025-01-02T00:00:00Z", "status": "exited"}
    times = {"createdAt": 1, "updatedAt": 2, "mappingCreatedAt": 3, "mappingUpdatedAt": 4}
    for names, timestamps in ((True, True), (True, False), (False, True)):
        part = rendered(canonical.build(**base, include_names=names, include_timestamps=timestamps))
        extras = ({"name": "Very important"} if names else {}) | (times if timestamps else {})
        assert part == {"aam": {"x": vip}, "ups": {"vip": vip | extras, "new": new}}


def test_the_metadata_block() -> None:
    """Everything that a consumer needs to drop repeats, see gaps and tell why."""
    cause = Cause("live", ["segment"], ["a.b"], ["ups/vip"], ["ups/new"], ["c" * 32])
    block = message.metadata_part(
        flow_id="f", profile_id="p" * 32, export_id="e" * 32, seq=4, version=7, epoch=2, config="v1", cause=cause
    )
    made = message.assemble(message.Layout(flow("vip")), {}, b"{}", b"{}", block)
    assert msgspec.json.decode(made) == {
        "segmentMembership": {},
        "identityMap": {},
        "_headrace": {
            "exportId": "e" * 32,
            "flowId": "f",
            "profileId": "p" * 32,
            "seq": 4,
            "profileVersion": 7,
            "epoch": 2,
            "absorbed": ["c" * 32],
            "cause": {
                "kind": "live",
                "triggers": ["segment"],
                "paths": ["a.b"],
                "joined": ["ups/vip"],
                "left": ["ups/new"],
            },
            "configuration": "v1",
        },
    }


def test_identities_carry_only_their_ids() -> None:
    """Lower-case namespaces, each with objects that hold an id."""
    assert message.identity_part({"ecid": ["1", "2"], "email": ["é"]}) == (
        '{"ecid":[{"id":"1"},{"id":"2"}],"email":[{"id":"é"}]}'.encode()
    )
