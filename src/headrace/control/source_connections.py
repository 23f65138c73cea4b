"""Use cases: source connections, which name the profile store as where a flow begins."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from headrace.core.compile import READ_ONLY
from headrace.core.report import Report

from . import connection_rules as rules
from . import inherited
from .access import CONNECT, Caller, Permission
from .catalog import PROFILE_SERVICE, PROFILE_SERVICE_ID
from .lists import Page, listed
from .paging import Listing
from .problems import Code, problem, refuse
from .resources import Kind, Resource, changeable
from .service import Change, Control, Written, body_of, check_if_match, found, patched, reading, unused, writing

__all__ = [
    "create_source_connection", "delete_source_connection", "get_source_connection", "list_source_connections",
    "patch_source_connection",
]  # fmt: skip

_KEYS: Final = ("name", "description", "baseConnectionId", "connectionSpec", "data", "params")
_DROPPED: Final = READ_ONLY | {"id", "state", "typeInfo"}
_VIEW: Final = Permission.VIEW_DESTINATIONS


def create_source_connection(control: Control, caller: Caller, body: Any) -> Written:
    """Make a source connection; needs View and Manage Destinations.

    Args:
        control: The parts.
        caller: Who.
        body: ``name``, ``connectionSpec`` (the profile store's), ``baseConnectionId``?, ``description``?, ``data``?,
            ``params``?.

    Raises:
        UseCaseError: 1405-400, 1413-400, 3000-400 or 3001-422.
    """
    with writing(control, caller, *CONNECT) as change:
        document = _checked(change, body_of(body, _KEYS, _DROPPED))
        made = change.insert(
            Resource(
                kind=Kind.SOURCE,
                id=control.new_id(),
                scope=caller.scope,
                body=document,
                refers=_refers(document),
            )
        )
        return Written(id=made.id, etag=made.etag)


def list_source_connections(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the source connections; needs View Destinations."""
    with reading(control, caller, _VIEW) as transaction:
        return listed(
            transaction, caller, Kind.SOURCE, listing,
            lambda records: inherited.connections(transaction, records, caller.sandbox_id),
        )  # fmt: skip


def get_source_connection(control: Control, caller: Caller, source_id: str) -> dict[str, Any]:
    """One source connection; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        resource = found(transaction, Kind.SOURCE, caller.scope, source_id)
        return inherited.connections(transaction, [resource], caller.sandbox_id)[0]


def patch_source_connection(
    control: Control, caller: Caller, source_id: str, operations: Any, if_match: str | None
) -> Written:
    """Change a source connection by a patch; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1403-400, 1404-412, 1413-400, 1421-400, 1434-400, 1455-400 or 3000-400.
    """
    with writing(control, caller, *CONNECT) as change:
        old = change.found(Kind.SOURCE, source_id)
        changeable(old)
        document = _checked(change, body_of(patched(control, old, old.body, operations, if_match), _KEYS))
        new = msgspec.structs.replace(old, body=document, refers=_refers(document))
        made = change.replace(old, new)
        return Written(id=made.id, etag=made.etag)


def delete_source_connection(control: Control, caller: Caller, source_id: str, if_match: str | None = None) -> None:
    """Remove a source connection; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1421-400, or 1447-400 while flows use it.
    """
    with writing(control, caller, *CONNECT) as change:
        resource = change.found(Kind.SOURCE, source_id)
        check_if_match(control, resource, if_match)
        changeable(resource)
        unused(change, resource)
        change.remove(resource)


def _checked(change: Change, document: dict[str, Any]) -> dict[str, Any]:
    stated = document.get("connectionSpec")
    if isinstance(stated, dict):
        if "version" not in stated:
            raise problem(Code.VERSION_MISSING, "connectionSpec.version is missing")
        if isinstance(stated.get("id"), str) and stated["id"] != PROFILE_SERVICE_ID:
            raise problem(Code.BAD_SPEC, f"please provide a valid spec id: flows begin at {PROFILE_SERVICE_ID}")
    report = Report()
    report.text(document, "name", "", required=True)
    report.text(document, "description", "")
    rules.read_spec(report, document, "", {PROFILE_SERVICE_ID: PROFILE_SERVICE})
    data = report.members(document.get("data"), "data", ("format",))
    report.choice(data, "format", "data", ("json",))
    report.members(document.get("params"), "params", ())
    base_id = report.text(document, "baseConnectionId", "")
    if base_id:
        base = change.transaction.get(Kind.CONNECTION, change.caller.scope, base_id)
        if base is None:
            report.mistake("baseConnectionId", "is not the id of a base connection")
        elif base.body["connectionSpec"]["id"] != PROFILE_SERVICE_ID:
            report.mistake("baseConnectionId", "is a destination's account", f"a connection of {PROFILE_SERVICE_ID}")
    refuse(report.mistakes)
    return document


def _refers(document: dict[str, Any]) -> tuple[str, ...]:
    return (document["baseConnectionId"],) if document.get("baseConnectionId") else ()
