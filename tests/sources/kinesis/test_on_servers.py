"""The source on servers of others' making: moto's and kinesis-local."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from headrace.sources.base import Batch
from headrace.sources.kinesis.address import AT_TIMESTAMP, Address, Start
from headrace.sources.kinesis.source import KinesisSource
from tests.destinations.kinesis.streams import KEYS, REGION, client, create
from tests.servers import kinesis_local, moto
from tests.sources.contract import flat
from tests.sources.kinesis.scenes import Quick

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(moto, id="moto", marks=pytest.mark.moto),
        pytest.param(kinesis_local, id="kinesis-local", marks=pytest.mark.kinesis_local),
    ],
)
def server(request: pytest.FixtureRequest) -> Iterator[tuple[str, str]]:
    """URL and name of a server."""
    with request.param() as url:
        yield url, request.param.__name__


def put(kinesis: Any, name: str, first: int, count: int) -> None:
    """Write numbered records of ten keys."""
    entries = [
        {"Data": msgspec.json.encode({"key": f"k{n % 10}", "n": n}), "PartitionKey": f"k{n % 10}"}
        for n in range(first, first + count)
    ]
    assert kinesis.put_records(StreamName=name, Records=entries)["FailedRecordCount"] == 0


def everything(url: str, name: str, position: bytes | None = None, start: Start | None = None) -> list[Batch]:
    """All that is there."""

    async def read() -> list[Batch]:
        address = Address(name, {**KEYS, "region": REGION, "endpointUrl": url}, start or Start())
        source = KinesisSource(address, clock=Quick())
        await source.open(position)
        batches = []
        while (batch := await source.read(37)) is not None:
            batches.append(batch)
        await source.close()
        return batches

    return asyncio.run(asyncio.wait_for(read(), 60))


def numbers(batches: list[Batch]) -> dict[str, list[int]]:
    """Numbers of each key, each where it came first."""
    found: dict[str, dict[int, None]] = {}
    for body in flat(batches):
        said = msgspec.json.decode(body)
        found.setdefault(said["key"], {})[said["n"]] = None
    return {key: list(seen) for key, seen in found.items()}


def test_it_reads_what_is_there_and_resumes(server: tuple[str, str]) -> None:
    """All records, in order per key; from any position on the rest, and what was written since."""
    url, _ = server
    kinesis = client(url)
    name = create(kinesis, 3)
    put(kinesis, name, 0, 300)
    batches = everything(url, name)
    expected = {f"k{key}": list(range(key, 300, 10)) for key in range(10)}
    assert numbers(batches) == expected
    assert sum(len(batch.bodies) for batch in batches) == 300
    put(kinesis, name, 300, 100)
    for at in (0, len(batches) // 2, len(batches) - 1):
        rest = everything(url, name, batches[at].position)
        assert sum(len(batch.bodies) for batch in [*batches[: at + 1], *rest]) == 400
    assert numbers(everything(url, name, None, Start(AT_TIMESTAMP, 1_000))) == {
        f"k{key}": list(range(key, 400, 10)) for key in range(10)
    }


def test_it_reads_through_a_split_and_a_merge(server: tuple[str, str]) -> None:
    """Nothing is lost and order per key holds; on moto, which moves records to the new shards, some come again."""
    url, kind = server
    kinesis = client(url)
    name = create(kinesis, 2)
    put(kinesis, name, 0, 100)
    first = everything(url, name)
    shard = kinesis.list_shards(StreamName=name)["Shards"][0]
    middle = int(shard["HashKeyRange"]["EndingHashKey"]) // 2
    kinesis.split_shard(StreamName=name, ShardToSplit=shard["ShardId"], NewStartingHashKey=str(middle))
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    put(kinesis, name, 100, 100)
    second = everything(url, name, first[-1].position)
    still = [
        each
        for each in kinesis.list_shards(StreamName=name)["Shards"]
        if "EndingSequenceNumber" not in each["SequenceNumberRange"]
    ]
    still.sort(key=lambda each: int(each["HashKeyRange"]["StartingHashKey"]))
    kinesis.merge_shards(
        StreamName=name, ShardToMerge=still[0]["ShardId"], AdjacentShardToMerge=still[1]["ShardId"]
    )  # fmt: skip
    kinesis.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1})
    put(kinesis, name, 200, 100)
    third = everything(url, name, second[-1].position)
    found = [*first, *second, *third]
    assert numbers(found) == {f"k{key}": list(range(key, 300, 10)) for key in range(10)}
    if kind != "moto":
        assert sum(len(batch.bodies) for batch in found) == 300
