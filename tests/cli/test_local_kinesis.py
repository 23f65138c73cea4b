"""The demo's local Kinesis: moto's real server in a child process."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest

from headrace.cli.local_kinesis import ReadRecord, local_kinesis, read_back
from headrace.cli.local_kinesis_child import one_at_a_time

pytestmark = [pytest.mark.moto]


def gone(pid: int, within_s: float = 20.0) -> bool:
    """Whether the process has ended, or is a zombie that only waits to be reaped, before the bound."""
    end = time.monotonic() + within_s
    while time.monotonic() < end:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except FileNotFoundError:
            return True
        time.sleep(0.05)
    return False


def test_what_is_put_is_read_back_in_order() -> None:
    """Every record comes back once, with its key and bytes, in sequence within its shard, while writing goes on."""
    with local_kinesis() as server:
        server.create_stream("demo", 3)
        client = server.client()
        put: dict[bytes, str] = {}

        def write() -> None:
            for request in range(4):
                records = [{"Data": f"{request}-{n}".encode(), "PartitionKey": f"key-{n % 50}"} for n in range(300)]
                assert client.put_records(StreamName="demo", Records=records)["FailedRecordCount"] == 0
                put.update({r["Data"]: r["PartitionKey"] for r in records})  # type: ignore[misc]

        async def follow() -> list[ReadRecord]:
            finished = asyncio.Event()

            async def writing() -> None:
                await asyncio.to_thread(write)
                finished.set()

            task = asyncio.create_task(writing())
            found = [record async for record in read_back(server, "demo", finished, pause_s=0.01)]
            await task
            return found

        found = asyncio.run(follow())
        assert len(found) == len(put) == 1200
        assert {record.data: record.key for record in found} == put
        by_shard: dict[str, list[int]] = defaultdict(list)
        for record in found:
            by_shard[record.shard].append(int(record.sequence))
            assert record.arrival_ms > 1_600_000_000_000
        assert len(by_shard) == 3
        for sequences in by_shard.values():
            assert all(a < b for a, b in pairwise(sequences))


def test_requests_are_served_one_at_a_time() -> None:
    """No two requests are inside the server's application together: it numbers a shard's records without a lock."""
    inside = most = 0

    def application(_environ: dict[str, object], _start: object) -> list[bytes]:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.005)
        inside -= 1
        return []

    serve = one_at_a_time(application)
    with ThreadPoolExecutor(8) as pool:
        for _ in range(24):
            pool.submit(serve, {}, lambda *_: None)
    assert most == 1


def test_the_child_ends_with_the_block() -> None:
    """The server is gone once the block is left, by an exception too."""
    with local_kinesis() as server:
        first = server.pid
        assert not gone(first, within_s=0.1)
    assert gone(first)

    def interrupted() -> None:
        nonlocal first
        with local_kinesis() as server:
            first = server.pid
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert gone(first)


def test_the_child_ends_with_a_killed_parent() -> None:
    """A parent killed by SIGKILL, which can clean up nothing, leaves no server behind."""
    code = (
        "import time\nfrom headrace.cli.local_kinesis import local_kinesis\n"
        "with local_kinesis() as server:\n    print(server.pid, flush=True)\n    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, signal.SIGKILL)
        parent.wait()
        assert gone(pid)
