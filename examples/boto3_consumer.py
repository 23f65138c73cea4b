"""Read a stream that Headrace writes with plain boto3: each message once, in order per profile, gaps told.

    python boto3_consumer.py leads --region eu-west-1 --checkpoint leads.checkpoint

The checkpoint file holds how far each shard was read and what ``Deduplicator`` remembers, together: after a crash
this program begins where the file says, and what it applied since then comes once more. Make ``apply`` harmless to
repeat, or let it store its effects and the checkpoint in one transaction, and every message counts exactly once.

Needs boto3, msgspec, and headrace (or a copy of headrace/consumer.py beside this file).
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import boto3
import msgspec

from headrace.consumer import Deduplicator, MessageError, NoMetadataError, Taken

PAGE_RECORDS = 1000
IDLE_S = 0.25
"""A shard answers five reads a second."""


class Checkpoint(msgspec.Struct):
    """Where reading goes on. ``read`` is per shard the sequence number of the last record; ``ended`` are closed."""

    read: dict[str, str] = {}
    ended: set[str] = set()
    seen: bytes = b""


class Counts(msgspec.Struct):
    """What this run met."""

    applied: int = 0
    repeats: int = 0
    late: int = 0
    missing: int = 0
    tests: int = 0
    without_metadata: int = 0
    foreign: int = 0


def apply(taken: Taken) -> None:
    """Yours: here the message is printed, one JSON object a line."""
    block = taken.metadata
    said = {"flow": block.flow_id, "profile": block.profile_id, "seq": block.seq, "exportId": block.export_id}
    if taken.absorbed:
        said["absorbed"] = taken.absorbed  # these profiles are this one now: drop what is kept under their ids
    sys.stdout.write(msgspec.json.encode({**said, "message": taken.message}).decode() + "\n")


class Consumer:
    """Reads all shards of one stream in turn.

    Args:
        kinesis: boto3 client.
        stream: Name.
        checkpoint: File; read if it exists, replaced after each round that read something.
    """

    def __init__(self, kinesis: Any, stream: str, checkpoint: Path) -> None:
        self._kinesis, self._stream, self._file = kinesis, stream, checkpoint
        self._at = Checkpoint()
        if checkpoint.exists():
            self._at = msgspec.msgpack.decode(checkpoint.read_bytes(), type=Checkpoint)
        self._seen = Deduplicator.restore(self._at.seen) if self._at.seen else Deduplicator()
        self._iterators: dict[str, str] = {}
        self.counts = Counts()

    def round(self) -> bool:
        """Read one page of each shard, and save. False when every shard was read to its end."""
        more = False
        for shard in self._readable():
            more |= self._page(shard)
        self._save()
        return more

    def _readable(self) -> list[str]:
        """Shards not read to their end whose parents were: so resharding keeps each key's order."""
        pages = self._kinesis.get_paginator("list_shards").paginate(StreamName=self._stream)
        shards = {shard["ShardId"]: shard for page in pages for shard in page["Shards"]}
        left = shards.keys() - self._at.ended
        return sorted(
            shard_id
            for shard_id in left
            if not left & {shards[shard_id].get("ParentShardId"), shards[shard_id].get("AdjacentParentShardId")}
        )

    def _page(self, shard: str) -> bool:
        try:
            page = self._kinesis.get_records(ShardIterator=self._iterator(shard), Limit=PAGE_RECORDS)
        except self._kinesis.exceptions.ExpiredIteratorException:
            del self._iterators[shard]
            return True
        for record in page["Records"]:
            self._record(record["Data"])
            self._at.read[shard] = record["SequenceNumber"]
        following = page.get("NextShardIterator")
        if not following:
            self._at.ended.add(shard)  # closed by a split or merge, and read whole
            return True
        self._iterators[shard] = following
        return bool(page["Records"]) or page.get("MillisBehindLatest", 0) > 0

    def _iterator(self, shard: str) -> str:
        if shard not in self._iterators:
            read = self._at.read.get(shard)
            place = (
                {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "StartingSequenceNumber": read}
                if read
                else {"ShardIteratorType": "TRIM_HORIZON"}
            )
            answer = self._kinesis.get_shard_iterator(StreamName=self._stream, ShardId=shard, **place)
            self._iterators[shard] = answer["ShardIterator"]
        return self._iterators[shard]

    def _record(self, data: bytes) -> None:
        counts = self.counts
        try:
            taken = self._seen.look(data)
        except NoMetadataError as error:
            counts.without_metadata += 1  # the flow's setting is off; told once, for it holds of all its messages
            if counts.without_metadata == 1:
                sys.stderr.write(f"skipped a record, and counts others like it: {error}\n")
            return
        except MessageError as error:
            counts.foreign += 1  # somebody else writes to this stream too
            sys.stderr.write(f"skipped a record: {error}\n")
            return
        if taken.is_test:
            counts.tests += 1  # sent by hand, about a person who is not
            return
        if taken.is_repeat:
            counts.repeats += 1
        elif taken.is_late:
            counts.late += 1  # a message holds the whole profile, and a newer one was applied already
        else:
            counts.missing += taken.gap
            apply(taken)
            counts.applied += 1
        self._seen.keep(taken)

    def _save(self) -> None:
        self._at.seen = self._seen.snapshot()
        new = self._file.with_name(self._file.name + ".new")
        new.write_bytes(msgspec.msgpack.encode(self._at))
        new.replace(self._file)


def main(arguments: list[str] | None = None) -> int:
    """Read until interrupted, or with --once until there is no more."""
    parser = argparse.ArgumentParser(description="Print the messages of a stream that Headrace writes.")
    parser.add_argument("stream")
    parser.add_argument("--region")
    parser.add_argument("--endpoint-url", help="of a local Kinesis")
    parser.add_argument("--checkpoint", type=Path, required=True, help="where to go on from; made when absent")
    parser.add_argument("--once", action="store_true", help="end when every shard was read to its end")
    options = parser.parse_args(arguments)
    kinesis = boto3.client("kinesis", region_name=options.region, endpoint_url=options.endpoint_url)
    consumer = Consumer(kinesis, options.stream, options.checkpoint)
    try:
        while (more := consumer.round()) or not options.once:
            if not more:
                time.sleep(IDLE_S)
    except KeyboardInterrupt:
        pass
    if consumer.counts.without_metadata:
        sys.stderr.write(f"skipped {consumer.counts.without_metadata} records without metadata\n")
    sys.stderr.write(msgspec.json.encode(consumer.counts).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
