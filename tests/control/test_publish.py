"""What is stored becomes what the engine runs, the same that a configuration file gives."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from headrace.control import base_connections, configuration, flows, segments, source_connections, target_connections
from headrace.control.auth import opened
from headrace.control.publish import publish, read
from headrace.control.resources import Kind
from headrace.control.service import Control
from headrace.control.store import Store
from headrace.core import canonical
from headrace.errors import ConfigurationError

from .plane import ANN, SCOPE, SECRET, flow_body, memory_body, one_of_each, plane


def published(control: Control, **settings: Any) -> configuration.Configuration:
    """The sandbox's configuration."""
    with control.store.read() as transaction:
        records = read(transaction, SCOPE)
    return publish(records, control.catalog.destinations, lambda each: opened(control, each), **settings)


def test_an_empty_sandbox_publishes_no_flow(store: Store) -> None:
    """And no target."""
    found = published(plane(store))
    assert found.snapshot.flows == ()
    assert found.targets == {}


def test_it_is_what_a_file_with_the_same_resources_gives(store: Store) -> None:
    """Snapshot, version, targets and secrets are equal."""
    control = plane(store)
    made = one_of_each(control)
    source = source_connections.get_source_connection(control, ANN, made.source)
    assert source["id"] == made.source
    account = base_connections.get_connection(control, ANN, made.connection)
    account["auth"]["params"]["secretKey"] = SECRET
    segment = segments.get_segment(control, ANN, made.segment)
    flow = flows.get_flow(control, ANN, made.flow)
    file = {
        "settings": {"mergeBy": "timestamp", "maxIdentities": 7, "unstitchableNamespaces": ["IP"]},
        "segments": [segment],
        "connections": [account],
        "targetConnections": [target_connections.get_target_connection(control, ANN, made.target)],
        "flows": [flow],
    }
    expected = configuration.parse(msgspec.json.encode(file), control.catalog.destinations, environ={})
    found = published(control, merge_by="timestamp", max_identities=7, unstitchable=["IP"])
    assert (found.snapshot, found.targets, found.canonical) == (
        expected.snapshot,
        expected.targets,
        expected.canonical,
    )
    assert found.targets[made.flow].revealed()["secretKey"] == SECRET
    assert canonical.compile_canonical(found.canonical) == found.snapshot
    assert SECRET.encode() not in found.canonical


def test_what_is_disabled_is_paused(store: Store) -> None:
    """A flow itself, or its account."""
    control = plane(store)
    made = one_of_each(control)

    def paused() -> bool:
        return published(control).snapshot.by_id[made.flow].paused

    assert not paused()
    flows.act_on_flow(control, ANN, made.flow, "disable")
    assert paused()
    flows.act_on_flow(control, ANN, made.flow, "enable")
    etag = base_connections.get_connection(control, ANN, made.connection)["etag"]
    disable = [{"op": "replace", "path": "/state", "value": "disabled"}]
    base_connections.patch_connection(control, ANN, made.connection, disable, etag)
    assert paused()


def test_names_of_audiences_are_those_of_now(store: Store) -> None:
    """Renaming an audience reaches the flows that send its name; other sandboxes do not take part."""
    control = plane(store)
    made = one_of_each(control)
    segments.update_segment(control, ANN, made.segment, {"name": "Renamed"})
    (flow,) = published(control).snapshot.flows
    assert flow.segments["ups"][made.segment].name == "Renamed"


def test_flows_of_several_destinations_are_published_together(store: Store) -> None:
    """One whose destination needs no account among them."""
    control = plane(store)
    made = one_of_each(control)
    base = base_connections.create_connection(control, ANN, memory_body()).id
    body = {"name": "t", "baseConnectionId": base, "params": {"stream": "s"}}
    target = target_connections.create_target_connection(control, ANN, body).id
    second = flows.create_flow(control, ANN, flow_body(made.source, target, made.segment)).id
    found = published(control)
    assert set(found.targets) == {made.flow, second}
    assert found.targets[second].params == {
        "stream": "s", "shards": 1, "includeSegmentNames": False, "includeSegmentTimestamps": False,
    }  # fmt: skip


def test_what_is_not_right_any_more_is_published_not_at_all(store: Store) -> None:
    """Left out, a flow would count as deleted: every mistake is told instead."""
    control = plane(store)
    made = one_of_each(control)
    flows.create_flow(control, ANN, flow_body(made.source, made.target))
    with control.store.write() as transaction:
        target = transaction.get(Kind.TARGET, SCOPE, made.target)
        segment = transaction.get(Kind.SEGMENT, SCOPE, made.segment)
        assert target is not None
        assert segment is not None
        transaction.remove(segment)
        body = {**target.body, "params": {"stream": ""}}
        transaction.replace(msgspec.structs.replace(target, body=body), target.etag)
    with pytest.raises(ConfigurationError) as error:
        published(control)
    places = {each.place for each in error.value.mistakes}
    assert f"targetConnections[{made.target}].params.stream" in places
    selector = "transformations[0].params.segmentSelectors.selectors[0].value.id"
    assert f"flows[{made.flow}].{selector}" in places
    with control.store.write() as transaction:
        target = transaction.get(Kind.TARGET, SCOPE, made.target)
        assert target is not None
        transaction.remove(target)
    with pytest.raises(ConfigurationError, match="is not the id of a target connection"):
        published(control)
