"""Hash ranges and quotas of scripted streams."""

from __future__ import annotations

import hashlib
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.testing.refusals import ServiceError
from headrace.testing.script import Quota
from headrace.testing.streams import HASHES, Stream, hash_of


def ranges(stream: Stream) -> list[tuple[int, int]]:
    return [(shard.first, shard.last) for shard in stream.open_shards]


def covers_all(stream: Stream) -> bool:
    edges = ranges(stream)
    return (
        edges[0][0] == 0
        and edges[-1][1] == HASHES - 1
        and all(a[1] + 1 == b[0] for a, b in itertools.pairwise(edges))
    )


def test_hash_is_md5() -> None:
    """The hash key of a partition key is its MD5 in UTF-8, read big-endian."""
    assert hash_of("é") == int(hashlib.md5("é".encode()).hexdigest(), 16)


@given(shards=st.integers(1, 40), steps=st.lists(st.tuples(st.booleans(), st.integers(0, 10**6)), max_size=12))
def test_open_shards_cover_every_hash_once(shards: int, steps: list[tuple[bool, int]]) -> None:
    """Whatever is split and merged, open shards cover all hash keys without gap or overlap."""
    stream = Stream("s", shards, created_ms=0, arrival=0)
    for split, number in steps:
        is_open = stream.open_shards
        at = number % len(is_open)
        if split:
            stream.split(is_open[at].id, arrival=0)
        elif at + 1 < len(is_open):
            stream.merge(is_open[at].id, is_open[at + 1].id, arrival=0)
        assert covers_all(stream)
    assert len({shard.id for shard in stream.shards}) == len(stream.shards)


@given(key=st.text(min_size=1, max_size=20), shards=st.integers(1, 9))
def test_a_key_lies_in_the_range_of_its_shard(key: str, shards: int) -> None:
    """A record goes to the open shard whose range holds its hash key, explicit or not."""
    stream = Stream("s", shards, created_ms=0, arrival=0)
    found = stream.locate(key, None)
    assert found.first <= hash_of(key) <= found.last
    assert stream.locate(key, HASHES - 1) is stream.open_shards[-1]


def test_only_open_neighbours_merge() -> None:
    """Shards that are not neighbours, or closed, do not merge; a closed one does not split."""
    stream = Stream("s", 3, created_ms=0, arrival=0)
    first, second, third = (shard.id for shard in stream.shards)
    with pytest.raises(ServiceError, match="neighbours"):
        stream.merge(first, third, arrival=0)
    merged = stream.merge(second, first, arrival=0)
    assert (merged.first, merged.last) == (stream.shard(first).first, stream.shard(second).last)
    with pytest.raises(ServiceError, match="cannot be split"):
        stream.split(first, arrival=0)


def test_quota_fills_with_time_and_not_beyond_its_burst() -> None:
    """A shard takes its burst at once, then its rate, in records and in bytes."""
    stream = Stream("s", 1, created_ms=0, arrival=0)
    (shard,) = stream.open_shards
    shard.limit(Quota(records_per_s=10, bytes_per_s=1000, burst_s=2), 0.0)
    assert sum(shard.admit(1, 0.0) for _ in range(100)) == 20
    assert sum(shard.admit(1, 0.5) for _ in range(100)) == 5
    assert sum(shard.admit(1, 1000.0) for _ in range(100)) == 20
    assert sum(shard.admit(400, 2000.0) for _ in range(100)) == 5, "2,000 bytes deep"


def test_a_record_larger_than_the_burst_is_taken_once_and_paid_off() -> None:
    """A large record goes in when the bucket is full, and those behind it wait for the debt."""
    stream = Stream("s", 1, created_ms=0, arrival=0)
    (shard,) = stream.open_shards
    shard.limit(Quota(records_per_s=10, bytes_per_s=1000), 0.0)
    assert shard.admit(5000, 0.0)
    assert not shard.admit(1, 3.9)
    assert shard.admit(1, 4.1)
