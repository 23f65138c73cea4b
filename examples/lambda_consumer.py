"""An AWS Lambda function that reads a stream which Headrace writes: repeats dropped, gaps told, failures partial.

The event source mapping of the stream needs ``FunctionResponseTypes: [ReportBatchItemFailures]`` and a
``ParallelizationFactor`` of 1, its default, so that one shard has one invocation at a time. Give it an on-failure
destination and a ``MaximumRetryAttempts``: a record that can never be applied otherwise stops its shard until it
expires. The function needs s3:GetObject, s3:PutObject and s3:ListBucket (without it a missing object is answered
AccessDenied) on the bucket that ``STATE_BUCKET`` names, and besides boto3, which Lambda has, msgspec and headrace
(or a copy of headrace/consumer.py beside this file).

Instances of a function come and go, so what was read is remembered outside: one object a shard, loaded before a
batch and saved after its effects. A crash between the two lets that batch through once more. This is for flows
whose partition key is the profile's id, the default, since then a profile stays on its shard; a shard that is new,
after a split or merge of shards, begins with nothing remembered.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from functools import cache
from typing import Any

import boto3

from headrace.consumer import Deduplicator, MessageError, Taken

MOST_PROFILES = 20_000
"""Remembered a shard: about 700 KB to load and save. Repeats follow their originals within seconds or minutes."""


def apply(taken: Taken) -> None:
    """Yours: store the profile, say. An exception means that this record, and all after it, come again."""
    block = taken.metadata
    print(f"{block.flow_id} {block.profile_id} {block.seq}: joined {block.cause.joined}, left {block.cause.left}")
    for gone in taken.absorbed:
        print(f"{gone} is {block.profile_id} from now on")


class Memories:
    """What is remembered of each shard, an object each.

    Args:
        s3: boto3 client.
        bucket: Where.
    """

    def __init__(self, s3: Any, bucket: str) -> None:
        self._s3, self._bucket = s3, bucket

    def load(self, shard: str) -> Deduplicator:
        """What is remembered of a shard."""
        try:
            answer = self._s3.get_object(Bucket=self._bucket, Key=shard)
        except self._s3.exceptions.NoSuchKey:
            return Deduplicator(MOST_PROFILES)
        return Deduplicator.restore(answer["Body"].read(), MOST_PROFILES)

    def save(self, shard: str, seen: Deduplicator) -> None:
        """Remember it."""
        self._s3.put_object(Bucket=self._bucket, Key=shard, Body=seen.snapshot())


@cache
def memories() -> Memories:
    """Made once an instance."""
    return Memories(boto3.client("s3"), os.environ["STATE_BUCKET"])


def handler(event: Mapping[str, Any], context: object) -> dict[str, list[dict[str, str]]]:
    """Take a batch of one shard; the answer names the first record that could not be applied, if any.

    Lambda delivers that record and all behind it again, and counts all before it as done: so the first failure ends
    the batch, and nothing of what follows it is remembered.
    """
    records = event["Records"]
    shard = f"{records[0]['eventSourceARN'].rpartition('/')[2]}/{records[0]['eventID'].partition(':')[0]}"
    seen = memories().load(shard)
    failures: list[dict[str, str]] = []
    for record in records:
        try:
            taken = seen.look(base64.b64decode(record["kinesis"]["data"]))
            if taken.is_test:
                continue  # sent by hand, about a person who is not
            if taken.gap:
                print(f"{taken.gap} messages about {taken.metadata.profile_id} did not come")
            if not taken.is_repeat and not taken.is_late:
                apply(taken)
        except Exception as error:  # noqa: BLE001 - whatever it was, it is this record that failed
            words = str(error) if isinstance(error, MessageError) else type(error).__name__
            print(f"{record['eventID']} failed: {words}")
            failures.append({"itemIdentifier": record["kinesis"]["sequenceNumber"]})
            break
        seen.keep(taken)
    memories().save(shard, seen)
    return {"batchItemFailures": failures}
