"""The grammar of property filters, what they match, and what of them a store looks up."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.control import filters
from headrace.errors import UseCaseError

ITEM: dict[str, Any] = {
    "id": "a",
    "name": "Test, Conn",
    "description": "Test description",
    "state": "enabled",
    "createdAt": 1659907304000,
    "connectionSpec": {"id": "X", "version": "1.0"},
    "sourceConnectionIds": ["A", "C"],
    "params": {"tableName": "lead", "columns": [{"name": "x"}, {"name": "y"}]},
    "transformations": [
        {"params": {"segmentSelectors": {"selectors": [{"value": {"id": "S"}}, {"value": {"id": "T"}}]}}}
    ],
    "inheritedAttributes": {
        "properties": {"isDestinationFlow": True},
        "targetConnections": [{"connectionSpec": {"id": "X"}}],
    },
    "metrics": {
        "durationSummary": {"startedAtUTC": 100},
        "statusSummary": {"status": "Success"},
        "recordSummary": {"targetSummaries": [{"entitySummaries": [{"id": "segment:S"}]}]},
        "ratio": 0.5,
    },
    "none": None,
    "day": "2026-01-02",
}


@pytest.mark.parametrize(
    ("text", "matches"),
    [
        ("id==a,b", True),
        ("id==b , a", True),
        ("id==b,c", False),
        ('name=="Test, Conn"', True),
        ("name==Test, Conn", False),
        ("description==Test description", True),
        ('description="Test description"', True),
        ("state==enabled", True),
        ("state==ENABLED", True),
        ("name==test, conn", False),
        ("connectionSpec.id==X", True),
        ("sourceConnectionIds[]==A,B", True),
        ("sourceConnectionIds[]==B", False),
        ("sourceConnectionIds==A", False),
        ("params.tableName==lead", True),
        ("params.columns[].name==y", True),
        ("params.columns.name==y", False),
        ("transformations[].params.segmentSelectors.selectors[].value.id==T", True),
        ("inheritedAttributes.properties.isDestinationFlow==true", True),
        ("inheritedAttributes.properties.isDestinationFlow==False", False),
        ("inheritedAttributes.targetConnections[].connectionSpec.id==X", True),
        ("createdAt>=1659907304000", True),
        ("createdAt>1659907304000", False),
        ("createdAt < 1659907304001", True),
        ("createdAt<=1659907303999", False),
        ("metrics.durationSummary.startedAtUTC>99.5", True),
        ("metrics.ratio==0.5", True),
        ("metrics.ratio<0.5", False),
        ("metrics.statusSummary.status==success", True),
        ("metrics.recordSummary.targetSummaries[].entitySummaries[].id==segment:S", True),
        ("id!=b", True),
        ("id!=a", False),
        ("sourceConnectionIds[]!=A", False),
        ("missing!=a", True),
        ("missing==a", False),
        ("none==null", False),
        ("params==lead", False),
        ("day>=2026-01-02", True),
        ("day<2026-01-02", False),
        ("inheritedAttributes.properties.isDestinationFlow>=1", False),
        ("metrics.durationSummary.startedAtUTC>many", False),
    ],
)
def test_filters_match(text: str, matches: bool) -> None:
    """Published examples and the edges of the grammar."""
    assert filters.parse(text).matches(ITEM) is matches


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "1450-400"),
        ("name", "1450-400"),
        ("name!>a", "1450-400"),
        ("name===a", "1450-400"),
        ("name~a", "1440-400"),
        ("name=~a", "1440-400"),
        ("createdAt>=1,2", "1443-400"),
        ("name!=a,b", "1443-400"),
        ("id>=a", "1448-400"),
        ("flowId<a", "1448-400"),
        ("state>enabled", "1448-400"),
        ("==a", "1449-400"),
        ("a..b==c", "1449-400"),
        ("a[0]==c", "1449-400"),
        ("a b==c", "1449-400"),
        ("[]==c", "1449-400"),
        ("createdAt==yesterday", "1452-400"),
        ("createdAt==1,x", "1452-400"),
        ("createdAt==", "1453-400"),
        ("id==a,,b", "1453-400"),
        ("id==a,", "1453-400"),
        ('id=="a', "1453-400"),
        ('id=="a"b', "1453-400"),
        ("id==\x00", "1452-400"),
        ("id==\ud800", "1452-400"),
        ("id==" + ",".join(["a"] * (filters.MAX_VALUES + 1)), "1452-400"),
    ],
)
def test_what_is_no_filter_is_refused(text: str, code: str) -> None:
    """Each with its code."""
    with pytest.raises(UseCaseError) as error:
        filters.parse(text)
    assert error.value.error_code == code


def test_too_many_filters_are_refused() -> None:
    """A request has a bounded number of them."""
    with pytest.raises(UseCaseError, match="more than"):
        filters.parse_all(["id==a"] * (filters.MAX_FILTERS + 1))


NAME = st.from_regex(r"[A-Za-z0-9_@$:-]{1,6}", fullmatch=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), min_size=0, max_size=12)


def quoted(text: str) -> str:
    """A value within quotes."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@given(st.lists(st.tuples(NAME, st.booleans()), min_size=1, max_size=4), st.lists(TEXT, min_size=1, max_size=4))
def test_any_path_and_any_quoted_values_are_read_as_written(path: list[tuple[str, bool]], values: list[str]) -> None:
    """Commas, quotes, operators and line ends within quotes are part of the value; an item built so matches."""
    if path[-1][0] in ("createdAt", "updatedAt"):
        return
    field = ".".join(name + "[]" * steps for name, steps in path)
    read = filters.parse(f"{field}=={','.join(map(quoted, values))}")
    assert read.field == field
    assert read.values == tuple(values)
    item: Any = values[-1]
    for name, steps in reversed(path):
        item = {name: [None, item] if steps else item}
    assert read.matches(item)
    assert not read.matches({})


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused_with_a_code(text: str) -> None:
    """No text breaks the reader, and what it reads can be matched."""
    status = 200
    try:
        assert filters.parse(text).matches(ITEM) in (True, False)
    except UseCaseError as error:
        status = error.status
    assert status in (200, 400)


def test_narrowing_leaves_what_it_cannot_answer() -> None:
    """Ids and names are looked up; what a record uses narrows, and is matched all the same; the rest stays."""
    texts = [
        "id==a,b",
        "id==a",
        "name==n",
        "flowId==F",
        "baseConnectionId==B",
        "state==enabled",
        "name!=x",
        "createdAt>1",
    ]
    narrowed = filters.narrow(filters.parse_all(texts))
    assert narrowed.ids == frozenset({"a", "b"})
    assert narrowed.names == frozenset({"n"})
    assert narrowed.refers == frozenset({"F"})
    assert [f"{each.field}{each.operator}{each.values[0]}" for each in narrowed.rest] == [
        "id==a", "flowId==F", "baseConnectionId==B", "state==enabled", "name!=x", "createdAt>1",
    ]  # fmt: skip
