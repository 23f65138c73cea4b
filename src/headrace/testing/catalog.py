"""The actions about streams and shards: create, delete, list, describe, split, merge."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from headrace.testing.puts import sequence_number
from headrace.testing.refusals import ServiceError, invalid, validation
from headrace.testing.script import Change, Quota
from headrace.testing.streams import Shard, Stream

MAX_LIST_STREAMS: Final = 100
MAX_LIST_SHARDS: Final = 1000

Time = Callable[[int], Any]


class StreamBody(msgspec.Struct, rename="pascal"):
    """Bodies of the actions about one stream, together: each action reads its own fields."""

    stream_name: str = ""
    stream_arn: str = msgspec.field(default="", name="StreamARN")
    shard_count: int | None = None
    stream_mode_details: dict[str, str] = {}
    shard_to_split: str = ""
    shard_to_merge: str = ""
    adjacent_shard_to_merge: str = ""
    exclusive_start_shard_id: str = ""
    next_token: str = ""
    max_results: int = MAX_LIST_SHARDS
    shard_filter: dict[str, Any] = {}


class ListBody(msgspec.Struct, rename="pascal"):
    """Body of ListStreams."""

    limit: int = MAX_LIST_STREAMS
    exclusive_start_stream_name: str = ""
    next_token: str = ""


class Catalog:
    """The streams of one account and region.

    Attributes:
        streams: Name to stream.
    """

    def __init__(self, *, account: str, region: str) -> None:
        self.streams: dict[str, Stream] = {}
        self._account, self._region = account, region
        self._quota: Quota | None = None

    def arn(self, name: str) -> str:
        """Return the ARN of a stream, existing or not."""
        return f"arn:aws:kinesis:{self._region}:{self._account}:stream/{name}"

    def find(self, name: str, arn: str = "") -> Stream:
        """Find a stream by name or ARN.

        Raises:
            ServiceError: ResourceNotFoundException.
        """
        wanted = name or arn.rpartition("/")[2]
        if not wanted:
            raise invalid("Either StreamName or StreamARN must be given.")
        if wanted not in self.streams:
            raise ServiceError(aws_code="ResourceNotFoundException")
        return self.streams[wanted]

    def limit(self, quota: Quota | None, now_s: float) -> None:
        """Put a quota on every open shard, present and to come; all buckets start full."""
        self._quota = quota
        for stream in self.streams.values():
            for shard in stream.open_shards:
                shard.limit(quota, now_s)

    def create(self, name: str, shards: int, *, now: tuple[int, float], arrival: int, mode: str = "") -> Stream:
        """Create a stream, active at once.

        Raises:
            ServiceError: The name is taken or bad.
        """
        if not 1 <= len(name) <= 128:
            raise validation("streamName", "Member must have length between 1 and 128")
        if name in self.streams:
            raise ServiceError(
                aws_code="ResourceInUseException", detail="Stream {stream} under account {account} already exists."
            )
        now_ms, now_s = now
        stream = Stream(name, shards, created_ms=now_ms, arrival=arrival, mode=mode or "PROVISIONED")
        self.streams[name] = stream
        for shard in stream.shards:
            shard.limit(self._quota, now_s)
        return stream

    def make(self, change: Change, *, now: tuple[int, float], arrival: int) -> None:
        """Make one change.

        Raises:
            ServiceError: It cannot be made.
        """
        if change.do == "create":
            self.create(change.stream, change.shards, now=now, arrival=arrival)
            return
        stream = self.find(change.stream)
        fresh: tuple[Shard, ...] = ()
        match change.do:
            case "delete":
                del self.streams[change.stream]
            case "split":
                fresh = stream.split(change.shard, arrival=arrival)
            case "merge":
                fresh = (stream.merge(change.shard, change.with_shard, arrival=arrival),)
            case "auto" | "by-key":
                stream.auto = change.do == "auto"
        for shard in fresh:
            shard.limit(self._quota, now[1])

    def list_streams(self, body: ListBody, time: Time) -> dict[str, Any]:
        """Answer ListStreams: sorted by name, from the first name after the one given."""
        if not 1 <= body.limit <= 10_000:
            raise validation("limit", "Member must have value between 1 and 10000")
        after = body.next_token or body.exclusive_start_stream_name
        names = sorted(name for name in self.streams if name > after)
        page = names[: min(body.limit, MAX_LIST_STREAMS)]
        more = len(names) > len(page)
        answer: dict[str, Any] = {
            "StreamNames": page,
            "HasMoreStreams": more,
            "StreamSummaries": [self._summary(self.streams[name], time) for name in page],
        }
        if more:
            answer["NextToken"] = page[-1]
        return answer

    def _summary(self, stream: Stream, time: Time) -> dict[str, Any]:
        return {
            "StreamName": stream.name,
            "StreamARN": self.arn(stream.name),
            "StreamStatus": "ACTIVE",
            "StreamModeDetails": {"StreamMode": stream.mode},
            "StreamCreationTimestamp": time(stream.created_ms),
        }

    def describe_summary(self, body: StreamBody, time: Time) -> dict[str, Any]:
        """Answer DescribeStreamSummary."""
        stream = self.find(body.stream_name, body.stream_arn)
        return {
            "StreamDescriptionSummary": self._summary(stream, time)
            | {
                "RetentionPeriodHours": 24,
                "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
                "EncryptionType": "NONE",
                "OpenShardCount": len(stream.open_shards),
                "ConsumerCount": 0,
            }
        }

    def describe(self, body: StreamBody, time: Time) -> dict[str, Any]:
        """Answer DescribeStream, all shards on one page."""
        stream = self.find(body.stream_name, body.stream_arn)
        return {
            "StreamDescription": self._summary(stream, time)
            | {
                "RetentionPeriodHours": 24,
                "EnhancedMonitoring": [{"ShardLevelMetrics": []}],
                "EncryptionType": "NONE",
                "Shards": [describe_shard(shard) for shard in stream.shards],
                "HasMoreShards": False,
            }
        }

    def list_shards(self, body: StreamBody) -> dict[str, Any]:
        """Answer ListShards; the filter AT_LATEST gives the open ones, any other gives all."""
        name, _, after = body.next_token.partition("/")
        stream = self.find(name or body.stream_name, body.stream_arn)
        after = after or body.exclusive_start_shard_id
        latest = body.shard_filter.get("Type") == "AT_LATEST"
        shards = [s for s in stream.shards if s.id > after and (s.open or not latest)]
        page = shards[: min(body.max_results, MAX_LIST_SHARDS)]
        answer: dict[str, Any] = {"Shards": [describe_shard(shard) for shard in page]}
        if len(page) < len(shards):
            answer["NextToken"] = f"{stream.name}/{page[-1].id}"
        return answer


def describe_shard(shard: Shard) -> dict[str, Any]:
    """Describe a shard as ListShards does."""
    numbers = {"StartingSequenceNumber": sequence_number(shard.since)}
    if not shard.open:
        last = shard.written[-1].sequence if shard.written else sequence_number(shard.since)
        numbers["EndingSequenceNumber"] = last
    answer: dict[str, Any] = {
        "ShardId": shard.id,
        "HashKeyRange": {"StartingHashKey": str(shard.first), "EndingHashKey": str(shard.last)},
        "SequenceNumberRange": numbers,
    }
    return answer | dict(zip(("ParentShardId", "AdjacentParentShardId"), shard.parents, strict=False))


def change_of(action: str, body: StreamBody, stream: str) -> Change:
    """Read SplitShard, MergeShards or DeleteStream as a change."""
    match action:
        case "SplitShard":
            return Change(do="split", stream=stream, shard=body.shard_to_split)
        case "MergeShards":
            return Change(
                do="merge", stream=stream, shard=body.shard_to_merge, with_shard=body.adjacent_shard_to_merge
            )
        case _:
            return Change(do="delete", stream=stream)
