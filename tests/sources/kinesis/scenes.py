"""Streams of a scripted Kinesis, fed and read in one loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pybase64

from headrace.clock import System
from headrace.kinesis.connection import connect
from headrace.kinesis.transport import Answer, Transport
from headrace.sources.base import Source
from headrace.sources.kinesis.address import Address, Start
from headrace.sources.kinesis.source import KinesisSource
from headrace.testing import ScriptedKinesis

KEYS = {"accessKeyId": "AKIATEST", "secretKey": "secret", "region": "eu-west-1"}
STREAM = "updates"


class Quick(System):
    """The machine's clock, on which waits pass at once: pauses between reads cost a test no time."""

    async def sleep(self, seconds: float) -> None:
        """See ``Clock``."""
        await asyncio.sleep(seconds / 100)


def address(url: str, start: Start | None = None, stream: str = STREAM) -> Address:
    """A stream at a server."""
    return Address(stream, {**KEYS, "endpointUrl": url}, start or Start())


class Stream:
    """A stream and who writes to it."""

    def __init__(self, kinesis: ScriptedKinesis) -> None:
        self.kinesis = kinesis
        self._transport = Transport(connect({**KEYS, "endpointUrl": kinesis.url}), System())

    async def ask(self, action: str, **request: Any) -> Any:
        """One call, which must succeed."""
        answer = await self._transport.post(action, msgspec.json.encode({"StreamName": STREAM, **request}))
        assert isinstance(answer, Answer), answer
        assert answer.status == 200, answer.body
        return msgspec.json.decode(answer.body or b"{}")

    async def put(self, bodies: Sequence[bytes], keys: Sequence[str] | None = None) -> None:
        """Write records, each whole, in order, in one request for each run of 500."""
        named = keys or ["key"] * len(bodies)
        entries = [
            {"Data": pybase64.b64encode(body).decode(), "PartitionKey": key}
            for body, key in zip(bodies, named, strict=True)
        ]
        for part in _batched(entries):
            told = await self.ask("PutRecords", Records=part)
            assert told["FailedRecordCount"] == 0

    def source(self, start: Start | None = None, **settings: Any) -> KinesisSource:
        """A source of it."""
        return KinesisSource(address(self.kinesis.url, start), clock=Quick(), **{"follow": True, **settings})

    async def close(self) -> None:
        """Let go."""
        await self._transport.close()


def _batched(entries: list[Any]) -> list[list[Any]]:
    return [entries[at : at + 500] for at in range(0, len(entries), 500)]


@asynccontextmanager
async def streaming(shards: int = 1) -> AsyncIterator[Stream]:
    """A scripted Kinesis with a stream."""
    async with ScriptedKinesis(streams={STREAM: shards}) as kinesis:
        stream = Stream(kinesis)
        try:
            yield stream
        finally:
            await stream.close()


class StreamScene:
    """A stream of one shard, for the contract."""

    resumes = True

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    async def source(self) -> Source:
        """See ``Scene``."""
        return self._stream.source()

    async def offer(self, source: Source, bodies: Sequence[bytes]) -> None:
        """See ``Scene``."""
        await self._stream.put(bodies)

    async def end(self, source: Source) -> None:
        """See ``Scene``."""
        await source.close()

    def answered(self) -> int | None:
        """See ``Scene``."""
        return None

    async def settle(self) -> None:
        """See ``Scene``."""
