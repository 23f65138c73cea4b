"""What a stream shows of itself: S2 and S3, fair shares; on a clock moved by hand."""

from __future__ import annotations

import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import Manual
from headrace.destinations.rates import ShardLimit
from headrace.destinations.shards import StreamControl
from headrace.testing.streams import Stream

QUOTA: Final = 1000.0
QUOTA_BYTES: Final = 1024.0 * 1024.0
FLOW: Final = "flow"
TOP: Final = 1 << 128


def drawn(limit: ShardLimit, flow: object, now_s: float, size: int = 100, most: int = 100_000) -> int:
    """How many records a flow gets at once."""
    taken = 0
    while taken < most and limit.take(size, now_s, flow):
        taken += 1
    return taken


def keys(count: int, name: str = "k") -> list[str]:
    """So many partition keys."""
    return [f"{name}{n}" for n in range(count)]


def answered(control: StreamControl, stream: Stream, names: list[str]) -> None:
    """Learn where a stream puts these keys."""
    control.look([(key, stream.locate(key, None).id) for key in names])


# -- limits ---------------------------------------------------------------------------------------


def test_s2_a_throttle_cuts_one_rate_and_time_gives_it_back() -> None:
    """Each throttle slows the shard and leaves its neighbour; left alone its limit grows until it is dropped."""
    clock = Manual()
    control = StreamControl(clock)
    for shard in ("a", "b"):
        control.throttled(shard)
    before = control.limits["b"].share
    for _ in range(5):
        clock.advance(0.5)
        control.throttled("a")
    cut = control.limits["a"].share
    assert cut < 0.35 * before
    assert control.limits["b"].share == before
    shares = [cut]
    while "a" in control.limits:
        clock.advance(1)
        control.relax()
        if "a" in control.limits:
            assert drawn(control.limits["a"], FLOW, clock.monotonic_s()) > 0
            shares.append(control.limits["a"].share)
        assert len(shares) < 100, "never opens"
    assert shares == sorted(shares)
    assert shares[-1] > 1
    assert control.limits == {}


def test_s2_throttles_of_requests_that_were_under_way_together_count_once() -> None:
    """A hundred refusals in one answer, and those of its neighbours, are one sign."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 1.0)
    for _ in range(100):
        clock.advance(0.001)
        limit.throttled(clock.monotonic_s())
    assert limit.share == pytest.approx(1.0, abs=0.01)
    clock.advance(0.2)
    for _ in range(100):
        limit.throttled(clock.monotonic_s())
    assert limit.share == pytest.approx(0.7, abs=0.02)


def test_s2_a_shard_that_refuses_everything_keeps_a_little() -> None:
    """Its rate does not go to nothing, so that it is noticed when the shard takes records again."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 1.0)
    for _ in range(200):
        clock.advance(0.25)
        limit.throttled(clock.monotonic_s())
    got = 0
    for _ in range(20):
        clock.advance(0.05)
        got += drawn(limit, FLOW, clock.monotonic_s())
    assert 4 <= got <= 70


def test_s2_a_limit_that_nobody_looked_at_for_long_is_cut_from_its_bound() -> None:
    """After an hour without a request, one throttle must slow the shard below 1.5 times its quota again."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 0.1)
    clock.advance(3600)
    limit.throttled(clock.monotonic_s())
    assert limit.share < 1.5


@given(
    share=st.floats(0.005, 1.0), sizes=st.lists(st.integers(1, 300_000), min_size=1, max_size=30),
    gaps=st.lists(st.floats(0.0, 0.3), min_size=1, max_size=30), flows=st.integers(1, 4),
    leaving=st.booleans(), seed=st.integers(0, 99),
)  # fmt: skip
def test_s3_no_second_takes_more_than_the_rate_and_a_burst(
    share: float, sizes: list[int], gaps: list[float], flows: int, leaving: bool, seed: int
) -> None:
    """Whatever sizes, whoever asks, and however often flows leave and come back."""
    clock, rng = Manual(), random.Random(seed)
    limit = ShardLimit(clock.monotonic_s(), share)
    taken: list[tuple[float, int]] = []
    for step in range(60):
        clock.advance(gaps[step % len(gaps)])
        now_s = clock.monotonic_s()
        flow = rng.randrange(flows)
        for _ in range(rng.randrange(1, 60)):
            size = sizes[len(taken) % len(sizes)]
            if not limit.take(size, now_s, flow):
                break
            taken.append((now_s, size))
        if leaving and rng.random() < 0.5:
            limit.leave(flow)
    # The rate only grows here, so the last one bounds all; a burst is a quarter of a second, or a record a flow.
    share = limit.share
    burst = max(QUOTA * share * 0.25, 1.0) + 2.0 * flows
    burst_bytes = max(QUOTA_BYTES * share * 0.25, 1.0) + 2.0 * flows * max(sizes)
    first, size = 0, 0
    for last in range(len(taken)):
        size += taken[last][1]
        while taken[first][0] < taken[last][0] - 1.0:
            size -= taken[first][1]
            first += 1
        assert last - first + 1 <= QUOTA * share + burst + 1
        assert size <= QUOTA_BYTES * share + burst_bytes


def test_s3_leaving_and_coming_back_gives_nothing_for_free() -> None:
    """A flow whose records come one by one, with its queue empty in between, gets the rate and no more."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 0.01)
    got = 0
    for _ in range(100):
        clock.advance(0.01)
        got += limit.take(100, clock.monotonic_s(), FLOW)
        limit.leave(FLOW)
    assert got == pytest.approx(QUOTA * (0.01 + 0.06) / 2, abs=2)  # it grows meanwhile, by a twentieth a second


def test_s3_what_a_large_record_owes_is_not_forgotten() -> None:
    """A record of a mebibyte on a tenth of the quota: the next one waits ten seconds, whoever left meanwhile."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 0.1)
    limit.throttled(clock.monotonic_s())
    assert limit.take(1 << 20, clock.monotonic_s(), FLOW)
    passed = 0.0
    limit.leave(FLOW)
    while not limit.take(1 << 20, clock.monotonic_s(), FLOW):
        limit.leave(FLOW)
        clock.advance(0.1)
        passed += 0.1
    assert 4 < passed < 10, "the rate grows by a twentieth of the quota a second, so less than ten"


# -- sharing --------------------------------------------------------------------------------------


def shares_of(limit: ShardLimit, clock: Manual, flows: dict[str, int], seconds: float) -> dict[str, int]:
    """What flows get that each want so many records every 50 ms, asked in a fixed order."""
    got = dict.fromkeys(flows, 0)
    for _ in range(round(seconds / 0.05)):
        clock.advance(0.05)
        for flow, wanted in flows.items():
            got[flow] += drawn(limit, flow, clock.monotonic_s(), most=wanted)
    return got


def test_two_flows_share_a_limited_shard_evenly() -> None:
    """Whoever asks first, and however much each wants."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 0.2)
    got = shares_of(limit, clock, {"first": 10_000, "second": 50}, 20)
    assert got["second"] == pytest.approx(got["first"], rel=0.05)


def test_twenty_flows_share_evenly_at_the_lowest_rate() -> None:
    """Each gets something, and about the same."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 0.02)
    got = shares_of(limit, clock, {f"f{n}": 100 for n in range(20)}, 10)
    assert min(got.values()) > 0.8 * max(got.values())


def test_the_part_of_a_flow_that_asks_no_more_is_the_others() -> None:
    """A flow that took one record long ago, and never left, does not keep half of the rate."""
    clock = Manual()
    limit = ShardLimit(clock.monotonic_s(), 0.05)
    assert limit.take(10, clock.monotonic_s(), "gone")
    shares_of(limit, clock, {"there": 1000}, 2)
    before = limit.share
    got = shares_of(limit, clock, {"there": 1000}, 4)["there"]
    assert got == pytest.approx(4 * QUOTA * (before + limit.share) / 2, rel=0.05)
