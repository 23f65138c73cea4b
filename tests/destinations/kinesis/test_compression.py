"""Data is compressed record by record, told by its first bytes, and counted as it goes out."""

from __future__ import annotations

import asyncio
import gzip
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.clock import Manual
from headrace.core.model import Cause, Export
from headrace.destinations.dispatch import Block, Dispatcher, Pending, pending
from headrace.destinations.kinesis import KINESIS
from headrace.destinations.kinesis.compression import GZIP_MARK, ZSTD_MARK, compressor
from tests.destinations.kinesis.raw_server import Got, RawServer, answer
from tests.destinations.kinesis.streams import KEYS

PAGE = Path(__file__).parents[3] / "docs" / "destinations" / "kinesis.md"


def message(data: bytes) -> bytes:
    """What a consumer does, as the page shows it."""
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.S)
    found: dict[str, Any] = {}
    exec(compile(block, "kinesis.md", "exec"), found)
    made: Callable[[bytes], bytes] = found["message"]
    return made(data)


@settings(deadline=None)
@given(st.binary(max_size=2000))
def test_what_is_compressed_comes_out_again(data: bytes) -> None:
    """By each library's own means; the first bytes tell which; the same message gives the same bytes."""
    for name, mark, out in (
        ("gzip", GZIP_MARK, gzip.decompress),
        ("zstd", ZSTD_MARK, zstandard.ZstdDecompressor().decompress),
    ):
        compress = compressor(name)
        assert compress is not None
        packed = compress(data)
        assert packed.startswith(mark)
        assert out(packed) == data
        assert compress(data) == packed


def test_the_page_tells_how_to_read_any_of_them() -> None:
    """The example of the documentation, run on all three."""
    told = b'{"a":1}'
    for name in ("gzip", "zstd"):
        compress = compressor(name)
        assert compress is not None
        assert message(compress(told)) == told
    assert message(told) == told
    assert compressor("none") is None


@pytest.mark.parametrize("compression", ["none", "gzip", "zstd"])
def test_sizes_are_those_after_compression(compression: str) -> None:
    """Under a dispatcher: what is over the limit as a message and not as a record is written, and memory is told."""
    told = b'{"text":"' + b"again and again " * 1000 + b'"}'
    settled: list[Pending] = []
    got: list[Got] = []

    def reply(asked: Got) -> bytes:
        got.append(asked)
        entries = [{"SequenceNumber": "1", "ShardId": "a"}] * len(asked.json["Records"])
        return answer(200, {"FailedRecordCount": 0, "Records": entries})

    async def run() -> int:
        async with RawServer(reply) as server:
            writer = KINESIS.writer(
                {**KEYS, "region": "eu-west-1", "endpointUrl": server.url},
                {"stream": "s", "compression": compression, "maxRecordBytes": 2048, "maxRequestBytes": 65_536},
            )
            done = asyncio.Event()

            def hear(some: Sequence[Pending]) -> None:
                settled.extend(some)
                done.set()

            dispatcher = Dispatcher(writer, clock=Manual(auto=True), rng=random.Random(1), settled=hear, linger_s=0.0)
            export = Export(0, "p", "e", 1, 1, 1, "k", told, Cause("live"), 0, "1")
            dispatcher.add([pending(export, Block(0, [0]), 0)])
            held = dispatcher.bytes
            running = asyncio.create_task(dispatcher.run())
            await done.wait()
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await writer.close()
            assert dispatcher.bytes == 0
            return held

    held = asyncio.run(run())
    (record,) = settled
    assert record.outcome is not None
    if compression == "none":
        assert (record.outcome.code, got) == ("record-too-large", [])
        assert held == len(told) + 1
    else:
        assert record.outcome.verdict == 0
        assert record.size == len(record.data) + 1 < 2048
        assert held == record.size + len(told)
        assert message(record.data) == told
        assert record.export.data == told
