"""Attribute paths: parsing, and the hot functions against naive ones."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import paths
from headrace.core.model import MAX_DEPTH

NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=6) | st.sampled_from(
    ["a", "b.c", "d'e", "f\\", "[g]", "xdm:h", " ", "é", "_id", "a:b@c$d-e"]
)
SMALL = st.sampled_from("abc")
STEPS = st.lists(SMALL, min_size=1, max_size=4).map(tuple)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 2) | st.just("") | st.lists(st.integers(0, 1), max_size=2),
    lambda below: st.dictionaries(SMALL, below, max_size=3),
    max_leaves=12,
)
OBJECTS = st.dictionaries(SMALL, VALUES, max_size=3)


def parsed(text: str) -> tuple[str, ...]:
    steps = paths.parse(text)
    assert isinstance(steps, tuple), steps
    return steps


def effective(mapped: list[tuple[str, ...]]) -> set[tuple[str, ...]]:
    """Those without a mapped ancestor."""
    return {path for path in mapped if not any(path[:length] in mapped for length in range(1, len(path)))}


@given(st.lists(NAMES, min_size=1, max_size=5).map(tuple))
def test_the_canonical_text_of_any_names_parses_to_them(steps: tuple[str, ...]) -> None:
    """Whatever the names hold, ``dotted`` writes what ``parse`` reads."""
    assert paths.parse(paths.dotted(steps)) == steps


@given(st.text(st.sampled_from("ab.[]'\" \\xdm:\n"), max_size=12))
def test_any_text_is_a_path_or_a_mistake_within_it(text: str) -> None:
    """Nothing raises, no name is empty, and a mistake's position lies within the text or at its end."""
    found = paths.parse(text)
    if isinstance(found, paths.PathMistake):
        assert 0 <= found.position <= len(text)
        assert found.problem
    else:
        assert found
        assert all(found)
        assert paths.parse(paths.dotted(found)) == found


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("person.name.lastName", ("person", "name", "lastName")),
        ("xdm:person.xdm:name", ("person", "name")),
        ("['xdm:a']", ("xdm:a",)),
        ("a['b.c'].d", ("a", "b.c", "d")),
        ("['a']['b']", ("a", "b")),
        (r"['a\'b\\c']", ("a'b\\c",)),
        ("_acme-1:x@y$z", ("_acme-1:x@y$z",)),
        ("größe/ß*", ("größe/ß*",)),
    ],
)
def test_paths_that_are_paths(text: str, steps: tuple[str, ...]) -> None:
    """Dotted, prefixed and quoted names are read."""
    assert paths.parse(text) == steps


@pytest.mark.parametrize(
    ("text", "position", "word"),
    [
        ("", 0, "missing"),
        ("a.", 2, "missing"),
        (".a", 0, "missing"),
        ("a..b", 2, "missing"),
        ("xdm:", 0, "missing"),
        ("a b", 1, "a space"),
        ("a\x00b", 1, "control character"),
        ("a]b", 1, "']'"),
        ('a"b', 1, "'\"'"),
        ("a[0]", 2, "arrays"),
        ("a[", 2, "must follow"),
        ("a['b", 4, "not closed"),
        ("a['']", 3, "missing"),
        ("a['b'", 5, "] must follow"),
        ("a['b']c", 6, ". or ["),
        (r"['a\n']", 4, "after \\"),
        ("['a\\", 4, "after \\"),
        (".".join("a" * (MAX_DEPTH + 1)), 2 * MAX_DEPTH, "deeper"),
    ],
)
def test_paths_that_are_none_say_where(text: str, position: int, word: str) -> None:
    """A mistake tells the position and the reason."""
    found = paths.parse(text)
    assert isinstance(found, paths.PathMistake)
    assert found.position == position
    assert word in found.problem


def test_the_deepest_path_is_accepted() -> None:
    """As many names as a profile may be deep."""
    assert len(parsed(".".join("a" * MAX_DEPTH))) == MAX_DEPTH


@given(st.lists(STEPS, max_size=6))
def test_a_mapped_ancestor_swallows_what_is_below(mapped: list[tuple[str, ...]]) -> None:
    """The leaves of a tree are the paths without a mapped ancestor, each once."""
    found = paths.leaves(paths.tree(mapped))
    assert len(found) == len(set(found))
    assert {parsed(text) for text in found} == effective(mapped)


@given(st.lists(STEPS, max_size=6), OBJECTS)
def test_project_gives_what_the_profile_has(mapped: list[tuple[str, ...]], attributes: dict[str, Any]) -> None:
    """A projection equals reading each path by itself; nothing null or empty, and the profile is left alone."""
    expected: dict[str, Any] = {}
    for path in effective(mapped):
        value = paths.read(path, attributes)
        if value is not None and value != {}:
            here = expected
            for step in path[:-1]:
                here = here.setdefault(step, {})
            here[path[-1]] = value
    before = copy.deepcopy(attributes)
    assert paths.project(paths.tree(mapped), attributes) == expected
    assert attributes == before


def test_project_keeps_the_mapping_order() -> None:
    """Names stand in the order in which they were mapped, not in the profile's."""
    tree = paths.tree([("z",), ("p", "b"), ("a",), ("p", "a")])
    found = paths.project(tree, {"a": 1, "p": {"a": 1, "b": 2}, "z": 3})
    assert list(found) == ["z", "p", "a"]
    assert list(found["p"]) == ["b", "a"]


@given(st.lists(STEPS, max_size=6), OBJECTS)
def test_written_names_each_path_that_an_update_touches(
    mapped: list[tuple[str, ...]], attributes: dict[str, Any]
) -> None:
    """A path counts when the update has it, or something that is no object at an ancestor of it."""

    def touched(path: tuple[str, ...]) -> bool:
        here: Any = attributes
        for step in path:
            if not isinstance(here, dict):
                return True
            if step not in here:
                return False
            here = here[step]
        return True

    tree = paths.tree(mapped)
    expected = [text for text in paths.leaves(tree) if touched(parsed(text))]
    assert paths.written(tree, attributes) == expected


@pytest.mark.parametrize(
    ("update", "found"),
    [
        ({"person": {"name": {"lastName": None}}}, ["person.name.lastName"]),
        ({"person": None}, ["person.name.lastName", "person.name.firstName"]),
        ({"person": {"name": []}}, ["person.name.lastName", "person.name.firstName"]),
        ({"person": {"name": {}}}, []),
        ({"loyalty": {"points": {"now": 1}}}, ["loyalty.points"]),
        ({"other": 1}, []),
    ],
)
def test_written_by_example(update: dict[str, Any], found: list[str]) -> None:
    """Null removes and counts, an array replaces all below, an object says only what it holds."""
    mapped = ("person.name.lastName", "person.name.firstName", "loyalty.points")
    assert paths.written(paths.tree([parsed(text) for text in mapped]), update) == found


@given(STEPS, OBJECTS)
def test_read_stops_where_there_is_no_object(steps: tuple[str, ...], attributes: dict[str, Any]) -> None:
    """Reading walks objects only and answers None where there is nothing."""
    here: Any = attributes
    for step in steps:
        here = here[step] if isinstance(here, dict) and step in here else None
    assert paths.read(steps, attributes) == here
