"""A Kinesis stream as a source: the contract, resharding, resuming anywhere, and what the service refuses."""

from __future__ import annotations

import asyncio
import gzip
from collections.abc import Coroutine, Sequence
from typing import Any, Final, Literal, NamedTuple, TypeVar

import msgspec
import pytest
import zstandard

from headrace.core.model import MAX_UPDATE_BYTES
from headrace.destinations.kinesis.aggregation import key_hash, pack
from headrace.errors import SourceUnreadableError
from headrace.sources.base import Batch, Source
from headrace.sources.kinesis.address import AT_TIMESTAMP, LATEST, Start
from headrace.testing import Change, Fault, Script
from tests.sources.contract import BOUND_S, Run, Scene, SourceContract, drained, flat, updates
from tests.sources.kinesis.scenes import STREAM, Stream, StreamScene, streaming

T = TypeVar("T")


class Member(NamedTuple):
    """What an aggregate is made of."""

    key: str
    data: bytes


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run one test's coroutine, bounded in time."""
    return asyncio.run(asyncio.wait_for(test, 2 * BOUND_S))


class TestKinesis(SourceContract):
    """The contract, on a stream that is followed."""

    async def _run(self, test: Run) -> None:
        async with streaming() as stream:
            scene: Scene = StreamScene(stream)
            await test(scene)


async def whole(source: Source, position: bytes | None = None, most: int = 1000) -> list[Batch]:
    """Everything up to the end."""
    await source.open(position)
    batches = []
    while (batch := await source.read(most)) is not None:
        batches.append(batch)
    await source.close()
    return batches


def numbered(count: int, keys: int, first: int = 0) -> tuple[list[bytes], list[str]]:
    """Updates that say their key and number, and their keys."""
    named = [f"key-{n % keys}" for n in range(first, first + count)]
    return [msgspec.json.encode({"key": key, "n": first + n}) for n, key in enumerate(named)], named


def by_key(bodies: Sequence[bytes]) -> dict[str, list[int]]:
    """Numbers of each key, in order."""
    found: dict[str, list[int]] = {}
    for body in bodies:
        said = msgspec.json.decode(body)
        found.setdefault(said["key"], []).append(said["n"])
    return found


Step = tuple[Literal["split", "merge"], int, int]


def reshard(stream: Stream, *changes: Step) -> None:
    """Split a shard, or merge it with another; shards by their numbers."""
    for do, shard, other in changes:
        with_shard = f"shardId-{other:012d}" if do == "merge" else ""
        stream.kinesis.change(Change(do=do, stream=STREAM, shard=f"shardId-{shard:012d}", with_shard=with_shard))


_STEPS: Final[tuple[Step | None, ...]] = (("split", 0, 0), ("split", 1, 0), ("merge", 3, 4), ("split", 2, 0), None)


async def _resharded(stream: Stream) -> dict[str, list[int]]:
    """Writes, splits and merges in turn; what was written, by key."""
    bodies: list[bytes] = []
    for number, step in enumerate(_STEPS):
        more, keys = numbered(300, 20, first=300 * number)
        await stream.put(more, keys)
        bodies += more
        if step is not None:
            reshard(stream, step)
    return by_key(bodies)


@pytest.mark.parametrize("most", [7, 1000])
def test_parents_are_read_before_children(most: int) -> None:
    """Through splits and merges, read afterwards, each key's updates come in order, all of them, once."""

    async def test() -> None:
        async with streaming(2) as stream:
            expected = await _resharded(stream)
            batches = await whole(stream.source(follow=False), most=most)
            assert by_key(flat(batches)) == expected

    run(test())


def test_it_follows_through_a_reshard() -> None:
    """Resharded while it is read: all comes, in order per key."""

    async def test() -> None:
        async with streaming(2) as stream:
            source = stream.source()
            await source.open(None)
            reading = asyncio.create_task(drained(source, 1500, 50))
            expected = await _resharded(stream)
            assert by_key(flat(await reading)) == expected
            await source.close()

    run(test())


def test_s4_goes_on_after_any_batch_of_a_resharded_stream() -> None:
    """Opened at any position of a reading, another reads exactly what was not given yet."""

    async def test() -> None:
        async with streaming(2) as stream:
            expected = await _resharded(stream)
            batches = await whole(stream.source(follow=False), most=170)
            assert len(batches) > 8
            for count in range(1, len(batches)):
                rest = await whole(stream.source(follow=False), batches[count - 1].position)
                assert by_key(flat([*batches[:count], *rest])) == expected, count
            assert await whole(stream.source(follow=False), batches[-1].position) == []

    run(test())


def test_aggregates_are_taken_apart_and_resumed_within() -> None:
    """Members come one by one; a position within an aggregate goes on with the next member of it."""

    async def test() -> None:
        async with streaming() as stream:
            bodies = updates(9)
            await stream.put([pack([Member(f"k{n}", body) for n, body in enumerate(bodies)]), b"{}"])
            batches = await whole(stream.source(follow=False), most=2)
            assert flat(batches) == [*bodies, b"{}"]
            places = [batch.place(index) for batch in batches for index in range(len(batch.bodies))]
            assert len(set(places)) == 10
            for count in range(1, len(batches)):
                rest = await whole(stream.source(follow=False), batches[count - 1].position)
                assert flat([*batches[:count], *rest]) == [*bodies, b"{}"]

    run(test())


def test_members_of_another_shard_are_dropped() -> None:
    """As the consumer library does: whoever wrote the aggregate wrote them to their own shard as well."""

    async def test() -> None:
        async with streaming(2) as stream:
            keys = [f"k{n}" for n in range(40)]
            low = [key for key in keys if key_hash(key) < 1 << 127]
            assert 0 < len(low) < 40
            aggregate = pack([Member(key, msgspec.json.encode({"key": key, "n": 1})) for key in keys])
            await stream.put([aggregate], [low[0]])
            found = by_key(flat(await whole(stream.source(follow=False))))
            assert set(found) == set(low)

    run(test())


def test_compressed_records_are_inflated() -> None:
    """gzip and zstd are undone, also inside an aggregate; what only looks like it is given as it is."""

    async def test() -> None:
        async with streaming() as stream:
            first, second, third = updates(3)
            packed = zstandard.ZstdCompressor().compress(second)
            inside = pack([Member("k", gzip.compress(third))])
            await stream.put([gzip.compress(first), packed, inside, b"\x1f\x8bnot so", b"\x28\xb5\x2f\xfdnor this"])
            found = [bytes(body) for batch in await whole(stream.source(follow=False)) for body in batch.bodies]
            assert found == [first, second, third, b"\x1f\x8bnot so", b"\x28\xb5\x2f\xfdnor this"]

    run(test())


def test_what_is_too_large_is_refused_by_itself() -> None:
    """A record that inflates over the limit becomes a refusal with its beginning; its neighbours pass."""

    async def test() -> None:
        async with streaming() as stream:
            large = b'{"a":"' + b"x" * MAX_UPDATE_BYTES + b'"}'
            compressed = [gzip.compress(large), zstandard.ZstdCompressor().compress(large)]
            await stream.put([b"{}", *compressed, b"{}"])
            (batch,) = await whole(stream.source(follow=False))
            assert [(one.index, one.reason) for one in batch.refused] == [(1, "too-large"), (2, "too-large")]
            assert max(map(len, batch.bodies)) < 65_537

    run(test())


@pytest.mark.parametrize(
    ("action", "code", "times"),
    [
        ("GetRecords", "ExpiredIteratorException", 3),
        ("GetRecords", "ProvisionedThroughputExceededException", 6),
        ("GetRecords", "InternalFailure", 6),
        ("GetRecords", "KMSThrottlingException", 2),
        ("GetRecords", "AccessDeniedException", 6),
        ("GetShardIterator", "ProvisionedThroughputExceededException", 4),
        ("ListShards", "LimitExceededException", 3),
        ("DescribeStreamSummary", "LimitExceededException", 3),
    ],
)
def test_what_passes_is_waited_for(action: str, code: str, times: int) -> None:
    """Refusals that pass cost time and nothing else: every update comes once, in order."""

    async def test() -> None:
        async with streaming(2) as stream:
            expected = await _resharded(stream)
            stream.kinesis.follow(Script(faults=(Fault(kind="refuse", actions=(action,), code=code, times=times),)))
            assert by_key(flat(await whole(stream.source(follow=False)))) == expected
            assert stream.kinesis.counts.faults == [times]

    run(test())


def test_answers_that_never_come_are_asked_for_again() -> None:
    """Connections that break, and answers that are none, lose nothing."""

    async def test() -> None:
        async with streaming(2) as stream:
            expected = await _resharded(stream)
            kinds = ("reset-before", "reset-after", "unparsable")
            faults = tuple(Fault(kind=kind, actions=("GetRecords",), rate=0.3, times=3) for kind in kinds)  # type: ignore[arg-type]
            stream.kinesis.follow(Script(faults=faults, seed=4))
            assert by_key(flat(await whole(stream.source(follow=False)))) == expected

    run(test())


def test_latest_begins_with_what_comes() -> None:
    """What is there at the first opening is not given, what comes is; shards made later are read whole."""

    async def test() -> None:
        async with streaming(1) as stream:
            await stream.put(*numbered(50, 5))
            reshard(stream, ("split", 0, 0))
            await stream.put(*numbered(50, 5, first=50))
            source = stream.source(Start(LATEST))
            await source.open(None)
            for _ in range(50):
                await asyncio.sleep(0.001)
            more, keys = numbered(50, 5, first=100)
            await stream.put(more, keys)
            reshard(stream, ("split", 1, 0))
            last, keys = numbered(50, 5, first=150)
            await stream.put(last, keys)
            batches = await drained(source, 100, 1000)
            assert by_key(flat(batches)) == by_key([*more, *last])
            await source.close()

    run(test())


def test_from_end_keeps_its_place_though_nothing_came() -> None:
    """The position that is kept at the opening, before anything came, gives what was written since."""

    async def test() -> None:
        async with streaming(1) as stream:
            await stream.put(*numbered(5, 5))
            await asyncio.sleep(0.01)
            source = stream.source(begin="end")
            await source.open(b"anything")
            position = source.position()
            await source.close()
            await asyncio.sleep(0.01)
            more, keys = numbered(20, 5, first=5)
            await stream.put(more, keys)
            assert by_key(flat(await whole(stream.source(follow=False), position))) == by_key(more)

    run(test())


def test_at_timestamp_begins_there() -> None:
    """Records that arrived before are not given, those from then on are."""

    async def test() -> None:
        async with streaming(1) as stream:
            await stream.put(*numbered(20, 5))
            await asyncio.sleep(0.02)
            at_ms = stream.kinesis.clock.now_ms()
            more, keys = numbered(20, 5, first=20)
            await stream.put(more, keys)
            source = stream.source(Start(AT_TIMESTAMP, at_ms), follow=False)
            assert by_key(flat(await whole(source))) == by_key(more)

    run(test())


def test_a_stream_that_is_not_there_is_refused() -> None:
    """Opening says so, with what to check, at once."""

    async def test() -> None:
        async with streaming() as stream:
            reshard_source = stream.source()
            stream.kinesis.change(Change(do="delete", stream=STREAM))
            with pytest.raises(SourceUnreadableError, match=r"ResourceNotFoundException.*name and region"):
                await reshard_source.open(None)
            await reshard_source.close()

    run(test())


def test_a_stream_made_anew_is_not_taken_for_the_old_one() -> None:
    """The position belongs to a stream that is gone; the error says what can be chosen."""

    async def test() -> None:
        async with streaming() as stream:
            await stream.put([b"{}"])
            (batch,) = await whole(stream.source(follow=False))
            stream.kinesis.change(Change(do="delete", stream=STREAM))
            await asyncio.sleep(0.01)
            stream.kinesis.change(Change(do="create", stream=STREAM))
            source = stream.source(follow=False)
            with pytest.raises(SourceUnreadableError, match=r"made anew.*--from-start"):
                await source.open(batch.position)
            await source.close()
            assert await whole(stream.source(follow=False, begin="start"), batch.position) == []

    run(test())


def test_a_stream_deleted_while_it_is_read_ends_with_an_error() -> None:
    """Reading cannot go on, and does not pretend to wait."""

    async def test() -> None:
        async with streaming() as stream:
            source = stream.source()
            await source.open(None)
            stream.kinesis.change(Change(do="delete", stream=STREAM))
            with pytest.raises(SourceUnreadableError, match="deleted"):
                await source.read(10)
            await source.close()

    run(test())


def test_a_position_of_another_version_is_refused() -> None:
    """It is not guessed at."""

    async def test() -> None:
        async with streaming() as stream:
            source = stream.source()
            with pytest.raises(SourceUnreadableError, match="another version"):
                await source.open(b'{"format":9}')
            await source.close()

    run(test())


def test_who_may_not_read_is_told_the_permission() -> None:
    """Opening without permission ends after a few tries, and names what is missing."""

    async def test() -> None:
        async with streaming() as stream:
            fault = Fault(kind="refuse", actions=("ListShards",), code="AccessDeniedException")
            stream.kinesis.follow(Script(faults=(fault,)))
            source = stream.source()
            with pytest.raises(SourceUnreadableError, match="kinesis:ListShards"):
                await source.open(None)
            await source.close()

    run(test())


def test_s5_what_is_held_is_bounded() -> None:
    """Nothing more is fetched while as much as the bound waits; all comes nevertheless."""

    async def test() -> None:
        async with streaming(4) as stream:
            bodies, keys = numbered(2000, 50)
            await stream.put([body + b" " * 1000 for body in bodies], keys)
            source = stream.source(follow=False, queue_bytes=50_000, most_records=20)
            await source.open(None)
            for _ in range(300):
                await asyncio.sleep(0.001)
            assert source.held_bytes <= 50_000 + 4 * 20 * 1100
            found: list[Batch] = []
            while (batch := await source.read(100)) is not None:
                found.append(batch)
            assert by_key(flat(found)) == by_key(bodies)
            assert source.held_bytes == 0
            await source.close()

    run(test())
