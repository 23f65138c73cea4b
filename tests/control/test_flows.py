"""Flows: compiled before they are stored, changed by patches, paused, listed and removed."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from headrace.clock import Manual
from headrace.control import flows, segments
from headrace.control.paging import Listing
from headrace.control.resources import Kind
from headrace.control.service import Control, Written
from headrace.control.store import Store
from headrace.errors import UseCaseError

from .plane import (
    ANN,
    FLOW_SPEC_ID,
    KINESIS_ID,
    START_MS,
    attribute,
    flow_body,
    one_of_each,
    plane,
    segment_body,
    selector,
)  # fmt: skip

SELECTORS = "/transformations/0/params/segmentSelectors/selectors"
ATTRIBUTES = "/transformations/0/params/profileSelectors/selectors"


def refused(call: Callable[[], Any]) -> UseCaseError:
    """The error of a call that is refused."""
    with pytest.raises(UseCaseError) as error:
        call()
    return error.value


def patched(control: Control, flow_id: str, *operations: dict[str, Any]) -> Written:
    """Patch a flow at its current version."""
    etag = flows.get_flow(control, ANN, flow_id)["etag"]
    return flows.patch_flow(control, ANN, flow_id, list(operations), etag)


def mapped(control: Control, flow_id: str) -> list[dict[str, Any]]:
    """The values of the audiences that a flow maps."""
    params = flows.get_flow(control, ANN, flow_id)["transformations"][0]["params"]
    return [each["value"] for each in params["segmentSelectors"]["selectors"]]


def test_a_flow_is_shown_as_flow_service_shows_it(store: Store) -> None:
    """Common fields, what it inherits, its runs, and the operation that made it."""
    control = plane(store)
    made = one_of_each(control)
    item = flows.get_flow(control, ANN, made.flow)
    spec = {"id": KINESIS_ID, "version": "1.0"}
    assert item["state"] == "enabled"
    assert item["inheritedAttributes"]["properties"] == {"isDestinationFlow": True}
    (source,) = item["inheritedAttributes"]["sourceConnections"]
    assert (source["id"], source["baseConnection"]["id"], source["typeInfo"]["id"]) == (
        made.source,
        made.platform,
        "ups",
    )
    assert item["inheritedAttributes"]["targetConnections"] == [
        {"id": made.target, "connectionSpec": spec, "baseConnection": {"id": made.connection, "connectionSpec": spec}}
    ]
    assert item["runs"] == f"/runs?property=flowId=={made.flow}"
    assert item["lastOperation"] == {
        "operation": "create", "started": START_MS, "updated": START_MS, "percentCompleted": 100,
        "status": {"value": "completed", "properties": None, "errors": []},
    }  # fmt: skip
    assert flows.list_flows(control, ANN, Listing()).items == [item]


def test_activation_by_patches(store: Store) -> None:
    """Audiences and attributes are added and removed one by one; the flow tells what it maps since."""
    control = plane(store)
    made = one_of_each(control)
    other = segments.create_segment(control, ANN, segment_body("Other"))["id"]
    operations = [
        {"op": "Add", "path": f"{SELECTORS}/-", "value": selector(other, name="Other", description="")},
        {"op": "add", "path": f"{ATTRIBUTES}/-", "value": attribute("personalEmail.address")},
    ]
    written = patched(control, made.flow, *operations)
    assert written.mapped == (("", other),)
    assert [each["id"] for each in mapped(control, made.flow)] == [made.segment, other]
    item = flows.get_flow(control, ANN, made.flow)
    assert item["lastOperation"]["ops"] == operations
    assert item["lastOperation"]["operation"] == "update"
    written = patched(control, made.flow, {"op": "remove", "path": f"{SELECTORS}/0"})
    assert written.mapped == ()
    assert [each["id"] for each in mapped(control, made.flow)] == [other]


def test_mappings_are_dated_by_the_control_plane(store: Store) -> None:
    """When an audience was mapped stays, when its mapping changed moves on; whoever calls sets neither."""
    clock = Manual(START_MS)
    control = plane(store, clock=clock)
    made = one_of_each(control)
    first = str(START_MS // 1000)
    clock.advance(100)
    patched(control, made.flow, {"op": "replace", "path": "/name", "value": "New"})
    (value,) = mapped(control, made.flow)
    assert (value["createTime"], value["updateTime"]) == (first, first)
    schedule = {"startDate": "2026-02-01"}
    changed = selector(made.segment, schedule=schedule, createTime="1")
    patched(control, made.flow, {"op": "replace", "path": f"{SELECTORS}/0", "value": changed})
    (value,) = mapped(control, made.flow)
    assert (value["createTime"], value["updateTime"]) == (first, str(START_MS // 1000 + 100))


def test_mistakes_are_refused_with_all_their_places(store: Store) -> None:
    """Selectors, references and our settings at once; nothing is stored."""
    control = plane(store)
    made = one_of_each(control)
    body = flow_body("nowhere", made.target, "unknown", paths=["a..b"]) | {"description": 1}
    body["transformations"][0]["params"]["headrace"] = {"deliver": "some"}
    error = refused(lambda: flows.create_flow(control, ANN, body))
    assert error.error_code == "3000-400"
    params = "transformations[0].params"
    assert [each.place for each in error.mistakes] == [
        "sourceConnectionIds[0]",
        "description",
        f"{params}.segmentSelectors.selectors[0].value.id",
        f"{params}.profileSelectors.selectors[0].value.path",
        f"{params}.headrace.deliver",
    ]
    before = flows.get_flow(control, ANN, made.flow)
    wrong = {"op": "add", "path": f"{SELECTORS}/-", "value": selector("unknown")}
    assert refused(lambda: patched(control, made.flow, wrong)).error_code == "3000-400"
    assert flows.get_flow(control, ANN, made.flow) == before
    assert len(flows.list_flows(control, ANN, Listing()).items) == 1


def test_wrong_flows_have_their_codes(store: Store) -> None:
    """Where Flow Service has a code of its own it is answered."""
    control = plane(store)
    made = one_of_each(control)
    right = flow_body(made.source, made.target)
    for body, code in [
        (None, "1405-400"),
        ({}, "1405-400"),
        (right | {"state": "enabled"}, "1410-400"),
        (right | {"flowSpec": {"id": "x", "version": "1.0"}}, "1413-400"),
        (right | {"flowSpec": None}, "3000-400"),
        (right | {"sourceConnectionIds": []}, "3000-400"),
        (right | {"targetConnectionIds": [made.target, made.target]}, "3000-400"),
        (right | {"targetConnectionIds": [made.source]}, "3000-400"),
        (right | {"targetConnectionIds": "x"}, "3000-400"),
        (right | {"transformations": 5}, "3000-400"),
        (right | {"sourceConnectionIds": 5}, "3000-400"),
        (right | {"transformations": "x"}, "3000-400"),
        (right | {"transformations": [1]}, "3000-400"),
        (right | {"extra": 1}, "3000-400"),
    ]:
        assert refused(partial(flows.create_flow, control, ANN, body)).error_code == code, body
    state = {"op": "add", "path": "/state", "value": "disabled"}
    assert refused(lambda: patched(control, made.flow, state)).error_code == "3000-400"


def test_an_audience_of_others_is_known_by_its_namespace(store: Store) -> None:
    """It needs no definition here; one of the platform's own does."""
    control = plane(store)
    made = one_of_each(control)
    patched(control, made.flow, {"op": "add", "path": f"{SELECTORS}/-", "value": selector("gold", namespace="AAM")})
    wrong = {"op": "add", "path": f"{SELECTORS}/-", "value": selector("silver", namespace="ups")}
    assert refused(lambda: patched(control, made.flow, wrong)).error_code == "3000-400"


def test_guardrails(store: Store) -> None:
    """Over 250 audiences and 50 attributes warn; the hundredth flow is the last."""
    control = plane(store)
    made = one_of_each(control)
    many = [selector(f"s{number}", namespace="AAM") for number in range(251)]
    written = patched(
        control, made.flow,
        {"op": "replace", "path": SELECTORS, "value": many},
        {"op": "replace", "path": ATTRIBUTES, "value": [attribute(f"a{number}") for number in range(51)]},
    )  # fmt: skip
    assert len(written.warnings) == 2
    assert all("guardrail" in each for each in written.warnings)
    with control.store.write() as transaction:
        record = transaction.get(Kind.FLOW, ANN.scope, made.flow)
        assert record is not None
        for number in range(flows.MAX_FLOWS - 1):
            fields = {name: getattr(record, name) for name in record.__struct_fields__}
            transaction.insert(type(record)(**{**fields, "id": f"more{number}"}))
    error = refused(lambda: flows.create_flow(control, ANN, flow_body(made.source, made.target)))
    assert error.error_code == "3002-400"


def test_enable_and_disable(store: Store) -> None:
    """Actions are in any case, need no etag, change nothing when they ask for what is, and are told apart."""
    control = plane(store)
    flow = one_of_each(control).flow
    before = flows.get_flow(control, ANN, flow)["etag"]
    assert flows.act_on_flow(control, ANN, flow, "enable").etag == before
    assert flows.act_on_flow(control, ANN, flow, "DISABLE").etag != before
    assert flows.get_flow(control, ANN, flow)["state"] == "disabled"
    assert patched(control, flow, {"op": "replace", "path": "/name", "value": "x"}).id == flow
    assert flows.get_flow(control, ANN, flow)["state"] == "disabled"
    flows.act_on_flow(control, ANN, flow, "Enable", flows.get_flow(control, ANN, flow)["etag"])
    assert flows.get_flow(control, ANN, flow)["state"] == "enabled"
    for action in ("restart", "", None):
        assert refused(partial(flows.act_on_flow, control, ANN, flow, action)).error_code == "1422-400"
    assert refused(lambda: flows.act_on_flow(control, ANN, flow, "disable", before)).error_code == "1404-412"
    assert refused(lambda: flows.act_on_flow(control, ANN, "none", "disable")).error_code == "1101-404"


def test_a_flow_on_its_way_is_left_alone(store: Store) -> None:
    """While a state is a transitional one, nothing is changed."""
    control = plane(store)
    flow = one_of_each(control).flow
    with control.store.write() as transaction:
        record = transaction.get(Kind.FLOW, ANN.scope, flow)
        assert record is not None
        fields = {name: getattr(record, name) for name in record.__struct_fields__}
        transaction.replace(type(record)(**{**fields, "state": "enabled-finalizing"}), record.etag)
    for call in (
        lambda: patched(control, flow, {"op": "replace", "path": "/name", "value": "x"}),
        lambda: flows.act_on_flow(control, ANN, flow, "disable"),
        lambda: flows.delete_flow(control, ANN, flow),
    ):
        assert refused(call).error_code == "1421-400"


def test_deleting(store: Store) -> None:
    """A deleted flow is gone; its connections and audiences stay."""
    control = plane(store)
    made = one_of_each(control)
    flows.delete_flow(control, ANN, made.flow)
    assert refused(lambda: flows.get_flow(control, ANN, made.flow)).error_code == "1101-404"
    assert refused(lambda: flows.delete_flow(control, ANN, made.flow)).error_code == "1101-404"
    assert segments.get_segment(control, ANN, made.segment)["id"] == made.segment


@pytest.mark.parametrize(
    "template",
    [
        "flowSpec.id=={spec}",
        "sourceConnectionIds[]=={source}",
        "targetConnectionIds[]==x,{target}",
        "inheritedAttributes.properties.isDestinationFlow==true",
        "inheritedAttributes.targetConnections[].connectionSpec.id=={kinesis}",
        "transformations[].params.segmentSelectors.selectors[].value.id=={segment}",
    ],
)
def test_flows_are_found_by_what_they_use(store: Store, template: str) -> None:
    """The filters that the guides show find the flow; the same with another value does not."""
    control = plane(store)
    made = one_of_each(control)
    known = {"spec": FLOW_SPEC_ID, "kinesis": KINESIS_ID, "source": made.source, "target": made.target}
    text = template.format(**known, segment=made.segment)
    assert [each["id"] for each in flows.list_flows(control, ANN, Listing(properties=(text,))).items] == [made.flow]
    wrong = text.rpartition("==")[0] + "==false"
    assert flows.list_flows(control, ANN, Listing(properties=(wrong,))).items == []


def test_searches_leave_what_was_asked_for(store: Store) -> None:
    """projectionFields names the members of the items, which keep their id."""
    control = plane(store)
    made = one_of_each(control)
    body = {"queryString": "name==Flow", "projectionFields": ["name", "state", "none"]}
    assert flows.search_flows(control, ANN, body).items == [{"id": made.flow, "name": "Flow", "state": "enabled"}]
    assert flows.search_flows(control, ANN, {"count": "true"}).count == 1
    assert refused(lambda: flows.search_flows(control, ANN, {"projectionFields": "name"})).error_code == "1451-400"


def test_null_counts_as_absent_at_every_depth(store: Store) -> None:
    """When it is made and when it is patched: an answer holds what its schema says, or nothing."""
    control = plane(store)
    made = one_of_each(control)
    body = flow_body(made.source, made.target) | {"description": None}
    body["transformations"][0]["params"]["profileSelectors"] = {"selectors": None}
    flow_id = flows.create_flow(control, ANN, body).id
    shown = flows.get_flow(control, ANN, flow_id)
    assert "description" not in shown
    assert shown["transformations"][0]["params"].get("profileSelectors", {}).get("selectors", []) == []
    patched(control, flow_id, {"op": "add", "path": "/transformations/0/params/segmentSelectors", "value": None})
    shown = flows.get_flow(control, ANN, flow_id)
    assert shown["transformations"][0]["params"].get("segmentSelectors", {}).get("selectors", []) == []
