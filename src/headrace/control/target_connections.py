"""Use cases: target connections, the places within an account that flows write to."""

from __future__ import annotations

from typing import Any, Final

from headrace.core.report import Report

from . import auth
from . import connection_rules as rules
from .access import Caller
from .ends import End
from .lists import Page
from .paging import Listing
from .problems import refuse
from .resources import Kind
from .service import Change, Control, Written

__all__ = [
    "create_target_connection", "delete_target_connection", "get_target_connection", "list_target_connections",
    "patch_target_connection",
]  # fmt: skip


def create_target_connection(control: Control, caller: Caller, body: Any) -> Written:
    """Make a target connection; needs View and Manage Destinations.

    Args:
        control: The parts.
        caller: Who.
        body: ``name``, ``baseConnectionId``, ``connectionSpec``, ``params``, ``description``?, ``data``?.

    Raises:
        UseCaseError: 1405-400, 1413-400, 3000-400 or 3001-422.
    """
    return _TARGET.create(control, caller, body)


def list_target_connections(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the target connections; needs View Destinations."""
    return _TARGET.list(control, caller, listing)


def get_target_connection(control: Control, caller: Caller, target_id: str) -> dict[str, Any]:
    """One target connection; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    return _TARGET.get(control, caller, target_id)


def patch_target_connection(
    control: Control, caller: Caller, target_id: str, operations: Any, if_match: str | None
) -> Written:
    """Change a target connection by a patch; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1403-400, 1404-412, 1413-400, 1421-400, 1434-400, 1455-400 or 3000-400.
    """
    return _TARGET.patch(control, caller, target_id, operations, if_match)


def delete_target_connection(control: Control, caller: Caller, target_id: str, if_match: str | None = None) -> None:
    """Remove a target connection; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1421-400, or 1447-400 while flows use it.
    """
    _TARGET.delete(control, caller, target_id, if_match)


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


_TARGET: Final = End(Kind.TARGET, _checked)
