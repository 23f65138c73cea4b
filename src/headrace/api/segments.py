"""Audiences, as segment definitions and as audiences (Segmentation Service)."""

from __future__ import annotations

from typing import Any, Final

from headrace.control import segments
from headrace.control.access import DEFINE, Permission

from .call import Answer, Call
from .flow_service import IF_MATCH_MAYBE
from .operation import Operations, Parameter
from .schemas import ref

operations: Final = Operations("/data/core/ups", "Audiences")
_VIEW: Final = (Permission.VIEW_SEGMENTS,)
_LIMIT: Final = Parameter(
    name="limit", words="Most of them.", schema={"type": "integer", "minimum": 1, "maximum": segments.MAX_LIMIT}
)
_SORT: Final = Parameter(name="sort", words="Field and direction: `name:asc`, `updateTime:desc`.")
_CHANGE: Final[dict[str, Any]] = {"refusals": (409, 412), "needs": DEFINE}


@operations(
    "GET",
    "/segment/definitions",
    parameters=(
        _LIMIT,
        Parameter(name="page", words="Which page; the first one is 0.", schema={"type": "integer", "minimum": 0}),
        Parameter(name="start", words="Position of the first one, instead of a page.", schema={"type": "integer"}),
        _SORT,
        Parameter(
            name="evaluationInfo.continuous.enabled",
            words="Only those that are, or are not, evaluated as updates come.",
            schema={"type": "string", "enum": ["true", "false"]},
        ),
    ),
    answer=ref("Segments"),
    needs=_VIEW,
)
def list_segments(call: Call) -> Answer:
    """List the segment definitions."""
    found = segments.list_segments(
        call.control,
        call.caller,
        page=call.whole("page", 0) or 0,
        start=call.whole("start"),
        limit=call.whole("limit", 100) or 0,
        sort=call.one("sort"),
        continuous=call.flag("evaluationInfo.continuous.enabled"),
    )
    field, direction = found.sort
    page = {
        "totalCount": found.total,
        "totalPages": found.pages,
        "sortField": field,
        "sort": direction,
        "pageSize": len(found.items),
        "limit": found.limit,
    }
    return Answer(content={"segments": found.items, "page": page, "link": {}})


@operations("POST", "/segment/definitions", body=ref("NewSegment"), answer=ref("Segment"), **_CHANGE)
def create_segment(call: Call) -> Answer:
    """Make an audience from a segment definition; its expression is kept and checked, and not evaluated."""
    return Answer(content=segments.create_segment(call.control, call.caller, call.body()))


@operations(
    "POST", "/segment/definitions/bulk-get", body=ref("Ids"), status=207, answer=ref("FoundSegments"), needs=_VIEW
)
def get_segments(call: Call) -> Answer:
    """Look several segment definitions up by their ids."""
    found = segments.get_segments(call.control, call.caller, call.body())
    return Answer(content={"results": found}, status=207)


@operations("GET", "/segment/definitions/{id}", answer=ref("Segment"), needs=_VIEW)
def get_segment(call: Call) -> Answer:
    """Look up a segment definition."""
    return Answer(content=segments.get_segment(call.control, call.caller, call.path["id"]))


@operations(
    "PATCH",
    "/segment/definitions/{id}",
    body=ref("ChangedSegment"),
    parameters=(IF_MATCH_MAYBE,),
    answer=ref("Segment"),
    **_CHANGE,
)
def update_segment(call: Call) -> Answer:
    """Change a segment definition: by an object whose members replace, or by a patch."""
    made = segments.update_segment(call.control, call.caller, call.path["id"], call.body(), call.if_match)
    return Answer(content=made)


@operations("DELETE", "/segment/definitions/{id}", answer=ref("Deleted"), refusals=(409,), needs=DEFINE)
def delete_segment(call: Call) -> Answer:
    """Remove a segment definition that no flow maps."""
    segments.delete_segment(call.control, call.caller, call.path["id"])
    return Answer(content={"message": "Segment definition deleted"})


@operations(
    "GET",
    "/audiences",
    parameters=(
        Parameter(name="start", words="Position of the first one.", schema={"type": "integer", "minimum": 0}),
        _LIMIT,
        _SORT,
        Parameter(name="property", words="A filter as of the Flow Service; repeatable.", many=True),
        Parameter(name="name", words="Only those whose name holds this, in any case."),
        Parameter(name="description", words="Only those whose description holds this, in any case."),
        Parameter(name="entityType", words="Accepted, without effect: profiles are all there is."),
    ),
    answer=ref("Audiences"),
    needs=_VIEW,
)
def list_audiences(call: Call) -> Answer:
    """List the audiences."""
    found = segments.list_audiences(
        call.control,
        call.caller,
        start=call.whole("start", 0) or 0,
        limit=call.whole("limit", 20) or 0,
        sort=call.one("sort"),
        properties=call.all("property"),
        name=call.one("name"),
        description=call.one("description"),
    )
    page: dict[str, Any] = {
        "totalCount": found.total,
        "totalPages": found.pages,
        "start": found.start,
        "pageSize": len(found.items),
        "limit": found.limit,
    }
    # Clients go on until it is absent.
    if found.next is not None:
        page["next"] = found.next
    return Answer(content={"children": found.items, "_page": page, "_links": {}})


@operations("POST", "/audiences", body=ref("NewAudience"), status=201, answer=ref("Audience"), **_CHANGE)
def create_audience(call: Call) -> Answer:
    """Make an audience; one made elsewhere has a namespace and no expression, and its updates say who is in it."""
    return Answer(content=segments.create_audience(call.control, call.caller, call.body()), status=201)


@operations("GET", "/audiences/{id}", answer=ref("Audience"), needs=_VIEW)
def get_audience(call: Call) -> Answer:
    """Look up an audience."""
    return Answer(content=segments.get_audience(call.control, call.caller, call.path["id"]))


def _updated(call: Call) -> Answer:
    made = segments.update_audience(call.control, call.caller, call.path["id"], call.body(), call.if_match)
    return Answer(content=made, status=201)


@operations(
    "PATCH",
    "/audiences/{id}",
    body=ref("ChangedSegment"),
    parameters=(IF_MATCH_MAYBE,),
    status=201,
    answer=ref("Audience"),
    **_CHANGE,
)
def update_audience(call: Call) -> Answer:
    """Change an audience: by a patch, or by an object whose members replace."""
    return _updated(call)


@operations(
    "PUT",
    "/audiences/{id}",
    body=ref("ChangedSegment"),
    parameters=(IF_MATCH_MAYBE,),
    status=201,
    answer=ref("Audience"),
    **_CHANGE,
)
def replace_audience(call: Call) -> Answer:
    """Change an audience by an object whose members replace."""
    return _updated(call)


@operations("DELETE", "/audiences/{id}", status=204, refusals=(409,), needs=DEFINE)
def delete_audience(call: Call) -> Answer:
    """Remove an audience that no flow maps."""
    segments.delete_segment(call.control, call.caller, call.path["id"])
    return Answer(status=204)
