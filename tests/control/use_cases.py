"""Every use case with a right call and the permissions that it needs: the table of ``test_access``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, NamedTuple

from headrace.control import (
    accounts,
    activity,
    applying,
    base_connections,
    exporting,
    flows,
    links,
    organisations,
    profile_schemas,
    runs,
    segments,
    source_connections,
    specs,
    target_connections,
)  # fmt: skip
from headrace.control.access import ACTIVATE, CONNECT, DEFINE, Caller, Permission
from headrace.control.catalog import PROFILE_SERVICE_ID
from headrace.control.paging import Listing
from headrace.control.resources import Kind
from headrace.control.service import Control

from .plane import (
    ANN,
    FLOW_SPEC_ID,
    Made,
    attribute,
    flow_body,
    memory_body,
    segment_body,
    source_body,
    target_body,
)  # fmt: skip

P = Permission
ANY = Listing()
RENAME = [{"op": "replace", "path": "/name", "value": "New"}]
MAP = [{"op": "add", "path": "/transformations/0/params/profileSelectors/selectors/-", "value": attribute("a.b")}]

SCHEMA = {"properties": {"n": {"type": "integer"}}}


class Case(NamedTuple):
    """One use case, called rightly, and what it needs."""

    use_case: str
    call: Callable[[Control, Caller, Made], Any]
    needs: tuple[Permission, ...]
    belongs_to_sandbox: bool = True


def etag(control: Control, kind: Kind, resource_id: str) -> str:
    """The current etag of a record of the sandbox."""
    with control.store.read() as transaction:
        record = transaction.get(kind, ANN.scope, resource_id)
    assert record is not None
    return record.etag


def run_of(control: Control, made: Made) -> str:
    """A run of the flow."""
    return runs.record_run(control, ANN.scope, made.flow, 0, runs.Figures(segments={made.segment: 1})) or ""


def client_of(control: Control) -> Any:
    """The id of the first client."""
    return accounts.list_accounts(control, ANN, Kind.CLIENT)[0]["id"]


def with_schema(control: Control, use: Callable[[], Any]) -> Any:
    """Use a schema of profiles that is there."""
    profile_schemas.put_schema(control, ANN, SCHEMA)
    return use()


def after_the_flow(control: Control, who: Caller, made: Made, delete: Callable[..., None], used: str) -> None:
    """Delete something that the flow used, once the flow is gone."""
    flows.delete_flow(control, ANN, made.flow)
    delete(control, who, used)


VIEW = (P.VIEW_DESTINATIONS,)
VIEW_SEGMENTS = (P.VIEW_SEGMENTS,)
MANAGE = (P.MANAGE_ACCESS,)
B, S, T, F, R = base_connections, source_connections, target_connections, flows, runs
CASES = [
    Case("specs.list_connection_specs", lambda c, who, _: specs.list_connection_specs(c, who), VIEW, False),
    Case(
        "specs.get_connection_spec",
        lambda c, who, _: specs.get_connection_spec(c, who, PROFILE_SERVICE_ID),
        VIEW,
        False,
    ),
    Case("specs.list_flow_specs", lambda c, who, _: specs.list_flow_specs(c, who), VIEW, False),
    Case("specs.get_flow_spec", lambda c, who, _: specs.get_flow_spec(c, who, FLOW_SPEC_ID), VIEW, False),
    Case("specs.search_flow_specs", lambda c, who, _: specs.search_flow_specs(c, who, {}), VIEW, False),
    Case(
        "base_connections.create_connection",
        lambda c, who, _: B.create_connection(c, who, memory_body()),
        CONNECT,
        False,
    ),
    Case("base_connections.list_connections", lambda c, who, _: B.list_connections(c, who, ANY).items, VIEW),
    Case("base_connections.search_connections", lambda c, who, _: B.search_connections(c, who, {}).items, VIEW),
    Case("base_connections.get_connection", lambda c, who, m: B.get_connection(c, who, m.connection), VIEW),
    Case(
        "base_connections.patch_connection",
        lambda c, who, m: B.patch_connection(c, who, m.platform, RENAME, etag(c, Kind.CONNECTION, m.platform)),
        CONNECT,
    ),
    Case(
        "base_connections.delete_connection",
        lambda c, who, m: after_the_flow(c, who, m, B.delete_connection, m.connection),
        CONNECT,
    ),
    Case(
        "base_connections.test_connection",
        lambda c, who, m: asyncio.run(B.test_connection(c, who, m.platform)),
        CONNECT,
    ),
    Case(
        "base_connections.list_places",
        lambda c, who, m: list(asyncio.run(B.list_places(c, who, m.platform)).names),
        CONNECT,
    ),
    Case(
        "source_connections.create_source_connection",
        lambda c, who, m: S.create_source_connection(c, who, source_body(m.platform)),
        CONNECT,
    ),
    Case(
        "source_connections.list_source_connections",
        lambda c, who, _: S.list_source_connections(c, who, ANY).items,
        VIEW,
    ),
    Case(
        "source_connections.get_source_connection", lambda c, who, m: S.get_source_connection(c, who, m.source), VIEW
    ),
    Case(
        "source_connections.patch_source_connection",
        lambda c, who, m: S.patch_source_connection(c, who, m.source, RENAME, etag(c, Kind.SOURCE, m.source)),
        CONNECT,
    ),
    Case(
        "source_connections.delete_source_connection",
        lambda c, who, m: after_the_flow(c, who, m, S.delete_source_connection, m.source),
        CONNECT,
    ),
    Case(
        "target_connections.create_target_connection",
        lambda c, who, m: T.create_target_connection(c, who, target_body(m.connection)),
        CONNECT,
    ),
    Case(
        "target_connections.list_target_connections",
        lambda c, who, _: T.list_target_connections(c, who, ANY).items,
        VIEW,
    ),
    Case(
        "target_connections.get_target_connection", lambda c, who, m: T.get_target_connection(c, who, m.target), VIEW
    ),
    Case(
        "target_connections.patch_target_connection",
        lambda c, who, m: T.patch_target_connection(c, who, m.target, RENAME, etag(c, Kind.TARGET, m.target)),
        CONNECT,
    ),
    Case(
        "target_connections.delete_target_connection",
        lambda c, who, m: after_the_flow(c, who, m, T.delete_target_connection, m.target),
        CONNECT,
    ),
    Case(
        "applying.apply_files",
        lambda c, who, _: applying.apply_files(c, who, []),
        tuple(dict.fromkeys((*CONNECT, *ACTIVATE, *DEFINE))),
        False,
    ),
    Case(
        "exporting.export_files",
        lambda c, who, _: list(exporting.export_files(c, who)),
        (P.VIEW_DESTINATIONS, P.VIEW_SEGMENTS),
    ),
    Case("links.create_link", lambda c, who, _: links.create_link(c, who, "admin"), MANAGE, False),
    Case("flows.create_flow", lambda c, who, m: F.create_flow(c, who, flow_body(m.source, m.target)), CONNECT),
    Case(
        "flows.create_flow that maps",
        lambda c, who, m: F.create_flow(c, who, flow_body(m.source, m.target, m.segment)),
        tuple(dict.fromkeys((*CONNECT, *ACTIVATE))),
    ),
    Case("flows.list_flows", lambda c, who, _: F.list_flows(c, who, ANY).items, VIEW),
    Case("flows.search_flows", lambda c, who, _: F.search_flows(c, who, {}).items, VIEW),
    Case("flows.get_flow", lambda c, who, m: F.get_flow(c, who, m.flow), VIEW),
    Case(
        "flows.patch_flow",
        lambda c, who, m: F.patch_flow(c, who, m.flow, RENAME, etag(c, Kind.FLOW, m.flow)),
        CONNECT,
    ),
    Case(
        "flows.patch_flow that maps",
        lambda c, who, m: F.patch_flow(c, who, m.flow, MAP, etag(c, Kind.FLOW, m.flow)),
        ACTIVATE,
    ),
    Case(
        "flows.patch_flow of both",
        lambda c, who, m: F.patch_flow(c, who, m.flow, [*MAP, *RENAME], etag(c, Kind.FLOW, m.flow)),
        tuple(dict.fromkeys((*CONNECT, *ACTIVATE))),
    ),
    Case("flows.act_on_flow", lambda c, who, m: F.act_on_flow(c, who, m.flow, "disable"), CONNECT),
    Case("flows.delete_flow", lambda c, who, m: F.delete_flow(c, who, m.flow), CONNECT),
    Case("runs.list_runs", lambda c, who, m: [run_of(c, m), R.list_runs(c, who, ANY).items][1], VIEW),
    Case("runs.get_run", lambda c, who, m: R.get_run(c, who, run_of(c, m)), VIEW),
    Case("runs.sum_runs", lambda c, who, m: [run_of(c, m), R.sum_runs(c, who, since_ms=0).flows][1], VIEW),
    Case(
        "runs.sum_audiences",
        lambda c, who, m: [run_of(c, m), list(R.sum_audiences(c, who, m.flow, since_ms=0))][1],
        VIEW,
    ),
    Case("runs.create_run", lambda c, who, m: R.create_run(c, who, {"flowId": m.flow, "status": "active"}), CONNECT),
    Case(
        "segments.create_segment",
        lambda c, who, _: segments.create_segment(c, who, segment_body("New")),
        DEFINE,
        False,
    ),
    Case(
        "segments.create_audience",
        lambda c, who, _: segments.create_audience(c, who, {"name": "New", "audienceId": "x", "namespace": "AAM"}),
        DEFINE,
        False,
    ),
    Case("segments.list_segments", lambda c, who, _: segments.list_segments(c, who).items, VIEW_SEGMENTS),
    Case("segments.list_audiences", lambda c, who, _: segments.list_audiences(c, who).items, VIEW_SEGMENTS),
    Case("segments.get_segment", lambda c, who, m: segments.get_segment(c, who, m.segment), VIEW_SEGMENTS),
    Case("segments.get_audience", lambda c, who, m: segments.get_audience(c, who, m.segment), VIEW_SEGMENTS),
    Case(
        "segments.get_segments",
        lambda c, who, m: list(segments.get_segments(c, who, {"ids": [{"id": m.segment}]})),
        VIEW_SEGMENTS,
    ),
    Case(
        "segments.update_segment", lambda c, who, m: segments.update_segment(c, who, m.segment, {"name": "N"}), DEFINE
    ),
    Case("segments.update_audience", lambda c, who, m: segments.update_audience(c, who, m.segment, RENAME), DEFINE),
    Case(
        "segments.delete_segment",
        lambda c, who, m: after_the_flow(c, who, m, segments.delete_segment, m.segment),
        DEFINE,
    ),
    Case(
        "organisations.list_sandboxes",
        lambda c, who, _: organisations.list_sandboxes(c, who),
        (P.VIEW_SANDBOXES,),
        False,
    ),
    Case(
        "organisations.get_sandbox",
        lambda c, who, _: organisations.get_sandbox(c, who, "prod"),
        (P.VIEW_SANDBOXES,),
        False,
    ),
    Case(
        "organisations.create_sandbox",
        lambda c, who, _: organisations.create_sandbox(c, who, {"name": "dev"}),
        MANAGE,
        False,
    ),
    Case(
        "accounts.create_client",
        lambda c, who, _: accounts.create_client(c, who, {"name": "n", "roles": []}),
        MANAGE,
        False,
    ),
    Case(
        "accounts.create_user",
        lambda c, who, _: accounts.create_user(c, who, {"name": "n", "roles": []}),
        MANAGE,
        False,
    ),
    Case(
        "accounts.create_role",
        lambda c, who, _: accounts.create_role(c, who, {"name": "n", "permissions": []}),
        MANAGE,
        False,
    ),
    Case("accounts.list_accounts", lambda c, who, _: accounts.list_accounts(c, who, Kind.USER), MANAGE, False),
    Case(
        "accounts.update_account",
        lambda c, who, _: accounts.update_account(c, who, Kind.CLIENT, client_of(c), {"roles": ["viewer"]}),
        MANAGE,
        False,
    ),
    Case(
        "accounts.new_secret", lambda c, who, _: accounts.new_secret(c, who, Kind.CLIENT, client_of(c)), MANAGE, False
    ),
    Case(
        "accounts.delete_account",
        lambda c, who, _: accounts.delete_account(c, who, Kind.CLIENT, client_of(c)),
        MANAGE,
        False,
    ),
    Case(
        "profile_schemas.get_schema",
        lambda c, who, _: with_schema(c, lambda: profile_schemas.get_schema(c, who)),
        (P.VIEW_PROFILES,),
    ),
    Case(
        "profile_schemas.put_schema",
        lambda c, who, _: profile_schemas.put_schema(c, who, SCHEMA),
        (P.MANAGE_PROFILES,),
        False,
    ),
    Case(
        "profile_schemas.delete_schema",
        lambda c, who, _: with_schema(c, lambda: profile_schemas.delete_schema(c, who)),
        (P.MANAGE_PROFILES,),
    ),
    Case("accounts.seal_anew", lambda c, who, _: accounts.seal_anew(c, who), MANAGE, False),
    Case("activity.list_activity", lambda c, who, _: activity.list_activity(c, who).items, (P.VIEW_ACTIVITY,)),
    Case(
        "activity.list_activity of the organisation",
        lambda c, who, _: activity.list_activity(c, who, organisation=True).items,
        (P.VIEW_ACTIVITY, P.MANAGE_ACCESS),
        False,
    ),
]
