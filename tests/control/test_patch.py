"""Patches do what RFC 6902 says of add, replace and remove, and versions are compared as AEP compares them."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.control import patch
from headrace.errors import UseCaseError

DOCUMENT = {"name": "a", "list": [1, 2, 3], "object": {"x": {"y": 1}, "": 0, "a/b": 1, "m~n": 2}}


def applied(*operations: dict[str, Any]) -> Any:
    """DOCUMENT after a patch."""
    return patch.apply(DOCUMENT, patch.operations(list(operations)))


def refused(value: Any, document: Any = DOCUMENT) -> UseCaseError:
    """The error of a patch."""
    with pytest.raises(UseCaseError) as error:
        patch.apply(document, patch.operations(value))
    return error.value


@pytest.mark.parametrize("op", ["add", "Add", "ADD", "aDD"])
def test_names_of_operations_are_in_any_case(op: str) -> None:
    """Clients write add, Add and ADD."""
    assert applied({"op": op, "path": "/new", "value": 1})["new"] == 1


def test_add() -> None:
    """Adding inserts before an index, appends by -, and replaces a member that is there."""
    assert applied({"op": "add", "path": "/list/0", "value": 9})["list"] == [9, 1, 2, 3]
    assert applied({"op": "add", "path": "/list/3", "value": 9})["list"] == [1, 2, 3, 9]
    assert applied({"op": "add", "path": "/list/-", "value": [9]})["list"] == [1, 2, 3, [9]]
    assert applied({"op": "add", "path": "/object", "value": None})["object"] is None
    assert applied({"op": "add", "path": "/object/a~1b", "value": 5})["object"]["a/b"] == 5
    assert applied({"op": "add", "path": "/object/m~0n", "value": 5})["object"]["m~n"] == 5


def test_remove_ignores_a_value_and_is_sequential() -> None:
    """What follows sees what went before: removing 0 and then 1 takes the first and what was the third."""
    twice = [{"op": "remove", "path": "/list/0", "value": ""}, {"op": "remove", "path": "/list/1"}]
    assert applied(*twice)["list"] == [2]


def test_nothing_is_shared_with_document_or_patch() -> None:
    """A later instruction changes what an earlier one put in, and neither the document nor the patch themselves."""
    before, value = copy.deepcopy(DOCUMENT), {"inner": [1]}
    operations = patch.operations(
        [{"op": "add", "path": "/new", "value": value}, {"op": "add", "path": "/new/inner/-", "value": 2}]
    )
    changed = patch.apply(DOCUMENT, operations)
    assert changed["new"] == {"inner": [1, 2]}
    changed["list"].append(4)
    assert before == DOCUMENT
    assert value == {"inner": [1]}
    assert operations[0]["value"] == {"inner": [1]}


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (None, "1405-400"),
        ([], "1405-400"),
        ({}, "1455-400"),
        ("x", "1455-400"),
        ([1], "1455-400"),
        ([{"op": "move", "from": "/a", "path": "/b"}], "1434-400"),
        ([{"op": "test", "path": "/name", "value": "a"}], "1434-400"),
        ([{"path": "/name", "value": "a"}], "1434-400"),
        ([{"op": 1, "path": "/name", "value": "a"}], "1434-400"),
        ([{"op": "add", "value": "a"}], "1455-400"),
        ([{"op": "add", "path": "name", "value": "a"}], "1455-400"),
        ([{"op": "add", "path": "", "value": {}}], "1455-400"),
        ([{"op": "add", "path": "/name"}], "1455-400"),
        ([{"op": "replace", "path": "/missing", "value": 1}], "1455-400"),
        ([{"op": "remove", "path": "/missing"}], "1455-400"),
        ([{"op": "remove", "path": "/list/3"}], "1455-400"),
        ([{"op": "remove", "path": "/list/-"}], "1455-400"),
        ([{"op": "add", "path": "/list/4", "value": 1}], "1455-400"),
        ([{"op": "add", "path": "/list/01", "value": 1}], "1455-400"),
        ([{"op": "add", "path": "/list/x", "value": 1}], "1455-400"),
        ([{"op": "add", "path": "/name/x", "value": 1}], "1455-400"),
        ([{"op": "add", "path": "/no/such", "value": 1}], "1455-400"),
        ([{"op": "add", "path": "/m~2", "value": 1}], "1455-400"),
        ([{"op": "add", "path": "/x", "value": 1}] * (patch.MAX_OPERATIONS + 1), "1455-400"),
    ],
)
def test_what_cannot_be_applied_is_refused(value: Any, code: str) -> None:
    """Each with its code."""
    assert refused(value).error_code == code


def test_an_error_names_its_instruction() -> None:
    """The second instruction is at fault, and its path is told."""
    error = refused([{"op": "add", "path": "/a", "value": 1}, {"op": "replace", "path": "/object/none", "value": 1}])
    assert "[1]" in str(error)
    assert 'Missing field "none"' in str(error)


KEYS = st.sampled_from(["a", "b", "", "a/b", "m~n", "0", "1", "-"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text("ab", max_size=2),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=8,
)
PATHS = st.lists(KEYS | st.sampled_from(["2", "3", "01"]), min_size=1, max_size=4)
OPERATIONS = st.lists(st.tuples(st.sampled_from(patch.OPERATIONS), PATHS, JSON), min_size=1, max_size=5)


class ImpossibleError(Exception):
    """The reference cannot apply an instruction."""


def reference(document: Any, op: str, path: list[str], value: Any) -> Any:
    """RFC 6902, sections 4.1 to 4.3, on plain values."""
    if isinstance(document, dict):
        if (len(path) > 1 or op != "add") and path[0] not in document:
            raise ImpossibleError
        changed = dict(document)
        if len(path) > 1:
            changed[path[0]] = reference(document[path[0]], op, path[1:], value)
        elif op == "remove":
            del changed[path[0]]
        else:
            changed[path[0]] = value
        return changed
    if not isinstance(document, list):
        raise ImpossibleError
    appends = op == "add" and len(path) == 1
    if appends and path[0] == "-":
        return [*document, value]
    if path[0] not in [str(n) for n in range(len(document) + appends)]:
        raise ImpossibleError
    index = int(path[0])
    if len(path) > 1:
        middle = [reference(document[index], op, path[1:], value)]
    else:
        middle = {"add": [value, *document[index : index + 1]], "replace": [value], "remove": []}[op]
    return [*document[:index], *middle, *document[index + 1 :]]


@given(st.dictionaries(KEYS, JSON, max_size=4), OPERATIONS)
def test_patches_do_what_the_rfc_says(
    document: dict[str, Any], instructions: list[tuple[str, list[str], Any]]
) -> None:
    """The same result as a reference written from the RFC, and refused exactly where that is."""
    operations = [
        {"op": op, "path": "".join("/" + each.replace("~", "~0").replace("/", "~1") for each in path), "value": value}
        for op, path, value in instructions
    ]
    before = copy.deepcopy(document)
    expected: Any = document
    try:
        for op, path, value in instructions:
            expected = reference(expected, op, path, value)
    except ImpossibleError:
        assert refused(operations, document).error_code == "1455-400"
    else:
        assert patch.apply(document, patch.operations(operations)) == expected
    assert document == before


@pytest.mark.parametrize(
    ("given_", "strict", "code"),
    [
        ('"v1"', True, None),
        ('  "v1" ', True, None),
        ("v1", False, None),
        ('"v1"', False, None),
        (None, True, "1403-400"),
        ("", True, "1403-400"),
        (" ", False, "1403-400"),
        ("v1", True, "1404-412"),
        ('"v2"', True, "1404-412"),
        ("v2", False, "1404-412"),
        ('"v1', False, "1404-412"),
        ("*", True, "1404-412"),
        ('W/"v1"', True, "1404-412"),
    ],
)
def test_versions_are_compared_with_their_quotes(given_: str | None, strict: bool, code: str | None) -> None:
    """A missing header, another version, and by default one without quotes are refused."""
    if code is None:
        patch.check_version(given_, '"v1"', resource="flows/f", strict=strict)
        return
    with pytest.raises(UseCaseError) as error:
        patch.check_version(given_, '"v1"', resource="flows/f", strict=strict)
    assert error.value.error_code == code
    assert error.value.status == int(code[-3:])
