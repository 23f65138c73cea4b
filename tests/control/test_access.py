"""Every use case refuses whoever lacks one of its permissions, and lets nobody into another sandbox."""

from __future__ import annotations

import ast
import asyncio
import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest

import headrace.control
from headrace.control import (
    accounts, activity, base_connections, flows, organisations, runs, segments, sessions, source_connections, specs,
    target_connections,
)  # fmt: skip
from headrace.control.access import ACTIVATE, CONNECT, DEFINE, ROLES, Caller, Permission
from headrace.control.catalog import PROFILE_SERVICE_ID
from headrace.control.paging import Listing
from headrace.control.resources import Kind
from headrace.control.service import Control
from headrace.errors import UseCaseError

from .plane import (
    ANN, FLOW_SPEC_ID, Made, attribute, caller, flow_body, memory_body, one_of_each, segment_body, source_body, started,
    target_body,
)  # fmt: skip

P = Permission
ANY = Listing()
RENAME = [{"op": "replace", "path": "/name", "value": "New"}]
MAP = [{"op": "add", "path": "/transformations/0/params/profileSelectors/selectors/-", "value": attribute("a.b")}]


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
    return runs.record_run(control, ANN.scope, made.flow, 0, runs.Figures()) or ""


def client_of(control: Control) -> str:
    """The id of the first client."""
    with control.store.read() as transaction:
        record = transaction.unique(Kind.SANDBOX, f"{ANN.scope.org}/prod")
    assert record is not None
    return accounts.list_accounts(control, ANN, Kind.CLIENT)[0]["id"]  # type: ignore[no-any-return]


VIEW = (P.VIEW_DESTINATIONS,)
VIEW_SEGMENTS = (P.VIEW_SEGMENTS,)
MANAGE = (P.MANAGE_ACCESS,)
B, S, T, F, R = base_connections, source_connections, target_connections, flows, runs
CASES = [
    Case("specs.list_connection_specs", lambda c, who, _: specs.list_connection_specs(c, who), VIEW, False),
    Case("specs.get_connection_spec", lambda c, who, _: specs.get_connection_spec(c, who, PROFILE_SERVICE_ID), VIEW, False),
    Case("specs.list_flow_specs", lambda c, who, _: specs.list_flow_specs(c, who), VIEW, False),
    Case("specs.get_flow_spec", lambda c, who, _: specs.get_flow_spec(c, who, FLOW_SPEC_ID), VIEW, False),
    Case("specs.search_flow_specs", lambda c, who, _: specs.search_flow_specs(c, who, {}), VIEW, False),
    Case("base_connections.create_connection", lambda c, who, _: B.create_connection(c, who, memory_body()), CONNECT, False),
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
        lambda c, who, m: [F.delete_flow(c, ANN, m.flow), B.delete_connection(c, who, m.connection)],
        CONNECT,
    ),
    Case(
        "base_connections.test_connection",
        lambda c, who, m: asyncio.run(B.test_connection(c, who, m.platform)),
        CONNECT,
    ),
    Case(
        "source_connections.create_source_connection",
        lambda c, who, m: S.create_source_connection(c, who, source_body(m.platform)),
        CONNECT,
    ),
    Case("source_connections.list_source_connections", lambda c, who, _: S.list_source_connections(c, who, ANY).items, VIEW),
    Case("source_connections.get_source_connection", lambda c, who, m: S.get_source_connection(c, who, m.source), VIEW),
    Case(
        "source_connections.patch_source_connection",
        lambda c, who, m: S.patch_source_connection(c, who, m.source, RENAME, etag(c, Kind.SOURCE, m.source)),
        CONNECT,
    ),
    Case(
        "source_connections.delete_source_connection",
        lambda c, who, m: [F.delete_flow(c, ANN, m.flow), S.delete_source_connection(c, who, m.source)],
        CONNECT,
    ),
    Case(
        "target_connections.create_target_connection",
        lambda c, who, m: T.create_target_connection(c, who, target_body(m.connection)),
        CONNECT,
    ),
    Case("target_connections.list_target_connections", lambda c, who, _: T.list_target_connections(c, who, ANY).items, VIEW),
    Case("target_connections.get_target_connection", lambda c, who, m: T.get_target_connection(c, who, m.target), VIEW),
    Case(
        "target_connections.patch_target_connection",
        lambda c, who, m: T.patch_target_connection(c, who, m.target, RENAME, etag(c, Kind.TARGET, m.target)),
        CONNECT,
    ),
    Case(
        "target_connections.delete_target_connection",
        lambda c, who, m: [F.delete_flow(c, ANN, m.flow), T.delete_target_connection(c, who, m.target)],
        CONNECT,
    ),
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
    Case("runs.create_run", lambda c, who, m: R.create_run(c, who, {"flowId": m.flow, "status": "active"}), CONNECT),
    Case("segments.create_segment", lambda c, who, _: segments.create_segment(c, who, segment_body("New")), DEFINE, False),
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
    Case("segments.update_segment", lambda c, who, m: segments.update_segment(c, who, m.segment, {"name": "N"}), DEFINE),
    Case("segments.update_audience", lambda c, who, m: segments.update_audience(c, who, m.segment, RENAME), DEFINE),
    Case(
        "segments.delete_segment",
        lambda c, who, m: [F.delete_flow(c, ANN, m.flow), segments.delete_segment(c, who, m.segment)],
        DEFINE,
    ),
    Case("organisations.list_sandboxes", lambda c, who, _: organisations.list_sandboxes(c, who), (P.VIEW_SANDBOXES,), False),
    Case("organisations.get_sandbox", lambda c, who, _: organisations.get_sandbox(c, who, "prod"), (P.VIEW_SANDBOXES,), False),
    Case("organisations.create_sandbox", lambda c, who, _: organisations.create_sandbox(c, who, {"name": "dev"}), MANAGE, False),
    Case("accounts.create_client", lambda c, who, _: accounts.create_client(c, who, {"name": "n", "roles": []}), MANAGE, False),
    Case("accounts.create_user", lambda c, who, _: accounts.create_user(c, who, {"name": "n", "roles": []}), MANAGE, False),
    Case("accounts.create_role", lambda c, who, _: accounts.create_role(c, who, {"name": "n", "permissions": []}), MANAGE, False),
    Case("accounts.list_accounts", lambda c, who, _: accounts.list_accounts(c, who, Kind.USER), MANAGE, False),
    Case(
        "accounts.update_account",
        lambda c, who, _: accounts.update_account(c, who, Kind.CLIENT, client_of(c), {"roles": ["viewer"]}),
        MANAGE,
        False,
    ),
    Case("accounts.new_secret", lambda c, who, _: accounts.new_secret(c, who, Kind.CLIENT, client_of(c)), MANAGE, False),
    Case("accounts.delete_account", lambda c, who, _: accounts.delete_account(c, who, Kind.CLIENT, client_of(c)), MANAGE, False),
    Case("accounts.seal_anew", lambda c, who, _: accounts.seal_anew(c, who), MANAGE, False),
    Case("activity.list_activity", lambda c, who, _: activity.list_activity(c, who).items, (P.VIEW_ACTIVITY,)),
    Case(
        "activity.list_activity of the organisation",
        lambda c, who, _: activity.list_activity(c, who, organisation=True).items,
        (P.VIEW_ACTIVITY, P.MANAGE_ACCESS),
        False,
    ),
]  # fmt: skip
WITHOUT_PERMISSION = {
    "organisations.first_start": "for the process itself, before there is anybody",
    "organisations.system_caller": "for the process itself",
    "runs.record_run": "for the engine",
    "runs.run_id": "computes",
    "runs.metrics": "computes",
    "sessions.identify": "finds out who calls",
    "sessions.sign_in_client": "finds out who calls",
    "sessions.sign_in_user": "finds out who calls",
    "specs.change_specs": "refuses everybody",
}


def test_every_use_case_is_in_the_table() -> None:
    """A function that a module of use cases exports stands in the table above, or says why it needs no permission."""
    modules = (
        accounts, activity, base_connections, flows, organisations, runs, segments, sessions, source_connections, specs,
        target_connections,
    )  # fmt: skip
    names = {
        f"{module.__name__.rpartition('.')[2]}.{name}"
        for module in modules
        for name in module.__all__
        if callable(getattr(module, name)) and not isinstance(getattr(module, name), type)
    }
    assert names == {each.use_case.partition(" ")[0] for each in CASES} | set(WITHOUT_PERMISSION)


def test_every_module_that_takes_a_caller_is_known() -> None:
    """No other module of the room has a public function that takes the parts and a caller."""
    found = set()
    for path in Path(headrace.control.__file__).parent.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_"):
                arguments = [each.arg for each in node.args.args[:2]]
                if arguments == ["control", "caller"]:
                    found.add(path.stem)
    assert found - {"service"} == {
        name
        for name in {each.use_case.partition(".")[0] for each in CASES}
        if importlib.import_module(f"headrace.control.{name}")
    }


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.use_case)
def test_a_use_case_needs_its_permissions_and_no_other(case: Case) -> None:
    """Without any one of its permissions it is refused, by its name; with exactly these it works."""
    for missing in case.needs:
        control, _ = started()
        made = one_of_each(control)
        with pytest.raises(UseCaseError) as refused:
            case.call(control, caller(set(Permission) - {missing}), made)
        assert refused.value.error_code == "2120-403"
        assert missing.value in str(refused.value)
    control, _ = started()
    made = one_of_each(control)
    case.call(control, caller(case.needs), made)


@pytest.mark.parametrize("case", [each for each in CASES if each.belongs_to_sandbox], ids=lambda case: case.use_case)
def test_another_sandbox_shows_and_changes_nothing(case: Case) -> None:
    """From another sandbox the same call finds nothing: an empty list, or that there is no such resource."""
    control, _ = started()
    organisations.create_sandbox(control, ANN, {"name": "dev"})
    made = one_of_each(control)
    kept = state(control)
    elsewhere = msgspec.structs.replace(caller(sandbox="dev"), sandbox_id="other")
    try:
        answer = case.call(control, elsewhere, made)
    except UseCaseError as error:
        assert error.error_code in ("1101-404", "1430-400", "3000-400")
    else:
        assert answer == []
    if "delete" not in case.use_case and "runs." not in case.use_case:
        assert state(control) == kept


def state(control: Control) -> list[Any]:
    """Everything of the sandbox."""
    with control.store.read() as transaction:
        return [
            transaction.get(kind, ANN.scope, each["id"])
            for kind, listed in (
                (Kind.CONNECTION, base_connections.list_connections(control, ANN, ANY).items),
                (Kind.FLOW, flows.list_flows(control, ANN, ANY).items),
                (Kind.SEGMENT, segments.list_segments(control, ANN).items),
            )
            for each in listed
        ]


def test_specs_are_changed_by_nobody() -> None:
    """Whoever asks to make a spec is refused, with or without permission."""
    control, _ = started()
    for who, code in ((ANN, "1426-400"), (caller(()), "2120-403")):
        with pytest.raises(UseCaseError) as refused:
            specs.change_specs(control, who)
        assert refused.value.error_code == code


def test_roles_group_known_permissions() -> None:
    """The administrator has every permission, and every permission is in some other role or the administrator's."""
    assert set(ROLES["administrator"]) == set(Permission)
    assert all(set(permissions) <= set(Permission) for permissions in ROLES.values())
    assert set(CONNECT) <= set(ROLES["connector"])
    assert set(ACTIVATE) <= set(ROLES["activator"])
    assert set(DEFINE) <= set(ROLES["audience-manager"])
