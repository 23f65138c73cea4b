"""Streams on a server: make one, read it whole, give it to the contract suite."""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Mapping
from typing import Any

import boto3

from headrace.destinations.base import Writer
from headrace.destinations.kinesis import KINESIS
from tests.destinations.contract import Bench

REGION = "eu-west-1"
KEYS = {"accessKeyId": "AKIAIOSFODNN7EXAMPLE", "secretKey": "wJalrXUtnFEMIEXAMPLEKEY"}
_numbers = itertools.count(1)


def client(url: str, service: str = "kinesis", region: str = REGION, keys: Mapping[str, str] = KEYS) -> Any:
    """A boto3 client of a local server."""
    return boto3.client(
        service,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=keys["accessKeyId"],
        aws_secret_access_key=keys["secretKey"],
    )


def create(kinesis: Any, shards: int = 3) -> str:
    """Make a stream of a name of its own and wait until it takes records."""
    name = f"stream-{os.getpid()}-{next(_numbers)}"
    kinesis.create_stream(StreamName=name, ShardCount=shards)
    end = time.monotonic() + 20
    while kinesis.describe_stream_summary(StreamName=name)["StreamDescriptionSummary"]["StreamStatus"] != "ACTIVE":
        assert time.monotonic() < end, f"{name} did not become ACTIVE"
        time.sleep(0.02)
    return name


def read(kinesis: Any, name: str) -> dict[tuple[str, str], tuple[str, bytes]]:
    """Everything in a stream: (shard, sequence) to (key, data)."""
    found = {}
    for shard in kinesis.list_shards(StreamName=name)["Shards"]:
        shard_id = shard["ShardId"]
        iterator = kinesis.get_shard_iterator(StreamName=name, ShardId=shard_id, ShardIteratorType="TRIM_HORIZON")[
            "ShardIterator"
        ]
        while iterator:
            page = kinesis.get_records(ShardIterator=iterator, Limit=10_000)
            for record in page["Records"]:
                found[shard_id, record["SequenceNumber"]] = (record["PartitionKey"], record["Data"])
            if not page["Records"]:
                break
            iterator = page.get("NextShardIterator")
    return found


class KinesisBench(Bench):
    """A fresh stream on a server."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.kinesis = client(url)
        self.name = create(self.kinesis)
        self.auth = {**KEYS, "region": REGION, "endpointUrl": url}

    def open(self, **target: Any) -> Writer:
        return KINESIS.writer(self.auth, {"stream": self.name, **target})

    def read(self) -> Mapping[tuple[str, str], tuple[str, bytes]]:
        return read(self.kinesis, self.name)
