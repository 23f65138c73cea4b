"""The schema of profiles: what it knows, how it is kept, and the warnings that follow from it."""

from __future__ import annotations

from typing import Any

import pytest

from headrace.control import activity, flows, profile_schemas, profiles
from headrace.control.access import Permission
from headrace.control.profile_schemas import Schema
from headrace.control.resources import Kind
from headrace.control.service import Control
from headrace.control.store import Store
from headrace.errors import UseCaseError
from tests.api.engine import Engine

from .plane import ANN, attribute, caller, one_of_each, plane
from .use_cases import etag

DOCUMENT: dict[str, Any] = {
    "type": "object",
    "allOf": [{"$ref": "#/definitions/person"}, {"properties": {"tags": {"type": "array"}}}],
    "properties": {
        "xdm:loyalty": {"type": ["object", "null"], "properties": {"points": {"type": ["null", "integer"]}}},
        "open": {"type": "object", "additionalProperties": True},
        "byShop": {"patternProperties": {"^s": {"type": "integer"}}},
        "elsewhere": {"$ref": "https://schemas.example/address"},
        "identityMap": {"type": "object"},
    },
    "definitions": {
        "person": {
            "properties": {
                "person": {
                    "properties": {
                        "name": {"$ref": "#/definitions/name"},
                        "manager": {"$ref": "#/definitions/person"},
                    }
                }
            }
        },
        "name": {
            "anyOf": [{"properties": {"lastName": {"type": "string"}}}, {"properties": {"a.b": {"type": "string"}}}]
        },
    },
}


@pytest.fixture
def control(store: Store) -> Control:
    """A control plane on each store."""
    return plane(store)


@pytest.mark.parametrize(
    ("path", "known"),
    [
        ("person.name.lastName", True),
        ("person.name['a.b']", True),
        ("person.name", True),
        ("person.manager.person.name.lastName", True),
        ("loyalty.points", True),
        ("xdm:loyalty.points", True),
        ("tags", True),
        ("open.any.thing", True),
        ("byShop.s1", True),
        ("elsewhere.city", True),
        ("segmentMembership.status", True),
        ("identityMap", True),
        ("person.name.middle", False),
        ("loyalty.points.more", False),
        ("gone", False),
        ("tags.first", False),
    ],
)
def test_what_a_schema_knows(*, path: str, known: bool) -> None:
    """References and combinations are followed; what is open knows everything below."""
    assert (Schema(DOCUMENT).unknown([path]) == []) is known


def test_leaves_are_what_pickers_offer() -> None:
    """With types, as mappings write them; a schema that refers to itself ends."""
    found = dict(Schema(DOCUMENT).leaves())
    assert found["person.name.lastName"] == "string"
    assert found["person.name['a.b']"] == "string"
    assert found["loyalty.points"] == "integer"
    assert found["tags"] == "array"
    assert "identityMap" not in found
    assert len(found) <= profile_schemas.MOST_PATHS


def test_a_schema_that_grows_without_end_is_walked_within_bounds() -> None:
    """Each level refers to the whole twice."""
    twice = {"properties": {"a": {"$ref": "#"}, "b": {"$ref": "#"}, "c": {"type": "string"}}}
    found = Schema(twice).leaves()
    assert 0 < len(found) <= profile_schemas.MOST_PATHS
    assert Schema(twice).knows(("a", "b", "a", "c"))


def test_it_is_kept_for_its_sandbox_changed_and_forgotten(control: Control) -> None:
    """Each change is in the audit log; another sandbox has none."""
    with pytest.raises(UseCaseError, match="no schema"):
        profile_schemas.get_schema(control, ANN)
    made = profile_schemas.put_schema(control, ANN, DOCUMENT)
    assert profile_schemas.get_schema(control, ANN) == made
    assert made["schema"] == DOCUMENT
    again = profile_schemas.put_schema(control, ANN, {"properties": {"n": {"type": "integer"}}})
    assert (again["paths"], again["etag"] != made["etag"]) == (1, True)
    profile_schemas.delete_schema(control, ANN)
    with pytest.raises(UseCaseError, match="profileSchemas"):
        profile_schemas.delete_schema(control, ANN)
    lines = activity.list_activity(control, ANN, kind=Kind.SCHEMA).items
    assert [each["action"] for each in lines] == ["delete", "update", "create"]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "1405-400"),
        ({"type": "array"}, "type"),
        ({"properties": []}, "properties"),
        ({"properties": {}}, "names no attribute"),
        ({"title": "x"}, "names no attribute"),
        ({"properties": {"n" * 600_000: {"type": "string"}}}, "at most 524288"),
        ([1], "must be an object"),
    ],
)
def test_what_is_no_schema_is_refused(control: Control, body: Any, words: str) -> None:
    """With what is wrong."""
    with pytest.raises(UseCaseError) as refused:
        profile_schemas.put_schema(control, ANN, body)
    assert words in str(refused.value) or words == refused.value.error_code or words in str(refused.value.mistakes)


def test_who_may_not(control: Control) -> None:
    """Reading needs View Profiles, changing Manage Profiles."""
    nobody = caller([])
    for use_case in (
        lambda: profile_schemas.get_schema(control, nobody),
        lambda: profile_schemas.put_schema(control, nobody, DOCUMENT),
        lambda: profile_schemas.delete_schema(control, nobody),
    ):
        with pytest.raises(UseCaseError) as refused:
            use_case()
        assert refused.value.status == 403
    profile_schemas.put_schema(control, caller([Permission.MANAGE_PROFILES]), DOCUMENT)


def test_a_mapping_that_it_does_not_know_is_stored_with_a_warning(control: Control) -> None:
    """Without a schema there is none."""
    made = one_of_each(control)
    mapping = [
        {"op": "add", "path": "/transformations/0/params/profileSelectors/selectors/-", "value": attribute(path)}
        for path in ("loyalty.points", "web.pageViews")
    ]
    version = etag(control, Kind.FLOW, made.flow)
    before = flows.patch_flow(control, ANN, made.flow, mapping[:1], version)
    assert not any("schema" in each for each in before.warnings)
    profile_schemas.put_schema(control, ANN, DOCUMENT)
    after = flows.patch_flow(control, ANN, made.flow, mapping[1:], before.etag)
    assert [each for each in after.warnings if "schema" in each] == [
        "transformations[0].params.profileSelectors: the schema of profiles does not know web.pageViews"
    ]


def test_observed_paths_tell_whether_they_are_declared(control: Control) -> None:
    """What the schema knows besides is offered too."""
    engine = Engine()
    assert "declared" not in profiles.observed_schema(control, engine, ANN)[0]
    profile_schemas.put_schema(control, ANN, {"properties": {"n": {"type": "integer"}}})
    found = {each["path"]: each for each in profiles.observed_schema(control, engine, ANN)}
    assert found["person.name.lastName"]["declared"] is False
    assert found["n"] == {"path": "n", "type": "integer", "count": 0, "of": 5, "declared": True}
