"""Use cases: one-time links that sign a user in to the console, for whoever has a shell on the machine.

A link holds a random token of which only the hash is kept. It works once, within some minutes.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Final

import msgspec

from headrace.settings import Secret

from .access import Caller, Permission
from .problems import Code, problem
from .resources import Kind, Resource, Scope
from .service import Control, entry, writing
from .sessions import Token, token_of
from .store import Query

__all__ = ["LIFE_S", "Link", "create_link", "redeem_link"]

LIFE_S: Final = 600
"""Seconds that a link works."""
_TOKEN_BYTES: Final = 32


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """A link just made.

    Attributes:
        path: Of the console, with the token: ``/ui/sign-in/…``.
        expires_ms: When it stops working, epoch milliseconds.
    """

    path: Secret
    expires_ms: int


def create_link(control: Control, caller: Caller, login: str, life_s: int = LIFE_S) -> Link:
    """Make a link that signs a user in once; needs Manage Access.

    Args:
        control: The parts.
        caller: Who.
        login: The user's login.
        life_s: Seconds that it works.

    Raises:
        UseCaseError: 1101-404, there is no enabled user of this login.
    """
    token = secrets.token_urlsafe(_TOKEN_BYTES)
    now_ms = control.clock.now_ms()
    with writing(control, caller, Permission.MANAGE_ACCESS) as change:
        user = change.transaction.unique(Kind.USER, login.strip().lower())
        if user is None or user.state != "enabled" or user.scope.org != caller.scope.org:
            raise problem(Code.NOT_FOUND, f"there is no enabled user {login.strip()[:64]!r}")
        scope = Scope(caller.scope.org)
        for old in change.transaction.find(Query(kind=Kind.SIGN_IN_LINK, scope=scope)):
            if old.body["expires"] <= now_ms:
                change.transaction.remove(old)
        expires_ms = now_ms + life_s * 1000
        change.insert(
            Resource(
                kind=Kind.SIGN_IN_LINK,
                id=_hashed(token),
                scope=scope,
                body={"user": user.id, "expires": expires_ms},
                unique=_hashed(token),
            ),
            "create-sign-in-link",
        )
    return Link(path=Secret(f"/ui/sign-in/{token}"), expires_ms=expires_ms)


def redeem_link(control: Control, token: str, address: str = "") -> Token:
    """A bearer token for the user that a link is for; the link is gone afterwards. It enters the audit log.

    Args:
        control: The parts.
        token: The last part of the link's path.
        address: Where the call comes from, for the brake on guessing.

    Raises:
        UseCaseError: 3004-401, the link was used, has expired or never was; 3005-429 after too many failures.
    """
    names = [f"address:{address}"] if address else []
    control.sign_ins.admit(*names)
    with control.store.write() as transaction:
        link = transaction.unique(Kind.SIGN_IN_LINK, _hashed(token[:256]))
        user = transaction.get(Kind.USER, link.scope, link.body["user"]) if link else None
        if link is not None:
            transaction.remove(link)
        good = link is not None and link.body["expires"] > control.clock.now_ms()
        if good and user is not None and user.state == "enabled":
            caller = Caller(scope=user.scope, subject=user.id, client="console", kind="user")
            transaction.append([entry(control, caller, "sign-in", user)])
            return token_of(control, user)
    control.sign_ins.failed(*names)
    raise problem(Code.SIGN_IN_FAILED, "the link was used before, has expired, or is no link of this installation")


def _hashed(token: str) -> str:
    return hashlib.sha256(token.encode(errors="replace")).hexdigest()
