"""What the Amazon Kinesis destination is, as data.

Ids and names are those of Adobe Experience Platform, so that what was written for it works here.
"""

from __future__ import annotations

from typing import Final

from headrace.destinations.base import TARGET_TOGGLES, Limit, Parameter, Spec
from headrace.destinations.kinesis.auth import AUTH, REGION_FORM, REGION_PATTERN

__all__ = ["MIB", "REGION_PATTERN", "SPEC", "STREAM_PATTERN"]

STREAM_PATTERN: Final = r"[a-zA-Z0-9_.\-]{1,128}"
MIB: Final = 1024 * 1024

_MODEL = "botocore service model kinesis 2013-12-02, botocore 1.43.117, read 2026-11-24"
_DOCS = "Kinesis Data Streams developer guide, quotas and limits, read 2026-11-24"

SPEC: Final = Spec(
    id="86043421-563b-46ec-8e6c-e23184711bf6",
    version="1.0",
    name="Amazon Kinesis",
    category="cloudStorage",
    description="Streams the profiles of chosen audiences to an Amazon Kinesis data stream as JSON, in real time.",
    auth=AUTH,
    target=(
        Parameter(
            "stream", "Stream", "Name of an existing data stream.", required=True, pattern=STREAM_PATTERN,
            form="1 to 128 letters, digits and _.-",
        ),
        Parameter(
            "region", "Region", "When given, the same as the connection's.", pattern=REGION_PATTERN, form=REGION_FORM
        ),
        *TARGET_TOGGLES,
        Parameter(
            "maxRequestRecords", "Records a request", "The most records in one request.", "integer",
            default=500, least=1, most=500,
        ),
        Parameter(
            "maxRequestBytes", "Bytes a request",
            "The most bytes of data and keys in one request; over 5 MiB only AWS itself accepts.", "integer",
            default=5 * MIB, least=64 * 1024, most=10 * MIB,
        ),
        Parameter(
            "maxRecordBytes", "Bytes a record",
            "The most bytes of data and key in one record; over 1 MiB only where the stream's own limit was raised.",
            "integer", default=MIB, least=1024, most=10 * MIB,
        ),
        Parameter(
            "maxInFlight", "Requests at once", "The most requests under way at once.", "integer",
            default=32, least=1, most=256,
        ),
        Parameter(
            "timeoutMs", "Time-out", "Milliseconds after which a request's outcome counts as unknown.", "integer",
            default=30_000, least=100, most=300_000,
        ),
        Parameter(
            "encoding", "Encoding",
            "How requests are written: json, or cbor, which is a quarter smaller and costs less; an endpoint that "
            "does not take cbor is spoken to in json.",
            default="json", choices=("json", "cbor"),
        ),
        Parameter(
            "compression", "Compression",
            "How each record's data is compressed; consumers tell by its first bytes and must know it.",
            default="none", choices=("none", "gzip", "zstd"),
        ),
        Parameter(
            "aggregation", "Aggregation",
            "Put several records into one in the format of the Kinesis Producer Library where their shard is "
            "certain; consumers must know it.",
            default="none", choices=("none", "kpl"),
        ),
    ),
    permissions=("kinesis:ListStreams", "kinesis:PutRecord", "kinesis:PutRecords"),
    limits=(
        Limit("PutRecords.Records", 500, "records", _MODEL),
        Limit("PutRecords.request", 10 * MIB, "bytes of data and partition keys", _DOCS + "; 5 MiB until 2025-10-27"),
        Limit("PutRecordsRequestEntry.Data", 10 * MIB, "bytes", _MODEL),
        Limit("MaxRecordSizeInKiB.default", 1024, "KiB of data and partition key", _DOCS),
        Limit("MaxRecordSizeInKiB", 10240, "KiB of data and partition key", _MODEL),
        Limit("PutRecordsRequestEntry.PartitionKey", 256, "characters", _MODEL),
        Limit("StreamName", 128, "characters", _MODEL),
        Limit("shard.records", 1000, "records a second and shard", _DOCS),
        Limit("shard.bytes", MIB, "bytes a second and shard", _DOCS),
    ),
)  # fmt: skip
"""The destination as API, console, command line and docs show it."""
