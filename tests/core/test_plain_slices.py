"""Whole batches decided by C, slice by slice, with Python in between, come to what Python alone decides.

Beside ``test_plain.py``: ids of updates, several batches at once, what a source refused, guards, flows that hold
back, people who are joined in the middle, deleted, and come again; caches that keep next to nothing.
"""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core import plain
from headrace.core.flow import Snapshot
from headrace.core.model import Backfill, Delete, Tick, Unlink
from headrace.runtimes.embedded.decide import Decider
from headrace.runtimes.embedded.decision import Command
from headrace.sources.base import Batch, Refused

from .driving import DAY_MS, KEY, NOW_MS, T1, flow, snapshot, update
from .test_plain import Folder, configurations

pytestmark = pytest.mark.skipif(not plain.COMPILED, reason="C is not compiled")

IDS = ["ECID:1", "ECID:2", "Email:1", "Email:2", "Phone:1", "x:y"]
TEXTS = st.sampled_from(["a", "b", "c"])


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An update about some of few people: most are about one, some join two, some are broken or for Python."""
    kind = draw(st.integers(0, 11))
    if kind == 0:
        return draw(st.sampled_from([b"{}", b"{", b'{"identityMap":{"ECID":[{"id":""}]}}', b"[1]"]))
    ids = draw(st.lists(st.sampled_from(IDS), min_size=1, max_size=3 if kind == 1 else 2, unique=True))
    into = draw(st.dictionaries(st.sampled_from(["vip", "aam/x"]), st.sampled_from(["realized", "exited"])))
    fields: dict[str, Any] = draw(st.dictionaries(TEXTS, st.integers(0, 2) | st.just({"b": "x"}), max_size=2))
    if kind == 2:
        fields["a"] = None
    if kind < 5:
        fields["_id"] = draw(st.sampled_from("xyz"))
    return update(*ids, into=into, **fields)


@st.composite
def batches(draw: st.DrawFn) -> Batch:
    """What one source gives at once."""
    found = draw(st.lists(bodies(), min_size=1, max_size=5))
    ids = [draw(st.sampled_from([None, "", "x", "é"])) for _ in found] if draw(st.booleans()) else None
    refused = [Refused(n, "too-large", "") for n in range(len(found)) if draw(st.integers(0, 9)) == 0]
    source = draw(st.sampled_from(["s", "t"]))
    return Batch(source, found, str, None, lambda _: None, ids=ids, refused=refused)


def profiles(folder: Folder) -> list[str]:
    """Ids of those that exist."""
    prefix = folder.keys.profiles
    return [key[len(prefix) :].decode() for key, _ in folder.state.scan(prefix, prefix + b"\xff")]


def commanded(draw: st.DrawFn, folder: Folder) -> list[Command]:
    """Sometimes something that an operator or a timer gives."""
    known = profiles(folder)
    if not known or draw(st.integers(0, 3)):
        return []
    who = draw(st.sampled_from(known))
    kinds: list[Command] = [Tick(who), Delete(who), Backfill(who, "f", "r"), Unlink(who, "email", "1")]
    return [draw(st.sampled_from(kinds))]


@st.composite
def settings(draw: st.DrawFn) -> Snapshot:
    """Flows that C decides for, with guards or without."""
    return msgspec.structs.replace(
        draw(configurations()),
        max_identities=draw(st.sampled_from([1, 2, 3, 50])),
        unstitchable=frozenset(draw(st.sampled_from([(), ("phone",), ("email", "x")]))),
    )


@given(st.data(), settings(), st.integers(1, 5))
def test_batches_with_all_that_is_in_them_are_decided_alike(
    data: st.DataObject, config: Snapshot, cached: int
) -> None:
    folders = [Folder(config, by_c=True), Folder(config, by_c=False)]
    for folder in folders:
        by_c = folder is folders[0]
        folder.decider = Decider(
            folder.state, folder.keys, config, KEY, dedup_window_ms=DAY_MS, cached=cached, by_c=by_c
        )
    for number in range(data.draw(st.integers(1, 5), label="rounds")):
        given_now = data.draw(st.lists(batches(), max_size=3), label="batches")
        commands = data.draw(st.composite(lambda draw: commanded(draw, folders[1]))(), label="commands")
        if given_now or commands:
            for folder in folders:
                folder.decide(given_now, NOW_MS + number * DAY_MS // 2, commands)
        assert folders[0].told[-1:] == folders[1].told[-1:]
    assert folders[0].totals == folders[1].totals
    everything = (b"", b"\xff" * 20)
    assert list(folders[0].state.scan(*everything)) == list(folders[1].state.scan(*everything))


def test_more_updates_than_a_slice_holds_are_decided_in_order() -> None:
    config = snapshot(flow("vip", paths=("a",)))
    history = [update(f"ECID:{n % 7 if n < 200 else 0}", into={"vip": ("realized", T1)}, a=n) for n in range(900)]
    history[63] = history[64] = b"{}"
    history[130] = update("ECID:1", "ECID:2", a=1)
    found = []
    for by_c in (True, False):
        folder = Folder(config, by_c=by_c)
        folder.take(history, NOW_MS)
        found.append((folder.told, folder.totals, list(folder.state.scan(b"", b"\xff" * 20))))
    assert found[0] == found[1]
    assert found[0][1].accepted == 898
    bases = found[0][0][0][-1].bases
    assert [place for place in bases if place > 200], "every 256th version of a profile is kept as it was"


def test_repeats_that_are_known_are_not_looked_for() -> None:
    """As a preview knows them, of a journal: ids are not looked at then."""
    config = snapshot(flow("vip", paths=("a",)))
    history = [
        update(f"ECID:{n % 3}", into={"vip": ("realized", T1)}, a=n, _id="one" if n % 2 else str(n))
        for n in range(150)
    ]
    known = frozenset([*range(9, 150, 7), 63, 64])
    found = []
    for by_c in (True, False):
        folder = Folder(config, by_c=by_c)
        folder.decide([Batch("t", history, str, None, lambda _: None)], NOW_MS, repeats=known)
        found.append((folder.told, folder.totals, list(folder.state.scan(b"", b"\xff" * 20))))
    assert found[0] == found[1]
    assert found[0][1].repeats == len(known)


def test_a_slice_checks_what_it_is_given() -> None:
    config = snapshot(flow("vip"))
    folder = Folder(config, by_c=True)
    given_all: list[Any] = []
    made = plain.Slice

    def watched(*arguments: Any) -> Any:
        given_all.append(arguments)
        return made(*arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plain, "Slice", watched)
        folder.take([update("ECID:1", a=1)], NOW_MS)
    whole, *rest = given_all[0]
    one = made(whole, *rest)
    for at in range(1, len(whole)):
        with pytest.raises(TypeError, match=r"core/plain\.py"):
            made((*whole[:at], 7, *whole[at + 1 :]), *rest)
    with pytest.raises(ValueError, match="PyCapsule"):
        made((None, *whole[1:]), *rest)
    with pytest.raises(TypeError, match=r"core/plain\.py"):
        made(whole[1:], *rest)
    with pytest.raises(TypeError, match=r"core/plain\.py"):
        made((*whole[:-1], []), *rest)
    with pytest.raises(IndexError):
        one.left(0)
    with pytest.raises(ValueError, match="no such update"):
        one.decide(-1, 1)
    with pytest.raises(ValueError, match="no such update"):
        one.read([], None, 0, 0, 0, 256)
    with pytest.raises(IndexError):
        one.read([], None, 0, 1, 0, 0)
    for _ in range(plain.AT_ONCE):
        one.leave()
    with pytest.raises(ValueError, match="full"):
        one.leave()
    assert one.read([update("ECID:1", a=1)], None, 0, 1, 0, 0) == 0
    assert one.decide(0, 1) == 0
    assert one.left(0) is None
