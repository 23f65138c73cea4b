"""Use cases: flows, which say whose profiles go where. A change is compiled before anything is stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.compile import FLOW_SPEC_ID, READ_ONLY, Compilation
from headrace.core.report import Report
from headrace.errors import Mistake

from . import access, auth, compiling, inherited, paging, patch, profile_schemas
from . import connection_rules as rules
from .access import ACTIVATE, CONNECT, Caller, Permission
from .lists import Page, listed
from .paging import Listing
from .problems import Code, problem, refuse
from .resources import Kind, Resource, changeable, transition
from .service import Change, Control, Written, body_of, check_if_match, found, patched, reading, stated, writing
from .store import Query

__all__ = [
    "MAX_FLOWS", "act_on_flow", "create_flow", "delete_flow", "get_flow", "list_flows", "patch_flow", "search_flows",
]  # fmt: skip

MAX_FLOWS: Final = 100
"""Destinations in a sandbox, a hard limit of AEP (destinations guardrails)."""

_KEYS: Final[tuple[str, ...]] = (
    *("name", "description", "flowSpec", "sourceConnectionIds", "targetConnectionIds", "transformations"),
    *("policy", "scheduleParams"),
)
_DROPPED: Final = READ_ONLY | {"id", "runs", "lastOperation", "lastRunDetails"}
_VIEW: Final = Permission.VIEW_DESTINATIONS
_STATES: Final = {"enable": "enabled", "disable": "disabled"}
_CHANGES: Final = ("keep", "skip")
_GENERATED: Final = ("createTime", "updateTime")


def create_flow(control: Control, caller: Caller, body: Any) -> Written:
    """Make a flow, enabled; needs View and Manage Destinations, and to map audiences those of activation.

    Args:
        control: The parts.
        caller: Who.
        body: ``name``, ``flowSpec``, ``sourceConnectionIds``, ``targetConnectionIds``, ``transformations``,
            ``description``?, ``policy``?.

    Raises:
        UseCaseError: 1405-400, 1410-400, 1413-400, 2120-403, 3000-400 or 3002-400.
    """
    with writing(control, caller, *CONNECT) as change:
        if isinstance(body, Mapping) and "state" in body:
            raise problem(Code.STATE_ON_CREATE, "`State` is not allowed in the create flow request.")
        # A copy: what is stamped into it is not whoever calls's.
        document = stated(body_of(body, _KEYS, _DROPPED))
        if _maps(document):
            access.require(caller, ACTIVATE)
        count = change.transaction.count(Query(kind=Kind.FLOW, scope=caller.scope))
        if count >= MAX_FLOWS:
            raise problem(Code.GUARDRAIL, f"the sandbox has {count} destinations; {MAX_FLOWS} are allowed")
        flow_id = control.new_id()
        return _stored(change, flow_id, document, None, "enabled", operations=None)


def list_flows(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the flows; needs View Destinations."""
    with reading(control, caller, _VIEW) as transaction:
        return listed(
            transaction, caller, Kind.FLOW, listing,
            lambda records: inherited.flows(transaction, records, caller.sandbox_id),
        )  # fmt: skip


def search_flows(control: Control, caller: Caller, body: Any, token: str | None = None) -> Page:
    """The flows that a search names, of which ``projectionFields`` leaves some members; needs View Destinations.

    Raises:
        UseCaseError: 1405-400, 1451-400, or what ``paging.read`` raises.
    """
    access.require(caller, (_VIEW,))
    listing = paging.read_search(body, token)
    fields = body.get("projectionFields")
    if fields is not None and not (isinstance(fields, list) and all(isinstance(each, str) for each in fields)):
        raise problem(Code.BAD_PARAMETER, "projectionFields must be a list of names")
    page = list_flows(control, caller, listing)
    if not fields:
        return page
    items = [{name: item[name] for name in ("id", *fields) if name in item} for item in page.items]
    return msgspec.structs.replace(page, items=items)


def get_flow(control: Control, caller: Caller, flow_id: str) -> dict[str, Any]:
    """One flow; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        resource = found(transaction, Kind.FLOW, caller.scope, flow_id)
        return inherited.flows(transaction, [resource], caller.sandbox_id)[0]


def patch_flow(control: Control, caller: Caller, flow_id: str, operations: Any, if_match: str | None) -> Written:
    """Change a flow by a patch.

    What it maps needs the permissions of activation, everything else View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1403-400, 1404-412, 1413-400, 1421-400, 1434-400, 1455-400, 2120-403 or 3000-400.
    """
    with writing(control, caller, _VIEW) as change:
        old = change.found(Kind.FLOW, flow_id)
        changeable(old)
        before = {name: old.body[name] for name in _KEYS if name in old.body}
        document = stated(body_of(patched(control, old, before, operations, if_match), _KEYS))
        changed = {name for name in _KEYS if before.get(name) != document.get(name)}
        if "transformations" in changed:
            access.require(caller, ACTIVATE)
        if changed != {"transformations"}:
            access.require(caller, CONNECT)
        return _stored(change, old.id, document, old, old.state, operations=operations)


def act_on_flow(
    control: Control, caller: Caller, flow_id: str, action: str | None, if_match: str | None = None,
    *, changes: str | None = None,
) -> Written:  # fmt: skip
    """Enable or disable a flow (``op`` in any case); needs View and Manage Destinations.

    Disabling pauses its exports; asking for the state that it has changes nothing. ``pauses.switch_flow`` besides
    lifts a pause in the engine.

    Args:
        control: The parts.
        caller: Who.
        flow_id: The flow.
        action: enable or disable, in any case.
        if_match: Its etag, or None for any.
        changes: When disabling, what becomes of changes until it is enabled: keep or skip, which becomes its
            ``pauseMode``; None leaves that as it is.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1421-400, 1422-400 or 1451-400.
    """
    if changes is not None and changes not in _CHANGES:
        raise problem(Code.BAD_PARAMETER, f"changes must be {' or '.join(_CHANGES)}, not {changes[:40]!r}")
    with writing(control, caller, *CONNECT) as change:
        old = change.found(Kind.FLOW, flow_id)
        check_if_match(control, old, if_match)
        name = (action or "").strip().lower()
        if name not in _STATES:
            raise problem(
                Code.ACTION_REFUSED,
                f"the action {(action or '')[:40]!r} cannot be applied on the current state {old.state}; "
                f"use {' or '.join(_STATES)}",
            )
        if changes is not None and name != "disable":
            raise problem(Code.BAD_PARAMETER, "changes goes with the action disable")
        state = transition(old, _STATES[name])
        body = old.body if changes is None else _pausing(old.body, changes)
        if (state, body) == (old.state, old.body):
            return Written(id=old.id, etag=old.etag)
        made = change.replace(old, msgspec.structs.replace(old, state=state, body=body), name)
        return Written(id=made.id, etag=made.etag)


def _pausing(body: dict[str, Any], mode: str) -> dict[str, Any]:
    """A flow's body with another ``pauseMode``."""
    made = patch.apply(body, [])
    transformation, *others = made.get("transformations") or [{"name": "GeneralTransform"}]
    params = transformation.get("params") or {}
    settings = {**(params.get("headrace") or {}), "pauseMode": mode}
    return {**made, "transformations": [{**transformation, "params": {**params, "headrace": settings}}, *others]}


def delete_flow(control: Control, caller: Caller, flow_id: str, if_match: str | None = None) -> None:
    """Remove a flow; its pending exports are discarded and counted; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1404-412 or 1421-400.
    """
    with writing(control, caller, *CONNECT) as change:
        resource = change.found(Kind.FLOW, flow_id)
        check_if_match(control, resource, if_match)
        changeable(resource)
        change.remove(resource)


def _maps(document: Mapping[str, Any]) -> bool:
    """True when a new flow's document maps anything or sets anything of ours."""
    transformations = document.get("transformations")
    for transformation in transformations if isinstance(transformations, list) else ():
        params = transformation.get("params") if isinstance(transformation, Mapping) else None
        for name, part in params.items() if isinstance(params, Mapping) else ():
            if name == "headrace" or not isinstance(part, Mapping) or part.get("selectors"):
                return True
    return False


def _stored(
    change: Change, flow_id: str, document: dict[str, Any], old: Resource | None, state: str, *, operations: Any
) -> Written:
    """Check, compile and store a flow."""
    now_ms = change.control.clock.now_ms()
    _stamp_mappings(document, old.body if old else {}, now_ms)
    target = _target(change, document)
    compiled = _compiled(change, flow_id, state, document, target)
    refuse(compiled.mistakes)
    assert compiled.flow is not None
    operation: dict[str, Any] = {
        "operation": "update" if old else "create",
        "started": now_ms,
        "updated": now_ms,
        "percentCompleted": 100,
        "status": {"value": "completed", "properties": None, "errors": []},
    }
    if operations is not None:
        operation["ops"] = operations
    resource = Resource(
        kind=Kind.FLOW,
        id=flow_id,
        scope=change.caller.scope,
        state=state,
        body={**document, "lastOperation": operation},
        refers=(
            *document["sourceConnectionIds"],
            *document["targetConnectionIds"],
            *(f"segment:{segment_id}" for _, segment_id in sorted(_mapped(document))),
        ),
    )
    if old is None:
        made = change.insert(resource)
    else:
        made = change.replace(
            old,
            msgspec.structs.replace(
                resource,
                created_ms=old.created_ms,
                created_by=old.created_by,
                created_client=old.created_client,
                notes=old.notes,
            ),
        )
    before = _mapped(old.body) if old else set()
    return Written(
        id=made.id,
        etag=made.etag,
        warnings=(*(each.lstrip(".") for each in compiled.warnings), *_unknown_paths(change, compiled.flow.paths)),
        mapped=tuple(sorted(_mapped(document) - before)),
    )


def _unknown_paths(change: Change, mapped: Sequence[str]) -> list[str]:
    """A warning for each mapped path that the sandbox's schema of profiles does not have."""
    schema = profile_schemas.stored_schema(change.transaction, change.caller)
    if schema is None:
        return []
    place = "transformations[0].params.profileSelectors"
    return [f"{place}: the schema of profiles does not know {path}" for path in schema.unknown(mapped)]


def _mapped(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    return {(str(value.get("namespace") or ""), value["id"]) for value in compiling.selectors(document)}


def _target(change: Change, document: dict[str, Any]) -> rules.Target | None:
    """The target that a flow writes to; None when it names none, with everything else wrong noted by compiling.

    Raises:
        UseCaseError: 1413-400 or 3000-400.
    """
    scope, control = change.caller.scope, change.control
    spec = document.get("flowSpec")
    if isinstance(spec, Mapping) and isinstance(spec.get("id"), str) and spec["id"] != FLOW_SPEC_ID:
        raise problem(Code.BAD_SPEC, "please provide a valid spec id", mistakes=[_not_a_flow_spec()])
    report = Report()
    sources = report.elements(document, "sourceConnectionIds", "", required=True)
    targets = report.elements(document, "targetConnectionIds", "", required=True)
    if isinstance(document.get("sourceConnectionIds"), list) and not sources:
        report.mistake("sourceConnectionIds", "is empty", "ids of source connections")
    for index, each in enumerate(sources):
        if not isinstance(each, str) or change.transaction.get(Kind.SOURCE, scope, each) is None:
            report.mistake(f"sourceConnectionIds[{index}]", "is not the id of a source connection")
    if isinstance(document.get("targetConnectionIds"), list) and len(targets) != 1:
        report.mistake("targetConnectionIds", f"holds {len(targets)} ids", "exactly one")
    found_target: Resource | None = None
    for index, each in enumerate(targets):
        found_target = change.transaction.get(Kind.TARGET, scope, each) if isinstance(each, str) else None
        if found_target is None:
            report.mistake(f"targetConnectionIds[{index}]", "is not the id of a target connection")
    if report.mistakes or found_target is None:
        # What the selectors have wrong is listed with it.
        mistakes = [*report.mistakes, *_compiled(change, "flow", "enabled", document, None).mistakes]
        refuse(mistakes)
        return None
    base = change.found(Kind.CONNECTION, found_target.body["baseConnectionId"])
    return rules.read_target(report, found_target.body, "", control.catalog.specs, auth.base_target(control, base))


def _not_a_flow_spec() -> Mistake:
    return Mistake("flowSpec.id", "is not a known flow spec", FLOW_SPEC_ID)


def _compiled(
    change: Change, flow_id: str, state: str, document: Mapping[str, Any], target: rules.Target | None
) -> Compilation:
    return compiling.compile_flow(
        flow_id,
        state,
        document,
        segments=change.transaction.find(Query(kind=Kind.SEGMENT, scope=change.caller.scope)),
        params=target.params if target else {},
        spec_id=target.spec_id if target else "",
    )


def _stamp_mappings(document: Mapping[str, Any], before: Mapping[str, Any], now_ms: int) -> None:
    """Set when each audience was mapped and when that changed, epoch seconds as text; whoever calls sets neither."""
    now_s = str(now_ms // 1000)
    old = {value["id"]: value for value in compiling.selectors(before)}
    for value in compiling.selectors(document):
        earlier = old.get(value["id"])
        own = {name: each for name, each in value.items() if name not in _GENERATED}
        if earlier is None:
            value["createTime"] = value["updateTime"] = now_s
            continue
        same = own == {name: each for name, each in earlier.items() if name not in _GENERATED}
        value["createTime"] = earlier.get("createTime", now_s)
        value["updateTime"] = earlier.get("updateTime", now_s) if same else now_s
