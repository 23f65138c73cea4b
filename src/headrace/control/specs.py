"""Use cases: read the connection specs and flow specs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from . import filters, paging
from .access import Caller, Permission, require
from .lists import Page
from .problems import Code, not_found, problem
from .service import Control

__all__ = [
    "change_specs", "get_connection_spec", "get_flow_spec", "list_connection_specs", "list_flow_specs",
    "search_flow_specs",
]  # fmt: skip


def list_connection_specs(control: Control, caller: Caller, properties: Sequence[str] = ()) -> Page:
    """All connection specs that pass the filters; needs View Destinations."""
    require(caller, (Permission.VIEW_DESTINATIONS,))
    return Page(items=_passing(control.catalog.connection_specs(), properties))


def get_connection_spec(control: Control, caller: Caller, spec_id: str) -> dict[str, Any]:
    """One connection spec; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    require(caller, (Permission.VIEW_DESTINATIONS,))
    spec = control.catalog.connection_spec(spec_id)
    if spec is None:
        raise not_found("connectionSpecs", spec_id)
    return spec


def list_flow_specs(control: Control, caller: Caller, properties: Sequence[str] = ()) -> Page:
    """All flow specs that pass the filters; needs View Destinations."""
    require(caller, (Permission.VIEW_DESTINATIONS,))
    return Page(items=_passing(control.catalog.flow_specs(), properties))


def get_flow_spec(control: Control, caller: Caller, spec_id: str) -> dict[str, Any]:
    """One flow spec; needs View Destinations.

    Raises:
        UseCaseError: 1101-404.
    """
    require(caller, (Permission.VIEW_DESTINATIONS,))
    spec = control.catalog.flow_spec(spec_id)
    if spec is None:
        raise not_found("flowSpecs", spec_id)
    return spec


def search_flow_specs(control: Control, caller: Caller, body: Any) -> Page:
    """Flow specs that a search names; needs View Destinations."""
    require(caller, (Permission.VIEW_DESTINATIONS,))
    listing = paging.read_search(body)
    items = _passing(control.catalog.flow_specs(), listing.properties)
    return Page(items=[], count=len(items)) if listing.count else Page(items=items[: listing.limit])


def change_specs(control: Control, caller: Caller) -> None:
    """Refuse to make or change a spec, which services alone do in AEP.

    Raises:
        UseCaseError: 1426-400.
    """
    require(caller, (Permission.VIEW_DESTINATIONS,))
    raise problem(
        Code.SPECS_FIXED, "the token is unauthorized to create or update specs: they are part of the product"
    )


def _passing(items: list[dict[str, Any]], properties: Sequence[str]) -> list[dict[str, Any]]:
    wanted = filters.parse_all(properties)
    return [item for item in items if all(each.matches(item) for each in wanted)]
