"""List parameters: ``limit``, ``orderby``, ``count``, ``property`` and the continuation token.

A token holds everything that makes the rest of the list the same list (order, filters, limit and the last place),
so that a link with the token alone goes on; a ``limit`` beside it wins. It holds no ``=`` and no ``&``: the public
Python client cuts it out of the link between these.
"""

from __future__ import annotations

import base64
import binascii
import urllib.parse
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from headrace.core.report import shown

from . import filters as _filters
from .problems import Code, problem

MAX_LIMIT: Final = 100
MAX_SEARCH_LIMIT: Final = 1000
SORTABLE: Final = ("name", "id", "state", "createdAt", "updatedAt")
_TEXTS: Final = {"true": True, "false": False, "": False}


class Order(msgspec.Struct, frozen=True, array_like=True):
    """One key of an order.

    Attributes:
        field: One of ``SORTABLE``.
        descending: Greatest first.
    """

    field: str
    descending: bool = False


NEWEST: Final = (Order("createdAt", descending=True),)
"""The order of a list that asks for none."""


class Listing(msgspec.Struct, frozen=True, kw_only=True):
    """One request for a part of a list.

    Attributes:
        limit: Most items.
        count: Only how many there are.
        order: Keys, the first one first; the id decides between equals.
        properties: Filters as text.
        after: The keys' values and the id of the last item before this part; None from the start.
    """

    limit: int = MAX_LIMIT
    count: bool = False
    order: tuple[Order, ...] = NEWEST
    properties: tuple[str, ...] = ()
    after: tuple[str | int, ...] | None = None

    @property
    def filters(self) -> list[_filters.Filter]:
        """The filters, read."""
        return _filters.parse_all(self.properties)

    def token(self, after: Sequence[str | int]) -> str:
        """The token that goes on behind a place."""
        content = msgspec.msgpack.encode(_Place(self.limit, self.order, self.properties, tuple(after)))
        return base64.urlsafe_b64encode(content).decode().rstrip("=")


class _Place(msgspec.Struct, frozen=True, array_like=True):
    limit: int
    order: tuple[Order, ...]
    properties: tuple[str, ...]
    after: tuple[str | int, ...]


def read(
    *,
    limit: str | int | None = None,
    orderby: str | None = None,
    count: str | bool | None = None,
    properties: Sequence[str] = (),
    token: str | None = None,
    most: int = MAX_LIMIT,
) -> Listing:
    """Read the parameters of a list.

    Args:
        limit: 1 to *most*; *most* when absent.
        orderby: ``name``, ``+name`` or ``-name``, several separated by commas.
        count: true or false in any case.
        properties: Filters, all of which an item passes.
        token: Of an earlier part; it decides about order and filters.
        most: The greatest limit.

    Raises:
        UseCaseError: 1401-400, 1432-400, 1433-400, 1451-400, or what ``filters.parse`` raises.
    """
    counts = _flag(count)
    if counts and limit is not None:
        raise problem(
            Code.LIMIT_AND_COUNT, "the limit and count parameters cannot be given together; give only one of them"
        )
    size = _limit(limit, most)
    if token:
        place = _place(token)
        return Listing(
            limit=min(place.limit, most) if limit is None else size,
            order=place.order,
            properties=place.properties,
            after=place.after,
        )
    _filters.parse_all(properties)
    return Listing(limit=size, count=counts, order=_order(orderby), properties=tuple(properties))


def read_search(body: Any, token: str | None = None) -> Listing:
    """Read the body of a search: ``queryString`` (filters, alone or as of a URL), ``limit``, ``orderby``, ``count``.

    Raises:
        UseCaseError: As of ``read``, and 1405-400 or 1451-400 for a body that is none.
    """
    if body is None:
        raise problem(Code.EMPTY_BODY, "the request body cannot be null or empty")
    if not isinstance(body, dict):
        raise problem(Code.BAD_PARAMETER, "the search must be an object")
    query, orderby = body.get("queryString") or "", body.get("orderby")
    if not isinstance(query, str) or not isinstance(orderby, str | None):
        raise problem(Code.BAD_PARAMETER, "queryString and orderby must be text")
    pairs = urllib.parse.parse_qsl(query.removeprefix("?"), keep_blank_values=True)
    texts = [value for name, value in pairs if name == "property"]
    if query and not texts:
        texts = [urllib.parse.unquote(part) for part in query.split("&")]
    return read(
        limit=body.get("limit"),
        orderby=orderby,
        count=body.get("count"),
        properties=texts,
        token=token,
        most=MAX_SEARCH_LIMIT,
    )


def _flag(value: Any) -> bool:
    if value is None or isinstance(value, bool):
        return bool(value)
    found = _TEXTS.get(str(value).strip().lower())
    if found is None:
        raise problem(Code.BAD_PARAMETER, f"count must be true or false, not {shown(value)}")
    return found


def _limit(value: str | int | None, most: int) -> int:
    if value is None:
        return most
    text = str(value).strip()
    size = int(text) if text.isascii() and text.isdecimal() and len(text) < 10 and not isinstance(value, bool) else 0
    if not 1 <= size <= most:
        raise problem(Code.BAD_PARAMETER, f"limit must be a whole number from 1 to {most}, not {shown(value)}")
    return size


def _order(text: str | None) -> tuple[Order, ...]:
    if text is None or not text.strip():
        return NEWEST
    keys = []
    for part in text.split(","):
        # A plus sign that was not encoded in a URL arrives as a space.
        name = part.strip()
        sign = name[:1] if name[:1] in ("+", "-") else ""
        field = name.removeprefix(sign).strip()
        if not field or not field[:1].isalnum():
            raise problem(
                Code.BAD_SORT_ORDER, f"sort order {shown(part)} is not correct: prepend + or - to a field's name"
            )
        if field not in SORTABLE:
            raise problem(
                Code.BAD_SORT_FIELD, f"incorrect field={shown(field)} passed in orderby; use {', '.join(SORTABLE)}"
            )
        keys.append(Order(field, sign == "-"))
    return tuple(keys)


def _place(token: str) -> _Place:
    try:
        content = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        place = msgspec.msgpack.decode(content, type=_Place)
    except (binascii.Error, ValueError, msgspec.MsgspecError) as error:
        raise problem(Code.BAD_PARAMETER, "the continuationToken is not one of ours; begin the list again") from error
    numeric = [order.field in ("createdAt", "updatedAt") for order in place.order]
    right = (
        all(order.field in SORTABLE for order in place.order)
        and len(place.after) == len(numeric) + 1
        and all(
            isinstance(value, int) == number for value, number in zip(place.after, [*numeric, False], strict=True)
        )
        and place.limit >= 1
        and all(_filters.storable(value) if isinstance(value, str) else 0 <= value < 2**63 for value in place.after)
    )
    if not right:
        raise problem(Code.BAD_PARAMETER, "the continuationToken is not one of ours; begin the list again")
    _filters.parse_all(place.properties)
    return place
