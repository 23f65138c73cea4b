"""Connection specs and flow specs are served in Flow Service's shape, drawn from the destinations."""

from __future__ import annotations

import re

import pytest

from headrace.control import specs
from headrace.control.catalog import PROFILE_SERVICE_ID
from headrace.destinations.registry import destinations
from headrace.errors import UseCaseError

from .plane import ANN, FLOW_SPEC_ID, KINESIS_ID, plane


def test_ids_are_those_of_aep() -> None:
    """What was written for AEP finds the profile store, Amazon Kinesis and the flow spec, by id and by name."""
    control = plane()
    by_id = {each["id"]: each["name"] for each in specs.list_connection_specs(control, ANN).items}
    assert by_id[KINESIS_ID] == "Amazon Kinesis"
    assert by_id[PROFILE_SERVICE_ID] == "Profile Service"
    (flow_spec,) = specs.list_flow_specs(control, ANN).items
    assert flow_spec["id"] == FLOW_SPEC_ID
    assert flow_spec["sourceConnectionSpecIds"] == [PROFILE_SERVICE_ID]
    assert KINESIS_ID in flow_spec["targetConnectionSpecIds"]


def test_every_destination_is_whole() -> None:
    """Each parameter of each way and of the target is in the schemas; secrets are marked, patterns match whole."""
    control = plane()
    for destination in destinations().values():
        served = specs.get_connection_spec(control, ANN, destination.spec.id)
        ways = {each["name"]: each["spec"] for each in served["authSpec"]}
        for way in destination.spec.auth:
            properties = ways[way.name]["properties"]
            assert list(properties) == [each.name for each in way.parameters]
            assert ways[way.name]["required"] == [each.name for each in way.parameters if each.required]
            secret = [name for name, each in properties.items() if each.get("format") == "password"]
            assert secret == [each.name for each in way.parameters if each.secret]
            for each in way.parameters:
                if each.pattern:
                    assert re.compile(properties[each.name]["pattern"]).pattern.startswith("^(?:")
        target = served["targetSpec"]
        assert list(target["spec"]["properties"]) == [each.name for each in destination.spec.target]
        assert target["attributes"]["uiAttributes"]["isDestination"] is True
        assert served["headrace"]["permissions"] == list(destination.spec.permissions)


def test_specs_are_found_by_filters_alone() -> None:
    """By name, as the public client does; an unknown id is not found."""
    control = plane()
    found = specs.list_connection_specs(control, ANN, ["name==Amazon Kinesis"])
    assert [each["id"] for each in found.items] == [KINESIS_ID]
    assert specs.list_flow_specs(control, ANN, ["name==none"]).items == []
    assert specs.search_flow_specs(control, ANN, {"count": True}).count == 1
    assert specs.get_flow_spec(control, ANN, FLOW_SPEC_ID)["version"] == "1.0"
    for call in (specs.get_connection_spec, specs.get_flow_spec):
        with pytest.raises(UseCaseError) as error:
            call(control, ANN, "none")
        assert error.value.error_code == "1101-404"
