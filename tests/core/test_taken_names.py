"""A profile is never made under the name of one that exists, whether that was read ahead or not."""

from __future__ import annotations

import pytest

from headrace.core.envelope import decode
from headrace.core.link import name
from headrace.core.model import Identity, Unlink
from headrace.runtimes.embedded.decide import Decider

from .driving import KEY, NOW_MS, flow, snapshot, update
from .test_plain import Folder


@pytest.mark.parametrize("by_c", [False, True])
def test_an_update_that_a_guard_keeps_apart_makes_no_profile_over_another(by_c: bool) -> None:
    """Its other identity is known, so that whose name the new one would have is not read with the batch."""
    config = snapshot(flow("vip", paths=("a",)), max_identities=2)
    folder = Folder(config, by_c=by_c)
    folder.decider = Decider(folder.state, folder.keys, config, KEY, dedup_window_ms=1000, cached=1, by_c=by_c)
    named = name(KEY, Identity("ecid", "2"))
    folder.take([update("ECID:2", "Email:9", primary="ECID:2", a={"keep": 1})], NOW_MS)
    folder.decide([], NOW_MS, [Unlink(named, "ecid", "2")])
    for number in range(5):  # the cache forgets it
        folder.take([update("Email:0", "Email:1"), update(f"ECID:x{number}"), update(f"ECID:y{number}")], NOW_MS)
    before = folder.state.get_many([folder.keys.profile(named)])
    folder.take([update("ECID:2", "Email:0", primary="ECID:2", b=1)], NOW_MS)
    assert folder.state.get_many([folder.keys.profile(named)]) == before
    prefix = folder.keys.profiles
    made = [decode(stored) for _, stored in folder.state.scan(prefix, prefix + b"\xff")]
    assert [one.identities for one in made if "b" in one.attributes] == [{"ecid": ["2"]}]
