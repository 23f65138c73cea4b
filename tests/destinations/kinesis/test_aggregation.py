"""Aggregates are those of the Kinesis Producer Library, and only hold what belongs together (G1 to G4)."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Sequence
from typing import Any

import pytest
from aws_kinesis_agg import aggregator, deaggregator
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.destinations.base import Limits, Outcome, Record, Verdict, Writer
from headrace.destinations.kinesis import KINESIS
from headrace.destinations.kinesis.aggregation import MAGIC, MOST_BYTES, Aggregation, Entry, ShardMap, key_hash, pack
from headrace.testing import Change, ScriptedKinesis
from tests.destinations.contract import Rec, WriterContract, records, with_writer
from tests.destinations.kinesis.raw_server import Got, RawServer, answer
from tests.destinations.kinesis.streams import KEYS, KinesisBench
from tests.destinations.kinesis.test_writer import writer_to

RECS = st.lists(st.builds(Rec, st.text(min_size=1, max_size=5), st.binary(max_size=300)), min_size=1, max_size=40)
LAST = 2**128 - 1


def taken_apart(data: bytes) -> list[tuple[str, bytes]]:
    """What a consumer finds in a record of a shard, by aws-kinesis-agg."""
    lambda_record: dict[str, Any] = {
        "kinesis": {
            "data": base64.b64encode(data),
            "partitionKey": "whole",
            "sequenceNumber": "1",
            "approximateArrivalTimestamp": 1,
            "kinesisSchemaVersion": "1.0",
        },
        "eventSource": "aws:kinesis",
        "eventVersion": "1.0",
        "eventID": "1",
        "eventName": "aws:kinesis:record",
        "invokeIdentityArn": "a",
        "awsRegion": "eu-west-1",
        "eventSourceARN": "b",
    }
    found = deaggregator.deaggregate_records([lambda_record])
    return [(r["kinesis"]["partitionKey"], base64.b64decode(r["kinesis"]["data"])) for r in found]


@settings(deadline=None)
@given(RECS)
def test_an_aggregate_is_byte_for_byte_that_of_aws_kinesis_agg(sent: list[Rec]) -> None:
    """Any keys, repeated or not, and any data; and it takes ours apart."""
    theirs = aggregator.AggRecord()
    for record in sent:
        assert theirs.add_user_record(record.key, record.data)
    key, _, data = theirs.get_contents()
    assert pack(sent) == data
    assert key == sent[0].key
    assert taken_apart(data) == sent


def test_long_ones_too() -> None:
    """Lengths and indices of two and three bytes."""
    sent = [Rec(f"key-{n}" * 40, b"x" * (300 * n)) for n in range(200)]
    theirs = aggregator.AggRecord(max_size=2**20)
    for record in sent[:60]:
        assert theirs.add_user_record(record.key, record.data)
    assert pack(sent[:60]) == theirs.get_contents()[2]
    assert taken_apart(pack(sent)) == sent


# -- which shard is certain ------------------------------------------------------------------------


def test_what_lies_between_two_answers_of_a_shard_is_certain() -> None:
    """And nothing else is."""
    shards = ShardMap()
    assert shards.shard_of(5) == ""
    shards.learn(10, "a")
    assert [shards.shard_of(n) for n in (9, 10, 11)] == ["", "a", ""]
    shards.learn(20, "a")
    shards.learn(30, "b")
    assert [shards.shard_of(n) for n in (10, 15, 20, 25, 30)] == ["a", "a", "a", "", "b"]
    shards.learn(12, "a")
    shards.learn(0, "a")
    assert [shards.shard_of(n) for n in (0, 9, 15, LAST)] == ["a", "a", "a", ""]


@settings(deadline=None)
@given(st.lists(st.integers(0, 99), max_size=60), st.lists(st.integers(0, 99), max_size=3, unique=True))
def test_what_is_certain_is_true(hashes: list[int], bounds: list[int]) -> None:
    """Against a stream whose ranges are known, in any order of answers."""
    cuts = sorted(bounds)

    def truth(hashed: int) -> str:
        return f"shard-{sum(hashed >= cut for cut in cuts)}"

    shards = ShardMap()
    for hashed in hashes:
        shards.learn(hashed, truth(hashed))
    assert all(shards.shard_of(n) in ("", truth(n)) for n in range(100))
    assert all(shards.shard_of(n) == truth(n) for n in hashes)
    assert shards.trusted


def test_a_reshard_takes_the_place_of_what_was() -> None:
    """An answer from within a known range by another shard: that one is gone."""
    shards = ShardMap()
    for hashed, shard in ((0, "a"), (50, "a"), (60, "b"), (40, "c")):
        shards.learn(hashed, shard)
    assert [shards.shard_of(n) for n in (0, 40, 50, 60)] == ["", "c", "", "b"]
    assert shards.trusted
    # A late answer to a request from before: for a while nothing is certain, then everything learned is again.
    shards.learn(10, "a")
    assert not shards.trusted
    for _ in range(ShardMap.LATE):
        shards.next_request()
    assert shards.trusted
    assert shards.shard_of(40) == "c"


def test_a_stream_that_distributes_by_itself_has_no_certain_shards() -> None:
    """Shards that were replaced answer again and again."""
    shards = ShardMap()
    for number in range(3 * ShardMap.LATE):
        shards.learn(number * 7919 % 1000, f"shard-{number % 3}")
        shards.next_request()
    assert shards.void
    assert Aggregation(2**20).entries(records(3), 2**20)


# -- grouping --------------------------------------------------------------------------------------


def knowing(*known: tuple[int, str], record_bytes: int = 2**20) -> Aggregation:
    """An aggregation that has learned so much."""
    aggregation = Aggregation(record_bytes)
    for hashed, shard in known:
        aggregation.shards.learn(hashed, shard)
    return aggregation


@settings(deadline=None)
@given(RECS, st.integers(0, LAST), st.integers(0, LAST), st.sampled_from([100, 500, 2**20]))
def test_g1_g2_every_record_is_in_one_entry_in_order(sent: list[Rec], low: int, high: int, record_bytes: int) -> None:
    """Whatever is known; different keys share an entry only within the known range, and it fits."""
    low, high = sorted((low, high))
    entries = knowing((low, "a"), (high, "a"), record_bytes=record_bytes).entries(sent, 2**30)
    members = [n for e in entries for n in e.members]
    assert sorted(members) == list(range(len(sent)))
    assert [e.members[0] for e in entries] == sorted(e.members[0] for e in entries)
    last_of_key: dict[str, tuple[int, int]] = {}
    for place, entry in enumerate(entries):
        assert entry.members == sorted(entry.members)
        keys = {sent[n].key for n in entry.members}
        if len(entry.members) == 1:
            assert (entry.key, entry.data) == sent[entry.members[0]]
        else:
            assert taken_apart(entry.data) == [sent[n] for n in entry.members]
            assert len(entry.data) + len(entry.key.encode()) <= min(record_bytes, MOST_BYTES)
        if len(keys) > 1:
            assert all(low <= key_hash(key) <= high for key in keys)
            assert entry.shard == "a"
        for number in entry.members:
            # Of one key, what comes later lies later.
            key = sent[number].key
            assert last_of_key.get(key, (-1, -1)) < (place, number)
            last_of_key[key] = (place, number)


def test_a_request_that_would_grow_too_large_is_sent_as_it_is() -> None:
    """An aggregate of tiny records has more head than it saves."""
    sent = [Rec("k", b"")] * 4
    assert [len(e.members) for e in knowing().entries(sent, 2**20)] == [4]
    assert [e.members for e in knowing().entries(sent, 10)] == [[0], [1], [2], [3]]


# -- outcomes --------------------------------------------------------------------------------------


def delivered(shard: str) -> Outcome:
    return Outcome(shard, "1")


def test_g3_the_outcome_of_an_entry_is_that_of_its_records() -> None:
    """Delivered, throttled; by position."""
    aggregation = knowing((0, "a"), (LAST, "a"))
    sent = records(4)
    entries = [
        Entry("k0", b"", [0, 2], key_hash("k0"), "a"),
        Entry("k1", b"", [1], key_hash("k1")),
        Entry("k3", b"", [3], key_hash("k3")),
    ]
    throttled = Outcome(shard="b", code="Throttled", verdict=Verdict.RETRY, wait_s=1.5)
    found = aggregation.outcomes(entries, [throttled, delivered("a"), delivered("a")], sent)
    assert [o.verdict for o in found] == [Verdict.RETRY, Verdict.DELIVERED, Verdict.RETRY, Verdict.DELIVERED]
    assert (found[0].code, found[2].wait_s, found[2].shard) == ("Throttled", 1.5, "b")


def test_g3_another_shard_than_was_certain_settles_its_own_key_only() -> None:
    """The record whose hash chose the shard is read there; the fate of the others is unknown, and it is learned."""
    aggregation = knowing((0, "a"), (LAST, "a"))
    sent = [Rec("k0", b"1"), Rec("k1", b"2"), Rec("k0", b"3")]
    (entry,) = aggregation.entries(sent, 2**20)
    found = aggregation.outcomes([entry], [delivered("b")], sent)
    assert [(o.verdict, o.code) for o in found] == [
        (Verdict.DELIVERED, ""),
        (Verdict.UNKNOWN, "wrong-shard"),
        (Verdict.DELIVERED, ""),
    ]
    again = aggregation.entries(sent, 2**20)
    assert [e.members for e in again] == [[0, 2], [1]]
    assert aggregation.shards.shard_of(key_hash("k0")) == "b"


def test_g3_one_key_needs_no_certain_shard() -> None:
    """Wherever it was written, that is where its key belongs."""
    aggregation = knowing()
    sent = [Rec("k", b"1"), Rec("k", b"2")]
    (entry,) = aggregation.entries(sent, 2**20)
    assert [o.verdict for o in aggregation.outcomes([entry], [delivered("z")], sent)] == [Verdict.DELIVERED] * 2


def test_g4_a_refused_aggregate_is_split() -> None:
    """One of several may be at fault; one alone is."""
    aggregation = knowing((0, "a"), (LAST, "a"))
    refused = Outcome(code="ValidationException", verdict=Verdict.REJECTED)
    for count, verdict in ((3, Verdict.SPLIT), (1, Verdict.REJECTED)):
        sent = records(count)
        entries = aggregation.entries(sent, 2**20)
        found = aggregation.outcomes(entries, [refused] * len(entries), sent)
        assert [o.verdict for o in found] == [verdict] * count


# -- in the writer ---------------------------------------------------------------------------------


def test_a_request_refused_whole_is_split_unless_it_is_of_one_record() -> None:
    """One aggregate in it, of three records: there is something to split."""

    async def run() -> list[Sequence[Outcome]]:
        async with RawServer(lambda _: answer(413, b"")) as server:
            writer = writer_to(server.url, aggregation="kpl")
            found = [await writer.write([Rec("k", b"1")] * n) for n in (3, 1)]
            await writer.close()
            return found

    three, one = asyncio.run(run())
    assert [o.verdict for o in three] == [Verdict.SPLIT] * 3
    assert [o.verdict for o in one] == [Verdict.REJECTED]


def test_a_broken_key_raises_nothing() -> None:
    """Found before anything is hashed or sent."""

    async def run() -> tuple[Sequence[Outcome], int]:
        async with RawServer(lambda _: answer(413, b"")) as server:
            writer = writer_to(server.url, aggregation="kpl")
            found = await writer.write([Rec("a", b"1"), Rec("\ud800", b"1")])
            await writer.close()
            return found, len(server.got)

    found, requests = asyncio.run(run())
    assert [o.code for o in found] == ["key-not-unicode"] * 2
    assert requests == 0


def test_after_a_few_requests_records_share_aggregates_and_arrive() -> None:
    """On a server that places records as Kinesis does; a consumer of each shard keeps every record of it."""

    async def run() -> tuple[list[tuple[str, bytes]], list[Sequence[Outcome]], int]:
        async with ScriptedKinesis(streams={"s": 4}) as kinesis:
            writer = KINESIS.writer(
                {**KEYS, "region": "eu-west-1", "endpointUrl": kinesis.url}, {"stream": "s", "aggregation": "kpl"}
            )
            found = [await writer.write(records(200, salt=f"{n}-")) for n in range(10)]
            await writer.close()
            return read_by_consumers(kinesis), found, len(kinesis.records)

    read, found, count = asyncio.run(run())
    assert all(o.verdict == Verdict.DELIVERED for answered in found for o in answered)
    # Tiny ones: the last request was five entries or few more.
    assert count < 500
    assert sorted(read) == sorted((r.key, r.data) for n in range(10) for r in records(200, salt=f"{n}-"))


def read_by_consumers(kinesis: ScriptedKinesis) -> list[tuple[str, bytes]]:
    """What consumer libraries hand on: of each shard's aggregates, what belongs to the shard."""
    bounds = {s.id: (s.first, s.last) for s in kinesis.service.catalog.streams["s"].shards}
    found = []
    for record in kinesis.records:
        low, high = bounds[record.shard]
        if record.data.startswith(MAGIC):
            found += [(key, data) for key, data in taken_apart(record.data) if low <= key_hash(key) <= high]
        else:
            found.append((record.key, record.data))
    return found


async def until_delivered(writer: Writer, sent: Sequence[Record]) -> list[Outcome]:
    """Write, and again what is not delivered; every outcome of the first try."""
    first: list[Outcome] = []
    for _ in range(20):
        answered = await writer.write(sent)
        first = first or list(answered)
        sent = [r for r, o in zip(sent, answered, strict=True) if o.verdict != Verdict.DELIVERED]
        if not sent:
            return first
    raise AssertionError(f"{len(sent)} records are still not delivered")


def test_a_reshard_loses_nothing_for_consumers() -> None:
    """Aggregates for shards that are gone are noticed; what consumers would drop is written again."""

    async def run() -> tuple[list[Outcome], list[tuple[str, bytes]], list[int]]:
        async with ScriptedKinesis(streams={"s": 2}) as kinesis:
            writer = KINESIS.writer(
                {**KEYS, "region": "eu-west-1", "endpointUrl": kinesis.url}, {"stream": "s", "aggregation": "kpl"}
            )
            first: list[Outcome] = []
            sizes = []
            for number in range(40):
                if number in (10, 20):
                    kinesis.change(Change(do="split", stream="s", shard=f"shardId-{number // 10 - 1:012d}"))
                if number == 30:
                    shards = [f"shardId-{n:012d}" for n in (2, 3)]
                    kinesis.change(Change(do="merge", stream="s", shard=shards[0], with_shard=shards[1]))
                before = len(kinesis.records)
                first += await until_delivered(writer, records(100, salt=f"{number}-"))
                sizes.append(len(kinesis.records) - before)
            await writer.close()
            return first, read_by_consumers(kinesis), sizes

    first, read, sizes = asyncio.run(run())
    assert {o.code for o in first} == {"", "wrong-shard"}
    assert {o.verdict for o in first} == {Verdict.DELIVERED, Verdict.UNKNOWN}
    assert set(read) == {(r.key, r.data) for n in range(40) for r in records(100, salt=f"{n}-")}
    # and it goes on aggregating afterwards
    assert max(sizes[5:10] + sizes[15:20] + sizes[25:30] + sizes[35:40]) < 50


def test_on_a_stream_that_turns_to_distribute_by_itself_aggregation_ends() -> None:
    """After a few hundred requests nothing is put together any more, for good."""

    async def run() -> tuple[int, bool]:
        async with ScriptedKinesis(streams={"s": 3}) as kinesis:
            writer = KINESIS.writer(
                {**KEYS, "region": "eu-west-1", "endpointUrl": kinesis.url}, {"stream": "s", "aggregation": "kpl"}
            )
            await until_delivered(writer, records(100))
            kinesis.change(Change(do="auto", stream="s"))
            for number in range(ShardMap.LATE + 50):
                await writer.write(records(6, salt=f"{number}-"))
            before = len(kinesis.records)
            await writer.write(records(100, salt="last-"))
            await writer.close()
            return len(kinesis.records) - before, any(
                r.data.startswith(MAGIC) for r in list(kinesis.records)[before:]
            )

    assert asyncio.run(run()) == (100, False)


class AggregatedBench(KinesisBench):
    """Reads aggregates apart, as consumers do."""

    def open(self, **target: Any) -> Writer:
        return super().open(**{"aggregation": "kpl", **target})


def test_without_it_nothing_is_aggregated() -> None:
    """It is off unless asked for."""
    got: list[Got] = []

    async def run() -> None:
        def reply(asked: Got) -> bytes:
            got.append(asked)
            entries = [{"SequenceNumber": "1", "ShardId": "a"}] * len(asked.json["Records"])
            return answer(200, {"FailedRecordCount": 0, "Records": entries})

        async with RawServer(reply) as server:
            writer = writer_to(server.url, limits=Limits())
            await writer.write([Rec("k", b"1")] * 3)
            await writer.close()

    asyncio.run(run())
    assert len(got[0].json["Records"]) == 3


@pytest.mark.kinesis_local
class TestAggregatedOnKinesisLocal(WriterContract):
    """W1 to W6 of the writer, told by where entries lie: its records are single, or of one key."""

    @pytest.fixture
    def bench(self, kinesis_local_url: str) -> KinesisBench:
        return AggregatedBench(kinesis_local_url)

    def test_w4_no_record_is_sent_twice(self, bench: KinesisBench) -> None:  # type: ignore[override]
        """Records of one key share an entry, which holds each once."""
        sent = [Rec("same", b"same")] * 20
        answered = with_writer(bench, lambda w: w.write(sent))
        assert {o.verdict for o in answered} == {Verdict.DELIVERED}
        ((place, (key, data)),) = bench.read().items()
        assert {(o.shard, o.sequence) for o in answered} == {place}
        assert (key, taken_apart(data)) == ("same", sent)
