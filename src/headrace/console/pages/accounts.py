"""Accounts: the base connections, changed, tested and deleted."""

from __future__ import annotations

import asyncio
from typing import Any

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace.console import overview
from headrace.console.calls import call
from headrace.console.fields import params_of, shown_params, typed_params
from headrace.console.mistakes import by_field, told
from headrace.console.visit import Console, Visit, page
from headrace.control import base_connections
from headrace.control.access import CONNECT, require
from headrace.destinations.base import AuthSpec
from headrace.errors import UseCaseError


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    at = "/accounts/{account_id}"
    return [
        page(console, "/accounts", browse),
        page(console, at, show),
        page(console, at, save, change=True),
        page(console, at + "/test", test, change=True),
        page(console, at + "/state", switch, change=True),
        page(console, at + "/delete", ask_delete),
        page(console, at + "/delete", delete, change=True),
    ]


def browse(visit: Visit) -> Response:
    """The list."""
    found = overview.accounts(visit.control, visit.caller)
    wanted, spec = visit.query("q").lower(), visit.query("spec")
    used = overview.rows(visit.control, visit.caller)
    specs = visit.control.catalog.destinations
    shown = [
        {
            **each,
            "spec": specs.get(each["connectionSpec"]["id"]),
            "flows": [row for row in used if row.account.get("id") == each["id"]],
            "check": (each.get("headrace") or {}).get("check"),
        }
        for each in found
        if wanted in each["name"].lower() and spec in ("", each["connectionSpec"]["id"])
    ]
    return visit.page("accounts.html", accounts=shown, count=len(found), wanted=visit.query("q"))


def _way(visit: Visit, account: dict[str, Any]) -> AuthSpec | None:
    spec = visit.control.catalog.specs[account["connectionSpec"]["id"]]
    name = (account.get("auth") or {}).get("specName")
    return next((each for each in spec.auth if each.name == name), None)


def show(visit: Visit, **context: Any) -> Response:
    """One account: its fields, its last check, its destinations."""
    account = base_connections.get_connection(visit.control, visit.caller, visit.path("account_id"))
    way = _way(visit, account)
    spec = visit.control.catalog.specs[account["connectionSpec"]["id"]]
    parameters = way.parameters if way else ()
    shown: dict[str, Any] = {
        "values": shown_params(parameters, (account.get("auth") or {}).get("params") or {}),
        "wrong": {}, "rest": [], "status": 200, "name": account["name"], "told": None, **context,
    }  # fmt: skip
    return visit.page(
        "account.html", account=account, spec=spec, way=way, parameters=parameters,
        check=(account.get("headrace") or {}).get("check"),
        rows=[row for row in overview.rows(visit.control, visit.caller) if row.account.get("id") == account["id"]],
        calls=[call(visit, "GET", f"/connections/{account['id']}{end}") for end in ("", "/test")],
        **shown,
    )  # fmt: skip


def save(visit: Visit) -> Response:
    """Change an account; an empty secret stays as it is."""
    account_id = visit.path("account_id")
    account = base_connections.get_connection(visit.control, visit.caller, account_id)
    way = _way(visit, account)
    operations: list[dict[str, Any]] = [{"op": "replace", "path": "/name", "value": visit.field("name")}]
    if way:
        stored = set((account.get("auth") or {}).get("params") or {})
        kept = [each for each in way.parameters if not each.secret or each.name in stored]
        params = {**params_of(visit, way.parameters), **params_of(visit, kept, kept=True)}
        operations.append({"op": "replace", "path": "/auth/params", "value": params})
    try:
        base_connections.patch_connection(visit.control, visit.caller, account_id, operations, visit.field("etag"))
    except UseCaseError as error:
        if error.status == 403 and not error.mistakes:
            raise
        wrong, rest = by_field(visit.t, error, "auth.params.")
        said = told(visit.t, error)
        rest = [said.problem] if said.changed else rest
        return show(
            visit, status=error.status, wrong=wrong, rest=rest, name=visit.field("name"),
            values=typed_params(visit, way.parameters if way else ()),
        )  # fmt: skip
    return visit.redirect(f"/ui/accounts/{account_id}")


async def test(visit: Visit) -> Response:
    """Try the account with each of its places, now."""
    await base_connections.test_connection(visit.control, visit.caller, visit.path("account_id"))
    return await asyncio.to_thread(visit.redirect, f"/ui/accounts/{visit.path('account_id')}")


def switch(visit: Visit) -> Response:
    """Enable or disable; a disabled account pauses its destinations."""
    account_id = visit.path("account_id")
    state = {"enable": "enabled", "disable": "disabled"}.get(visit.field("action"), "")
    account = base_connections.get_connection(visit.control, visit.caller, account_id)
    operations = [{"op": "replace", "path": "/state", "value": state}]
    base_connections.patch_connection(visit.control, visit.caller, account_id, operations, account["etag"])
    return visit.redirect(f"/ui/accounts/{account_id}")


def ask_delete(visit: Visit) -> Response:
    """What deleting would do."""
    account = base_connections.get_connection(visit.control, visit.caller, visit.path("account_id"))
    require(visit.caller, CONNECT)
    return visit.page(
        "confirm.html", title=visit.t("accounts.delete_title", name=account["name"]),
        words=visit.t("accounts.delete_words"), points=[visit.t("accounts.delete_needs")],
        action=f"/ui/accounts/{account['id']}/delete", button=visit.t("accounts.delete"),
        back=f"/ui/accounts/{account['id']}", fields={"etag": account["etag"]},
        calls=[call(visit, "DELETE", f"/connections/{account['id']}")], allowed=visit.can()["connect"],
    )  # fmt: skip


def delete(visit: Visit) -> Response:
    """Delete an account and its unused places."""
    base_connections.delete_connection(
        visit.control, visit.caller, visit.path("account_id"), visit.field("etag") or None
    )
    return visit.redirect("/ui/accounts")
