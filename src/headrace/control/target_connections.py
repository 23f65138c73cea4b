"""Use cases: target connections, the places within an account that flows write to."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.core.compile import READ_ONLY
from headrace.core.report import Report

from . import auth, inherited
from . import connection_rules as rules
from .access import CONNECT, Caller, Permission
from .lists import Page, listed
from .paging import Listing
from .problems import refuse
from .resources import Kind, Resource, changeable
from .service import Change, Control, Written, body_of, check_if_match, found, patched, reading, unused, writing

__all__ = [
    "create_target_connection", "delete_target_connection", "get_target_connection", "list_target_connections",
    "patch_target_connection",
]  # fmt: skip

_KEYS: Final = ("name", "description", "baseConnectionId", "connectionSpec", "data", "params")
_DROPPED: Final = READ_ONLY | {"id", "state"}
_VIEW: Final = Permission.VIEW_DESTINATIONS


def create_target_connection(control: Control, caller: Caller, body: Any) -> Written:
    """Make a target connection; needs View and Manage Destinations.

    Args:
        control: The parts.
        caller: Who.
        body: ``name``, ``baseConnectionId``, ``connectionSpec``, ``params``, ``description``?, ``data``?.

    Raises:
        UseCaseError: 1405-400, 1413-400, 3000-400 or 3001-422.
    """
    with writing(control, caller, *CONNECT) as change:
        document = _checked(change, body_of(body, _KEYS, _DROPPED))
        made = change.insert(
            Resource(
                kind=Kind.TARGET,
                id=control.new_id(),
                scope=caller.scope,
                body=document,
                refers=(document["baseConnectionId"],),
            )
        )
        return Written(id=made.id, etag=made.etag)


def list_target_connections(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the target connections; needs View Destinations."""
    with reading(control, caller, _VIEW) as transaction:
        return listed(
            transaction, caller, Kind.TARGET, listing,
            lambda records: inherited.connections(transaction, records, caller.sandbox_id),
        )  # fmt: skip


def get_target_connection(control: Control, caller: Caller, target_id: str) -> dict[str, Any]:
    """One target connection; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        resource = found(transaction, Kind.TARGET, caller.scope, target_id)
        return inherited.connections(transaction, [resource], caller.sandbox_id)[0]


def patch_target_connection(
    control: Control, caller: Caller, target_id: str, operations: Any, if_match: str | None
) -> Written:
    """Change a target connection by a patch; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1403-400, 1404-412, 1413-400, 1421-400, 1434-400, 1455-400 or 3000-400.
    """
    with writing(control, caller, *CONNECT) as change:
        old = change.found(Kind.TARGET, target_id)
        changeable(old)
        document = _checked(change, body_of(patched(control, old, old.body, operations, if_match), _KEYS))
        new = msgspec.structs.replace(old, body=document, refers=(document["baseConnectionId"],))
        made = change.replace(old, new)
        return Written(id=made.id, etag=made.etag)


def delete_target_connection(control: Control, caller: Caller, target_id: str, if_match: str | None = None) -> None:
    """Remove a target connection; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1421-400, or 1447-400 while flows use it.
    """
    with writing(control, caller, *CONNECT) as change:
        resource = change.found(Kind.TARGET, target_id)
        check_if_match(control, resource, if_match)
        changeable(resource)
        unused(change, resource)
        change.remove(resource)


def _checked(change: Change, document: dict[str, Any]) -> dict[str, Any]:
    """Check a target connection against its base connection and its destination."""
    control, scope = change.control, change.caller.scope
    if document.get("connectionSpec") is not None:
        auth.spec_of(control, document)
    report = Report()
    base = None
    base_id = report.text(document, "baseConnectionId", "", required=True)
    if base_id:
        connection = change.transaction.get(Kind.CONNECTION, scope, base_id)
        if connection is None:
            report.mistake("baseConnectionId", "is not the id of a base connection")
        elif connection.body["connectionSpec"]["id"] not in control.catalog.destinations:
            report.mistake("baseConnectionId", "is not a destination's account")
        else:
            base = auth.base_target(control, connection)
    target = rules.read_target(report, document, "", control.catalog.specs, base)
    refuse(report.mistakes)
    refuse(auth.destination_mistakes(control, target, "target"))
    assert base is not None
    # One that does not say its spec has its account's.
    spec = control.catalog.specs[base.spec_id]
    return {**document, "connectionSpec": {"id": spec.id, "version": spec.version}}
