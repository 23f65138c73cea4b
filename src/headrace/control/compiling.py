"""Compile a stored flow with the audiences and the target connection of its sandbox.

The same for a change and for publishing, so that what was accepted can be published.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from headrace.core import compile as _compile
from headrace.core import flow as _flow
from headrace.core.compile import Compilation

from .resources import Resource


def selectors(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The ``value`` of each audience that a flow's document maps, malformed ones left out."""
    transformations = document.get("transformations")
    for transformation in transformations if isinstance(transformations, list) else ():
        found: Any = transformation
        for name in ("params", "segmentSelectors", "selectors"):
            found = found.get(name) if isinstance(found, Mapping) else None
        for selector in found if isinstance(found, list) else ():
            value = selector.get("value") if isinstance(selector, Mapping) else None
            if isinstance(value, dict) and isinstance(value.get("id"), str):
                yield value


def compile_flow(
    flow_id: str,
    state: str,
    document: Mapping[str, Any],
    *,
    segments: Iterable[Resource],
    params: Mapping[str, Any],
    spec_id: str,
) -> Compilation:
    """Compile a flow.

    Args:
        flow_id: Its id.
        state: ``disabled`` for paused.
        document: Its body.
        segments: The sandbox's audiences. One that is not among them is known by the namespace that the flow states
            for it: an audience that somebody else makes needs no definition here.
        params: Parameters of the target connection, checked.
        spec_id: Connection spec id of the destination.
    """
    known = {each.id: segment(each) for each in segments}
    for value in selectors(document):
        namespace = value.get("namespace")
        if isinstance(namespace, str) and namespace.strip() and namespace != _flow.PLATFORM_NAMESPACE:
            known.setdefault(value["id"], _flow.Segment(id=value["id"], namespace=namespace))
    return _compile.compile_flow(
        {**document, "id": flow_id, "state": state}, segments=known, params=params, spec_id=spec_id, place=""
    )


def segment(resource: Resource) -> _flow.Segment:
    """A stored audience as a flow maps it."""
    return _flow.Segment(
        id=resource.id,
        name=resource.name,
        namespace=str(resource.body.get("namespace", _flow.PLATFORM_NAMESPACE)),
        created_at_ms=resource.created_ms,
        updated_at_ms=resource.updated_ms,
    )
