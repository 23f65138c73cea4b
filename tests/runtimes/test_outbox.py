"""The outbox keeps O1 to O4: with most of it on disk, over restarts, and with buckets that do not move."""

from __future__ import annotations

import random
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.export import bucket_of
from headrace.core.model import Export
from headrace.destinations.base import Limits, Verdict
from headrace.destinations.dispatch import Pending
from headrace.destinations.memory import Rule
from headrace.state.keys import OUTBOX, SETTLED
from headrace.state.memory import MemoryState
from headrace.state.rocksdb import RocksState
from tests.runtimes.boxes import KEYS, Box, Scans, made, placed

NEVER = Rule(Verdict.RETRY, times=None, wait_s=1e9)


def ordinals(exports: list[Pending]) -> list[int]:
    return [p.export.ordinal for p in exports]


def fill(box: Box, batches: int, *, profiles: int = 40, size: int = 10, first: int = 1) -> list[Export]:
    """Store batches of exports about profiles in turn."""
    exports = [made(first + n, f"p{n % profiles}") for n in range(batches * size)]
    for at in range(0, len(exports), size):
        box.write(*exports[at : at + size])
    return exports


def judge_o1(box: Box, exports: list[Export]) -> None:
    """Each was handed over once, in ordinal order within its bucket."""
    assert sorted(ordinals(box.handed)) == [e.ordinal for e in exports]
    by_bucket: dict[int, list[int]] = defaultdict(list)
    for p in box.handed:
        by_bucket[p.block.bucket].append(p.export.ordinal)
    assert all(found == sorted(found) for found in by_bucket.values())


@pytest.mark.parametrize("budget", [0, 3000, 20_000, 1 << 20])
def test_o1_handed_over_once_and_in_order(budget: int) -> None:
    """Whatever fits in memory: all arrive, each once, those of a profile in their order, and nothing is left."""
    box = Box(MemoryState(), budget_bytes=budget)
    exports = fill(box, 60)
    box.drain(600)
    judge_o1(box, exports)
    for profile in range(40):
        mine = [e.data for e in exports if e.profile_id == f"p{profile}"]
        assert [r.data for r in box.stream.accepted if r.key == f"p{profile}"] == mine
    assert (box.outbox.behind, box.dispatcher.records) == (0, 0)
    for space in (OUTBOX, SETTLED):
        assert list(box.state.scan(*KEYS.space(space))) == []


def test_o1_while_new_ones_keep_coming() -> None:
    """Exports that come while older ones are still on disk wait behind them."""
    box = Box(MemoryState(), budget_bytes=5000, limits=Limits(records=5))
    exports = fill(box, 5)

    async def use(_: Box) -> None:
        for n in range(40):
            await box.until(lambda n=n: len(box.settled) >= 5 * n)  # type: ignore[misc]
            exports.extend(fill(box, 1, first=len(exports) + 1))
        await box.until(lambda: len(box.settled) == len(exports))

    box.run(use)
    judge_o1(box, exports)


def test_o2_nothing_is_handed_over_before_it_is_durable() -> None:
    """Neither what is staged, nor what is committed and not synced, also when something makes it read on."""
    state = MemoryState()
    box = Box(state, budget_bytes=1000)
    fill(box, 3)
    known = len(box.handed)
    batch = state.batch()
    export = made(100, "new")
    staged = box.outbox.stage(batch, [Pending(export, bucket_of("new"))])
    state.commit(batch)

    async def use(_: Box) -> None:
        await box.settles(30)
        assert 100 not in ordinals(box.handed)
        assert len(box.handed) == 30 > known
        state.sync()
        box.outbox.committed(staged, 100)
        await box.settles(31)

    box.run(use)
    assert ordinals(box.settled)[-1] == 100


def test_o4_loaded_bytes_stay_under_the_budget() -> None:
    """But for one block a bucket: with blocks of one export each, 64 exports above it."""
    for budget in (0, 10_000, 50_000):
        box = Box(MemoryState(), budget_bytes=budget)
        exports = [made(n + 1, f"p{n % 300}") for n in range(3000)]
        for export in exports:
            box.write(export)
        assert box.dispatcher.records < 64 + budget // 640 + 1
        box.drain(3000)
        assert box.dispatcher.most_bytes <= budget + 64 * 650
        judge_o1(box, exports)


def test_i6_a_bucket_that_never_settles_does_not_stop_others() -> None:
    """One key is refused for ever, and its exports alone would fill memory many times; all others arrive."""
    box = Box(MemoryState(), Rule(Verdict.RETRY, key="stuck", times=None, wait_s=1e9), budget_bytes=4000)
    exports: list[Export] = []
    for n in range(300):
        exports += [made(3 * n + 1, "stuck"), made(3 * n + 2, f"p{n % 50}"), made(3 * n + 3, f"q{n % 3}")]
        box.write(*exports[-3:])
    neighbours = [e for e in exports if bucket_of(e.key) == bucket_of("stuck") and e.profile_id != "stuck"]
    box.drain(600 - len(neighbours))
    settled = {p.export.ordinal for p in box.settled}
    assert settled >= {e.ordinal for e in exports if bucket_of(e.key) != bucket_of("stuck")}


def test_o3_the_head_is_never_after_the_first_unsettled() -> None:
    """At every store, for every bucket; and the head moves on once what holds it is settled."""
    box = Box(MemoryState(), Rule(Verdict.RETRY, key="p7", wait_s=50), limits=Limits(records=7), budget_bytes=8000)
    exports = fill(box, 40)

    async def use(_: Box) -> None:
        for count in range(0, 401, 20):
            await box.until(lambda count=count: len(box.settled) >= count)  # type: ignore[misc]
            settled = {p.export.ordinal for p in box.settled}
            heads = box.heads()
            for e in exports:
                assert e.ordinal in settled or heads[bucket_of(e.key)] <= e.ordinal

    box.run(use)
    heads = box.heads()
    assert all(heads[bucket_of(e.key)] > e.ordinal for e in exports)


@pytest.mark.parametrize("budget", [0, 6000, 1 << 20])
def test_a_restart_reads_only_what_is_unsettled(budget: int) -> None:
    """What was settled and stored is not handed over again; all the rest is, once, and leaves nothing behind."""
    box = Box(MemoryState(), limits=Limits(records=13), budget_bytes=budget)
    exports = fill(box, 30)
    box.drain(111)
    stored = set(ordinals(box.settled))
    again = box.next_life(budget_bytes=budget)
    again.drain(300 - len(stored))
    judge_o1(again, [e for e in exports if e.ordinal not in stored])
    assert list(again.state.scan(*KEYS.space(OUTBOX))) == list(again.state.scan(*KEYS.space(SETTLED))) == []


def test_a_crash_before_the_store_hands_over_again() -> None:
    """What was settled and not stored is sent again: at least once, and nothing is lost."""
    box = Box(MemoryState())
    exports = fill(box, 10)
    box.drain(100, stores=False)
    again = box.next_life()
    again.drain(100)
    judge_o1(again, exports)
    assert len(again.stream.accepted) == 200


def test_i4_what_comes_after_something_on_disk_waits_for_it() -> None:
    """The survivor's export is in memory; the absorbed profile's is the last of a bucket that hardly moves."""
    absorbed, survivor = "p0", "survivor"
    box = Box(MemoryState(), Rule(Verdict.RETRY, key=absorbed, nth=5, wait_s=30), budget_bytes=0)
    exports = [made(n, absorbed) for n in range(1, 31)]
    for export in exports:
        box.write(export)
    box.write(made(31, survivor, after=[placed(exports[-1])]), made(32, "other"))
    box.write(made(33, survivor))
    box.drain(33)
    order = [p.export.ordinal for p in box.settled if p.lane != "other"]
    assert order == [*range(1, 32), 33]


@pytest.mark.parametrize("settled", [0, 15, 30])
def test_i4_over_a_restart(settled: int) -> None:
    """The same after a restart, with the absorbed profile's exports not, partly or wholly settled before it."""
    box = Box(MemoryState(), Rule(Verdict.RETRY, key="p0", nth=settled + 1, times=None, wait_s=1e9), budget_bytes=0)
    exports = [made(n, "p0") for n in range(1, 31)]
    for export in exports:
        box.write(export)
    box.write(made(31, "survivor", after=[placed(exports[-1])]))
    box.drain(settled + (settled == 30))
    again = box.next_life(Rule(Verdict.RETRY, key="p0", times=3), budget_bytes=0)
    again.drain(31 - len(box.settled))
    order = [p.export.ordinal for p in again.settled]
    assert order == list(range(len(box.settled) + 1, 32))


def test_i4_a_profile_whose_partition_key_changes() -> None:
    """Its exports lie in different buckets, are read back in any order, and are written in theirs."""
    exports: list[Export] = []
    for n in range(1, 101):
        profile = f"p{n % 3}"
        last = next((e for e in reversed(exports) if e.profile_id == profile), None)
        key = f"{profile}/{n % 7}"
        moved = last is not None and bucket_of(last.key) != bucket_of(key)
        exports.append(made(n, profile, key=key, after=[placed(last)] if last is not None and moved else []))
    for budget in (0, 2000, 1 << 20):
        box = Box(MemoryState())
        for export in exports:
            box.write(export)
        again = box.next_life(budget_bytes=budget)
        again.drain(100)
        for profile in ("p0", "p1", "p2"):
            mine = [p.export.ordinal for p in again.settled if p.lane == profile]
            assert mine == [e.ordinal for e in exports if e.profile_id == profile]


def test_i4_a_profile_whose_partition_key_changes_within_one_batch() -> None:
    """Blocks are made by bucket, so a later export may be handed over before the earlier one it waits for."""
    other, old, new = "a", "b", "c"
    assert len({bucket_of(key) for key in (other, old, new)}) == 3
    box = Box(MemoryState())
    first = made(2, "p", key=old)
    box.write(made(1, "q", key=new), first, made(3, "p", key=new, after=[placed(first)]), made(4, "p", key=other))
    box.drain(4)
    assert [p.export.ordinal for p in box.settled if p.lane == "p"] == [2, 3, 4]


def test_flows_whose_ids_begin_alike_keep_apart() -> None:
    """Outboxes of "f" and "f1" in one state: each hands over its own, before and after a restart."""
    state = MemoryState()
    boxes = [Box(state, NEVER, flow_id="f"), Box(state, NEVER, flow_id="f1")]
    fill(boxes[0], 3)
    fill(boxes[1], 5)
    again = [box.next_life() for box in boxes]
    for box, count in zip(again, (30, 50), strict=True):
        box.drain(count)
        assert len(box.handed) == count


@given(st.integers(0, 10_000), st.lists(st.tuples(st.integers(1, 30), st.integers(0, 40)), min_size=1, max_size=6))
def test_o1_o3_lives_of_any_length(seed: int, lives: list[tuple[int, int]]) -> None:
    """Any number of lives, each storing some exports and settling some: every export is settled, in its order."""
    rng = random.Random(seed)
    box = Box(MemoryState(), budget_bytes=rng.choice([0, 2000, 1 << 20]), limits=Limits(records=rng.randint(1, 9)))
    written: list[Export] = []
    settled: list[int] = []
    for stores, settles in [*lives, (1, 10_000)]:
        for _ in range(stores):
            batch = [made(len(written) + n + 1, f"p{rng.randrange(12)}") for n in range(rng.randint(1, 4))]
            written += batch
            box.write(*batch)
        box.drain(min(settles, len(written) - len(settled)))
        settled += ordinals(box.stored)
        box = box.next_life(Rule(Verdict.RETRY, nth=3, times=2), budget_bytes=rng.choice([0, 2000, 1 << 20]))
    assert sorted(settled) == [e.ordinal for e in written]
    by_profile = {e.ordinal: e.profile_id for e in written}
    for profile in set(by_profile.values()):
        mine = [ordinal for ordinal in settled if by_profile[ordinal] == profile]
        assert mine == sorted(mine)


def tombstones(tmp_path: Path, count: int) -> None:
    """Settle *count* exports, open again, and look at every range that is scanned."""
    state = RocksState(tmp_path, cache_bytes=1 << 20, memtable_bytes=4 << 20)
    box = Box(state)
    removed: set[bytes] = set()
    size = 1000

    async def use(_: Box) -> None:
        for at in range(0, count, size):
            exports = [made(at + n + 1, f"p{n}") for n in range(size)]
            for e in exports:
                removed.add(KEYS.bucket(OUTBOX, "f", bucket_of(e.key)) + e.ordinal.to_bytes(8, "big"))
            box.write(*exports)
            await box.settles(at + size)

    box.run(use)
    left = made(count + 1, "last")
    box.write(left)
    scans = Scans(state)
    again = box.next_life(NEVER, state=scans)
    assert ordinals(again.handed) == [count + 1]
    assert (scans.keys, len(scans.ranges) <= 65) == (1, True)
    assert not [key for key in removed if any(start <= key < end for start, end in scans.ranges)]
    state.close()


def test_o3_opening_walks_nothing_that_was_settled(tmp_path: Path) -> None:
    """After 5,000 settled exports a new process scans one range a bucket, and no removed key lies in any."""
    tombstones(tmp_path, 5000)


@pytest.mark.slow
def test_o3_opening_walks_no_tombstones_of_200_000(tmp_path: Path) -> None:
    """The same after 200,000."""
    tombstones(tmp_path, 200_000)
