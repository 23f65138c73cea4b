"""GetShardIterator and GetRecords: reading a scripted stream back, as any consumer would."""

from __future__ import annotations

import base64
import binascii
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from typing import Any, Final

import msgspec

from headrace.testing.refusals import ServiceError, invalid
from headrace.testing.streams import Shard, Stream

MAX_READ_RECORDS: Final = 10_000
MAX_READ_BYTES: Final = 10 * 1024 * 1024


class IteratorBody(msgspec.Struct, rename="pascal"):
    """Body of GetShardIterator."""

    shard_id: str
    shard_iterator_type: str
    stream_name: str = ""
    stream_arn: str = msgspec.field(default="", name="StreamARN")
    starting_sequence_number: str = ""
    timestamp: float | None = None
    dry_run: bool = False


class ReadBody(msgspec.Struct, rename="pascal"):
    """Body of GetRecords."""

    shard_iterator: str
    limit: int = MAX_READ_RECORDS
    stream_arn: str = msgspec.field(default="", name="StreamARN")
    dry_run: bool = False


def iterator(stream: Stream, shard: Shard, position: int) -> str:
    """Name a place in a shard; opaque to callers."""
    return base64.urlsafe_b64encode(f"{position}/{shard.id}/{stream.name}".encode()).decode()


def parse_iterator(text: str) -> tuple[int, str, str]:
    """Return position, shard id and stream name of an iterator.

    Raises:
        ServiceError: It is not one of ours.
    """
    try:
        position, shard, stream = base64.urlsafe_b64decode(text).decode().split("/", 2)
        return int(position), shard, stream
    except (ValueError, binascii.Error):
        raise invalid("Invalid ShardIterator.") from None


def start_position(shard: Shard, body: IteratorBody) -> int:
    """Find where an iterator of the wanted type starts.

    Raises:
        ServiceError: The type is unknown.
    """
    written = shard.written
    sequence = body.starting_sequence_number
    match body.shard_iterator_type:
        case "TRIM_HORIZON":
            return 0
        case "LATEST":
            return len(written)
        case "AT_SEQUENCE_NUMBER":
            return bisect_left(written, sequence, key=lambda record: record.sequence)
        case "AFTER_SEQUENCE_NUMBER":
            return bisect_right(written, sequence, key=lambda record: record.sequence)
        case "AT_TIMESTAMP" if body.timestamp is not None:
            return bisect_left(written, body.timestamp * 1000, key=lambda record: record.at_ms)
        case _:
            raise ServiceError(aws_code="ValidationException", detail="Unknown or incomplete ShardIteratorType.")


def read(stream: Stream, shard: Shard, position: int, limit: int, time: Callable[[int], Any]) -> dict[str, Any]:
    """Read up to *limit* records from a place in a shard.

    Args:
        stream: The stream.
        shard: One of its shards.
        position: Place in the shard.
        limit: Most records.
        time: Makes epoch milliseconds into a time on the wire.

    Returns:
        The answer of GetRecords. A closed shard that is read to its end has no next iterator.
    """
    records: list[dict[str, Any]] = []
    size = 0
    for record in shard.written[position : position + min(limit, MAX_READ_RECORDS)]:
        size += len(record.data) + len(record.key.encode())
        if records and size > MAX_READ_BYTES:
            break
        records.append(
            {
                "SequenceNumber": record.sequence,
                "ApproximateArrivalTimestamp": time(record.at_ms),
                "Data": record.data,
                "PartitionKey": record.key,
            }
        )
    position += len(records)
    answer: dict[str, Any] = {"Records": records, "MillisBehindLatest": int(position < len(shard.written))}
    if shard.open or position < len(shard.written):
        answer["NextShardIterator"] = iterator(stream, shard, position)
    return answer
