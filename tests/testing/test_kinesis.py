"""The scripted Kinesis on its wire: a real client, TLS, resets, silence, the child process, its control calls."""

from __future__ import annotations

import asyncio
import http.client
import os
import signal
import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from headrace.clock import Manual
from headrace.testing import (
    Change,
    Child,
    Fault,
    Quota,
    Script,
    ScriptedKinesis,
    make_certificate,
    read_records,
)
from headrace.testing.child import ControlError
from headrace.testing.kinesis import Movable

_BODY = b'{"StreamName":"s","Records":[{"Data":"eA==","PartitionKey":"k"}]}'
PUT_ONE = (
    b"POST / HTTP/1.1\r\nHost: h\r\nX-Amz-Target: Kinesis_20131202.PutRecords\r\n"
    b"Content-Type: application/x-amz-json-1.1\r\nContent-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)


def client(url: str, *, secret: str = "SK", verify: str | bool = True) -> Any:
    return boto3.client(
        "kinesis",
        endpoint_url=url,
        region_name="eu-west-1",
        aws_access_key_id="AK",
        aws_secret_access_key=secret,
        verify=verify,
        config=Config(retries={"total_max_attempts": 1, "mode": "standard"}),
    )


@pytest.fixture
def child(tmp_path: Path) -> Iterator[Child]:
    script = Script(credentials={"AK": "SK"}, max_skew_s=300)
    with Child(streams={"s": 4}, script=script, record=tmp_path / "records") as running:
        yield running


def test_boto3_writes_and_reads_back(child: Child, tmp_path: Path) -> None:
    """A real SDK, its signature verified, creates, lists, describes, writes and reads; the recording agrees."""
    kinesis = client(child.url)
    kinesis.create_stream(StreamName="made", ShardCount=2)
    assert kinesis.list_streams()["StreamNames"] == ["made", "s"]
    assert kinesis.describe_stream_summary(StreamName="made")["StreamDescriptionSummary"]["OpenShardCount"] == 2
    shards = kinesis.list_shards(StreamName="s")["Shards"]
    assert len(shards) == 4
    records: list[dict[str, Any]] = [{"Data": b"data %d" % n, "PartitionKey": str(n)} for n in range(50)]
    answer = kinesis.put_records(StreamName="s", Records=records)
    assert answer["FailedRecordCount"] == 0
    read: list[bytes] = []
    for shard in shards:
        place = kinesis.get_shard_iterator(
            StreamName="s", ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        got = kinesis.get_records(ShardIterator=place, Limit=3)
        read += [record["Data"] for record in got["Records"]]
        got = kinesis.get_records(ShardIterator=got["NextShardIterator"])
        read += [record["Data"] for record in got["Records"]]
        assert got["MillisBehindLatest"] == 0
    assert sorted(read) == sorted(record["Data"] for record in records)
    recorded = list(read_records(tmp_path / "records"))
    assert [record.data for record in recorded] == [record["Data"] for record in records]
    assert [record.sequence for record in recorded] == [record["SequenceNumber"] for record in answer["Records"]]


def test_iterator_types(child: Child) -> None:
    """Reading can start at, after, or behind a record; a shard that was split has children and an end."""
    kinesis = client(child.url)
    kinesis.create_stream(StreamName="one", ShardCount=1)
    sequences = [
        kinesis.put_record(StreamName="one", Data=b"%d" % n, PartitionKey="k")["SequenceNumber"] for n in range(3)
    ]

    def read(kind: str, **where: Any) -> list[bytes]:
        place = kinesis.get_shard_iterator(
            StreamName="one", ShardId="shardId-000000000000", ShardIteratorType=kind, **where
        )["ShardIterator"]
        return [record["Data"] for record in kinesis.get_records(ShardIterator=place)["Records"]]

    assert read("AT_SEQUENCE_NUMBER", StartingSequenceNumber=sequences[1]) == [b"1", b"2"]
    assert read("AFTER_SEQUENCE_NUMBER", StartingSequenceNumber=sequences[1]) == [b"2"]
    assert read("LATEST") == []
    kinesis.split_shard(StreamName="one", ShardToSplit="shardId-000000000000", NewStartingHashKey="1")
    place = kinesis.get_shard_iterator(
        StreamName="one", ShardId="shardId-000000000000", ShardIteratorType="TRIM_HORIZON"
    )["ShardIterator"]
    assert "NextShardIterator" not in kinesis.get_records(ShardIterator=place)
    assert [shard.get("ParentShardId") for shard in kinesis.list_shards(StreamName="one")["Shards"]] == [
        None,
        "shardId-000000000000",
        "shardId-000000000000",
    ]


def test_wrong_secret_and_unknown_key(child: Child) -> None:
    """A signature made with another secret is refused as AWS refuses it."""
    with pytest.raises(ClientError, match="InvalidSignatureException"):
        client(child.url, secret="other").list_streams()
    child.follow(Script(credentials={"OTHER": "SK"}))
    with pytest.raises(ClientError, match="UnrecognizedClientException"):
        client(child.url).list_streams()


def test_tls(tmp_path: Path) -> None:
    """With a certificate the child speaks TLS to a client that trusts it, and its control calls do too."""
    certificate = make_certificate(tmp_path)
    with Child(streams={"s": 1}, certificate=certificate) as kinesis:
        assert kinesis.url.startswith("https://")
        answer = client(kinesis.url, verify=str(certificate.cert)).put_record(
            StreamName="s", Data=b"x" * 300_000, PartitionKey="k"
        )
        assert answer["ShardId"] == "shardId-000000000000"
        assert kinesis.counts().accepted == 1


def test_control_calls(child: Child) -> None:
    """Script, streams and clock change while it runs; what cannot be done is refused with words."""
    kinesis = client(child.url)
    child.follow(Script(faults=(Fault(kind="throttle"),)))
    records = [{"Data": b"x", "PartitionKey": "k"}]
    assert kinesis.put_records(StreamName="s", Records=records)["FailedRecordCount"] == 1
    assert child.counts().faults == [1]
    child.follow(Script(quota=Quota(records_per_s=1)))
    outcomes = []
    for wait_s in (0, 0, 3600):
        child.advance(wait_s)
        answer = kinesis.put_records(StreamName="s", Records=records)
        outcomes.append(answer["FailedRecordCount"])
    assert outcomes[0] == 0
    assert outcomes[2] == 0
    child.change(Change(do="split", stream="s", shard="shardId-000000000000"))
    assert len(kinesis.list_shards(StreamName="s")["Shards"]) == 6
    with pytest.raises(ControlError, match="cannot be split"):
        child.change(Change(do="split", stream="s", shard="shardId-000000000000"))


def test_child_ends_with_its_starter() -> None:
    """A starter that is killed outright takes the child with it: standard input ends."""
    code = (
        "import sys, time; from headrace.testing import Child; "
        "c = Child(streams={'s': 1}).start(); print(c.pid, c.port, flush=True); time.sleep(60)"
    )
    starter = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert starter.stdout is not None
    with starter.stdout:
        _, port = map(int, starter.stdout.readline().split())
        with socket.create_connection(("127.0.0.1", port)) as probe:
            starter.send_signal(signal.SIGKILL)
            starter.wait()
            probe.settimeout(30)
            assert probe.recv(1) == b""


def test_recording_survives_kill_of_the_server(tmp_path: Path) -> None:
    """Every record that was answered is in the file when the server itself is killed."""
    child = Child(streams={"s": 1}, record=tmp_path / "records").start()
    kinesis = client(child.url)
    answered = [
        kinesis.put_record(StreamName="s", Data=b"%d" % n, PartitionKey="k")["SequenceNumber"] for n in range(20)
    ]
    os.kill(child.pid, signal.SIGKILL)
    child.stop()
    assert [record.sequence for record in read_records(tmp_path / "records")] == answered


async def _exchange(kinesis: ScriptedKinesis, sent: bytes, wait_s: float = 0.2) -> bytes:
    """Send bytes; everything that comes back until the end or a short silence."""
    reader, writer = await asyncio.open_connection("127.0.0.1", kinesis.port)
    try:
        writer.write(sent)
        parts = b""
        try:
            async with asyncio.timeout(wait_s):
                while part := await reader.read(65536):
                    parts += part
        except TimeoutError:
            return parts
        return parts + b"<closed>"
    finally:
        writer.close()


def test_silence_then_nothing_more() -> None:
    """A request that times out gets no byte, and neither does what follows on its connection."""

    async def run() -> None:
        script = Script(faults=(Fault(kind="timeout-after", times=1),))
        async with ScriptedKinesis(streams={"s": 1}, script=script) as kinesis:
            assert await _exchange(kinesis, PUT_ONE + PUT_ONE) == b""
            assert len(kinesis.records) == 1
            assert b"SequenceNumber" in await _exchange(kinesis, PUT_ONE)

    asyncio.run(run())


@pytest.mark.parametrize(("kind", "count"), [("reset-before", 0), ("reset-after", 1)])
def test_reset(kind: Any, count: int) -> None:
    """The client sees its connection reset, not closed."""

    async def run() -> None:
        async with ScriptedKinesis(streams={"s": 1}, script=Script(faults=(Fault(kind=kind),))) as kinesis:
            with pytest.raises(ConnectionResetError):
                await _exchange(kinesis, PUT_ONE, 10)
            assert len(kinesis.records) == count

    asyncio.run(run())


def test_requests_in_pieces_and_in_a_row() -> None:
    """Requests are taken whole however they are cut, several in one piece too, and answered in order."""

    async def run() -> None:
        async with ScriptedKinesis(streams={"s": 1}) as kinesis:
            reader, writer = await asyncio.open_connection("127.0.0.1", kinesis.port)
            for byte in PUT_ONE:
                writer.write(bytes((byte,)))
                await writer.drain()
                await asyncio.sleep(0)
            writer.write(PUT_ONE * 3)
            for number in range(1, 5):
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                assert b"%020d" % number in await reader.readexactly(length)
            writer.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    "sent",
    [
        b"nonsense\r\n\r\n",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n",
        b"x" * 65_536,
    ],
)
def test_bad_http_is_answered_and_closed(sent: bytes) -> None:
    """What is not a request is answered 400 and the connection closed."""

    async def run() -> None:
        async with ScriptedKinesis(streams={"s": 1}) as kinesis:
            got = await _exchange(kinesis, sent, 10)
            assert got.startswith(b"HTTP/1.1 400")
            assert got.endswith(b"<closed>")

    asyncio.run(run())


def test_slow_answers_wait_on_the_servers_clock() -> None:
    """A slow shard's answer waits for the clock that was given, not for real time."""

    async def run() -> None:
        clock = Manual()
        script = Script(faults=(Fault(kind="slow", delay_s=3600, shards=("shardId-000000000000",)),))
        async with ScriptedKinesis(streams={"s": 1}, script=script, clock=clock) as kinesis:
            reader, writer = await asyncio.open_connection("127.0.0.1", kinesis.port)
            writer.write(PUT_ONE)
            while not kinesis.records:
                await asyncio.sleep(0)
            reading = asyncio.ensure_future(reader.readuntil(b"SequenceNumber"))
            await asyncio.sleep(0.05)
            assert not reading.done()
            clock.advance(3600)
            assert (await reading).startswith(b"HTTP/1.1 200")
            writer.close()

    asyncio.run(run())


def test_late_write_happens_after_the_client_left() -> None:
    """A lagging request is written although its client hung up: the duplicate that at-least-once allows."""

    async def run() -> None:
        clock = Manual()
        script = Script(faults=(Fault(kind="lag", delay_s=60),))
        async with ScriptedKinesis(streams={"s": 1}, script=script, clock=clock) as kinesis:
            assert await _exchange(kinesis, PUT_ONE, 0.05) == b""
            while kinesis.counts.open:
                await asyncio.sleep(0)
            assert kinesis.records == []
            clock.advance(60)
            while not kinesis.records:
                await asyncio.sleep(0)

    asyncio.run(run())


def test_movable_clock_wakes_sleepers() -> None:
    """Moving the clock ahead ends sleeps that are then over, and no others."""

    async def run() -> None:
        clock = Movable()
        short, long = (asyncio.ensure_future(clock.sleep(s)) for s in (1000, 9000))
        await asyncio.sleep(0)
        clock.advance(2000)
        await short
        assert not long.done()
        long.cancel()

    asyncio.run(run())


def test_https_in_process(tmp_path: Path) -> None:
    """The in-process server takes a TLS context."""
    certificate = make_certificate(tmp_path)

    async def run() -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.cert, certificate.key)
        kinesis = await ScriptedKinesis(streams={"s": 1}).start(tls=context)
        trust = ssl.create_default_context(cafile=str(certificate.cert))

        def post() -> int:
            connection = http.client.HTTPSConnection("127.0.0.1", kinesis.port, timeout=30, context=trust)
            connection.request("POST", "/_control/counts")
            status = connection.getresponse().status
            connection.close()
            return status

        assert await asyncio.to_thread(post) == 200
        await kinesis.stop()
        await kinesis.stop()

    asyncio.run(run())
