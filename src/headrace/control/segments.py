"""Use cases: audiences, as segment definitions and as audiences (Segmentation Service API, spec of both).

An audience made elsewhere has a namespace of its own; the updates state who is in it. One with an expression is kept
and checked, and its memberships too come from the updates: nothing is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from headrace.core.report import Report, shown

from . import filters
from .access import DEFINE, Caller, Permission
from .problems import Code, problem, refuse
from .resources import Kind, Resource
from .segment_rules import SEGMENT_KEYS, created, kind_of, updated
from .segment_shapes import AUDIENCE_READ_ONLY, DEFINITION_READ_ONLY, audience, definition
from .service import Control, body_of, found, reading, unused, writing
from .store import Query

__all__ = [
    "SegmentPage", "create_audience", "create_segment", "delete_segment", "get_audience", "get_segment",
    "get_segments", "list_audiences", "list_segments", "update_audience", "update_segment",
]  # fmt: skip

_VIEW: Final = Permission.VIEW_SEGMENTS
_SORTABLE: Final[dict[str, Callable[[Resource], Any]]] = {
    "name": lambda each: each.name,
    "id": lambda each: each.id,
    "createTime": lambda each: each.created_ms,
    "creationTime": lambda each: each.created_ms,
    "createEpoch": lambda each: each.created_ms,
    "updateTime": lambda each: each.updated_ms,
    "updateEpoch": lambda each: each.updated_ms,
}
MAX_LIMIT: Final = 1000


class SegmentPage(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the audiences.

    Attributes:
        items: In the shape that was asked for.
        total: How many there are in all.
        start: Position of the first one.
        limit: Most that one part holds.
        sort: Field and direction.
    """

    items: list[dict[str, Any]]
    total: int
    start: int
    limit: int
    sort: tuple[str, str]

    @property
    def pages(self) -> int:
        """How many parts there are."""
        return math.ceil(self.total / self.limit)

    @property
    def next(self) -> int | None:
        """Position where the next part begins; None at the end."""
        end = self.start + len(self.items)
        return end if self.items and end < self.total else None


def create_segment(control: Control, caller: Caller, body: Any) -> dict[str, Any]:
    """Make an audience from a segment definition; needs View and Manage Segments.

    Args:
        control: The parts.
        caller: Who.
        body: ``name``, ``schema``, ``expression``; and ours, ``id`` and ``namespace``, for an audience that the
            updates name by an id of their own.

    Raises:
        UseCaseError: 1405-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, *DEFINE) as change:
        document = body_of(body, SEGMENT_KEYS, DEFINITION_READ_ONLY)
        return definition(created(change, document, external=False), caller)


def create_audience(control: Control, caller: Caller, body: Any) -> dict[str, Any]:
    """Make an audience; one made elsewhere needs a namespace and no expression; needs View and Manage Segments.

    Raises:
        UseCaseError: 1405-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, *DEFINE) as change:
        document = body_of(body, (*SEGMENT_KEYS, "type"), AUDIENCE_READ_ONLY)
        external = kind_of(document)
        return audience(created(change, document, external=external), caller)


def list_segments(
    control: Control,
    caller: Caller,
    *,
    page: int = 0,
    start: int | None = None,
    limit: int = 100,
    sort: str | None = None,
    continuous: bool | None = None,
) -> SegmentPage:
    """A page of segment definitions, the first one being 0; needs View Segments.

    Args:
        control: The parts.
        caller: Who.
        page: Which.
        start: Position of the first one, instead of a page.
        limit: Most definitions a page.
        sort: ``name:asc``.
        continuous: Only those that are, or are not, evaluated as updates come.

    Raises:
        UseCaseError: 1432-400, 1433-400 or 1451-400.
    """
    with reading(control, caller, _VIEW) as transaction:
        _within(limit, page if start is None else start)
        field, direction, records = _sorted(transaction.find(Query(kind=Kind.SEGMENT, scope=caller.scope)), sort)
    if continuous is not None:
        records = [each for each in records if _continuous(each) is continuous]
    start = page * limit if start is None else start
    items = [definition(each, caller) for each in records[start : start + limit]]
    return SegmentPage(items=items, total=len(records), start=start, limit=limit, sort=(field, direction))


def list_audiences(
    control: Control,
    caller: Caller,
    *,
    start: int = 0,
    limit: int = 20,
    sort: str | None = None,
    properties: Sequence[str] = (),
    name: str | None = None,
    description: str | None = None,
) -> SegmentPage:
    """A part of the audiences; needs View Segments.

    Args:
        control: The parts.
        caller: Who.
        start: Position of the first one.
        limit: Most audiences.
        sort: ``updateTime:desc``.
        properties: Filters.
        name: Only those whose name holds this, in any case.
        description: Only those whose description holds this, in any case.

    Raises:
        UseCaseError: 1432-400, 1433-400, 1451-400 or what ``filters.parse`` raises.
    """
    wanted = filters.parse_all(properties)
    with reading(control, caller, _VIEW) as transaction:
        _within(limit, start)
        field, direction, records = _sorted(
            transaction.find(Query(kind=Kind.SEGMENT, scope=caller.scope)), sort or "updateTime:desc"
        )
    items = [
        item
        for item in (audience(each, caller) for each in records)
        if all(each.matches(item) for each in wanted)
        and (name is None or name.lower() in item["name"].lower())
        and (description is None or description.lower() in item["description"].lower())
    ]
    return SegmentPage(
        items=items[start : start + limit], total=len(items), start=start, limit=limit, sort=(field, direction)
    )


def get_segment(control: Control, caller: Caller, segment_id: str) -> dict[str, Any]:
    """One segment definition; needs View Segments.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        return definition(found(transaction, Kind.SEGMENT, caller.scope, segment_id), caller)


def get_audience(control: Control, caller: Caller, segment_id: str) -> dict[str, Any]:
    """One audience; needs View Segments.

    Raises:
        UseCaseError: 1101-404.
    """
    with reading(control, caller, _VIEW) as transaction:
        return audience(found(transaction, Kind.SEGMENT, caller.scope, segment_id), caller)


def get_segments(control: Control, caller: Caller, body: Any) -> dict[str, dict[str, Any]]:
    """Several segment definitions by id (``{"ids": [{"id": …}]}``), those that are there; needs View Segments.

    Raises:
        UseCaseError: 1405-400 or 3000-400.
    """
    with reading(control, caller, _VIEW) as transaction:
        given = body_of(body, ("ids",))
        report = Report()
        ids = []
        for index, each in enumerate(report.elements(given, "ids", "", required=True)):
            if isinstance(each, Mapping):
                ids.append(report.text(each, "id", f"ids[{index}]", required=True))
            else:
                report.mistake(f"ids[{index}]", "must be an object with id")
        if len(ids) > MAX_LIMIT:
            report.mistake("ids", f"holds {len(ids)} ids", f"at most {MAX_LIMIT}")
        refuse(report.mistakes)
        records = transaction.find(Query(kind=Kind.SEGMENT, scope=caller.scope, ids=frozenset(ids)))
        return {each.id: definition(each, caller) for each in records}


def update_segment(
    control: Control, caller: Caller, segment_id: str, body: Any, if_match: str | None = None
) -> dict[str, Any]:
    """Change a segment definition: an object whose members replace, or a patch; needs View and Manage Segments.

    Raises:
        UseCaseError: 1101-404, 1404-412, 1405-400, 1455-400, 3000-400 or 3003-409.
    """
    with writing(control, caller, *DEFINE) as change:
        return definition(updated(change, segment_id, body, if_match), caller)


def update_audience(
    control: Control, caller: Caller, segment_id: str, body: Any, if_match: str | None = None
) -> dict[str, Any]:
    """Change an audience; as ``update_segment``."""
    with writing(control, caller, *DEFINE) as change:
        return audience(updated(change, segment_id, body, if_match), caller)


def delete_segment(control: Control, caller: Caller, segment_id: str) -> None:
    """Remove an audience; needs View and Manage Segments.

    Raises:
        UseCaseError: 1101-404, or 1447-400 while flows map it.
    """
    with writing(control, caller, *DEFINE) as change:
        resource = change.found(Kind.SEGMENT, segment_id)
        unused(change, resource, f"segment:{resource.id}")
        change.remove(resource)


def _within(limit: int, start: int) -> None:
    if not 1 <= limit <= MAX_LIMIT:
        raise problem(Code.BAD_PARAMETER, f"limit must be a whole number from 1 to {MAX_LIMIT}, not {limit}")
    if start < 0:
        raise problem(Code.BAD_PARAMETER, f"a list begins at 0, not at {start}")


def _sorted(records: list[Resource], sort: str | None) -> tuple[str, str, list[Resource]]:
    """Field, direction and the records in that order; the id decides between equals."""
    field, _, direction = (sort or "name:asc").partition(":")
    if field not in _SORTABLE:
        raise problem(Code.BAD_SORT_FIELD, f"incorrect field={shown(field)} in sort; use {', '.join(_SORTABLE)}")
    if direction not in ("", "asc", "desc"):
        raise problem(Code.BAD_SORT_ORDER, f"incorrect direction {shown(direction)} in sort; use asc or desc")
    records.sort(key=lambda each: each.id)
    records.sort(key=_SORTABLE[field], reverse=direction == "desc")
    return field, direction or "asc", records


def _continuous(resource: Resource) -> bool:
    evaluation = resource.body.get("evaluationInfo") or {}
    return bool((evaluation.get("continuous") or {}).get("enabled", False))
