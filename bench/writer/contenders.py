"""The writers that are compared. Each runs in a process of its own and reports the CPU it used.

    python -m bench.writer.contenders NAME URL STREAM RECORDS KEYS

Prints one line of JSON. Start-up, imports, and a first few hundred records (connections, caches) are
not counted; every record is sent until it is acknowledged, in the way its library offers.
"""

from __future__ import annotations

import asyncio
import logging
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any

import msgspec
import uvloop

Records = Sequence[tuple[str, bytes]]
WARM_UP = 300
DATA_BYTES = 650
REGION, ACCESS_KEY, SECRET = "eu-west-1", "AKIDBENCH", "secret"


class Report(msgspec.Struct):
    """What a contender did.

    Attributes:
        name: Its name.
        records: Records it was given.
        acknowledged: Records it knows to be written; -1 when its library does not tell.
        failed: Records it gave up.
        cpu_s: User and system time of its process, all threads.
        wall_s: Time it took.
    """

    name: str
    records: int
    acknowledged: int
    failed: int
    cpu_s: float
    wall_s: float


def make_records(count: int, keys: int, *, seed: int = 7) -> list[tuple[str, bytes]]:
    """Make JSON messages of 650 bytes, numbered, over so many partition keys of 32 characters."""
    chance = random.Random(seed)
    names = [f"{chance.getrandbits(128):032x}" for _ in range(keys)]
    filler = "".join(chance.choices("abcdefghijklmnopqrstuvwxyz ", k=DATA_BYTES))
    records = []
    for number in range(count):
        head = f'{{"n":{number},"text":"'
        records.append((names[number % keys], f'{head}{filler[: DATA_BYTES - len(head) - 2]}"}}'.encode()))
    return records


Timed = Callable[[Records], Awaitable[tuple[int, int]]]


async def measure(name: str, send: Timed, records: Records) -> Report:
    """Warm up, then time *send*, which returns how many were acknowledged and given up."""
    await send([(f"warm-{n}", b'{"warm":%d}' % n) for n in range(WARM_UP)])
    cpu_s, wall_s = time.process_time(), time.perf_counter()
    acknowledged, failed = await send(records)
    return Report(name, len(records), acknowledged, failed, time.process_time() - cpu_s, time.perf_counter() - wall_s)


async def headrace(url: str, stream: str, records: Records) -> Report:
    """The Kinesis writer under its dispatcher: lanes, outcomes, sequence numbers."""
    return await _headrace("headrace", url, stream, records, "json")


async def headrace_cbor(url: str, stream: str, records: Records) -> Report:
    """The same, speaking CBOR, which none of the others can."""
    return await _headrace("headrace, CBOR", url, stream, records, "cbor")


async def _headrace(name: str, url: str, stream: str, records: Records, encoding: str) -> Report:
    from headrace.bootstrap import tune_memory
    from headrace.clock import System
    from headrace.core.model import Cause, Export
    from headrace.destinations.dispatch import Block, Dispatcher, Pending, pending
    from headrace.destinations.kinesis import KINESIS

    writer = KINESIS.writer(
        {"accessKeyId": ACCESS_KEY, "secretKey": SECRET, "region": REGION, "endpointUrl": url},
        {"stream": stream, "encoding": encoding},
    )
    counts = [0, 0]
    moved = asyncio.Event()

    def settled(done: Sequence[Pending]) -> None:
        delivered = len([p for p in done if (o := p.outcome) is not None and not o.verdict and o.sequence])
        counts[0] += delivered
        counts[1] += len(done) - delivered
        moved.set()

    dispatcher = Dispatcher(writer, clock=System(), rng=random.Random(1), settled=settled)
    running = asyncio.ensure_future(dispatcher.run())
    cause = Cause("live")
    made: dict[int, list[Export]] = {}

    def exports(batch: Records) -> list[Export]:
        return [Export(n, key, f"{n:032x}", 1, 1, 1, key, data, cause, 0, "1") for n, (key, data) in enumerate(batch)]

    async def send(batch: Records) -> tuple[int, int]:
        counts[:] = [0, 0]
        waiting = made.get(id(batch)) or exports(batch)
        for start in range(0, len(waiting), 1000):
            part = waiting[start : start + 1000]
            block = Block(0, [export.ordinal for export in part])
            dispatcher.add([pending(export, block, index) for index, export in enumerate(part)])
            while dispatcher.records > 20_000:
                moved.clear()
                await moved.wait()
        while sum(counts) < len(batch):
            moved.clear()
            await moved.wait()
        return counts[0], counts[1]

    # exports come out of the store: making them is not the writer's work
    made[id(records)] = exports(records)
    tune_memory()  # as every command that runs an engine does
    report = await measure(name, send, records)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await writer.close()
    return report


async def boto3(url: str, stream: str, records: Records) -> Report:
    """boto3: batches of 500, one after the other; what failed goes again with the next."""
    import boto3 as library
    from botocore.config import Config

    client = library.client(
        "kinesis",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        config=Config(retries={"mode": "standard"}),
    )

    async def send(batch: Records) -> tuple[int, int]:
        acknowledged = at = 0
        again: list[dict[str, Any]] = []
        while at < len(batch) or again:
            fresh = batch[at : at + 500 - len(again)]
            at += len(fresh)
            entries = again + [{"Data": data, "PartitionKey": key} for key, data in fresh]
            answer = client.put_records(StreamName=stream, Records=entries)
            again = []
            if answer["FailedRecordCount"]:
                again = [e for e, told in zip(entries, answer["Records"], strict=True) if "ErrorCode" in told]
            acknowledged += len(entries) - len(again)
        return acknowledged, 0

    return await measure("boto3", send, records)


async def aiokpl(url: str, stream: str, records: Records) -> Report:
    """aiokpl with aggregation off, its limiter wide open."""
    from aiokpl.config import Config
    from aiokpl.producer import Producer

    # It gives this to botocore as it is, and True there means the authorities of certifi, whatever AWS_CA_BUNDLE
    # says: then no connection to our server is made, and it looks for the stream's shards for ever, without a word.
    verify: Any = os.environ.get("AWS_CA_BUNDLE") or True
    config = Config(
        region=REGION,
        verify_ssl=verify,
        aggregation_enabled=False,
        endpoint_url=url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET,
        rate_limit_records_per_sec_per_shard=1e9,
        rate_limit_bytes_per_sec_per_shard=1e12,
        record_ttl_ms=600_000.0,
    )
    async with Producer(config) as producer:

        async def send(batch: Records) -> tuple[int, int]:
            outcomes = [await producer.put_record(stream=stream, partition_key=k, data=d) for k, d in batch]
            done = [await outcome.wait() for outcome in outcomes]
            acknowledged = sum(result.success for result in done)
            return acknowledged, len(done) - acknowledged

        return await measure("aiokpl", send, records)


async def async_kinesis(url: str, stream: str, records: Records) -> Report:
    """async-kinesis without aggregation, its limiter wide open."""
    return await _async_kinesis(
        "async-kinesis", url, stream, records, put_rate_limit_per_shard=10**9, put_bandwidth_limit_per_shard=10**9
    )


async def async_kinesis_limited(url: str, stream: str, records: Records) -> Report:
    """The same with its default limits, under which it waits most of the time and its limiter costs less."""
    return await _async_kinesis("async-kinesis, 1,000/s", url, stream, records)


async def _async_kinesis(name: str, url: str, stream: str, records: Records, **limits: int) -> Report:
    from kinesis import Producer, StringProcessor

    os.environ.update(AWS_ACCESS_KEY_ID=ACCESS_KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    # 499: it sends one record more than it is told
    async with Producer(
        stream, endpoint_url=url, region_name=REGION, processor=StringProcessor(), batch_size=499, **limits
    ) as producer:

        async def send(batch: Records) -> tuple[int, int]:
            for key, data in batch:
                await producer.put(data.decode(), partition_key=key)
            await producer.flush()
            return -1, 0  # flush returns when its queue is empty, and tells nothing

        return await measure(name, send, records)


CONTENDERS: dict[str, Callable[[str, str, Records], Coroutine[Any, Any, Report]]] = {
    "headrace": headrace,
    "headrace-cbor": headrace_cbor,
    "boto3": boto3,
    "aiokpl": aiokpl,
    "async-kinesis": async_kinesis,
    "async-kinesis-limited": async_kinesis_limited,
}


def main() -> None:
    """Run one contender."""
    name, url, stream, count, keys = sys.argv[1:]
    logging.disable(logging.CRITICAL)
    report = uvloop.run(CONTENDERS[name](url, stream, make_records(int(count), int(keys))))
    sys.stdout.write(msgspec.json.encode(report).decode() + "\n")


if __name__ == "__main__":
    main()
