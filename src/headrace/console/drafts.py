"""The activation wizard's draft: what a flow is to map, carried from step to step by the form alone.

Nothing is kept on the way: a wizard that is left behind has changed nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.flow import PLATFORM_NAMESPACE
from headrace.core.paths import PathMistake, parse

from . import overview
from .overview import Row
from .visit import Visit

USUAL: Final = ("person.name.firstName", "person.name.lastName", "personalEmail.address")
"""The fields that AEP maps from the start (activate streaming destinations, 2025), save ``segmentMembership.status``:
every message holds the memberships, and no schema of profiles knows that path."""
SWITCHES: Final[tuple[tuple[str, str, str], ...]] = (
    ("metadata", "false", "true"),
    ("membershipScope", "all", "mapped"),
    ("statusModel", "current", "seed"),
    ("pauseMode", "keep", "skip"),
    ("onDelete", "nothing", "exit"),
)
"""Settings of ours that the wizard offers: name, what it is without, what it is with."""
RECOMMENDED: Final = ("metadata",)
"""Those that a flow which maps nothing yet begins with: without them consumers cannot tell a repeat."""


class Audience(msgspec.Struct, kw_only=True):
    """A mapped audience.

    Attributes:
        id: Its id.
        namespace: Empty for one that is defined here.
        start: First day, ``YYYY-MM-DD``; empty for at once.
        end: Last day; empty for none.
    """

    id: str
    namespace: str = ""
    start: str = ""
    end: str = ""


class Draft(msgspec.Struct, kw_only=True):
    """What a flow is to map.

    Attributes:
        row: The flow.
        etag: Of the version that the draft began with.
        audiences: In order.
        paths: Attribute paths, in order.
        switches: Setting of ours to whether it is on.
    """

    row: Row
    etag: str
    audiences: list[Audience]
    paths: list[str]
    switches: dict[str, bool]

    @property
    def chosen(self) -> dict[str, Audience]:
        """The audiences by id."""
        return {each.id: each for each in self.audiences}

    def transformations(self) -> list[dict[str, Any]]:
        """The flow's transformations as they are to be; what the wizard does not offer stays."""
        before = {each["id"]: each for each in self.row.audiences}
        params: dict[str, Any] = {
            "segmentSelectors": {"selectors": [_selector(each, before.get(each.id, {})) for each in self.audiences]},
            "profileSelectors": {"selectors": [_attribute(each) for each in self.paths]},
        }
        settings = overview.own_settings(self.row.flow)
        for name, off, on in SWITCHES:
            value = on if self.switches.get(name) else off
            settings.pop(name, None)
            if value != off:
                settings[name] = True if value == "true" else value
        if settings:
            params["headrace"] = settings
        return [{"name": "GeneralTransform", "params": params}]


def _selector(audience: Audience, before: Mapping[str, Any]) -> dict[str, Any]:
    value = {name: each for name, each in before.items() if name not in ("schedule", "createTime", "updateTime")}
    value["id"] = audience.id
    if audience.namespace and audience.namespace != PLATFORM_NAMESPACE:
        value["namespace"] = audience.namespace
    schedule = {"startDate": audience.start, "endDate": audience.end}
    if kept := {name: day for name, day in schedule.items() if day}:
        value["schedule"] = kept
    return {"type": "PLATFORM_SEGMENT", "value": value}


def _attribute(path: str) -> dict[str, Any]:
    return {"type": "JSON_PATH", "value": {"operator": "EXISTS", "path": path}}


def begun(row: Row) -> Draft:
    """A draft of what a flow maps now; one that maps nothing yet begins with the usual fields."""
    settings = overview.own_settings(row.flow)
    fresh = not row.audiences and not row.paths
    audiences = [
        Audience(
            id=each["id"],
            namespace=str(each.get("namespace") or ""),
            start=str((each.get("schedule") or {}).get("startDate") or ""),
            end=str((each.get("schedule") or {}).get("endDate") or ""),
        )
        for each in row.audiences
    ]
    return Draft(
        row=row,
        etag=str(row.flow["etag"]),
        audiences=audiences,
        paths=row.paths or ([] if audiences else list(USUAL)),
        switches={name: settings.get(name, fresh and name in RECOMMENDED) in (True, on) for name, _, on in SWITCHES},
    )


def sent(visit: Visit, row: Row) -> Draft:
    """The draft that a form carries."""
    audiences = [
        Audience(
            id=each,
            namespace=visit.field(f"namespace.{each}"),
            start=visit.field(f"start.{each}"),
            end=visit.field(f"end.{each}"),
        )
        for each in dict.fromkeys(visit.fields("audience"))
    ]
    if extra := visit.field("external_id"):
        audiences.append(Audience(id=extra, namespace=visit.field("external_namespace")))
    added = visit.field("new_path")
    removed = visit.field("remove")
    paths = [each for each in dict.fromkeys([*visit.fields("path"), *([added] if added else [])]) if each != removed]
    return Draft(
        row=row,
        etag=visit.field("etag"),
        audiences=audiences,
        paths=paths,
        switches={name: visit.field(f"switch.{name}") == "true" for name, _, _ in SWITCHES},
    )


def schema_tree(observed: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Observed paths as a tree: a name to the names below it, or to what was seen at a leaf."""
    tree: dict[str, Any] = {}
    for each in sorted(observed, key=lambda one: str(one.get("path", ""))):
        steps = parse(str(each.get("path", "")))
        if isinstance(steps, PathMistake):
            continue
        inner = tree
        for step in steps[:-1]:
            below = inner.setdefault(step, {})
            if "path" in below and not isinstance(below["path"], dict):
                # Seen both with a value of its own and with fields below: shown as two.
                below = inner.setdefault(f"{step}.", {})
            inner = below
        if each.get("type") != "object":
            inner[steps[-1]] = dict(each)
    return tree
