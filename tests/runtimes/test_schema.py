"""Paths that stored profiles have: types, numbers, conflicts, and no value of anybody."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.clock import Manual
from headrace.core.envelope import Envelope, encode
from headrace.core.model import FORMAT
from headrace.core.paths import parse
from headrace.runtimes.embedded import schema
from headrace.runtimes.embedded.schema import PathSeen, answer, observed, shape
from headrace.state.base import State
from headrace.state.memory import MemoryState
from headrace.state.rocksdb import RocksState
from tests.runtimes.road import KEYS


def stored(state: State, *attributes: dict[str, Any], first: int = 0) -> None:
    """Put a profile with these attributes each into a state."""
    write = state.batch()
    for number, each in enumerate(attributes, first):
        profile_id = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
        write.put(KEYS.profile(profile_id), encode(Envelope(FORMAT, profile_id, 1, 1, {}, each, {}, {}, {}, 1)))
    state.commit(write)


def seen(*attributes: dict[str, Any], **more: Any) -> dict[str, PathSeen]:
    """What is seen in profiles with these attributes, by path."""
    state = MemoryState()
    stored(state, *attributes)
    return {each.path: each for each in observed(state, KEYS, **more)}


def test_paths_have_type_number_and_the_shape_of_a_value() -> None:
    """Nested names become paths as mappings write them; null is no value."""
    found = seen(
        {"person": {"name": {"lastName": "Lovelace"}}, "a.b": 7, "tags": ["x", "y"]},
        {"person": {"name": {"lastName": "Hopper", "firstName": None}}, "gone": None},
    )
    assert {path: (each.type, each.count, each.of, each.sample) for path, each in found.items()} == {
        "['a.b']": ("integer", 1, 2, "9"),
        "person": ("object", 2, 2, ""),
        "person.name": ("object", 2, 2, ""),
        "person.name.lastName": ("string", 2, 2, found["person.name.lastName"].sample),
        "tags": ("array", 1, 2, "[a, …]"),
    }
    assert found["person.name.lastName"].sample in ("Aaaaaaaa", "Aaaaaa")
    assert all(isinstance(parse(path), tuple) for path in found)


def test_fewer_profiles_are_looked_at_where_they_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """One at the least; more than are looked at by itself cannot be asked for."""
    monkeypatch.setattr(schema, "MOST_PROFILES", 20)
    monkeypatch.setattr(schema, "System", Manual)
    state = MemoryState()
    stored(state, *({"n": n} for n in range(30)))
    for wanted, of in (({"most": 7}, 7), ({"most": -1}, 1), ({}, 20), ({"most": 10**9}, 20)):
        (path,) = answer(state, KEYS, wanted)
        assert (path.path, path.of) == ("n", of)


def test_types_that_conflict_are_told_with_their_numbers() -> None:
    """The type seen most is the path's; a whole number among numbers is no conflict."""
    found = seen(*({"n": n} for n in (1, 2.5, 3, "4")), {"m": 1}, {"m": 2.5})
    assert (found["n"].type, found["n"].types) == ("number", {"number": 3, "string": 1})
    assert (found["m"].type, found["m"].types) == ("number", {})


def test_a_path_that_is_both_a_value_and_an_object_tells_of_both() -> None:
    """What lies below is told too."""
    found = seen({"a": "x"}, {"a": "x"}, {"a": {"b": True}})
    assert found["a"].types == {"object": 1, "string": 2}
    assert found["a.b"].sample == "true or false"


def test_no_value_is_told_neither_as_a_sample_nor_as_a_name() -> None:
    """Planted values are found nowhere in the answer, and the search would find them in what is stored."""
    planted = ["Grace", "grace@example.com", "4915112345678", "Zürich", "naïve", "3.14159"]
    attributes = [
        {
            "name": "Grace", "mail": "grace@example.com", "phone": 4915112345678, "city": "Zürich",
            "list": ["naïve", "Grace"], "pi": 3.14159, "byMail": {"grace@example.com": 1},
            "byPhone": {"4915112345678": {"n": 1}}, "deep": {"list": [{"name": "Grace"}]},
        }
    ]  # fmt: skip
    told = msgspec.json.encode(list(seen(*attributes).values())).decode()
    assert "deep.list" in told
    for each in planted:
        assert each in msgspec.json.encode(attributes).decode()
        assert each.lower() not in told.lower()


def test_names_of_a_map_are_values_and_not_told() -> None:
    """Many names, each in few profiles, are a map; as many names in every profile are attributes."""
    by_shop = [{"visits": {f"shop {number}-{n}": 1 for n in range(5)}} for number in range(100)]
    assert set(seen(*by_shop)) == {"visits"}
    wide = {f"column{n}": n for n in range(300)}
    assert len(seen(*(wide for _ in range(3)))) == 300


@pytest.mark.parametrize("number", [1, 500, 5000])
def test_a_sample_is_bounded_and_taken_from_everywhere(number: int, tmp_path: Path) -> None:
    """At most so many profiles are looked at, the same ones each time; of few, all."""
    state = RocksState(tmp_path)
    try:
        stored(state, *({"n": n, "odd" if n % 2 else "even": n} for n in range(number)))
        found = {each.path: each for each in observed(state, KEYS, most=1000, budget_s=60)}
        assert observed(state, KEYS, most=1000, budget_s=60) == list(found.values())
        assert found["n"].of == found["n"].count == min(number, 1000)
        if number == 5000:
            assert 400 < found["odd"].count < 600
    finally:
        state.close()


def test_looking_ends_when_its_time_is_over() -> None:
    """The answer is made of what was seen by then."""

    class Slow(Manual):
        def monotonic_s(self) -> float:
            self.advanced = getattr(self, "advanced", 0.0) + 0.05
            return self.advanced

    assert seen(*({"n": n} for n in range(100)), budget_s=0.2, clock=Slow())["n"].of == 4


def test_nothing_is_seen_in_an_empty_folder() -> None:
    """There are no paths."""
    assert seen() == {}


def test_a_long_value_is_cut() -> None:
    """Its length is not told."""
    assert shape("x" * 1000) == "a" * 24 + "…"
