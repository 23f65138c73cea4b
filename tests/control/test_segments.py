"""Audiences, as segment definitions and as audiences."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import Manual
from headrace.control import expressions, flows, segments
from headrace.control.store import Store
from headrace.core.report import Report
from headrace.errors import UseCaseError

from .plane import ANN, ORG, START_MS, one_of_each, plane, segment_body


def refused(call: Callable[[], Any]) -> UseCaseError:
    """The error of a call that is refused."""
    with pytest.raises(UseCaseError) as error:
        call()
    return error.value


def test_a_definition_has_its_shape(store: Store) -> None:
    """As the Segmentation Service shows it, with times in milliseconds and seconds."""
    control = plane(store)
    made = segments.create_segment(control, ANN, segment_body(mergePolicyId="M"))
    assert made == segments.get_segment(control, ANN, made["id"])
    assert made == {
        "id": made["id"], "schema": {"name": "_xdm.context.profile"}, "ttlInDays": 30, "profileInstanceId": "ups",
        "imsOrgId": ORG, "name": "Gold buyers", "description": "d", "namespace": "ups", "mergePolicyId": "M",
        "sandbox": {"sandboxId": "id-of-prod", "sandboxName": "prod", "type": "production", "default": True},
        "expression": {"type": "PQL", "format": "pql/text", "value": 'loyalty.tier = "gold"'},
        "evaluationInfo": {
            "batch": {"enabled": False}, "continuous": {"enabled": True}, "synchronous": {"enabled": False},
        },
        "dataGovernancePolicy": {"excludeOptOut": True}, "creationTime": START_MS, "updateEpoch": START_MS // 1000,
        "updateTime": START_MS, "createdBy": "ann",
    }  # fmt: skip


def test_an_audience_made_elsewhere_has_a_namespace_and_no_expression(store: Store) -> None:
    """Its id is the one that the updates name."""
    control = plane(store)
    body = {"name": "Gold", "audienceId": "gold", "namespace": "AAM", "originName": "CUSTOM_UPLOAD"}
    made = segments.create_audience(control, ANN, body)
    assert (made["id"], made["audienceId"], made["type"], made["namespace"], made["lifecycleState"]) == (
        "gold", "gold", "ExternalAudience", "AAM", "published",
    )  # fmt: skip
    assert "expression" not in made
    own = segments.create_audience(
        control, ANN, segment_body() | {"type": "SegmentDefinition", "namespace": "AEPSegments"}
    )
    assert (own["namespace"], own["type"]) == ("AEPSegments", "SegmentDefinition")
    assert segments.get_segment(control, ANN, own["id"])["namespace"] == "ups"


EXPRESSION_PLACES = ["expression.type", "expression.format", "expression.value"]


@pytest.mark.parametrize(
    ("fields", "places"),
    [
        ({"name": ""}, ["name"]),
        ({"schema": ...}, ["schema"]),
        ({"schema": {}}, ["schema.name"]),
        ({"expression": ...}, ["expression"]),
        ({"expression": {"type": "SQL", "format": "x", "value": ""}}, EXPRESSION_PLACES),
        ({"ttlInDays": 0, "labels": [1]}, ["ttlInDays", "labels[0]"]),
        ({"lifecycleState": "asleep"}, ["lifecycleState"]),
        ({"evaluationInfo": {"batch": {"enabled": 1}}}, ["evaluationInfo.batch.enabled"]),
        ({"id": "a b"}, ["id"]),
        ({"other": 1}, ["other"]),
    ],
)  # fmt: skip
def test_wrong_definitions_are_refused_with_all_places(fields: dict[str, Any], places: list[str]) -> None:
    """Each place is told."""
    body = {name: value for name, value in (segment_body() | fields).items() if value is not ...}
    error = refused(lambda: segments.create_segment(plane(), ANN, body))
    assert [each.place for each in error.mistakes] == places


def test_wrong_audiences_are_refused() -> None:
    """An external one without a namespace, with an expression, or of another type."""
    for body in (
        {"name": "n"},
        {"name": "n", "namespace": "AAM", "type": "ExternalAudience", "expression": segment_body()["expression"]},
        {"name": "n", "namespace": "AAM", "type": "Other"},
    ):
        assert refused(partial(segments.create_audience, plane(), ANN, body)).error_code == "3000-400"


def test_an_audience_of_another_platform_needs_no_expression() -> None:
    """Its definition stays where it was made; its memberships come with the updates, in the namespace ups."""
    made = segments.create_audience(plane(), ANN, {"name": "n", "namespace": "AEPSegments", "id": "s"})
    assert (made["audienceId"], made["namespace"]) == ("s", "AEPSegments")


def test_names_and_ids_are_taken_once(store: Store) -> None:
    """In a sandbox; another one has its own."""
    control = plane(store)
    segments.create_segment(control, ANN, segment_body(id="gold"))
    for body in (segment_body(), segment_body("Other", id="gold")):
        assert refused(partial(segments.create_segment, control, ANN, body)).error_code == "3003-409"
    second = segments.create_segment(control, ANN, segment_body("Second"))["id"]
    assert (
        refused(lambda: segments.update_segment(control, ANN, second, {"name": "Gold buyers"})).error_code
        == "3003-409"
    )


def test_changes(store: Store) -> None:
    """An object's members replace, a patch changes; id, namespace and type stay."""
    clock = Manual(START_MS)
    control = plane(store, clock=clock)
    made = segments.create_segment(control, ANN, segment_body(id="gold"))
    clock.advance(1)
    changed = segments.update_segment(control, ANN, "gold", {**made, "name": "New", "description": "other"})
    assert (changed["name"], changed["description"], changed["creationTime"]) == ("New", "other", START_MS)
    assert changed["updateTime"] == START_MS + 1000
    operations = [{"op": "replace", "path": "/lifecycleState", "value": "inactive"}]
    audience = segments.update_audience(control, ANN, "gold", operations)
    assert audience["lifecycleState"] == "inactive"
    assert audience["name"] == "New"
    again = segments.update_audience(control, ANN, "gold", audience, audience["_etag"])
    assert again["lifecycleState"] == "inactive"
    for body, code in [
        ({"id": "silver"}, "3000-400"),
        ({"namespace": "AAM"}, "3000-400"),
        ({"type": "ExternalAudience"}, "3000-400"),
        ({"expression": {}}, "3000-400"),
        ([{"op": "remove", "path": "/none"}], "1455-400"),
        ({}, "1405-400"),
    ]:
        assert refused(partial(segments.update_audience, control, ANN, "gold", body)).error_code == code
    assert (
        refused(lambda: segments.update_segment(control, ANN, "gold", {"name": "x"}, '"old"')).error_code
        == "1404-412"
    )


def test_what_flows_map_is_not_deleted(store: Store) -> None:
    """First the flow lets go of it."""
    control = plane(store)
    made = one_of_each(control)
    error = refused(lambda: segments.delete_segment(control, ANN, made.segment))
    assert error.error_code == "1447-400"
    assert made.flow in str(error)
    flows.delete_flow(control, ANN, made.flow)
    segments.delete_segment(control, ANN, made.segment)
    assert refused(lambda: segments.get_segment(control, ANN, made.segment)).error_code == "1101-404"


def test_lists_are_gone_through_in_pages(store: Store) -> None:
    """Pages count from 0, parts of audiences begin anywhere; both tell how many there are and where they go on."""
    control = plane(store)
    for number in range(5):
        evaluation = {"continuous": {"enabled": number % 2 == 0}}
        segments.create_segment(control, ANN, segment_body(f"n{number}", id=f"id{number}", evaluationInfo=evaluation))
    page = segments.list_segments(control, ANN, page=1, limit=2)
    assert [each["name"] for each in page.items] == ["n2", "n3"]
    assert (page.total, page.pages, page.sort) == (5, 3, ("name", "asc"))
    assert segments.list_segments(control, ANN, page=9, limit=2).items == []
    assert segments.list_segments(control, ANN, continuous=True).total == 3
    part = segments.list_audiences(control, ANN, start=3, limit=2, sort="name:desc")
    assert [each["name"] for each in part.items] == ["n1", "n0"]
    assert part.next is None
    assert segments.list_audiences(control, ANN, limit=2).next == 2
    assert segments.list_audiences(control, ANN, properties=["audienceId==id3"]).items[0]["name"] == "n3"
    assert segments.list_audiences(control, ANN, name="N4").total == 1
    assert segments.list_audiences(control, ANN, description="none").total == 0
    found = segments.get_segments(control, ANN, {"ids": [{"id": "id1"}, {"id": "none"}]})
    assert list(found) == ["id1"]
    assert segments.get_segments(control, ANN, {"ids": []}) == {}
    calls: list[tuple[Callable[[], Any], str]] = [
        (lambda: segments.list_segments(control, ANN, limit=0), "1451-400"),
        (lambda: segments.list_segments(control, ANN, page=-1), "1451-400"),
        (lambda: segments.list_segments(control, ANN, sort="colour"), "1433-400"),
        (lambda: segments.list_segments(control, ANN, sort="name:up"), "1432-400"),
        (lambda: segments.get_segments(control, ANN, {"ids": "x"}), "3000-400"),
        (lambda: segments.get_segments(control, ANN, {"ids": ["x"]}), "3000-400"),
    ]
    for call, code in calls:
        assert refused(call).error_code == code


def problem(value: str, form: str = "pql/text") -> bool:
    """True when an expression is refused."""
    report = Report()
    expressions.check(report, {"type": "PQL", "format": form, "value": value}, "expression")
    return bool(report.mistakes)


@pytest.mark.parametrize(
    ("form", "value", "wrong"),
    [
        ("pql/text", 'a = "b (" and (c in [1, 2])', False),
        ("pql/text", r'a = "quote \" inside"', False),
        ("pql/text", "CHAIN(xEvent, timestamp, [C0: WHAT(x = 'y') WHEN(<= 24 hours before now)])", False),
        ("pql/text", 'a = "b', True),
        ("pql/text", "a = 'b", True),
        ("pql/text", "(a", True),
        ("pql/text", "a)", True),
        ("pql/text", "(a]", True),
        ("pql/text", "   ", True),
        ("pql/text", "x" * (expressions.MAX_CHARS + 1), True),
        ("pql/json", '{"nodeType":"fnApply","fnName":"=","params":[{"nodeType":"literal","value":1}]}', False),
        ("pql/json", '{"nodeType":"fnApply","params":{}}', True),
        ("pql/json", '{"nodeType":"fnApply","params":[1]}', True),
        ("pql/json", '{"fnName":"="}', True),
        ("pql/json", "[1]", True),
        ("pql/json", "{", True),
        ("pql/json", '{"nodeType":"a","params":[' * 300 + "1" + "]}" * 300, True),
    ],
)
def test_expressions_are_checked_to_be_some(form: str, value: str, wrong: bool) -> None:
    """Quotes end, brackets match, JSON is a tree of nodes."""
    assert problem(value, form) is wrong


@given(st.text(max_size=60), st.sampled_from(expressions.FORMATS))
def test_any_text_is_an_expression_or_refused(value: str, form: str) -> None:
    """No text breaks the check."""
    assert problem(value, form) in (True, False)
