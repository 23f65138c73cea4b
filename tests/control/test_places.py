"""Source and target connections: the places where flows begin and end."""

from __future__ import annotations

from functools import partial

from headrace.control import base_connections, flows, source_connections, target_connections
from headrace.control.paging import Listing
from headrace.control.resources import Kind
from headrace.control.store import Store

from .asking import changed, places, refused, replaced, stored
from .plane import (
    ANN,
    KINESIS_ID,
    one_of_each,
    plane,
    source_body,
    target_body,
)  # fmt: skip

B, S, T = base_connections, source_connections, target_connections


def test_sources_and_targets_show_what_they_inherit(store: Store) -> None:
    """Type and base connection are shown, in lists as well."""
    control = plane(store)
    made = one_of_each(control)
    source = S.get_source_connection(control, ANN, made.source)
    assert source["typeInfo"] == {"type": "ProfileFragments", "id": "ups"}
    assert source["inheritedAttributes"]["baseConnection"]["id"] == made.platform
    target = T.get_target_connection(control, ANN, made.target)
    assert target["inheritedAttributes"]["baseConnection"] == {
        "id": made.connection, "connectionSpec": {"id": KINESIS_ID, "version": "1.0"},
    }  # fmt: skip
    assert T.list_target_connections(control, ANN, Listing()).items == [target]
    assert S.list_source_connections(control, ANN, Listing()).items == [source]


def test_wrong_sources_and_targets_are_refused(store: Store) -> None:
    """References, specs and parameters are checked, all places together."""
    control = plane(store)
    made = one_of_each(control)
    platform = source_body(made.platform)
    target = target_body(made.connection)
    spec = {"id": KINESIS_ID, "version": "1.0"}
    codes = [
        (lambda: S.create_source_connection(control, ANN, platform | {"connectionSpec": spec}), "1413-400"),
        (lambda: S.create_source_connection(control, ANN, platform | {"connectionSpec": {"id": "x"}}), "3001-422"),
        (
            lambda: T.create_target_connection(control, ANN, target | {"connectionSpec": {"id": KINESIS_ID}}),
            "3001-422",
        ),
        (
            lambda: T.create_target_connection(control, ANN, target | {"connectionSpec": {**spec, "id": "x"}}),
            "1413-400",
        ),
    ]
    for call, code in codes:
        assert refused(call).error_code == code
    wrong = platform | {"baseConnectionId": "x", "params": {"a": 1}}
    assert places(lambda: S.create_source_connection(control, ANN, wrong)) == ["params.a", "baseConnectionId"]
    assert places(lambda: S.create_source_connection(control, ANN, source_body(made.connection))) == [
        "baseConnectionId"
    ]
    assert places(lambda: T.create_target_connection(control, ANN, target_body(made.platform))) == [
        "baseConnectionId"
    ]
    assert places(lambda: T.create_target_connection(control, ANN, target_body("\x00"))) == ["baseConnectionId"]
    assert places(
        lambda: T.create_target_connection(control, ANN, target_body(made.connection, stream="", region="us-east-1"))
    ) == ["params.stream", "params.region"]
    without_base = {"name": "n", "connectionSpec": platform["connectionSpec"]}
    assert (
        S.get_source_connection(control, ANN, S.create_source_connection(control, ANN, without_base).id)["name"]
        == "n"
    )


def test_targets_change_by_patches(store: Store) -> None:
    """Parameters are replaced and added as the edit guide shows; what does not fit is refused."""
    control = plane(store)
    made = one_of_each(control)
    toggle = {"op": "add", "path": "/params/includeSegmentNames", "value": True}
    etag = stored(control, Kind.TARGET, made.target).etag
    new = T.patch_target_connection(control, ANN, made.target, [toggle, replaced("/params/stream", "other")], etag)
    assert T.get_target_connection(control, ANN, made.target)["params"] == {
        "stream": "other", "region": "eu-west-1", "includeSegmentNames": True,
    }  # fmt: skip
    wrong = [replaced("/params", {"includeSegmentNames": "yes"})]
    assert places(lambda: T.patch_target_connection(control, ANN, made.target, wrong, new.etag)) == [
        "params.stream", "params.includeSegmentNames",
    ]  # fmt: skip
    old = stored(control, Kind.SOURCE, made.source)
    S.patch_source_connection(control, ANN, made.source, [{"op": "remove", "path": "/baseConnectionId"}], old.etag)
    assert S.get_source_connection(control, ANN, made.source)["inheritedAttributes"] == {}


def test_an_account_changes_only_as_its_targets_allow(store: Store) -> None:
    """A region that a target repeats cannot be changed under it."""
    control = plane(store)
    made = one_of_each(control)
    call = lambda: changed(control, made.connection, replaced("/auth/params/region", "us-east-1"))  # noqa: E731
    assert set(places(call)) == {f"targetConnections[{made.target}].params.region"}


def test_what_flows_use_is_not_deleted(store: Store) -> None:
    """First the flow, then the account, which takes its unused source and target connections with it."""
    control = plane(store)
    made = one_of_each(control)
    assert refused(lambda: T.delete_target_connection(control, ANN, made.target)).error_code == "1447-400"
    assert refused(lambda: S.delete_source_connection(control, ANN, made.source)).error_code == "1447-400"
    for connection in (made.connection, made.platform):
        error = refused(partial(B.delete_connection, control, ANN, connection))
        assert error.error_code == "1418-400"
        assert made.flow in str(error)
    flows.delete_flow(control, ANN, made.flow)
    B.delete_connection(control, ANN, made.connection)
    assert refused(lambda: B.get_connection(control, ANN, made.connection)).error_code == "1101-404"
    assert refused(lambda: T.get_target_connection(control, ANN, made.target)).error_code == "1101-404"
    S.delete_source_connection(control, ANN, made.source)
    B.delete_connection(control, ANN, made.platform)
    assert B.list_connections(control, ANN, Listing()).items == []
