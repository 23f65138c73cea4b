"""Sizes of audiences: exact where all were counted, else rounded to what a sample can know."""

from __future__ import annotations

from headrace.control.access import Permission
from headrace.control.audience_sizes import Size, Sizes, audience_sizes
from headrace.control.store import Store
from tests.api.engine import Engine

from .asking import refused
from .plane import ANN, caller, plane


def test_a_sample_becomes_an_estimate(store: Store) -> None:
    """Two digits; where none was seen, fewer than three in the sample would mean."""
    runtime = Engine()
    found = audience_sizes(plane(store), runtime, ANN, [("CRM", "vip"), ("ups", "x")])
    assert runtime.asked == [("audience-sizes", {"any_of": ["CRM/vip", "ups/x"]})]
    assert not found.exact
    assert found.of("CRM", "vip") == Size(about=650)
    assert found.of("CRM", "rare") == Size(about=50)
    assert found.of("crm", "vip") == Size(about=150, below=True), "namespaces are told apart by case"
    assert found.together_size() == Size(about=100)


def test_everybody_counted_is_exact() -> None:
    """No rounding, and none is none."""
    found = Sizes(profiles=12_345, sampled=12_345, members={"a/b": 1234}, together=0)
    assert found.of("a", "b") == Size(about=1234, exact=True)
    assert found.together_size() == Size(about=0, exact=True)
    assert Sizes(profiles=0, sampled=0, members={}, together=0).of("a", "b") == Size(about=0, exact=True)


def test_the_platforms_audiences_are_found_under_both_of_their_namespaces(store: Store) -> None:
    """Memberships have ``ups`` where the audiences API says ``AEPSegments``; nobody else's namespace is changed."""
    made = Sizes(profiles=5, sampled=5, members={"ups/x": 4, "CRM/x": 2}, together=0)
    assert [made.of(each, "x").about for each in ("AEPSegments", "ups", "CRM", "aepsegments")] == [4, 4, 2, 0]
    runtime = Engine()
    audience_sizes(plane(store), runtime, ANN, [("AEPSegments", "x")])
    assert runtime.asked == [("audience-sizes", {"any_of": ["ups/x"]})]


def test_an_estimate_has_two_digits() -> None:
    """However many there are."""
    made = Sizes(profiles=1_000_000, sampled=4000, members={"a/b": 1234, "a/c": 1}, together=0)
    assert (made.of("a", "b").about, made.of("a", "c").about) == (310_000, 250)


def test_it_needs_view_segments(store: Store) -> None:
    """And a sandbox with an engine."""
    control, runtime = plane(store), Engine()
    held = [each for each in Permission if each is not Permission.VIEW_SEGMENTS]
    assert refused(lambda: audience_sizes(control, runtime, caller(held))).error_code == "2120-403"
    assert refused(lambda: audience_sizes(control, runtime, caller(sandbox="dev"))).error_code == "3016-503"
    assert runtime.asked == []
