"""Use cases: clients, users and the roles that say what they may do. All need Manage Access.

A secret or password is shown once, when it is made; only its hash is kept.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from headrace.core.report import Report, shown
from headrace.settings import Secret

from . import auth
from .access import Caller, Permission
from .problems import Code, problem, refuse
from .resources import Kind, Resource, Scope
from .service import Change, Control, body_of, check_if_match, reading, writing
from .sessions import permissions_of
from .sign_in import MAX_PASSWORD_CHARS, MIN_PASSWORD_CHARS
from .store import Query, Reading

__all__ = [
    "NewAccount", "create_client", "create_role", "create_user", "delete_account", "list_accounts", "new_secret",
    "seal_anew", "update_account",
]  # fmt: skip

_SECRET_BYTES: Final = 32
_ACCOUNTS: Final = (Kind.CLIENT, Kind.USER)
_SHOWN: Final = (Kind.CLIENT, Kind.USER, Kind.ROLE)


class NewAccount(msgspec.Struct, frozen=True, kw_only=True):
    """A client or user just made, or whose secret was made anew.

    Attributes:
        id: Its id; a client's is also its API key.
        name: A client's name, a user's login.
        secret: Shown now and never again.
    """

    id: str
    name: str
    secret: Secret


def create_client(control: Control, caller: Caller, body: Any) -> NewAccount:
    """Make a client (``name``, ``roles``) with a secret; needs Manage Access.

    Raises:
        UseCaseError: 1405-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        given = body_of(body, ("name", "roles"))
        return new_account(change, Kind.CLIENT, given, random_secret(), caller.scope.org)


def create_user(control: Control, caller: Caller, body: Any) -> NewAccount:
    """Make a user (``name``: the login, ``roles``, ``password``?) for the console; needs Manage Access.

    Without a password one is made.

    Raises:
        UseCaseError: 1405-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        given = body_of(body, ("name", "roles", "password"))
        password = given.pop("password", None)
        secret = random_secret() if password is None else _password(password)
        return new_account(change, Kind.USER, given, secret, caller.scope.org)


def create_role(control: Control, caller: Caller, body: Any) -> dict[str, Any]:
    """Make a role (``name``, ``permissions``); needs Manage Access.

    Raises:
        UseCaseError: 1405-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        given = body_of(body, ("name", "permissions"))
        _check_role(given)
        return _item(change.insert(role(change, given, caller.scope.org)))


def list_accounts(control: Control, caller: Caller, kind: Kind) -> list[dict[str, Any]]:
    """All clients, users or roles of the organisation; needs Manage Access."""
    assert kind in _SHOWN
    with reading(control, caller, Permission.MANAGE_ACCESS) as transaction:
        return [_item(each) for each in transaction.find(Query(kind=kind, scope=Scope(caller.scope.org)))]


def update_account(
    control: Control, caller: Caller, kind: Kind, account_id: str, body: Any, if_match: str | None = None
) -> dict[str, Any]:
    """Change a client's or user's ``roles`` or ``state``, or a role's ``permissions``; needs Manage Access.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1405-400, 3000-400, or 3009-409 when nobody could manage access any more.
    """
    assert kind in _SHOWN
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        old = change.found(kind, account_id, Scope(caller.scope.org))
        check_if_match(control, old, if_match)
        given = body_of(body, ("permissions",) if kind is Kind.ROLE else ("roles", "state"))
        document = {**old.body, **given}
        state = document.pop("state", old.state)
        if kind is Kind.ROLE:
            _check_role(document)
        else:
            _check_account(change.transaction, document, state, caller.scope.org)
        if state != old.state:
            # Tokens of before do not come back to life with the account.
            document["generation"] = old.body["generation"] + 1
        made = change.replace(old, msgspec.structs.replace(old, body=document, state=state))
        _somebody_manages(change.transaction, caller.scope.org)
        return _item(made)


def new_secret(control: Control, caller: Caller, kind: Kind, account_id: str, password: Any = None) -> NewAccount:
    """Give a client or user a new secret; tokens of the old one end; needs Manage Access.

    Args:
        control: The parts.
        caller: Who.
        kind: Client or user.
        account_id: The account.
        password: Of a user; None makes one.

    Raises:
        UseCaseError: 1101-404 or 3000-400.
    """
    assert kind in _ACCOUNTS
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        old = change.found(kind, account_id, Scope(caller.scope.org))
        secret = random_secret() if password is None else _password(password)
        body = {**old.body, "generation": old.body["generation"] + 1}
        hidden = {"secret": control.passwords.hash(secret)}
        made = change.replace(old, msgspec.structs.replace(old, body=body, hidden=hidden), "new-secret")
        return NewAccount(id=made.id, name=made.name, secret=secret)


def delete_account(control: Control, caller: Caller, kind: Kind, account_id: str) -> None:
    """Remove a client, a user, or a role that nobody has; needs Manage Access.

    Raises:
        UseCaseError: 1101-404 or 3009-409.
    """
    assert kind in _SHOWN
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        scope = Scope(caller.scope.org)
        old = change.found(kind, account_id, scope)
        if kind is Kind.ROLE:
            having = [
                each.name
                for holder in _ACCOUNTS
                for each in change.transaction.find(Query(kind=holder, scope=scope))
                if old.name in each.body["roles"]
            ]
            if having:
                raise problem(Code.IN_USE, f"the role {old.name!r} is still that of {', '.join(having[:10])}")
        change.remove(old)
        _somebody_manages(change.transaction, caller.scope.org)


def seal_anew(control: Control, caller: Caller) -> int:
    """Seal every stored secret of the sandbox under the first key; needs Manage Access.

    Returns:
        How many records were sealed anew; 0 when the older keys can be dropped.

    Raises:
        UseCaseError: 3010-503, and nothing is changed.
    """
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        count = 0
        for each in change.transaction.find(Query(kind=Kind.CONNECTION, scope=caller.scope)):
            if all(control.sealer.current(sealed) for sealed in each.hidden.values()):
                continue
            hidden = {
                name: control.sealer.seal(secret.reveal(), auth.place(each.scope, each.id, name))
                for name, secret in auth.opened(control, each).items()
            }
            change.replace(each, msgspec.structs.replace(each, hidden=hidden), "seal-anew")
            count += 1
        return count


def random_secret() -> Secret:
    """A secret of 256 random bits."""
    return Secret(secrets.token_urlsafe(_SECRET_BYTES))


def new_account(change: Change, kind: Kind, given: Mapping[str, Any], secret: Secret, org: str) -> NewAccount:
    """Check and keep a new client or user."""
    report = Report()
    report.text(given, "name", "", required=True)
    refuse(report.mistakes)
    _check_account(change.transaction, given, "enabled", org)
    account_id = change.control.new_id()
    name = given["name"].strip()
    made = change.insert(
        Resource(
            kind=kind,
            id=account_id,
            scope=Scope(org),
            body={"name": name, "roles": list(given["roles"]), "generation": 1},
            hidden={"secret": change.control.passwords.hash(secret)},
            unique=account_id if kind is Kind.CLIENT else name.lower(),
        )
    )
    return NewAccount(id=made.id, name=made.name, secret=secret)


def role(change: Change, given: Mapping[str, Any], org: str) -> Resource:
    """A role that was checked."""
    body = {"name": given["name"], "permissions": list(given["permissions"])}
    return Resource(
        kind=Kind.ROLE, id=change.control.new_id(), scope=Scope(org), body=body, unique=f"{org}/{given['name']}"
    )


def _password(value: Any) -> Secret:
    report = Report()
    if not isinstance(value, str) or not MIN_PASSWORD_CHARS <= len(value) <= MAX_PASSWORD_CHARS:
        report.mistake(
            "password", "is too short or too long", f"{MIN_PASSWORD_CHARS} to {MAX_PASSWORD_CHARS} characters"
        )
    refuse(report.mistakes)
    return Secret(value)


def _check_account(transaction: Reading, given: Mapping[str, Any], state: Any, org: str) -> None:
    report = Report()
    names = [each.name for each in transaction.find(Query(kind=Kind.ROLE, scope=Scope(org)))]
    for index, each in enumerate(report.elements(given, "roles", "", required=True)):
        if each not in names:
            report.mistake(f"roles[{index}]", f"{shown(each)} is not a role", ", ".join(sorted(names)))
    if state not in ("enabled", "disabled"):
        report.mistake("state", f"{shown(state)} is not known", "enabled, disabled")
    refuse(report.mistakes)


def _check_role(given: Mapping[str, Any]) -> None:
    report = Report()
    report.identifier(given, "name", "")
    known = [each.value for each in Permission]
    for index, each in enumerate(report.elements(given, "permissions", "", required=True)):
        if each not in known:
            report.mistake(f"permissions[{index}]", f"{shown(each)} is not a permission", ", ".join(known))
    refuse(report.mistakes)


def _somebody_manages(transaction: Reading, org: str) -> None:
    """Refuse a change after which nobody could make the next one.

    Raises:
        UseCaseError: 3009-409.
    """
    for kind in _ACCOUNTS:
        for each in transaction.find(Query(kind=kind, scope=Scope(org))):
            if each.state == "enabled" and Permission.MANAGE_ACCESS in permissions_of(transaction, each):
                return
    raise problem(Code.IN_USE, "no enabled account would have Manage Access any more")


def _item(resource: Resource) -> dict[str, Any]:
    body = {name: value for name, value in resource.body.items() if name != "generation"}
    return {
        "id": resource.id,
        **body,
        "state": resource.state,
        "createdAt": resource.created_ms,
        "updatedAt": resource.updated_ms,
        "createdBy": resource.created_by,
        "etag": resource.etag,
    }
