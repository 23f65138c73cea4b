"""Audience sizes: counted exactly where all profiles are looked at, and near it in a sample."""

from __future__ import annotations

import hashlib

import pytest

from headrace.clock import Manual
from headrace.core.envelope import Envelope, encode
from headrace.core.model import FORMAT, Membership
from headrace.runtimes.embedded.sizes import Sizes, sizes
from headrace.state.memory import MemoryState
from headrace.state.records import Totals
from headrace.state.records import encode as encode_row
from tests.runtimes.road import KEYS

SINCE = "2026-01-01T00:00:00.000Z"


def folder(count: int) -> MemoryState:
    """Profiles of which each tenth is a member of one audience, each fourth of another, and each third was."""
    state = MemoryState()
    write = state.batch()
    for number in range(count):
        profile_id = hashlib.blake2b(str(number).encode(), digest_size=16).hexdigest()
        members = {
            "crm": {"tenth": Membership(number % 10 == 0, SINCE), "third": Membership(False, SINCE)},
            "ups": {"fourth": Membership(number % 4 == 0, SINCE)} if number % 2 == 0 else {},
        }
        envelope = Envelope(FORMAT, profile_id, 1, 1, {"email": ["a"]}, {"n": {"m": [1]}}, {"n": 1}, members, {}, 1)
        write.put(KEYS.profile(profile_id), encode(envelope))
    write.put(KEYS.totals, encode_row(Totals(profiles=count)))
    state.commit(write)
    return state


def test_few_profiles_are_all_counted() -> None:
    """Members, not those who left; each of several audiences' members once."""
    found = sizes(folder(200), KEYS, any_of=["crm/tenth", "ups/fourth", "nowhere/x"])
    assert found == Sizes(profiles=200, of=200, members={"crm/tenth": 20, "ups/fourth": 50}, any=60)
    assert sizes(folder(200), KEYS).any == 0


def test_a_sample_is_bounded_near_the_truth_and_the_same_each_time() -> None:
    """A thousand of six thousand: within four times the spread that chance would have."""
    state = folder(6000)
    found = sizes(state, KEYS, most=1000)
    assert (found.profiles, found.of) == (6000, 1000)
    assert found.members["crm/tenth"] == pytest.approx(100, abs=4 * (1000 * 0.1 * 0.9) ** 0.5)
    assert found.members["ups/fourth"] == pytest.approx(250, abs=4 * (1000 * 0.25 * 0.75) ** 0.5)
    assert sizes(state, KEYS, most=1000) == found


def test_counting_ends_when_its_time_is_over() -> None:
    """The answer is made of what was counted by then."""

    class Slow(Manual):
        def monotonic_s(self) -> float:
            self.advanced = getattr(self, "advanced", 0.0) + 0.05
            return self.advanced

    assert sizes(folder(1000), KEYS, budget_s=0.1, clock=Slow()).of == 128


def test_an_empty_folder_has_no_members() -> None:
    """Nor profiles."""
    assert sizes(MemoryState(), KEYS) == Sizes(profiles=0, of=0, members={}, any=0)
