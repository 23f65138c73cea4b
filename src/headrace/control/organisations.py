"""Use cases: the organisation, its sandboxes, and the first start that makes them."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.core.report import Report

from . import access
from .access import Caller, Permission
from .accounts import NewAccount, new_account, random_secret, role
from .problems import Code, problem, refuse
from .resources import Kind, Resource, Scope
from .service import Change, Control, body_of, reading, writing
from .sessions import DEFAULT_SANDBOX
from .store import Query

__all__ = ["FirstStart", "create_sandbox", "first_start", "get_sandbox", "list_sandboxes", "system_caller"]

_TYPES: Final = ("production", "development")
_VIEW: Final = Permission.VIEW_SANDBOXES
_NAME_ALLOWED: Final = "1 to 64 lower-case letters, digits and -"


class FirstStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the first start made; its secrets are shown now and never again.

    Attributes:
        org: Organisation id.
        user: The administrator, for the console.
        client: The administrator's client, for the API.
    """

    org: str
    user: NewAccount
    client: NewAccount


def first_start(
    control: Control, *, org: str | None = None, sandbox: str = DEFAULT_SANDBOX, login: str = "admin"
) -> FirstStart | None:
    """Make the organisation, a sandbox, the roles, an administrator and a client; None when it was done before.

    Args:
        control: The parts.
        org: Organisation id; made when None, in the form of AEP's.
        sandbox: Name of the first sandbox.
        login: Of the administrator.
    """
    anywhere = Scope("")
    with control.store.write() as transaction:
        if transaction.find(Query(kind=Kind.ORGANISATION, scope=anywhere, limit=1)):
            return None
        org = org or f"{control.new_id().replace('-', '')[:24].upper()}@HeadraceOrg"
        change = Change(control, access.system(Scope(org, sandbox)), transaction)
        change.insert(Resource(kind=Kind.ORGANISATION, id=org, scope=anywhere, body={"name": org}, unique=org))
        change.insert(_sandbox(change, sandbox, sandbox.capitalize(), _TYPES[0], org, default=True))
        for name, permissions in access.ROLES.items():
            change.insert(role(change, {"name": name, "permissions": [each.value for each in permissions]}, org))
        given = {"name": login, "roles": ["administrator"]}
        user = new_account(change, Kind.USER, given, random_secret(), org)
        client = new_account(change, Kind.CLIENT, given, random_secret(), org)
        return FirstStart(org=org, user=user, client=client)


def system_caller(control: Control, sandbox: str = DEFAULT_SANDBOX, org: str | None = None) -> Caller:
    """The process itself in a sandbox: for the command line on the same machine and for files that are applied.

    Args:
        control: The parts.
        sandbox: Its name.
        org: Organisation id; None for the only one.

    Raises:
        UseCaseError: 2100-404, or 1101-404 before the first start.
    """
    with control.store.read() as transaction:
        organisations = transaction.find(Query(kind=Kind.ORGANISATION, scope=Scope("")))
        chosen = [each.id for each in organisations if org is None or each.id == org]
        if len(chosen) != 1:
            raise problem(Code.NOT_FOUND, "name the organisation: there is none of this id, or more than one")
        record = transaction.unique(Kind.SANDBOX, f"{chosen[0]}/{sandbox}")
    if record is None:
        raise problem(Code.NO_SANDBOX, f"The sandbox with the name {sandbox[:64]!r} could not be found.")
    return access.system(Scope(chosen[0], record.name), record.id)


def list_sandboxes(control: Control, caller: Caller) -> list[dict[str, Any]]:
    """All sandboxes of the organisation; needs View Sandboxes."""
    with reading(control, caller, _VIEW) as transaction:
        found = transaction.find(Query(kind=Kind.SANDBOX, scope=Scope(caller.scope.org)))
    return [_item(each) for each in reversed(found)]


def get_sandbox(control: Control, caller: Caller, name: str) -> dict[str, Any]:
    """One sandbox by its name; needs View Sandboxes.

    Raises:
        UseCaseError: 2100-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        record = transaction.unique(Kind.SANDBOX, f"{caller.scope.org}/{name}")
    if record is None:
        raise problem(Code.NO_SANDBOX, f"The sandbox with the name {name[:64]!r} could not be found.")
    return _item(record)


def create_sandbox(control: Control, caller: Caller, body: Any) -> dict[str, Any]:
    """Make a sandbox (``name``, ``title``?, ``type``?); needs Manage Access.

    Raises:
        UseCaseError: 1405-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        given = body_of(body, ("name", "title", "type"))
        report = Report()
        name = report.text(given, "name", "", required=True)
        if name and not (
            len(name) <= 64 and name.isascii() and name.replace("-", "").isalnum() and name == name.lower()
        ):
            report.mistake("name", "is not a sandbox name", _NAME_ALLOWED)
        title = report.text(given, "title", "")
        kind = report.choice(given, "type", "", _TYPES[::-1])
        refuse(report.mistakes)
        made = change.insert(_sandbox(change, name, title or name, kind, caller.scope.org, default=False))
        return _item(made)


def _sandbox(change: Change, name: str, title: str, kind: str, org: str, *, default: bool) -> Resource:
    return Resource(
        kind=Kind.SANDBOX,
        id=change.control.new_id(),
        scope=Scope(org),
        state="active",
        body={"name": name, "title": title, "type": kind, "isDefault": default},
        unique=f"{org}/{name}",
    )


def _item(resource: Resource) -> dict[str, Any]:
    return {
        "id": resource.id,
        **resource.body,
        "state": resource.state,
        "region": "local",
        "eTag": 1,
        "etag": resource.etag,
        "createdDate": resource.created_ms,
        "lastModifiedDate": resource.updated_ms,
        "createdBy": resource.created_by,
        "modifiedBy": resource.updated_by,
    }
