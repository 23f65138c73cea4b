"""What all resources of the Flow Service share: their base path, list parameters, wrapper and links."""

from __future__ import annotations

from typing import Any, Final

from headrace.control.lists import Page
from headrace.control.service import Written

from .call import Answer
from .operation import Parameter
from .schemas import ref

BASE: Final = "/data/foundation/flowservice"

PROPERTY: Final = Parameter(
    name="property",
    words="A filter `path operator value[,value…]`; repeatable, all must match.",
    many=True,
)
TOKEN: Final = Parameter(name="continuationToken", words="Goes on with an earlier list.")
LISTING: Final = (
    Parameter(
        name="limit", words="Most items; 100 when absent.", schema={"type": "integer", "minimum": 1, "maximum": 100}
    ),
    Parameter(name="orderby", words="`name`, `+name` or `-name`, several separated by commas."),
    Parameter(
        name="count",
        words="`true` answers only how many there are; not beside `limit`.",
        schema={"type": "string", "enum": ["true", "false", "True", "False"]},
    ),
    PROPERTY,
    TOKEN,
)
IF_MATCH: Final = Parameter(
    name="If-Match", words="The etag that was read, in double quotes.", where="header", required=True
)
IF_MATCH_MAYBE: Final = Parameter(name="If-Match", words="The etag that was read, in double quotes.", where="header")

CREATED: Final[dict[str, Any]] = {"status": 201, "answer": ref("Written")}
"""Fields of an operation that makes a resource."""
PATCHED: Final[dict[str, Any]] = {
    "body": ref("Patch"),
    "parameters": (IF_MATCH,),
    "answer": ref("Written"),
    "refusals": (409, 412, 422),
}
"""Fields of an operation that patches one."""
DELETED: Final[dict[str, Any]] = {"parameters": (IF_MATCH_MAYBE,), "refusals": (409, 412)}
"""Fields of an operation that removes one."""


def listed(path: str, page: Page) -> Answer:
    """The answer to a list.

    Args:
        path: Of the collection, below the base path: clients put it behind the base themselves.
        page: What is answered.
    """
    if page.count is not None:
        return Answer(content={"count": page.count})
    # The token stands alone: the public Python client cuts it out between the first and the second "=".
    links = {"next": {"href": f"{path}?continuationToken={page.token}"}} if page.token else {}
    return Answer(content={"items": page.items, "_links": links})


def one(item: dict[str, Any]) -> Answer:
    """The answer that shows one resource."""
    return Answer(content={"items": [item]})


def written(made: Written, status: int = 200, **more: Any) -> Answer:
    """The answer to a change."""
    content: dict[str, Any] = {"id": made.id, "etag": made.etag}
    if made.warnings:
        content["warnings"] = list(made.warnings)
    return Answer(content=content | {name: value for name, value in more.items() if value}, status=status)
