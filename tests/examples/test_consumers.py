"""The example consumers, run as they stand against moto's server, on what the real engine wrote."""

from __future__ import annotations

import asyncio
import base64
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import boto3
import msgspec
import pytest
from examples import boto3_consumer, lambda_consumer

from headrace import bootstrap, settings
from headrace.consumer import Taken
from headrace.consumer import read as read_message
from headrace.runtimes.embedded.trial import send_test
from headrace.sources.jsonl import JsonLines
from headrace.testing import Change, Child
from tests import servers
from tests.destinations.kinesis.streams import KEYS, REGION, client, create, read
from tests.e2e.updates import configuration, write_updates
from tests.runtimes.living import live, quiet
from tests.runtimes.road import MemoryDisk, flow, snapshot

UPDATES = 400
NONE = {"tests": 0, "without_metadata": 0, "foreign": 0}
"""Counts of a stream with nothing but exports of flows with metadata."""

pytestmark = [pytest.mark.moto, pytest.mark.slow]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    with servers.moto() as url:
        yield url


@pytest.fixture(autouse=True)
def account(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the examples find it: in the environment."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", KEYS["accessKeyId"])
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", KEYS["secretKey"])
    monkeypatch.setenv("AWS_DEFAULT_REGION", REGION)
    monkeypatch.setenv("AWS_ENDPOINT_URL", moto_url)


class Written(NamedTuple):
    """A stream, and what the engine wrote to it: per flow and profile the export ids in order."""

    kinesis: Any
    name: str
    expected: dict[tuple[str, str], list[str]]

    def again(self, count: int) -> None:
        """Write the last *count* messages of every profile again, in order, as a restarted writer may."""
        by_profile: dict[tuple[str, str], list[tuple[int, bytes]]] = {}
        for _, data in read(self.kinesis, self.name).values():
            block = read_message(data)[1]
            by_profile.setdefault((block.flow_id, block.profile_id), []).append((block.seq, data))
        for (_, profile), messages in by_profile.items():
            for _, data in sorted(set(messages))[-count:]:
                self.kinesis.put_record(StreamName=self.name, PartitionKey=profile, Data=data)


def export(url: str, name: str, folder: Path) -> Written:
    """Let the real engine export updates of a few people: two flows to one stream, profiles merging."""
    kinesis = client(url)
    write_updates(folder / "updates.jsonl", 3, UPDATES, 12)
    config = configuration(url)
    for target in config["targetConnections"]:
        target["params"]["stream"] = name
    (folder / "config.json").write_bytes(msgspec.json.encode(config))

    async def run() -> None:
        loaded = settings.load(environ={}, data_dir=folder / "data")
        with bootstrap.open_state(loaded) as state:
            sources = [JsonLines(str(folder / "updates.jsonl"))]
            configured = bootstrap.load_configuration(folder / "config.json")
            engine = bootstrap.build_engine(state, configured, loaded, sources)
            assert (await engine.run(until_drained=True)).drained

    asyncio.run(run())
    blocks = sorted((read_message(data)[1] for _, data in read(kinesis, name).values()), key=lambda block: block.seq)
    expected: dict[tuple[str, str], list[str]] = {}
    for block in blocks:
        expected.setdefault((block.flow_id, block.profile_id), []).append(block.export_id)
    assert {flow for flow, _ in expected} == {"first", "second"}
    assert any(block.absorbed for block in blocks)
    assert any(len(ids) > 5 for ids in expected.values())
    return Written(kinesis, name, expected)


@pytest.fixture
def stream(moto_url: str, tmp_path: Path) -> Written:
    """A stream of moto's with what the engine wrote."""
    return export(moto_url, create(client(moto_url)), tmp_path)


# -- boto3 ----------------------------------------------------------------------------------------


def run(stream: str, checkpoint: Path) -> tuple[dict[tuple[str, str], list[str]], dict[str, int]]:
    """Run the program in a process of its own: what it applied, and what it counted."""
    command = [sys.executable, "examples/boto3_consumer.py", stream, "--checkpoint", str(checkpoint), "--once"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, timeout=50, check=True, env=dict(os.environ)
    )
    applied: dict[tuple[str, str], list[str]] = {}
    for line in done.stdout.splitlines():
        said = msgspec.json.decode(line)
        assert "_headrace" not in said["message"]
        applied.setdefault((said["flow"], said["profile"]), []).append(said["exportId"])
    return applied, msgspec.json.decode(done.stderr.splitlines()[-1])


def test_the_boto3_consumer_takes_each_message_once(stream: Written, tmp_path: Path) -> None:
    """What the engine wrote is applied once and in order; a writer's replay later on is dropped whole."""
    applied, counts = run(stream.name, tmp_path / "checkpoint")
    assert applied == stream.expected
    total = sum(map(len, stream.expected.values()))
    assert counts == {"applied": total, "repeats": 0, "late": 0, "missing": 0, **NONE}
    stream.again(3)
    applied, counts = run(stream.name, tmp_path / "checkpoint")
    assert applied == {}
    again = sum(min(3, len(ids)) for ids in stream.expected.values())
    assert counts == {"applied": 0, "repeats": again, "late": 0, "missing": 0, **NONE}


def test_the_boto3_consumer_goes_on_after_a_crash(stream: Written, tmp_path: Path) -> None:
    """What was applied after the last checkpoint comes again, nothing else; other writers' records are skipped."""
    file = tmp_path / "checkpoint"
    first = boto3_consumer.Consumer(stream.kinesis, stream.name, file)
    while first.round():
        pass
    saved = file.read_bytes()
    stream.again(1)
    stream.kinesis.put_record(StreamName=stream.name, PartitionKey="x", Data=b"not ours")
    while first.round():
        pass
    assert first.counts.foreign == 1
    file.write_bytes(saved)
    second = boto3_consumer.Consumer(stream.kinesis, stream.name, file)
    while second.round():
        pass
    assert second.counts == boto3_consumer.Counts(repeats=len(stream.expected), foreign=1)


def trial(metadata: bool = True) -> bytes:
    """A test record as the engine writes it."""
    road = quiet(MemoryDisk(), [], snapshot(flow(metadata=metadata)))
    live(road, lambda engine: send_test(engine, "f", clock=road.clock))
    return road.arrived()[0]


def test_the_boto3_consumer_skips_tests_and_tells_of_missing_metadata_once(moto_url: str, tmp_path: Path) -> None:
    """Test records are counted and not applied; of messages without a block the first is told, and the sum."""
    kinesis = client(moto_url)
    name = create(kinesis)
    for data in (trial(), trial(metadata=False), *[b'{"identityMap":{}}'] * 3):
        kinesis.put_record(StreamName=name, PartitionKey="x", Data=data)
    command = [sys.executable, "examples/boto3_consumer.py", name, "--checkpoint", str(tmp_path / "c"), "--once"]
    done = subprocess.run(
        command, cwd=Path(__file__).parents[2], capture_output=True, text=True, timeout=50, check=True
    )  # fmt: skip
    first, total, counts = done.stderr.splitlines()
    assert "metadata: true" in first
    assert total == "skipped 3 records without metadata"
    assert msgspec.json.decode(counts) == msgspec.to_builtins(boto3_consumer.Counts(tests=2, without_metadata=3))
    assert done.stdout == ""


def test_the_boto3_consumer_keeps_order_through_a_reshard(tmp_path: Path) -> None:
    """A child shard is read only when its parent was read to its end, so no gap and nothing late is seen."""
    with Child(streams={"s": 2}) as kinesis:
        name, service = "s", client(kinesis.url)
        written = export(kinesis.url, name, tmp_path)
        shards = [shard["ShardId"] for shard in service.list_shards(StreamName=name)["Shards"]]
        kinesis.change(Change(do="split", stream=name, shard=shards[0]))
        written.again(2)
        consumer = boto3_consumer.Consumer(service, name, tmp_path / "checkpoint")
        children = {shard["ShardId"] for shard in service.list_shards(StreamName=name)["Shards"]} - set(shards)
        assert len(children) == 2
        assert set(consumer._readable()) == set(shards)
        while consumer.round():
            pass
        assert set(consumer._readable()) == {*children, shards[1]}
    assert consumer.counts == boto3_consumer.Counts(
        applied=sum(map(len, written.expected.values())),
        repeats=sum(min(2, len(ids)) for ids in written.expected.values()),
    )


# -- Lambda ---------------------------------------------------------------------------------------


def batches(stream: Written, size: int) -> Iterator[dict[str, Any]]:
    """What Lambda would call the function with, for all that is in the stream."""
    arn = f"arn:aws:kinesis:{REGION}:123456789012:stream/{stream.name}"
    shards: dict[str, list[dict[str, Any]]] = {}
    for (shard, sequence), (key, data) in read(stream.kinesis, stream.name).items():
        shards.setdefault(shard, []).append({
            "kinesis": {
                "kinesisSchemaVersion": "1.0", "partitionKey": key, "sequenceNumber": sequence,
                "data": base64.b64encode(data).decode(), "approximateArrivalTimestamp": 1767225600.123,
            },
            "eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": f"{shard}:{sequence}",
            "eventName": "aws:kinesis:record", "invokeIdentityArn": "arn:aws:iam::123456789012:role/reader",
            "awsRegion": REGION, "eventSourceARN": arn,
        })  # fmt: skip
    for records in shards.values():
        for start in range(0, len(records), size):
            yield {"Records": records[start : start + size]}


class Applied:
    """Takes the place of ``apply``; every *failing*-th call fails."""

    def __init__(self, failing: int = 0) -> None:
        self.calls, self._failing = 0, failing
        self.ids: dict[tuple[str, str], list[str]] = {}

    def __call__(self, taken: Taken) -> None:
        self.calls += 1
        if self._failing and self.calls % self._failing == 0:
            raise ConnectionError("the table does not answer")
        block = taken.metadata
        self.ids.setdefault((block.flow_id, block.profile_id), []).append(block.export_id)


@pytest.fixture
def bucket(moto_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    name = f"state-{os.urandom(4).hex()}"
    boto3.client("s3").create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": REGION})
    monkeypatch.setenv("STATE_BUCKET", name)
    lambda_consumer.memories.cache_clear()
    yield name
    lambda_consumer.memories.cache_clear()


def test_the_lambda_consumer_fails_single_records_and_loses_none(
    stream: Written, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each failing record and what follows it comes again, as Lambda does it; all is applied once, in order."""
    stream.again(2)
    applied = Applied(failing=7)
    monkeypatch.setattr(lambda_consumer, "apply", applied)
    failures = 0
    for batch in batches(stream, 40):
        while batch["Records"]:
            lambda_consumer.memories.cache_clear()  # another instance each time
            answer = lambda_consumer.handler(batch, None)
            failed = {failure["itemIdentifier"] for failure in answer["batchItemFailures"]}
            assert answer.keys() == {"batchItemFailures"}
            sequences = [record["kinesis"]["sequenceNumber"] for record in batch["Records"]]
            start = min((sequences.index(one) for one in failed), default=len(sequences))
            failures += len(failed)
            batch = {"Records": batch["Records"][start:]}
    assert failures == applied.calls // 7 > 10
    assert applied.ids == stream.expected


def test_the_lambda_consumer_drops_a_batch_that_comes_again(
    stream: Written, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch whose answer was lost is delivered again: nothing of it is applied twice."""
    applied = Applied()
    monkeypatch.setattr(lambda_consumer, "apply", applied)
    for batch in batches(stream, 40):
        assert lambda_consumer.handler(batch, None) == {"batchItemFailures": []}
        assert lambda_consumer.handler(batch, None) == {"batchItemFailures": []}
    assert applied.ids == stream.expected


def test_the_lambda_consumer_skips_tests(stream: Written, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A test record is neither applied nor failed."""
    stream.kinesis.put_record(StreamName=stream.name, PartitionKey="x", Data=trial())
    applied = Applied()
    monkeypatch.setattr(lambda_consumer, "apply", applied)
    assert all(lambda_consumer.handler(batch, None) == {"batchItemFailures": []} for batch in batches(stream, 40))
    assert applied.ids == stream.expected


def test_the_lambda_consumer_names_a_record_that_is_no_message(
    stream: Written, bucket: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is the record reported as failed, with words that say why and no values."""
    stream.kinesis.put_record(StreamName=stream.name, PartitionKey="x", Data=b'{"email":"ada@example.com"}')
    answers = [lambda_consumer.handler(batch, None)["batchItemFailures"] for batch in batches(stream, 10_000)]
    (failed,) = [failure for answer in answers for failure in answer]
    printed = capsys.readouterr().out
    assert f":{failed['itemIdentifier']} failed: the message has no _headrace block" in printed
    assert "joined" in printed
    assert "is absorbed" not in printed
    assert "ada@example.com" not in printed
