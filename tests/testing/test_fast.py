"""Fast answers: as many records as were sent, growing sequence numbers, the wanted share of refusals."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import pytest

from headrace.testing import Fault, Script, ScriptedKinesis, cbor
from headrace.testing.fast import FastAnswers
from headrace.testing.service import CBOR, JSON


def ask(answers: FastAnswers, keys: list[str], media: str = JSON) -> dict[str, Any]:
    records = [{"Data": b"\x00 data", "PartitionKey": key} for key in keys]
    body: dict[str, Any] = {"StreamName": "s", "Records": records}
    raw = bytearray(b"head" + (cbor.encode(body) if media == CBOR else msgspec.json.encode(body)) + b"next")
    answer = answers.answer(raw, 4, len(raw) - 4, media)
    decoded: dict[str, Any] = cbor.decode(answer) if media == CBOR else msgspec.json.decode(answer)
    return decoded


@pytest.mark.parametrize("media", [JSON, CBOR])
def test_each_record_is_answered(media: str) -> None:
    """Count and sequence numbers are right over several requests, whatever is in the keys."""
    answers = FastAnswers(stream="s", account="1")
    seen: list[str] = []
    for count in (1, 3, 500, 24, 3):
        body = ask(answers, ['"PartitionKey"' if media == JSON else "key"] * count, media)
        assert body["FailedRecordCount"] == 0
        assert len(body["Records"]) == count
        seen += [record["SequenceNumber"] for record in body["Records"]]
    assert seen == sorted(set(seen))
    assert {len(sequence) for sequence in seen} == {56}
    assert (answers.requests, answers.records, answers.failed) == (5, 531, 0)


@pytest.mark.parametrize(
    ("throttled", "code"), [(True, "ProvisionedThroughputExceededException"), (False, "InternalFailure")]
)
@pytest.mark.parametrize("media", [JSON, CBOR])
def test_a_share_is_refused(media: str, throttled: bool, code: str) -> None:
    """The envelope's count is that of the refused records, the share is about the rate, the code is the one asked."""
    answers = FastAnswers(stream="s", account="1", rate=0.2, seed=3, throttled=throttled)
    for _ in range(10):
        body = ask(answers, ["k"] * 500, media)
        refused = [record for record in body["Records"] if "ErrorCode" in record]
        assert len(refused) == body["FailedRecordCount"]
        assert {record["ErrorCode"] for record in refused} == {code}
        assert all("SequenceNumber" in record for record in body["Records"] if record not in refused)
    assert 850 < answers.failed < 1150


def test_the_server_answers_fast_and_else_in_full() -> None:
    """In fast mode PutRecords needs no stream and keeps nothing; other actions are answered as always."""

    async def run() -> None:
        script = Script(faults=(Fault(kind="throttle", rate=0.5),))
        async with ScriptedKinesis(streams={"s": 2}, script=script, fast=True) as kinesis:
            reader, writer = await asyncio.open_connection("127.0.0.1", kinesis.port)
            body = msgspec.json.encode({"Records": [{"Data": "eA==", "PartitionKey": "k"}] * 100})
            for target, sent, wanted in (
                (b"PutRecords", body, b"Rate exceeded for shard shardId-000000000000"),
                (b"ListShards", b'{"StreamName":"s"}', b"shardId-000000000001"),
            ):
                writer.write(
                    b"POST / HTTP/1.1\r\nContent-Type: application/x-amz-json-1.1\r\n"
                    b"X-Amz-Target: Kinesis_20131202.%b\r\nContent-Length: %d\r\n\r\n%b" % (target, len(sent), sent)
                )
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
                assert wanted in await reader.readexactly(length)
            writer.close()
            assert kinesis.records == []

    asyncio.run(run())
