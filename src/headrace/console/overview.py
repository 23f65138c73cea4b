"""What the pages show of the records: flows with their target, account and spec, read once a page."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from headrace.control import base_connections, compiling, flows, segments, target_connections
from headrace.control.access import Caller, Permission
from headrace.control.filters import MAX_VALUES
from headrace.control.lists import Page
from headrace.control.paging import Listing, read
from headrace.control.service import Control
from headrace.destinations.base import Spec

Lists = Callable[[Control, Caller, Listing], Page]


def every(control: Control, caller: Caller, lists: Lists, *properties: str, most: int = 1000) -> list[dict[str, Any]]:
    """All records of a list, page after page, up to *most*."""
    found: list[dict[str, Any]] = []
    token: str | None = None
    while len(found) < most:
        page = lists(control, caller, read(properties=properties, token=token))
        found += page.items
        token = page.token
        if token is None:
            break
    return found[:most]


class Row(msgspec.Struct, kw_only=True):
    """A flow as Browse shows it.

    Attributes:
        flow: The record.
        target: Its target connection; empty when it is gone.
        account: Its base connection; empty when it is gone.
        spec: Its destination; None for one that this version does not have.
    """

    flow: dict[str, Any]
    target: dict[str, Any]
    account: dict[str, Any]
    spec: Spec | None

    @property
    def id(self) -> str:
        """The flow's id."""
        return str(self.flow["id"])

    @property
    def name(self) -> str:
        """The flow's name."""
        return str(self.flow.get("name", ""))

    @property
    def place(self) -> str:
        """Where it writes: the first parameter of its target, such as the stream."""
        params = self.target.get("params") or {}
        return str(params.get(self.spec.target[0].name, "")) if self.spec and self.spec.target else ""

    @property
    def audiences(self) -> list[dict[str, Any]]:
        """The mapped audiences, as the flow's selectors have them."""
        return list(compiling.selectors(self.flow))

    @property
    def paths(self) -> list[str]:
        """The mapped attributes."""
        return attribute_paths(self.flow)


def attribute_paths(flow: Mapping[str, Any]) -> list[str]:
    """The paths of a flow's attribute selectors."""
    params = _params(flow)
    selectors = (params.get("profileSelectors") or {}).get("selectors") or []
    return [
        each["value"]["path"] for each in selectors if isinstance(each.get("value"), dict) and "path" in each["value"]
    ]


def own_settings(flow: Mapping[str, Any]) -> dict[str, Any]:
    """A flow's settings of ours."""
    return dict(_params(flow).get("headrace") or {})


def _params(flow: Mapping[str, Any]) -> dict[str, Any]:
    transformations = flow.get("transformations") or [{}]
    return dict(transformations[0].get("params") or {})


def accounts(control: Control, caller: Caller) -> list[dict[str, Any]]:
    """Every base connection of a destination."""
    found = every(control, caller, base_connections.list_connections)
    return [each for each in found if each["connectionSpec"]["id"] in control.catalog.destinations]


def audience_names(control: Control, caller: Caller) -> dict[str, str]:
    """Audience id to name, of the first thousand; empty for who may not see them."""
    if Permission.VIEW_SEGMENTS not in caller.permissions:
        return {}
    found = segments.list_audiences(control, caller, limit=1000, sort="name:asc").items
    return {each["id"]: each["name"] for each in found}


def flow_names(control: Control, caller: Caller, ids: Collection[str]) -> dict[str, str]:
    """Flow id to name, of those of these that are there."""
    texts = [each.replace("\\", "\\\\").replace('"', '\\"') for each in sorted(ids)]
    names: dict[str, str] = {}
    for at in range(0, len(texts), MAX_VALUES):
        some = ",".join(f'"{each}"' for each in texts[at : at + MAX_VALUES])
        found = every(control, caller, flows.list_flows, f"id=={some}")
        names |= {str(each["id"]): str(each.get("name", "")) for each in found}
    return names


def rows(control: Control, caller: Caller, *properties: str) -> list[Row]:
    """Every flow, with what it uses."""
    found = every(control, caller, flows.list_flows, *properties)
    if not found:
        return []
    targets = {each["id"]: each for each in every(control, caller, target_connections.list_target_connections)}
    bases = {each["id"]: each for each in accounts(control, caller)}
    return [_row(control, each, targets, bases) for each in found]


def row(control: Control, caller: Caller, flow_id: str) -> Row:
    """One flow, with what it uses.

    Raises:
        UseCaseError: 1101-404.
    """
    flow = flows.get_flow(control, caller, flow_id)
    target = target_connections.get_target_connection(control, caller, flow["targetConnectionIds"][0])
    account = base_connections.get_connection(control, caller, target["baseConnectionId"])
    return _row(control, flow, {target["id"]: target}, {account["id"]: account})


def _row(
    control: Control, flow: dict[str, Any], targets: Mapping[str, dict[str, Any]], bases: Mapping[str, dict[str, Any]]
) -> Row:
    ids: Sequence[str] = flow.get("targetConnectionIds") or [""]
    target = targets.get(ids[0], {})
    account = bases.get(target.get("baseConnectionId", ""), {})
    spec_id = (account.get("connectionSpec") or {}).get("id", "")
    return Row(flow=flow, target=target, account=account, spec=control.catalog.destinations.get(spec_id))
