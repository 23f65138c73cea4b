"""Use cases: source connections, which name the profile store as where a flow begins."""

from __future__ import annotations

from typing import Any, Final

from headrace.core.compile import READ_ONLY
from headrace.core.report import Report

from . import connection_rules as rules
from .access import Caller
from .catalog import PROFILE_SERVICE, PROFILE_SERVICE_ID
from .ends import End
from .lists import Page
from .paging import Listing
from .problems import Code, problem, refuse
from .resources import Kind
from .service import Change, Control, Written

__all__ = [
    "create_source_connection", "delete_source_connection", "get_source_connection", "list_source_connections",
    "patch_source_connection",
]  # fmt: skip


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
    return _SOURCE.create(control, caller, body)


def list_source_connections(control: Control, caller: Caller, listing: Listing) -> Page:
    """A part of the source connections; needs View Destinations."""
    return _SOURCE.list(control, caller, listing)


def get_source_connection(control: Control, caller: Caller, source_id: str) -> dict[str, Any]:
    """One source connection; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    return _SOURCE.get(control, caller, source_id)


def patch_source_connection(
    control: Control, caller: Caller, source_id: str, operations: Any, if_match: str | None
) -> Written:
    """Change a source connection by a patch; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1403-400, 1404-412, 1413-400, 1421-400, 1434-400, 1455-400 or 3000-400.
    """
    return _SOURCE.patch(control, caller, source_id, operations, if_match)


def delete_source_connection(control: Control, caller: Caller, source_id: str, if_match: str | None = None) -> None:
    """Remove a source connection; needs View and Manage Destinations.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1421-400, or 1447-400 while flows use it.
    """
    _SOURCE.delete(control, caller, source_id, if_match)


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


_SOURCE: Final = End(Kind.SOURCE, _checked, READ_ONLY | {"id", "state", "typeInfo"})
