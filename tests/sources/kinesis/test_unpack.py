"""Aggregates and compressed records: what other writers make is read, what is none is left alone."""

from __future__ import annotations

import gzip

import zstandard
from aws_kinesis_agg.aggregator import RecordAggregator
from hypothesis import given
from hypothesis import strategies as st

from headrace.sources.kinesis.unpack import key_hash, members
from headrace.sources.packed import plain

ALL = (0, (1 << 128) - 1)


@given(st.lists(st.tuples(st.text("abcé", min_size=1, max_size=9), st.binary(max_size=300)), min_size=2, max_size=30))
def test_what_the_producer_library_writes_is_taken_apart(records: list[tuple[str, bytes]]) -> None:
    """The reference implementation's aggregate gives its records back, in order."""
    made = RecordAggregator()
    for key, data in records:
        assert made.add_user_record(key, data) is None
    _, _, aggregate = made.clear_and_get().get_contents()
    assert members(aggregate, *ALL) == [data for _, data in records]
    low = [data for key, data in records if key_hash(key) < 1 << 127]
    assert members(aggregate, 0, (1 << 127) - 1) == low


def test_an_explicit_hash_decides_where_a_member_belongs() -> None:
    """It is what the writer named, not the key's own."""
    made = RecordAggregator()
    for number in range(4):
        made.add_user_record("key", b"%d" % number, str(number))
    _, _, aggregate = made.clear_and_get().get_contents()
    assert members(aggregate, 1, 2) == [b"1", b"2"]


@given(st.binary(max_size=200), st.integers(0, 250))
def test_what_is_no_aggregate_is_left_as_it_is(noise: bytes, cut: int) -> None:
    """Without the checksum, cut off, or with fields that it cannot have, it is one record."""
    assert members(noise, *ALL) == [noise]
    assert members(b"\xf3\x89\x9a\xc2" + noise, *ALL) == [b"\xf3\x89\x9a\xc2" + noise]
    made = RecordAggregator()
    made.add_user_record("a", b"x" * 100)
    made.add_user_record("b", b"y" * 100)
    whole = made.clear_and_get().get_contents()[2]
    part = whole[: cut % len(whole)]
    assert members(part, *ALL) == [part]


@given(st.binary(max_size=400))
def test_nothing_is_too_odd_to_be_looked_at(noise: bytes) -> None:
    """Whatever follows the marks of a compression, it is inflated or left alone."""
    for mark in (b"", b"\x1f\x8b", b"\x1f\x8b\x08\x00", b"\x28\xb5\x2f\xfd"):
        body, problem = plain(mark + noise)
        assert problem == "" or body
    assert plain(gzip.compress(noise + b".")) == (noise + b".", "")
    assert plain(zstandard.ZstdCompressor().compress(noise + b".")) == (noise + b".", "")
