"""What a scripted Kinesis is told to do wrong, and when: plain values, from Python or from a JSON file."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

FaultKind = Literal[
    "throttle",
    "fail",
    "refuse",
    "refuse-after",
    "timeout-before",
    "timeout-after",
    "reset-before",
    "reset-after",
    "slow",
    "lag",
    "wrong-count",
    "unparsable",
]
"""What a fault does.

About single records (the answer is 200 and names them):
    throttle        ProvisionedThroughputExceededException naming account, stream and shard
    fail            the fault's ``code``, InternalFailure unless told otherwise
About the whole request:
    refuse          an error answer with the fault's ``code``; nothing is written
    refuse-after    the same, but everything is written before
    timeout-before  nothing is written, and no answer ever comes
    timeout-after   everything is written, and no answer ever comes
    reset-before    nothing is written, and the connection is reset
    reset-after     everything is written, and the connection is reset
    slow            written at once, answered after ``delay_s``
    lag             written only after ``delay_s``, then answered: later requests overtake it
    wrong-count     written, and the answer has ``count_delta`` records more (or fewer)
    unparsable      written, and the answer is not JSON
"""

RECORD_KINDS: Final = frozenset({"throttle", "fail"})
PUTS: Final = ("PutRecords", "PutRecord")


class Fault(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One fault. It strikes where every condition given holds; a condition left alone holds everywhere.

    Attributes:
        kind: What it does.
        actions: API actions it is about; ``*`` is any.
        stream: Name of the stream.
        requests: Numbers of put requests, the first that arrives being 1.
        records: First and last number of offered records, the first that arrives being 1.
        keys: Partition keys; a whole request is struck when one of its records has one.
        shards: Shard ids, in the same way.
        access_keys: Access key ids of the caller, so that a fault ends when the key changes.
        from_s: Seconds on the server's clock since it started, from here on.
        until_s: The same, up to here.
        rate: Chance of each strike, drawn from the script's seed.
        skip: Strikes let pass before the first that counts.
        times: Most strikes, None for no end.
        code: Error code of ``refuse``, ``refuse-after`` and ``fail``.
        status: HTTP status of ``refuse`` and ``refuse-after``; 0 takes the code's own.
        message: Error text; empty takes the code's own.
        delay_s: For ``slow`` and ``lag``.
        count_delta: For ``wrong-count``.
    """

    kind: FaultKind
    actions: tuple[str, ...] = PUTS
    stream: str = ""
    requests: tuple[int, ...] = ()
    records: tuple[int, int] | None = None
    keys: tuple[str, ...] = ()
    shards: tuple[str, ...] = ()
    access_keys: tuple[str, ...] = ()
    from_s: float = 0.0
    until_s: float | None = None
    rate: float = 1.0
    skip: int = 0
    times: int | None = None
    code: str = "InternalFailure"
    status: int = 0
    message: str = ""
    delay_s: float = 0.0
    count_delta: int = -1


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One change to the streams, at once or before a put request.

    Attributes:
        do: create or delete a stream, split a shard in two, merge two neighbours, or turn the
            distribution to AUTO (keys ignored) or back to BY_KEY.
        stream: Its name.
        shards: Shards of a stream that is created.
        shard: The shard that is split, or the first of two that are merged.
        with_shard: The second of two that are merged.
        at_request: Made before the put request of this number; 0 makes it at once.
    """

    do: Literal["create", "delete", "split", "merge", "auto", "by-key"]
    stream: str
    shards: int = 1
    shard: str = ""
    with_shard: str = ""
    at_request: int = 0


class Quota(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What each shard takes: two token buckets, filled on the server's clock.

    Attributes:
        records_per_s: Records.
        bytes_per_s: Bytes of data and UTF-8 partition key.
        burst_s: Depth of both buckets, in seconds of their rate.
        factors: Shard id to a factor on both rates, for one shard slower than its neighbours.

    Source:
        Kinesis Data Streams quotas: 1,000 records/s and 1 MB/s a shard, in both capacity modes.
    """

    records_per_s: float = 1000.0
    bytes_per_s: float = 1_000_000.0
    burst_s: float = 1.0
    factors: dict[str, float] = {}


class Script(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a scripted Kinesis is told.

    Attributes:
        faults: Tried in order. Every one that strikes is counted; the first of each sort decides.
        changes: Made in order.
        quota: Per shard; None takes everything.
        seed: Of all chances.
        credentials: Access key id to secret access key. Given, unknown keys are refused and every
            signature is verified. None takes any caller.
        skew_s: How far the server's date is ahead of its clock.
        max_skew_s: Requests signed further away than this are refused; None looks at no date.
        skew_code: With this code: InvalidSignatureException or RequestExpired.
        dry_run: Honour DryRun as AWS does; False ignores the field and writes, as emulators do.
        cbor: Take application/x-amz-cbor-1.1; False refuses it.
        shuffle: Write the records of one request in a random order: PutRecords promises none.
        latency_s: Every answer waits this long.
        max_records: Records a request.
        max_request_bytes: Sum of data and keys over a request.
        max_record_bytes: Data and key of one record.
    """

    faults: tuple[Fault, ...] = ()
    changes: tuple[Change, ...] = ()
    quota: Quota | None = None
    seed: int = 0
    credentials: dict[str, str] | None = None
    skew_s: float = 0.0
    max_skew_s: float | None = None
    skew_code: str = "InvalidSignatureException"
    dry_run: bool = True
    cbor: bool = True
    shuffle: bool = False
    latency_s: float = 0.0
    max_records: int = 500
    max_request_bytes: int = 10 * 1024 * 1024
    max_record_bytes: int = 1024 * 1024


def random_faults(  # one keyword a rate reads better at the call than a mapping
    *,
    throttle: float = 0.0,
    internal_failure: float = 0.0,
    error_500: float = 0.0,
    error_503: float = 0.0,
    timeout_before: float = 0.0,
    timeout_after: float = 0.0,
    reset_before: float = 0.0,
    reset_after: float = 0.0,
    wrong_count: float = 0.0,
    unparsable: float = 0.0,
) -> tuple[Fault, ...]:
    """Turn rates into faults: the first two per record, the others per put request.

    Returns:
        One fault for each rate above 0, to put into a ``Script`` with a seed.
    """
    wanted = (
        Fault(kind="throttle", rate=throttle),
        Fault(kind="fail", rate=internal_failure),
        Fault(kind="refuse", rate=error_500, code="InternalFailure", status=500),
        Fault(kind="refuse", rate=error_503, code="ServiceUnavailable", status=503),
        Fault(kind="timeout-before", rate=timeout_before),
        Fault(kind="timeout-after", rate=timeout_after),
        Fault(kind="reset-before", rate=reset_before),
        Fault(kind="reset-after", rate=reset_after),
        Fault(kind="wrong-count", rate=wrong_count),
        Fault(kind="unparsable", rate=unparsable),
    )
    return tuple(fault for fault in wanted if fault.rate > 0)
