"""Use case: the records of a sandbox as files, secrets as the references they were applied with, or as ``****``."""

from __future__ import annotations

import re
from typing import Any, Final

import yaml

from . import files
from .access import Caller, Permission
from .files import SECTIONS
from .paging import Order
from .resources import MASK, Kind, Resource
from .service import Control, reading
from .store import Query

__all__ = ["export_files", "text"]

_OLDEST: Final = (Order("createdAt", False),)
_LIKE_NUMBER: Final = re.compile(r"[-+.]?[0-9].*|0[xo].*")


def export_files(control: Control, caller: Caller) -> dict[str, list[dict[str, Any]]]:
    """Every connection, audience and flow by section; needs View Destinations and View Segments.

    Args:
        control: The parts.
        caller: Who.
    """
    found: dict[str, list[dict[str, Any]]] = {}
    with reading(control, caller, Permission.VIEW_DESTINATIONS, Permission.VIEW_SEGMENTS) as transaction:
        for section, kind in SECTIONS.items():
            records = transaction.find(Query(kind=kind, scope=caller.scope, order=_OLDEST))
            if records:
                found[section] = [_entry(control, each) for each in records]
    return found


def _entry(control: Control, resource: Resource) -> dict[str, Any]:
    document = {"id": resource.id, **_escaped(files.stored(resource, {}))}
    account = document.get("auth")
    if resource.kind is Kind.CONNECTION and isinstance(account, dict):
        references = resource.notes.get("references", {})
        secrets = control.catalog.secret_names(resource.body["connectionSpec"]["id"]) | resource.hidden.keys()
        params = account.get("params", {})
        account["params"] = {
            **{name: references.get(name, value) for name, value in params.items() if name not in secrets},
            **{name: references.get(name, MASK) for name in sorted(resource.hidden)},
        }
    return document


def _escaped(value: Any) -> Any:
    """The value as a file holds it: a text that would be read as a reference is none."""
    if isinstance(value, dict):
        return {name: _escaped(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_escaped(each) for each in value]
    return value.replace("${", "$${") if isinstance(value, str) else value


class _Dumper(yaml.SafeDumper):
    """Quotes every text that could be read as a number."""


def _represented(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = '"' if _LIKE_NUMBER.fullmatch(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _represented)


def text(content: dict[str, Any]) -> str:
    """YAML of what was exported."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100))
