"""A local Kinesis for the demo: moto's server in a child process, a stream in it, and a reader of that stream.

moto and boto3 come with the extra ``headrace[demo]`` and are imported here alone, when first needed.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from headrace.clock import Clock, System
from headrace.errors import CheckError

REGION: Final = "eu-west-1"
START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 5.0
_READ_LIMIT: Final = 1000


class ReadRecord(NamedTuple):
    """One record as it lies on the stream.

    Attributes:
        shard: Id of its shard.
        sequence: Its sequence number there; grows within a shard, compared as a number.
        arrival_ms: When the stream took it, epoch milliseconds.
        key: Partition key.
        data: The message.
    """

    shard: str
    sequence: str
    arrival_ms: int
    key: str
    data: bytes


class LocalKinesis:
    """A running local Kinesis; made by ``local_kinesis``.

    Attributes:
        endpoint_url: Where it answers.
        region: Region of its streams.
        pid: Of the child process.
    """

    def __init__(self, *, endpoint_url: str, pid: int) -> None:
        self.endpoint_url = endpoint_url
        self.region = REGION
        self.pid = pid

    def client(self) -> Any:
        """A boto3 Kinesis client of this server, with made-up credentials."""
        import boto3
        from botocore.config import Config

        session = boto3.Session(aws_access_key_id="demo", aws_secret_access_key="demo", region_name=REGION)  # noqa: S106
        return session.client(
            "kinesis",
            endpoint_url=self.endpoint_url,
            config=Config(connect_timeout=5, read_timeout=30, proxies={}, retries={"total_max_attempts": 2}),
        )

    def create_stream(self, name: str, shards: int = 2) -> None:
        """Make a stream of *shards* shards and wait until it can be written."""
        client = self.client()
        client.create_stream(StreamName=name, ShardCount=shards)
        client.get_waiter("stream_exists").wait(StreamName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 30})


@contextmanager
def local_kinesis(port: int = 0) -> Iterator[LocalKinesis]:
    """Run a local Kinesis on 127.0.0.1; the child is gone when the block is left.

    Should this process die, the child sees its pipe close and ends by itself.

    Args:
        port: Where it listens, which must be free; 0 takes a free one.

    Raises:
        CheckError: The demo's extra is not installed, or the server did not start.
    """
    if find_spec("moto") is None or find_spec("boto3") is None:
        raise CheckError(problem="the local Kinesis needs moto and boto3: pip install 'headrace[demo]'")
    child = subprocess.Popen(  # noqa: S603 - this module's own child
        [sys.executable, "-m", "headrace.cli.local_kinesis_child", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the parent, which then stops the child in its own time
    )
    try:
        yield LocalKinesis(endpoint_url=f"http://127.0.0.1:{_port(child)}", pid=child.pid)
    finally:
        _stop(child)


def _port(child: subprocess.Popen[bytes]) -> int:
    """The port that the child printed, within a bounded wait."""
    assert child.stdout is not None
    timer = threading.Timer(START_TIMEOUT_S, child.kill)  # ends the read below
    timer.start()
    try:
        line = child.stdout.readline()
    finally:
        timer.cancel()
    if not line.strip().isdigit():
        raise CheckError(problem=f"the local Kinesis did not start within {START_TIMEOUT_S:.0f} s")
    return int(line)


def _stop(child: subprocess.Popen[bytes]) -> None:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.close()
    try:
        child.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


class StreamReader:
    """Reads all shards of a stream from their beginning; ``poll`` blocks, so call it in a thread.

    Args:
        client: A boto3 Kinesis client.
        stream: Name of the stream. Shards made later are not followed.
    """

    def __init__(self, client: Any, stream: str) -> None:
        self._client = client
        self._iterators: dict[str, str] = {}
        for page in client.get_paginator("list_shards").paginate(StreamName=stream):
            for shard in page["Shards"]:
                answer = client.get_shard_iterator(
                    StreamName=stream, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
                )
                self._iterators[shard["ShardId"]] = answer["ShardIterator"]

    def poll(self) -> list[ReadRecord]:
        """One read of every shard: up to 1,000 records of each, in the shard's order; empty when there is nothing."""
        found: list[ReadRecord] = []
        for shard, iterator in list(self._iterators.items()):
            answer = self._client.get_records(ShardIterator=iterator, Limit=_READ_LIMIT)
            for record in answer["Records"]:
                arrival_ms = round(record["ApproximateArrivalTimestamp"].timestamp() * 1000)
                found.append(
                    ReadRecord(shard, record["SequenceNumber"], arrival_ms, record["PartitionKey"], record["Data"])
                )
            following = answer.get("NextShardIterator")
            if following is None:
                del self._iterators[shard]  # closed by a reshard, and read to its end
            else:
                self._iterators[shard] = following
        return found


async def read_back(
    server: LocalKinesis, stream: str, finished: asyncio.Event, *, pause_s: float = 0.2, clock: Clock | None = None
) -> AsyncIterator[ReadRecord]:
    """Follow a stream from its beginning.

    Args:
        server: Where it is.
        stream: Its name.
        finished: Set when nothing more will be written: what is there is still read, then the iteration ends.
        pause_s: Between two reads that found nothing.
        clock: For the pauses.
    """
    waiting = clock or System()
    reader = await asyncio.to_thread(lambda: StreamReader(server.client(), stream))
    while True:
        ending = finished.is_set()
        records = await asyncio.to_thread(reader.poll)
        for record in records:
            yield record
        if not records:
            if ending:
                return
            await waiting.sleep(pause_s)
