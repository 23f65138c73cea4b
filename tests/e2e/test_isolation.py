"""I6, I7: one shard's trouble delays its keys only, one flow's trouble no other flow, and memory stays bounded.

The time is moved by hand: the outage lasts 30 simulated minutes with every pause the engine makes in it. `make soak`
gives two flows 1,000 updates a second, 1.8 million; here it is 60,000 updates. For each of 20 flows it is 20,000 in
`make soak`, 11 a second, and each row says so. A flow's memory is the least that a configuration can set (2 MiB).
The simulated time moves by steps of 20 or 50 ms, and an update's way takes several of them: delays are to be
compared, not believed.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec
import pytest

from headrace.core.link import name
from headrace.core.model import Identity
from headrace.destinations.base import Verdict
from headrace.destinations.memory import Rule
from headrace.state.rocksdb import RocksState
from headrace.testing import Quota, Script, read_records
from headrace.testing.fold import FlowPlan, fold
from headrace.testing.judge import canonical, content, judge
from headrace.testing.recording import Written
from headrace.testing.streams import Stream
from tests.e2e.simulated import PEOPLE, START_MS, Outage, Seen, Simulation, Steady, body, padded
from tests.runtimes.boxes import Box, Scans, made
from tests.runtimes.road import KEY, VIP
from tests.soak.results import note

ROOT: Final = Path(__file__).parents[2]
PLAN: Final = FlowPlan([VIP], ("n", "pad"))
MIB: Final = 1 << 20
MEMORY_BYTES: Final = 2 * MIB
SHARD_MEMORY_BYTES: Final = MIB
pytestmark = pytest.mark.slow


def _judged(bodies: Iterable[bytes], recording: Path, flows: Iterable[str], stream: str = "") -> None:
    """Every message arrived, once, in order per profile."""
    flows = list(flows)
    one = fold(bodies, {"f": PLAN}, identify=canonical)
    records = read_records(recording)
    verdict = judge(
        {stream or name: one.messages["f"] for name in flows}, records, identify=content
    )  # fmt: skip
    assert verdict.ok, verdict
    assert verdict.duplicates.count == 0, verdict
    assert verdict.expected > 1000


# -- one shard ------------------------------------------------------------------------------------

RATE: Final = 2000
"""Updates a second over four shards: half of what a shard takes."""
PAD_BYTES: Final = 1100


def _shares(recording: Path, from_ms: int, to_ms: int) -> dict[str, float]:
    """What each shard took between two moments, as a part of what was meant for it in that time."""
    stream = Stream("s", 4, created_ms=0, arrival=0)
    shard_of = [stream.locate(name(KEY, Identity("email", f"u{n}")), None).id for n in range(PEOPLE)]
    meant = Counter[str]()
    for person in range(PEOPLE):
        meant[shard_of[person]] += 1
    taken = Counter(record.shard for record in read_records(recording) if from_ms <= record.at_ms < to_ms)
    seconds = (to_ms - from_ms) / 1000
    return {shard: taken[shard] / (RATE * seconds * part / PEOPLE) for shard, part in sorted(meant.items())}


@pytest.mark.timeout(300)
def test_a_throttled_shard_with_a_backlog_beyond_memory_slows_no_other(soak: bool, tmp_path: Path) -> None:
    """At a tenth of its quota, its backlog ten times the memory bound, also after a restart: the others keep up."""
    seconds = 90 if soak else 20
    recording = tmp_path / "received"
    simulation = Simulation(
        tmp_path / "db", [padded("f", metadata=True)], {"s": 4},
        lambda clock: Steady(clock, RATE, 10**9, lambda n: body(n, PAD_BYTES)), recording=recording,
        flow_memory_bytes=SHARD_MEMORY_BYTES,
    )  # fmt: skip
    slow = "shardId-000000000000"
    windows: list[tuple[int, int]] = []
    backlogs: list[int] = []

    async def first(simulation: Simulation) -> None:
        simulation.service.follow(Script(quota=Quota(factors={slow: 0.1})))
        await simulation.passes(seconds)
        backlogs.append(simulation.engine.flows["f"].outbox.stored_bytes)
        begun_ms = simulation.clock.now_ms()
        await simulation.passes(10)
        windows.append((begun_ms, simulation.clock.now_ms()))

    async def second(simulation: Simulation) -> None:
        begun_ms = simulation.clock.now_ms()
        await simulation.passes(10)
        backlogs.append(simulation.engine.flows["f"].outbox.stored_bytes)
        windows.append((begun_ms, simulation.clock.now_ms()))
        simulation.service.follow(Script())
        simulation.source.count = simulation.source._at
        await simulation.until(lambda: not simulation.pending() and simulation.engine.exhausted, 600)

    simulation.live(first)
    simulation.live(second)
    simulation.recorder.close()
    figures = []
    for window, backlog in zip(windows, backlogs, strict=True):
        shares = _shares(recording, *window)
        figures.append(f"backlog {backlog / MIB:.0f} MiB: " + ", ".join(f"{share:.0%}" for share in shares.values()))
        print(figures[-1])
        assert backlog >= 10 * SHARD_MEMORY_BYTES
        assert shares.pop(slow) < 0.3
        assert min(shares.values()) > 0.9, shares
    if soak:
        note("one of four shards at a tenth", "; after a restart ".join(figures) + " of its share", 1, 0)
    _judged((body(n, PAD_BYTES) for n in range(simulation.source.count)), recording, ["f"], "s")


# -- one destination ------------------------------------------------------------------------------


def _lived_through(outage: Outage) -> Seen:
    """In a process of its own."""
    given = Path(outage.folder) / "outage.json"
    given.write_bytes(msgspec.json.encode(outage))
    done = subprocess.run(
        [sys.executable, "-m", "tests.e2e.simulated", str(given)], cwd=ROOT, capture_output=True, timeout=3000,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr.decode()
    seen = msgspec.json.decode(done.stdout, type=Seen)
    print(seen)
    return seen


def _delays_ms(recording: Path, outage: Outage, stream: str) -> list[int]:
    """From when an update was given to when its message was taken, in simulated time, sorted."""
    rate = outage.updates / (outage.minutes * 60)

    def delays() -> Iterator[float]:
        for record in read_records(recording):
            if record.stream == stream:
                yield record.at_ms - START_MS - _number(record) * 1000 / rate

    return sorted(int(delay) for delay in delays())


class _Numbered(msgspec.Struct):
    n: int


_decode: Final = msgspec.json.Decoder(_Numbered).decode


def _number(record: Written) -> int:
    return _decode(record.data).n


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("flows", [2, 20])
def test_a_dead_destination_costs_no_memory_and_no_other_flow(flows: int, soak: bool, tmp_path: Path) -> None:
    """Ten minutes of it: resident memory does not follow the backlog, no other flow waits, and all of it drains."""
    minutes = 30 if soak else 10
    updates = {(2, False): 30_000, (20, False): 2_000, (2, True): 1_800_000, (20, True): 20_000}[flows, soak]
    size_bytes = 550 if soak else 1100
    # What the others' delay is when none is dead: at the same rate, for a shorter time.
    (tmp_path / "well").mkdir()
    well = Outage(str(tmp_path / "well"), updates // 10, minutes / 10, flows, dead=False, size_bytes=size_bytes)
    _lived_through(well)
    usual = _delays_ms(tmp_path / "well" / "received", well, "f1")
    usual_ms = usual[len(usual) * 99 // 100]
    outage = Outage(str(tmp_path), updates, minutes, flows, size_bytes=size_bytes)
    seen = _lived_through(outage)
    recording = tmp_path / "received"
    assert seen.backlog == updates
    delays = _delays_ms(recording, outage, "f1")
    assert len(delays) == updates
    p99_ms, most_ms = delays[len(delays) * 99 // 100], delays[-1]
    dead = _delays_ms(recording, outage, "f0")
    rate = updates / (minutes * 60)
    scaled = " (scaled down from 1,000)" if rate < 1000 else ""
    figures = (
        f"{updates:,} updates in {minutes} simulated minutes, {rate:,.0f} a second{scaled}, "
        f"{flows} flows: backlog {seen.backlog_bytes / MIB:.0f} MiB, "
        f"resident {seen.base_bytes / MIB:.0f} MiB at first, {seen.third_bytes / MIB:.0f} after a third, at most "
        f"{seen.most_bytes / MIB:.0f}; another flow's delay p99 {p99_ms} ms ({usual_ms} ms with none dead), longest "
        f"{most_ms} ms, at most {seen.most_others} of it waiting; drained in {seen.drained_s:.0f} simulated s"
    )
    print(figures)
    if soak:
        note("a dead destination", figures, 1, 0)
    # What the parts may take: caches and memtables of the disk, cached profiles, each flow's share of memory.
    assert seen.most_bytes - seen.base_bytes < 64 * MIB + flows * MEMORY_BYTES
    assert seen.most_bytes - seen.third_bytes < 24 * MIB, "memory follows the backlog"
    assert dead[-1] > (minutes * 60 - 100) * 1000, "the destination was not down for so long"
    assert p99_ms <= usual_ms + 100
    assert most_ms < 2000
    _judged((body(n, outage.size_bytes) for n in range(updates)), recording, [f"f{n}" for n in range(flows)])


# -- an outbox's head -----------------------------------------------------------------------------


@pytest.mark.timeout(600)
@pytest.mark.parametrize("stuck", [False, True], ids=["all-settled", "the-first-waits"])
def test_the_head_of_a_bucket_is_found_at_once(stuck: bool, soak: bool, tmp_path: Path) -> None:
    """However many exports were settled before it, or behind it: few keys are read, and memory lists few blocks."""
    count = 1_000_000 if soak else 100_000
    state = RocksState(tmp_path / "db")
    rules = [Rule(Verdict.RETRY, key="k", contains=b"p1#1.", times=None)] if stuck else []
    box = Box(state, *rules, budget_bytes=64 * MIB)

    async def fill(box: Box) -> None:
        for first in range(1, count + 1, 1000):
            box.write(*(made(n, f"p{n}", key="k", size=20) for n in range(first, first + 1000)))
            await box.settles(first + 999 - stuck)

    box.run(fill)
    number = next(bucket.number for bucket in box.outbox._buckets if bucket.head)
    assert len(box.outbox._buckets[number].blocks) < 100
    read = Scans(state)
    times_s = []
    again = box
    for _ in range(5):
        again = box.next_life(state=read)
        read.keys = 0
        begun_s = time.perf_counter()
        found = next(iter(read.scan(*_range(again, number, count))), None)
        times_s.append(time.perf_counter() - begun_s)
        assert (found is not None) == stuck
    print(f"{count:,} settled: head found in {min(times_s) * 1000:.3f} ms, {read.keys} keys read")
    assert again.outbox._buckets[number].head == (1 if stuck else count + 1)
    assert [p.export.ordinal for p in again.handed] == ([1] if stuck else [])
    assert read.keys <= 1
    if soak:
        note("head of a bucket", f"{count:,} settled exports, {'first waits' if stuck else 'all settled'}: "
             f"{min(times_s) * 1000:.3f} ms, {read.keys} keys read", 1, 0)  # fmt: skip
        assert min(times_s) < 0.001
    state.close()


def _range(box: Box, number: int, last: int) -> tuple[bytes, bytes]:
    """Where a bucket's cursor would look for its head."""
    prefix = box.outbox._outbox[number]
    return prefix + box.outbox._buckets[number].head.to_bytes(8, "big"), prefix + (last + 1).to_bytes(8, "big")
