"""What a stream shows of itself: S1 to S4, fair shares, resharding, AUTO distribution; on a clock moved by hand."""

from __future__ import annotations

import itertools
import random
from typing import Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import Manual
from headrace.destinations.rates import Breaker, InFlight, ShardLimit, StreamControl, hash_of
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


def test_s1_a_shard_that_was_never_throttled_has_no_limit() -> None:
    """Delivered records make no limit; a throttle makes one, for that shard only (S2)."""
    control = StreamControl(Manual())
    stream = Stream("s", 4, created_ms=0, arrival=0)
    answered(control, stream, keys(1000))
    assert control.limits == {}
    control.throttled("shardId-000000000002")
    assert list(control.limits) == ["shardId-000000000002"]


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


# -- which shard ----------------------------------------------------------------------------------


@given(shards=st.integers(1, 40), count=st.integers(1, 400))
def test_what_is_known_of_a_key_is_true(shards: int, count: int) -> None:
    """After some answers a key is known to be of its shard, or unknown; never of another."""
    control = StreamControl(Manual())
    stream = Stream("s", shards, created_ms=0, arrival=0)
    answered(control, stream, keys(count))
    known = 0
    for key in keys(300, "other"):
        shard = control.shard_of(hash_of(key))
        assert shard in (None, stream.locate(key, None).id)
        known += shard is not None
    for key in keys(count):
        assert control.shard_of(hash_of(key)) == stream.locate(key, None).id
    if count > 20 * shards:
        assert known > 150
    assert control.seen.shards == len({stream.locate(key, None).id for key in keys(count)})
    assert (control.seen.resharded, control.seen.auto) == (0, False)


def test_a_split_is_noticed_and_the_ranges_replaced() -> None:
    """The parent is forgotten, its limit too; the children are known by their keys."""
    control = StreamControl(Manual())
    stream = Stream("s", 2, created_ms=0, arrival=0)
    answered(control, stream, keys(500))
    control.throttled("shardId-000000000000")
    control.throttled("shardId-000000000001")
    stream.split("shardId-000000000000", arrival=500)
    answered(control, stream, keys(500))
    assert all(control.shard_of(hash_of(key)) == stream.locate(key, None).id for key in keys(500))
    assert list(control.limits) == ["shardId-000000000001"]
    assert (control.seen.shards, control.seen.resharded) == (4, 1)


def test_a_merge_is_noticed_and_both_ranges_replaced() -> None:
    """One new shard in place of two: neither keeps a key or a limit."""
    control = StreamControl(Manual())
    stream = Stream("s", 3, created_ms=0, arrival=0)
    answered(control, stream, keys(500))
    for number in range(3):
        control.throttled(f"shardId-{number:012d}")
    stream.merge("shardId-000000000001", "shardId-000000000002", arrival=500)
    answered(control, stream, keys(500))
    assert all(control.shard_of(hash_of(key)) == stream.locate(key, None).id for key in keys(500))
    assert list(control.limits) == ["shardId-000000000000"]
    assert (control.seen.shards, control.seen.resharded) == (4, 1)


def test_late_answers_of_a_closed_shard_do_no_lasting_harm() -> None:
    """Answers of the parent that come after those of its children are believed only until a child answers again."""
    control = StreamControl(Manual())
    stream = Stream("s", 1, created_ms=0, arrival=0)
    answered(control, stream, keys(200))
    stream.split("shardId-000000000000", arrival=0)
    answered(control, stream, keys(100))
    control.look([(key, "shardId-000000000000") for key in keys(200)[100:]])
    answered(control, stream, keys(200))
    assert all(control.shard_of(hash_of(key)) == stream.locate(key, None).id for key in keys(200))
    assert control.seen.auto is False
    assert control.seen.resharded == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 60)), max_size=200))
def test_ranges_never_overlap_whatever_is_answered(answers: list[tuple[int, int]]) -> None:
    """Any answers at all: the last one is believed, and what is kept is consistent."""
    control = StreamControl(Manual())
    for shard, place in answers:
        control.learn(place * (TOP // 61), f"s{shard}")
        assert control.shard_of(place * (TOP // 61)) == f"s{shard}"
        spans = sorted(control._ranges.values())
        assert all(high < low for (_, high), (low, _) in itertools.pairwise(spans))
        assert [control._ranges[s][0] for s in control._shards] == control._lows == [low for low, _ in spans]


def test_auto_distribution_is_noticed() -> None:
    """Keys that go to any shard: noticed after a few looks; then no key is of a shard, and none is limited."""
    control = StreamControl(Manual())
    stream = Stream("s", 4, created_ms=0, arrival=0)
    for _ in range(3):
        answered(control, stream, keys(8))
    assert not control.seen.auto
    rng = random.Random(3)
    looks = 0
    while not control.seen.auto:
        control.look([(key, rng.choice(stream.open_shards).id) for key in keys(8)])
        control.throttled("shardId-000000000001")
        looks += 1
        assert looks < 10
    control.look([(key, rng.choice(stream.open_shards).id) for key in keys(8)])
    control.throttled("shardId-000000000001")
    assert control.limits == {}
    assert [control.shard_of(hash_of(key)) for key in keys(8)] == [None] * 8


def test_keys_that_are_watched_are_bounded() -> None:
    """Millions of keys leave no more behind than a few hundred."""
    control = StreamControl(Manual())
    stream = Stream("s", 2, created_ms=0, arrival=0)
    answered(control, stream, keys(5000))
    stream.split("shardId-000000000000", arrival=0)
    answered(control, stream, keys(5000))
    assert len(control._last) <= 512
    assert len(control._former) <= 512


# -- breaker and window ---------------------------------------------------------------------------


def test_s4_a_breaker_opens_after_three_and_probes_later_and_later() -> None:
    """Half a second at first, twenty at the most; drawn from the upper half, so that probes spread."""
    clock = Manual()
    breaker = Breaker(random.Random(1))
    for _ in range(2):
        breaker.failed("timeout", "", clock.monotonic_s())
        assert (breaker.open, breaker.wait_s(clock.monotonic_s())) == (False, 0.0)
    breaker.failed("timeout", "no answer", clock.monotonic_s())
    assert (breaker.open, breaker.code, breaker.detail) == (True, "timeout", "no answer")
    for most in (0.5, 1, 2, 4, 8, 16, 20, 20, *[20] * 2000):
        wait_s = breaker.wait_s(clock.monotonic_s())
        assert most / 2 <= wait_s <= most
        clock.advance(wait_s)
        assert breaker.wait_s(clock.monotonic_s()) == pytest.approx(0, abs=1e-6)
        breaker.probe()
        breaker.failed("timeout", "", clock.monotonic_s())


def test_s4_a_breaker_closes_at_the_first_answer_and_starts_over() -> None:
    """One answer, and nothing is held; three failures later it is half a second again."""
    breaker = Breaker(random.Random(1))
    for now_s in range(30):
        breaker.failed("reset", "", now_s)
        breaker.probe()
    breaker.answered()
    assert (breaker.open, breaker.wait_s(30)) == (False, 0.0)
    for _ in range(3):
        breaker.failed("reset", "", 30)
    assert 0.25 <= breaker.wait_s(30) <= 0.5


def test_s4_requests_that_were_under_way_do_not_put_the_probe_off() -> None:
    """Thirty-two requests fail together: the first probe goes within half a second, not after twenty."""
    breaker = Breaker(random.Random(1))
    for _ in range(32):
        breaker.failed("reset", "", 100.0)
    assert breaker.wait_s(100.0) <= 0.5


def test_the_window_grows_with_answers_and_shrinks_without() -> None:
    """From 4 up to the writer's most; a load refusal takes a tenth, a failure half, never below one."""
    window = InFlight(32)
    assert window.allowed == 4
    for _ in range(2000):
        window.answered(0.02, refused=False)
    assert window.allowed == 32
    window.answered(0.02, refused=True)
    assert window.allowed == 28
    for _ in range(20):
        window.failed()
    assert window.allowed == 1
    assert InFlight(1).allowed == 1


def test_the_window_does_not_grow_while_answers_are_slow() -> None:
    """Answers that take many times the least time are a queue building up at the other end."""
    window = InFlight(32)
    for _ in range(100):
        window.answered(0.02, refused=False)
    before = window.allowed
    for _ in range(500):
        window.answered(2.0, refused=False)
    assert window.allowed <= before + 1
