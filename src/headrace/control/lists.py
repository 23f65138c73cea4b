"""A part of a list of records: what a store can look up is looked up, the rest is filtered here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from . import filters
from .access import Caller
from .memory import place
from .paging import Listing
from .resources import Kind, Resource
from .store import Query, Reading

_SCAN: Final = 500
"""Records read at once while looking for those that pass a filter."""


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A part of a list.

    Attributes:
        items: As the API shows them; empty when only the count was asked for.
        token: Goes on behind them; None at the end.
        count: How many there are in all; None when it was not asked for.
    """

    items: list[dict[str, Any]]
    token: str | None = None
    count: int | None = None


def listed(
    transaction: Reading,
    caller: Caller,
    kind: Kind,
    listing: Listing,
    shown: Callable[[list[Resource]], list[dict[str, Any]]],
) -> Page:
    """A part of a list: what a store cannot look up is filtered here.

    Args:
        transaction: Reads.
        caller: Gives the scope.
        kind: What is listed.
        listing: Which part.
        shown: Turns records into items, in order.
    """
    narrowed = filters.narrow(listing.filters)
    query = Query(
        kind=kind,
        scope=caller.scope,
        ids=narrowed.ids,
        names=narrowed.names,
        refers=narrowed.refers,
        order=listing.order,
        after=listing.after,
    )
    if listing.count and not narrowed.rest:
        return Page(items=[], count=transaction.count(query))
    wanted = None if listing.count else listing.limit + 1
    passed: list[tuple[Resource, dict[str, Any]]] = []
    # Of records that a reference has led to most pass, so that as many as are wanted are looked at first.
    step = _SCAN if narrowed.rest and narrowed.refers is None else listing.limit + 1
    while wanted is None or len(passed) < wanted:
        resources = transaction.find(msgspec.structs.replace(query, limit=step))
        items = zip(resources, shown(resources), strict=True)
        passed += [pair for pair in items if all(each.matches(pair[1]) for each in narrowed.rest)]
        if len(resources) < step:
            break
        query = msgspec.structs.replace(query, after=place(resources[-1], listing.order))
        step = _SCAN
    if listing.count:
        return Page(items=[], count=len(passed))
    more = len(passed) > listing.limit
    kept = passed[: listing.limit]
    token = listing.token(place(kept[-1][0], listing.order)) if more else None
    return Page(items=[item for _, item in kept], token=token)
