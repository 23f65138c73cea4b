"""Users, API clients and roles; and the settings of the installation."""

from __future__ import annotations

from typing import Any, Final

from starlette.responses import Response
from starlette.routing import BaseRoute

from headrace import __version__
from headrace.console.calls import call
from headrace.console.mistakes import told
from headrace.console.visit import Console, Visit, page
from headrace.control import accounts, organisations
from headrace.control.access import Permission, require
from headrace.control.resources import Kind
from headrace.errors import UseCaseError

from . import watching

TABS: Final = {"users": Kind.USER, "clients": Kind.CLIENT, "roles": Kind.ROLE}


def routes(console: Console) -> list[BaseRoute]:
    """The pages."""
    return [
        page(console, "/people", people),
        page(console, "/people/{tab}", make, change=True),
        page(console, "/people/{tab}/{account}", change, change=True),
        page(console, "/people/{tab}/{account}/secret", ask_secret),
        page(console, "/people/{tab}/{account}/delete", ask_delete),
        page(console, "/people/{tab}/{account}/delete", delete, change=True),
        page(console, "/settings", settings),
    ]


def _tab(visit: Visit, name: str) -> str:
    return name if name in TABS else "users"


def people(visit: Visit, **context: Any) -> Response:
    """The lists."""
    tab = _tab(visit, context.pop("tab", "") or visit.query("tab"))
    found = accounts.list_accounts(visit.control, visit.caller, TABS[tab])
    roles = accounts.list_accounts(visit.control, visit.caller, Kind.ROLE)
    shown: dict[str, Any] = {"made": None, "told": None, "status": 200, **context}
    return visit.page(
        "people.html", tab=tab, tabs=tuple(TABS), accounts=found, roles=roles,
        calls=_calls(visit, tab), permissions=[each.value for each in Permission], org=visit.caller.scope.org,
        **shown,
    )  # fmt: skip


def _calls(visit: Visit, tab: str) -> list[str]:
    """The list, and what makes one."""
    body: dict[str, Any] = {"name": "…", **({"permissions": ["…"]} if tab == "roles" else {"roles": ["…"]})}
    return [call(visit, "GET", f"/headrace/{tab}"), call(visit, "POST", f"/headrace/{tab}", body)]


def make(visit: Visit) -> Response:
    """Make a user, a client or a role; a secret is shown once."""
    tab = _tab(visit, visit.path("tab"))
    body: dict[str, Any] = {"name": visit.field("name")}
    made = None
    try:
        if tab == "roles":
            accounts.create_role(visit.control, visit.caller, {**body, "permissions": visit.fields("permission")})
        elif tab == "clients":
            made = accounts.create_client(visit.control, visit.caller, {**body, "roles": visit.fields("role")})
        else:
            body["roles"] = visit.fields("role")
            if visit.typed("password"):
                body["password"] = visit.typed("password")
            made = accounts.create_user(visit.control, visit.caller, body)
    except UseCaseError as error:
        if error.status == 403:
            raise
        return people(visit, tab=tab, told=told(visit.t, error), status=error.status)
    if made is not None:
        return people(visit, tab=tab, made=made)
    return visit.redirect(f"/ui/people?tab={tab}")


def change(visit: Visit) -> Response:
    """Change roles, permissions or state, or give a new secret."""
    tab, account = _tab(visit, visit.path("tab")), visit.path("account")
    kind, action = TABS[tab], visit.field("action")
    try:
        if action == "secret" and kind is not Kind.ROLE:
            made = accounts.new_secret(visit.control, visit.caller, kind, account)
            return people(visit, tab=tab, made=made)
        bodies: dict[str, dict[str, Any]] = {
            "enable": {"state": "enabled"},
            "disable": {"state": "disabled"},
            "roles": {"roles": visit.fields("role")},
            "permissions": {"permissions": visit.fields("permission")},
        }
        body = bodies.get(action, {})
        accounts.update_account(visit.control, visit.caller, kind, account, body)
    except UseCaseError as error:
        if error.status == 403:
            raise
        return people(visit, tab=tab, told=told(visit.t, error), status=error.status)
    return visit.redirect(f"/ui/people?tab={tab}")


def ask_secret(visit: Visit) -> Response:
    """What a new secret would do: the one before works no more."""
    require(visit.caller, (Permission.MANAGE_ACCESS,))
    tab, account = _tab(visit, visit.path("tab")), visit.path("account")
    kind = "password" if tab == "users" else "secret"
    return visit.page(
        "confirm.html", title=visit.t(f"people.ask_{kind}", name=_name(visit, tab, account)), words="",
        points=[visit.t(f"people.ask_{kind}_old"), visit.t("people.secret_words")],
        action=f"/ui/people/{tab}/{account}", button=visit.t(f"people.new_{kind}"), back=f"/ui/people?tab={tab}",
        fields={"action": "secret"}, calls=[call(visit, "POST", f"/headrace/{tab}/{account}/{kind}")],
        allowed=visit.can()["manage_access"],
    )  # fmt: skip


def _name(visit: Visit, tab: str, account: str) -> str:
    found = {each["id"]: each for each in accounts.list_accounts(visit.control, visit.caller, TABS[tab])}
    return str(found.get(account, {}).get("name", account))


def ask_delete(visit: Visit) -> Response:
    """What deleting would do."""
    tab, account = _tab(visit, visit.path("tab")), visit.path("account")
    name = _name(visit, tab, account)
    return visit.page(
        "confirm.html", title=visit.t("people.delete_title", name=name), words=visit.t("people.delete_words"),
        points=[visit.t("people.delete_points")],
        action=f"/ui/people/{tab}/{account}/delete", button=visit.t("people.delete"), back=f"/ui/people?tab={tab}",
        fields={}, calls=[call(visit, "DELETE", f"/headrace/{tab}/{account}")], allowed=True,
    )  # fmt: skip


def delete(visit: Visit) -> Response:
    """Delete a user, a client or a role."""
    tab = _tab(visit, visit.path("tab"))
    accounts.delete_account(visit.control, visit.caller, TABS[tab], visit.path("account"))
    return visit.redirect(f"/ui/people?tab={tab}")


def settings(visit: Visit) -> Response:
    """What the installation is, and what the visitor may choose."""
    sandboxes: list[dict[str, Any]] = []
    if visit.may(Permission.VIEW_SANDBOXES):
        sandboxes = organisations.list_sandboxes(visit.control, visit.caller)
    channels = watching.channels(visit) if visit.may(Permission.VIEW_DESTINATIONS) else None
    return visit.page(
        "settings.html", version=__version__, sandboxes=sandboxes, hosts=visit.control.reach.hosts,
        machine=visit.control.reach.machine, engine_sandbox=visit.control.sandbox,
        collection=visit.control.collection_url, held=sorted(each.value for each in visit.caller.permissions),
        channels=channels,
    )  # fmt: skip
