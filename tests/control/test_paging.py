"""List parameters, their errors, and tokens that go on where a part ended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.control import paging
from headrace.control.paging import Listing, Order
from headrace.errors import UseCaseError


def test_defaults() -> None:
    """Without parameters: the hundred newest."""
    assert paging.read() == Listing(limit=100, order=(Order("createdAt", descending=True),))


@pytest.mark.parametrize("count", ["True", "true", "TRUE", True], ids=repr)
def test_count_is_in_any_case_and_excludes_limit(count: Any) -> None:
    """Python clients write True; count=false beside a limit is what they send with every list."""
    assert paging.read(count=count).count
    assert paging.read(count="False", limit="20").limit == 20
    with pytest.raises(UseCaseError) as error:
        paging.read(count=count, limit=5)
    assert error.value.error_code == "1401-400"


def test_orders() -> None:
    """Signs before names, several keys; a plus sign that became a space is one."""
    assert paging.read(orderby="name").order == (Order("name"),)
    assert paging.read(orderby="-updatedAt, +name").order == (Order("updatedAt", descending=True), Order("name"))
    assert paging.read(orderby=" name").order == (Order("name"),)


@pytest.mark.parametrize(
    ("parameters", "code"),
    [
        ({"limit": "0"}, "1451-400"),
        ({"limit": "101"}, "1451-400"),
        ({"limit": "-1"}, "1451-400"),
        ({"limit": "1.5"}, "1451-400"),
        ({"limit": "٣"}, "1451-400"),
        ({"limit": True}, "1451-400"),
        ({"limit": "9" * 5000}, "1451-400"),
        ({"count": "maybe"}, "1451-400"),
        ({"orderby": "#id"}, "1432-400"),
        ({"orderby": "name,,id"}, "1432-400"),
        ({"orderby": "--name"}, "1432-400"),
        ({"orderby": "colour"}, "1433-400"),
        ({"properties": ["name"]}, "1450-400"),
        ({"token": "%%%"}, "1451-400"),
        ({"token": "AAAA"}, "1451-400"),
        ({"token": Listing(order=(Order("colour"),)).token(("x", "id"))}, "1451-400"),
        ({"token": Listing().token(("text", "id"))}, "1451-400"),
        ({"token": Listing().token((1,))}, "1451-400"),
        ({"token": Listing().token((-1, "id"))}, "1451-400"),
        ({"token": Listing().token((2**63, "id"))}, "1451-400"),
        ({"token": Listing().token((1, "\x00"))}, "1451-400"),
        ({"token": Listing(properties=("name",)).token((1, "id"))}, "1450-400"),
        ({"token": Listing(limit=0).token((1, "id"))}, "1451-400"),
    ],
)
def test_wrong_parameters_are_refused(parameters: dict[str, Any], code: str) -> None:
    """Each with its code."""
    with pytest.raises(UseCaseError) as error:
        paging.read(**parameters)
    assert error.value.error_code == code


@given(
    st.integers(1, 100),
    st.lists(st.builds(Order, st.sampled_from(paging.SORTABLE), st.booleans()), min_size=1, max_size=3),
    st.lists(st.sampled_from(["name==é", 'a.b[]=="x,y"', "state!=enabled"]), max_size=3),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=20),
)
def test_a_token_goes_on_with_the_same_list(limit: int, order: list[Order], properties: list[str], text: str) -> None:
    """It holds order, filters, limit and place, and neither = nor &; a limit beside it wins."""
    listing = Listing(limit=limit, order=tuple(order), properties=tuple(properties))
    after = (*(7 if each.field.endswith("At") else text for each in order), text)
    token = listing.token(after)
    assert not set(token) & set("=&?#%+/ ")
    read = paging.read(token=token)
    assert (read.limit, read.order, read.properties, read.after) == (limit, listing.order, listing.properties, after)
    assert paging.read(token=token, limit="3", orderby="name", count="False").limit == 3
    assert paging.read(token=token, orderby="name").order == listing.order


def test_searches() -> None:
    """The filters of a search come alone or as of a URL; up to a thousand items."""
    body = {"queryString": "property=name==a%20b&property=state==enabled", "limit": 1000, "orderby": "-name"}
    assert paging.read_search(body) == Listing(
        limit=1000, order=(Order("name", descending=True),), properties=("name==a b", "state==enabled")
    )
    assert paging.read_search({"queryString": "name==a%20b&id==x"}).properties == ("name==a b", "id==x")
    assert paging.read_search({"count": True}).count
    assert paging.read_search({}) == Listing(limit=1000)


@pytest.mark.parametrize("body", [None, [], "x", {"queryString": 1}, {"orderby": 1}, {"limit": 1001}, {"limit": "x"}])
def test_wrong_searches_are_refused(body: Any) -> None:
    """A search that is none is the caller's mistake."""
    with pytest.raises(UseCaseError) as error:
        paging.read_search(body)
    assert error.value.error_code in ("1405-400", "1451-400")
