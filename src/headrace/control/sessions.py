"""Use cases: tokens for clients and users, and finding out who calls."""

from __future__ import annotations

from typing import Final

import msgspec

from headrace.settings import Secret

from . import access
from .access import Caller, Permission
from .filters import storable
from .problems import Code, problem
from .resources import Kind, Resource, Scope
from .service import Control, entry
from .sign_in import Claims
from .store import Reading

__all__ = ["DEFAULT_SANDBOX", "Token", "identify", "sign_in_client", "sign_in_user"]

DEFAULT_SANDBOX: Final = "prod"
"""The sandbox of a call that names none."""
_BEARER: Final = "bearer "


class Token(msgspec.Struct, frozen=True, kw_only=True):
    """A bearer token.

    Attributes:
        text: As it is sent.
        expires_in_s: Seconds until it expires.
    """

    text: Secret
    expires_in_s: int


def sign_in_client(control: Control, client_id: str, secret: Secret, address: str = "") -> Token:
    """A token for a client that shows its secret (``grant_type=client_credentials``).

    Args:
        control: The parts.
        client_id: The client's id, which is also its API key.
        secret: The client's secret.
        address: Where the call comes from, for the brake on guessing.

    Raises:
        UseCaseError: 3004-401, or 3005-429 after too many failures.
    """
    account = _proved(control, Kind.CLIENT, client_id, secret, address)
    return token_of(control, account)


def sign_in_user(control: Control, login: str, password: Secret, address: str = "") -> Token:
    """A token for a user who shows their password; as ``sign_in_client``. It enters the audit log."""
    account = _proved(control, Kind.USER, login.strip().lower(), password, address)
    caller = Caller(scope=account.scope, subject=account.id, client="console", kind="user")
    with control.store.write() as transaction:
        transaction.append([entry(control, caller, "sign-in", account)])
    return token_of(control, account)


def _proved(control: Control, kind: Kind, unique: str, secret: Secret, address: str) -> Resource:
    """The account that a secret proves; the time taken does not tell whether there is one."""
    names = [f"{kind}:{unique[:256]}", *([f"address:{address}"] if address else [])]
    control.sign_ins.admit(*names)
    with control.store.read() as transaction:
        account = transaction.unique(kind, unique) if storable(unique) else None
    usable = account if account is not None and account.state == "enabled" else None
    if not control.passwords.matches(usable.hidden["secret"] if usable else None, secret) or usable is None:
        control.sign_ins.failed(*names)
        raise problem(Code.SIGN_IN_FAILED, "the name or the secret is wrong")
    control.sign_ins.succeeded(names[0])
    return usable


def token_of(control: Control, account: Resource) -> Token:
    """A token for an account that was proved."""
    claims = Claims(
        subject=account.id,
        kind="client" if account.kind is Kind.CLIENT else "user",
        org=account.scope.org,
        generation=account.body["generation"],
    )
    return Token(text=Secret(control.tokens.issue(claims)), expires_in_s=control.tokens.life_s)


def identify(
    control: Control,
    *,
    authorization: str | None,
    api_key: str | None,
    org: str | None,
    sandbox: str | None,
    sandbox_id: str | None = None,
    console: bool = False,
) -> Caller:
    """Who calls, and where; from the headers of a request.

    Args:
        control: The parts.
        authorization: ``Bearer TOKEN``.
        api_key: ``x-api-key``: the client's id; for a user's token any client's of the organisation.
        org: ``x-gw-ims-org-id``.
        sandbox: ``x-sandbox-name``; ``prod`` when it is missing.
        sandbox_id: ``x-sandbox-id``, which no token of ours may send.
        console: The call comes from the console, which has no API key.

    Raises:
        UseCaseError: 403010-403, 401013-401, 403000-403, 403003-403, 2000-401, 2001-401, 2100-404, 2110-400 or
            2111-403.
    """
    text = (authorization or "").strip()
    if not text or text.lower() == _BEARER.strip():
        raise problem(Code.TOKEN_MISSING, "Oauth token is missing.")
    if not text.lower().startswith(_BEARER):
        raise problem(Code.TOKEN_INVALID, "Oauth token is not valid: send Authorization: Bearer TOKEN")
    claims = control.tokens.read(text[len(_BEARER) :].strip())
    if not console and not (api_key or "").strip():
        raise problem(Code.KEY_MISSING, "Api key is required")
    if not (org or "").strip():
        raise problem(Code.ORGANISATION_MISSING, "The header x-gw-ims-org-id is either missing or empty.")
    if org != claims.org:
        raise problem(Code.WRONG_ORGANISATION, "The authorization token does not have access to this organization.")
    if sandbox_id:
        raise problem(Code.SANDBOX_ID_REFUSED, "The header x-sandbox-id is not allowed; use x-sandbox-name.")
    name = (sandbox or "").strip() or DEFAULT_SANDBOX
    if name == "*":
        raise problem(Code.EVERY_SANDBOX_REFUSED, "The header x-sandbox-name with value * is restricted.")
    with control.store.read() as transaction:
        account = _account(transaction, claims)
        if not console:
            _check_key(transaction, account, (api_key or "").strip())
        record = transaction.unique(Kind.SANDBOX, f"{claims.org}/{name}")
        if record is None or record.state != "active":
            raise problem(Code.NO_SANDBOX, f"The sandbox with the name {name[:64]!r} could not be found.")
        permissions = permissions_of(transaction, account)
    return Caller(
        scope=Scope(claims.org, record.name),
        sandbox_id=record.id,
        subject=account.id,
        client="console" if console else (api_key or "").strip(),
        kind=claims.kind,
        permissions=permissions,
    )


def _account(transaction: Reading, claims: Claims) -> Resource:
    kind = Kind.CLIENT if claims.kind == "client" else Kind.USER
    account = transaction.get(kind, Scope(claims.org), claims.subject)
    if account is None or account.state != "enabled" or account.body["generation"] != claims.generation:
        raise problem(
            Code.TOKEN_INVALID, "Oauth token is not valid: its account is gone, disabled or has a new secret"
        )
    return account


def _check_key(transaction: Reading, account: Resource, api_key: str) -> None:
    if account.kind is Kind.CLIENT:
        known = api_key == account.id
    else:
        client = transaction.get(Kind.CLIENT, account.scope, api_key)
        known = client is not None and client.state == "enabled"
    if not known:
        raise problem(Code.KEY_INVALID, "Api Key is invalid")


def permissions_of(transaction: Reading, account: Resource) -> frozenset[Permission]:
    """What an account may do: the permissions of all of its roles."""
    known = {each.value for each in Permission}
    found: set[Permission] = set()
    for name in account.body["roles"]:
        role = transaction.unique(Kind.ROLE, f"{account.scope.org}/{name}")
        if role is not None and role.state == "enabled":
            found |= {access.Permission(each) for each in role.body["permissions"] if each in known}
    return frozenset(found)
