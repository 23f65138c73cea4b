"""What a stream shows of its shards: S1, resharding, AUTO distribution; on a clock moved by hand."""

from __future__ import annotations

import itertools
import random
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from headrace.clock import Manual
from headrace.destinations.shards import StreamControl, hash_of
from headrace.testing.streams import Stream

TOP: Final = 1 << 128


def keys(count: int, name: str = "k") -> list[str]:
    """So many partition keys."""
    return [f"{name}{n}" for n in range(count)]


def answered(control: StreamControl, stream: Stream, names: list[str]) -> None:
    """Learn where a stream puts these keys."""
    control.look([(key, stream.locate(key, None).id) for key in names])


def test_s1_a_shard_that_was_never_throttled_has_no_limit() -> None:
    """Delivered records make no limit; a throttle makes one, for that shard only (S2)."""
    control = StreamControl(Manual())
    stream = Stream("s", 4, created_ms=0, arrival=0)
    answered(control, stream, keys(1000))
    assert control.limits == {}
    control.throttled("shardId-000000000002")
    assert list(control.limits) == ["shardId-000000000002"]


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
