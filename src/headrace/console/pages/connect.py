"""The connect wizard: an account, a place within it that is checked live, and the details of the destination."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import msgspec
from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import alert_fields, overview
from headrace.console.calls import call, without_secrets
from headrace.console.fields import params_of, shown_params, typed_params
from headrace.console.mistakes import by_field
from headrace.console.visit import Console, Visit, page
from headrace.control import base_connections, flows, source_connections, specs, target_connections
from headrace.control.access import CONNECT, require
from headrace.control.catalog import PROFILE_SERVICE_ID
from headrace.core.compile import FLOW_SPEC_ID, FLOW_SPEC_VERSION
from headrace.destinations.base import Check, Places, Spec
from headrace.errors import UseCaseError

STEPS: Final = ("account", "place", "details")
MARKETING: Final = (
    *("analytics", "combine", "crossSiteTargeting", "dataScience", "emailTargeting", "exportToThirdParty"),
    *("onsiteAdvertising", "onsitePersonalization", "segmentMatch", "singleIdentityPersonalization"),
)
"""Adobe's marketing actions (data usage policies, core marketing actions); kept with the flow, not enforced."""


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    at = "/connect/{spec_id}"
    return [
        page(console, at, choose_account),
        page(console, at, make_account, change=True),
        page(console, at + "/{account_id}", choose_place),
        page(console, at + "/{account_id}", check_place, change=True),
        page(console, at + "/{account_id}/{target_id}", ask_details),
        page(console, at + "/{account_id}/{target_id}", finish, change=True),
    ]


def _spec(visit: Visit) -> Spec:
    """The destination of the wizard.

    Raises:
        UseCaseError: 1101-404 or 2120-403.
    """
    require(visit.caller, CONNECT)
    specs.get_connection_spec(visit.control, visit.caller, visit.path("spec_id"))
    return visit.control.catalog.specs[visit.path("spec_id")]


def _accounts(visit: Visit, spec: Spec) -> list[dict[str, Any]]:
    return [
        each
        for each in overview.accounts(visit.control, visit.caller)
        if each["connectionSpec"]["id"] == spec.id and each["state"] == "enabled"
    ]


def choose_account(visit: Visit) -> Response:
    """An account that is there, or a new one."""
    spec = _spec(visit)
    found = _accounts(visit, spec)
    return _account_page(visit, spec, found, use="new" if not found else visit.query("use", "existing"))


def _account_page(visit: Visit, spec: Spec, found: list[dict[str, Any]], *, use: str, **context: Any) -> Response:
    names = [way.name for way in spec.auth]
    wanted = visit.field("way") or visit.query("way")
    way = spec.auth[names.index(wanted)] if wanted in names else spec.auth[0] if spec.auth else None
    shown: dict[str, Any] = {
        "values": {}, "wrong": {}, "rest": [], "name": "", "status": 200, "again": (), **context,
    }  # fmt: skip
    return visit.page(
        "connect_account.html",
        steps=STEPS, spec=spec, accounts=found, use=use, way=way,
        required=[each for each in way.parameters if each.required] if way else [],
        # Whoever connects to a local Kinesis needs the endpoint; the rest is for few.
        optional=sorted(
            (each for each in way.parameters if not each.required), key=lambda each: each.name != "endpointUrl"
        )
        if way
        else [],
        **shown,
    )  # fmt: skip


def make_account(visit: Visit) -> Response:
    """Go on with the account that was chosen, or make the one that was filled in."""
    spec = _spec(visit)
    if visit.field("use") == "existing" and visit.field("account"):
        return visit.redirect(f"/ui/connect/{spec.id}/{visit.field('account')}")
    way = next((each for each in spec.auth if each.name == visit.field("way")), spec.auth[0] if spec.auth else None)
    parameters = way.parameters if way else ()
    body: dict[str, Any] = {
        "name": visit.field("name"),
        "connectionSpec": {"id": spec.id, "version": spec.version},
    }
    if way:
        body["auth"] = {"specName": way.name, "params": params_of(visit, parameters)}
    try:
        made = base_connections.create_connection(visit.control, visit.caller, body)
    except UseCaseError as error:
        if error.status == 403 and not error.mistakes:
            raise
        wrong, rest = by_field(visit.t, error, "auth.params.")
        return _account_page(
            visit, spec, _accounts(visit, spec), use="new", status=error.status, wrong=wrong, rest=rest,
            values=typed_params(visit, parameters), name=visit.field("name"),
            again=[each.name for each in parameters if each.secret and visit.field(f"p.{each.name}")],
        )  # fmt: skip
    return visit.redirect(f"/ui/connect/{spec.id}/{made.id}")


async def choose_place(visit: Visit) -> Response:
    """The place within the account: the stream, picked from those that it lists or typed."""
    spec = await asyncio.to_thread(_spec, visit)
    account_id = visit.path("account_id")
    account = await asyncio.to_thread(base_connections.get_connection, visit.control, visit.caller, account_id)
    target_id = visit.query("target")
    params: dict[str, Any] = {}
    if target_id:
        target = await asyncio.to_thread(
            target_connections.get_target_connection, visit.control, visit.caller, target_id
        )
        params = target["params"]
    places = await base_connections.list_places(visit.control, visit.caller, account_id)
    return await asyncio.to_thread(
        _place_page, visit, spec, account, target_id=target_id, values=shown_params(spec.target, params),
        places=places, typed=not places.complete or visit.query("type") == "true",
    )  # fmt: skip


def _place_page(visit: Visit, spec: Spec, account: dict[str, Any], **context: Any) -> Response:
    first = [each for each in spec.target if each.required]
    toggles = [each for each in spec.target if each.type == "boolean"]
    shown: dict[str, Any] = {
        "values": {}, "wrong": {}, "rest": [], "status": 200, "check": None, "target_id": "", "calls": [],
        "places": Places(), "typed": False, **context,
    }  # fmt: skip
    return visit.page(
        "connect_place.html",
        steps=STEPS, spec=spec, account=account, first=first, toggles=toggles,
        more=[each for each in spec.target if each not in first and each not in toggles],
        **shown,
    )  # fmt: skip


async def check_place(visit: Visit) -> Response:
    """Store the place and try it: the verdicts are of now."""
    spec = await asyncio.to_thread(_spec, visit)
    account_id = visit.path("account_id")
    account = await asyncio.to_thread(base_connections.get_connection, visit.control, visit.caller, account_id)
    body = {
        "name": visit.field(f"p.{spec.target[0].name}") or account["name"],
        "baseConnectionId": account_id,
        "connectionSpec": {"id": spec.id, "version": spec.version},
        "params": params_of(visit, spec.target),
    }
    try:
        target_id = await asyncio.to_thread(_keep, visit, visit.field("target"), body)
    except UseCaseError as error:
        wrong, rest = by_field(visit.t, error, "params.")
        return _place_page(
            visit, spec, account, status=error.status, wrong=wrong, rest=rest, target_id=visit.field("target"),
            values=typed_params(visit, spec.target),
        )  # fmt: skip
    tested = await base_connections.test_connection(visit.control, visit.caller, account_id)
    check = next((each for found, each in tested.checks if found == target_id), Check(permissions=()))
    if tested.problems:
        check = msgspec.structs.replace(check, problems=(*tested.problems, *check.problems))
    places = await base_connections.list_places(visit.control, visit.caller, account_id)
    calls = [
        call(
            visit,
            "POST",
            "/connections",
            without_secrets(_sent(account), visit.control.catalog.secret_names(spec.id)),
        ),
        call(visit, "POST", "/targetConnections", body),
        call(visit, "GET", f"/connections/{account_id}/test"),
    ]
    return await asyncio.to_thread(
        _place_page, visit, spec, account, check=check, target_id=target_id, calls=calls,
        values=typed_params(visit, spec.target), places=places, typed=not places.complete,
    )  # fmt: skip


def _sent(account: dict[str, Any]) -> dict[str, Any]:
    sent: dict[str, Any] = {name: account[name] for name in ("name", "connectionSpec", "auth") if name in account}
    if "auth" in sent:
        sent["auth"] = {name: each for name, each in sent["auth"].items() if name != "authorizedDate"}
    return sent


def _keep(visit: Visit, target_id: str, body: dict[str, Any]) -> str:
    """Make the target connection; the one of an earlier try is changed instead."""
    if not target_id:
        return target_connections.create_target_connection(visit.control, visit.caller, body).id
    old = target_connections.get_target_connection(visit.control, visit.caller, target_id)
    operations = [{"op": "replace", "path": f"/{name}", "value": body[name]} for name in ("name", "params")]
    return target_connections.patch_target_connection(
        visit.control, visit.caller, target_id, operations, old["etag"]
    ).id


def ask_details(visit: Visit) -> Response:
    """Name, description, alerts and marketing actions."""
    spec = _spec(visit)
    target = target_connections.get_target_connection(visit.control, visit.caller, visit.path("target_id"))
    place = str(target["params"].get(spec.target[0].name, "")) if spec.target else ""
    return _details_page(visit, spec, name=f"{spec.name}: {place}" if place else spec.name)


def _details_page(visit: Visit, spec: Spec, **context: Any) -> Response:
    shown = {
        "description": "", "actions": [], "wrong": {}, "rest": [], "status": 200, "alerts": alert_fields.shown({}),
        "alerts_wrong": {}, **context,
    }  # fmt: skip
    return visit.page(
        "connect_details.html", steps=STEPS, spec=spec, account_id=visit.path("account_id"),
        target_id=visit.path("target_id"), marketing=MARKETING,
        alert_kinds=alert_fields.KINDS, **shown,
    )  # fmt: skip


def finish(visit: Visit) -> Response:
    """Make the flow, with nothing mapped yet."""
    spec = _spec(visit)
    actions = [each for each in visit.fields("marketing") if each in MARKETING]
    own = visit.field("own_action")
    body: dict[str, Any] = {
        "name": visit.field("name"),
        "flowSpec": {"id": FLOW_SPEC_ID, "version": FLOW_SPEC_VERSION},
        "targetConnectionIds": [visit.path("target_id")],
        "transformations": [
            {
                "name": "GeneralTransform",
                "params": {"segmentSelectors": {"selectors": []}, "profileSelectors": {"selectors": []}},
            }
        ],
    }
    alerts = alert_fields.typed(visit)
    if alerts:
        body["transformations"][0]["params"]["headrace"] = {"alerts": alerts}
    if visit.field("description"):
        body["description"] = visit.field("description")
    if actions or own:
        body["policy"] = {"marketingActions": [*actions, *([own] if own else [])]}
    try:
        body["sourceConnectionIds"] = [_source(visit)]
        made = flows.create_flow(visit.control, visit.caller, body)
    except UseCaseError as error:
        wrong, rest = by_field(visit.t, error, alert_fields.PREFIX)
        return _details_page(
            visit, spec, status=error.status, wrong=wrong, rest=rest, name=visit.field("name"),
            description=visit.field("description"), actions=actions, alerts=alert_fields.shown(alerts),
            alerts_wrong=wrong,
        )  # fmt: skip
    after = "/ui/activate/{}" if visit.field("then") == "activate" else "/ui/destinations/{}"
    return visit.redirect(after.format(made.id))


def _source(visit: Visit) -> str:
    """The source connection where flows begin; made with its base connection the first time."""
    found = overview.every(visit.control, visit.caller, source_connections.list_source_connections, most=1)
    if found:
        return str(found[0]["id"])
    spec = {"id": PROFILE_SERVICE_ID, "version": "1.0"}
    base = base_connections.create_connection(
        visit.control, visit.caller, {"name": "Profiles", "connectionSpec": spec}
    )
    body = {"name": "Profiles", "connectionSpec": spec, "baseConnectionId": base.id, "data": {"format": "json"}}
    return source_connections.create_source_connection(visit.control, visit.caller, body).id
