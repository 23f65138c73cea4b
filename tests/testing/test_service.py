"""The scripted Kinesis without its wire: limits, answers, faults, changes."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from headrace.clock import Manual
from headrace.testing import cbor
from headrace.testing.script import Change, Fault, Quota, Script, random_faults
from headrace.testing.service import CBOR, Service
from tests.testing.calls import call, error, put, said, service

NEARLY_A_MIB = base64.b64encode(bytes((1 << 20) - 4)).decode()


def written(target: Service) -> list[str]:
    return [record.data.decode() for record in target.desk.records]


def codes(body: dict[str, Any]) -> list[str]:
    return [record.get("ErrorCode", "") for record in body["Records"]]


def test_answers_name_shard_and_growing_sequence() -> None:
    """K3: every record is answered in its place, sequence numbers have 56 digits and grow, through a reshard too."""
    kinesis = service(shards=2)
    seen: list[str] = []
    for round_ in range(3):
        body = said(put(kinesis, [f"{round_}-{n}" for n in range(20)]))
        assert body["FailedRecordCount"] == 0
        seen += [record["SequenceNumber"] for record in body["Records"]]
        if round_ == 0:
            kinesis.change(Change(do="split", stream="s", shard="shardId-000000000000"))
    assert seen == sorted(seen)
    assert {len(sequence) for sequence in seen} == {56}
    assert len(set(seen)) == 60
    assert {record.shard for record in kinesis.desk.records} == {f"shardId-00000000000{n}" for n in range(4)}


def test_put_record_answers_one() -> None:
    """PutRecord writes one record; a refusal of it is an error of the request."""
    kinesis = service(script=Script(faults=(Fault(kind="throttle", keys=("hot",)),)))
    body = {"StreamName": "s", "Data": "eA==", "PartitionKey": "k", "SequenceNumberForOrdering": "1"}
    assert said(call(kinesis, "PutRecord", body))["ShardId"] == "shardId-000000000000"
    assert error(call(kinesis, "PutRecord", body | {"PartitionKey": "hot"})) == (
        400,
        "ProvisionedThroughputExceededException",
    )
    assert written(kinesis) == ["x"]


@pytest.mark.parametrize(
    ("records", "code"),
    [
        ([], "ValidationException"),
        ([{"Data": "eA==", "PartitionKey": "k"}] * 501, "ValidationException"),
        ([{"Data": "eA==", "PartitionKey": "k" * 257}], "ValidationException"),
        ([{"Data": "eA==", "PartitionKey": ""}], "ValidationException"),
        ([{"Data": "eA=="}], "ValidationException"),
        ([{"PartitionKey": "k"}], "ValidationException"),
        ([{"Data": base64.b64encode(bytes(1 << 20)).decode(), "PartitionKey": "k"}], "InvalidArgumentException"),
        ([{"Data": NEARLY_A_MIB, "PartitionKey": "k"}] * 11, "InvalidArgumentException"),
        ([{"Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": str(2**128)}], "InvalidArgumentException"),
        ([{"Data": "eA==", "PartitionKey": "k", "ExplicitHashKey": "-1"}], "InvalidArgumentException"),
        ([{"Data": "not base64", "PartitionKey": "k"}], "SerializationException"),
        ("no list", "SerializationException"),
    ],
)  # fmt: skip
def test_limits(records: Any, code: str) -> None:
    """K2: a request that breaks a limit is refused whole with AWS's code, and writes nothing."""
    kinesis = service()
    good = {"Data": "eA==", "PartitionKey": "k"}
    body = [good, *records][:501] if 0 < len(records) < 12 and isinstance(records, list) else records
    assert error(call(kinesis, "PutRecords", {"StreamName": "s", "Records": body})) == (400, code)
    assert written(kinesis) == []


def test_largest_allowed_request_is_taken() -> None:
    """A key of 256 characters of any width, 500 records, and a record of exactly 1 MiB with its key are taken."""
    kinesis = service()
    assert said(put(kinesis, ["é" * 256] * 500))["FailedRecordCount"] == 0
    data = base64.b64encode(bytes((1 << 20) - 2)).decode()
    body = {"StreamName": "s", "Records": [{"Data": data, "PartitionKey": "é"}]}
    assert call(kinesis, "PutRecords", body).status == 200


def test_unknown_stream_and_action() -> None:
    """A stream that is not there is ResourceNotFoundException with account and name; actions must be known."""
    kinesis = service()
    reply = put(kinesis, ["a"], stream="none")
    assert error(reply) == (400, "ResourceNotFoundException")
    assert said(reply)["message"] == "Stream none under account 123456789012 not found."
    assert error(call(kinesis, "Nothing", {})) == (400, "UnknownOperationException")


def test_throttle_names_account_stream_and_shard() -> None:
    """A throttled record says which shard refused it; the others are written."""
    kinesis = service(script=Script(faults=(Fault(kind="throttle", keys=("b",)), Fault(kind="fail", keys=("c",)))))
    body = said(put(kinesis, ["a", "b", "c", "d"]))
    assert body["FailedRecordCount"] == 2
    assert codes(body) == ["", "ProvisionedThroughputExceededException", "InternalFailure", ""]
    assert body["Records"][1]["ErrorMessage"] == (
        "Rate exceeded for shard shardId-000000000000 in stream s under account 123456789012."
    )
    assert written(kinesis) == ["a", "d"]
    assert kinesis.desk.counts.failed == {"ProvisionedThroughputExceededException": 1, "InternalFailure": 1}


def test_quota_on_a_moved_clock() -> None:
    """A shard over its quota throttles; when time has passed it takes records again; one shard can be slower."""
    clock = Manual()
    factors = {"shardId-000000000001": 0.1}
    kinesis = service(script=Script(quota=Quota(records_per_s=100, factors=factors)), clock=clock, shards=2)
    keys = [str(n) for n in range(500)]
    body = said(put(kinesis, keys))
    taken = [record.get("ShardId") for record in body["Records"]]
    assert (taken.count("shardId-000000000000"), taken.count("shardId-000000000001")) == (100, 10)
    clock.advance(0.5)
    assert 500 - said(put(kinesis, keys))["FailedRecordCount"] == 55


@pytest.mark.parametrize(
    ("fault", "fate", "status", "kept"),
    [
        (Fault(kind="refuse", code="ServiceUnavailable"), "answer", 503, False),
        (Fault(kind="refuse", code="InternalFailure"), "answer", 500, False),
        (Fault(kind="refuse", code="KMSThrottlingException"), "answer", 400, False),
        (Fault(kind="refuse-after"), "answer", 500, True),
        (Fault(kind="timeout-before"), "silence", 200, False),
        (Fault(kind="timeout-after"), "silence", 200, True),
        (Fault(kind="reset-before"), "reset", 200, False),
        (Fault(kind="reset-after"), "reset", 200, True),
        (Fault(kind="slow", delay_s=3), "answer", 200, True),
        (Fault(kind="unparsable"), "answer", 200, True),
    ],
)
def test_whole_request_faults(fault: Fault, fate: str, status: int, kept: bool) -> None:
    """K1, K2: each fault about a request ends as it says, and writes everything or nothing."""
    kinesis = service(script=Script(faults=(fault,)))
    reply = put(kinesis, ["a", "b"])
    assert (reply.fate, reply.status) == (fate, status)
    assert written(kinesis) == (["a", "b"] if kept else [])
    assert reply.delay_s == fault.delay_s
    assert kinesis.fault_counts() == [1]


def test_lag_writes_later_than_its_followers() -> None:
    """A request that lags is written after those that came behind it."""
    kinesis = service(script=Script(faults=(Fault(kind="lag", delay_s=2, requests=(1,)),)))
    late = put(kinesis, ["a"])
    put(kinesis, ["b"])
    assert written(kinesis) == ["b"]
    assert late.delay_s == 2
    assert late.later is not None
    assert late.later().status == 200
    assert written(kinesis) == ["b", "a"]


@pytest.mark.parametrize(("delta", "length"), [(-1, 2), (2, 5)])
def test_wrong_count(delta: int, length: int) -> None:
    """An answer may have fewer or more records than were sent; all of them were written."""
    kinesis = service(script=Script(faults=(Fault(kind="wrong-count", count_delta=delta),)))
    assert len(said(put(kinesis, ["a", "b", "c"]))["Records"]) == length
    assert len(written(kinesis)) == 3


def test_conditions() -> None:
    """A fault strikes by request number, record number, key, shard, stream, time, and only so often."""
    clock = Manual()
    by = {
        "requests": Fault(kind="refuse", requests=(2,), code="a"),
        "records": Fault(kind="refuse", records=(4, 5), code="b"),
        "key": Fault(kind="refuse", keys=("k",), code="c"),
        "shard": Fault(kind="refuse", shards=("shardId-000000000009",), code="d"),
        "stream": Fault(kind="refuse", stream="other", code="e"),
        "time": Fault(kind="refuse", from_s=10, until_s=20, code="f"),
        "times": Fault(kind="refuse", skip=8, times=1, code="g"),
    }
    kinesis = service(script=Script(faults=tuple(by.values())), clock=clock)

    def code(keys: list[str], stream: str = "s") -> str:
        return str(said(put(kinesis, keys, stream=stream)).get("__type", ""))

    assert code(["x"]) == ""
    assert code(["x"]) == "a"
    assert code(["x", "y"]) == "b", "its second record is number 4"
    assert code(["x"]) == "b"
    assert code(["x", "k"]) == "c"
    assert code(["x"], "other") == "e"
    clock.advance(10)
    assert code(["x"]) == "f"
    clock.advance(10)
    assert code(["x"]) == ""
    assert [code(["x"]) for _ in range(3)] == ["g", "", ""]


def test_same_seed_same_strikes() -> None:
    """K4: chances come from the seed alone, and their share is about the rate."""

    def run(seed: int) -> list[list[str]]:
        kinesis = service(script=Script(faults=random_faults(throttle=0.2, internal_failure=0.1), seed=seed))
        return [codes(said(put(kinesis, [str(n) for n in range(100)]))) for _ in range(20)]

    first = run(1)
    assert first == run(1)
    assert first != run(2)
    share = sum(code == "ProvisionedThroughputExceededException" for codes_ in first for code in codes_) / 2000
    assert 0.15 < share < 0.25


def test_access_denied_per_action() -> None:
    """Permission can be missing for one action; the words name it and the resource."""
    denied = Fault(kind="refuse", actions=("ListStreams",), code="AccessDeniedException")
    kinesis = service(script=Script(faults=(denied,)))
    reply = call(kinesis, "ListStreams", {})
    assert error(reply) == (400, "AccessDeniedException")
    assert (
        "kinesis:ListStreams on resource: arn:aws:kinesis:eu-west-1:123456789012:stream/*" in said(reply)["Message"]
    )
    assert put(kinesis, ["a"]).status == 200


def test_expired_until_the_key_changes() -> None:
    """A token that has expired is refused until another access key signs."""
    kinesis = service(
        script=Script(
            faults=(Fault(kind="refuse", access_keys=("OLD",), code="ExpiredTokenException", actions=("*",)),)
        )
    )

    def headers(key: str) -> dict[str, str]:
        return {
            "authorization": f"AWS4-HMAC-SHA256 Credential={key}/20260101/eu-west-1/kinesis/aws4_request, "
            f"SignedHeaders=host, Signature={'0' * 64}"
        }

    assert error(call(kinesis, "ListStreams", {}, headers=headers("OLD"))) == (400, "ExpiredTokenException")
    assert call(kinesis, "ListStreams", {}, headers=headers("NEW")).status == 200


def test_dry_run() -> None:
    """K5: DryRun answers as AWS does and writes nothing; a server that ignores it writes."""
    kinesis = service()
    assert error(put(kinesis, ["a"], DryRun=True)) == (400, "DryRunOperationException")
    assert error(put(kinesis, ["a"], DryRun=True, stream="none")) == (400, "ResourceNotFoundException")
    assert written(kinesis) == []
    kinesis.follow(Script(dry_run=False))
    assert put(kinesis, ["a"], DryRun=True).status == 200
    assert written(kinesis) == ["a"]


def test_auto_distribution_ignores_keys() -> None:
    """With AUTO one key lands on several shards, and none at all is needed; BY_KEY comes back."""
    kinesis = service(shards=4)
    kinesis.change(Change(do="auto", stream="s"))
    put(kinesis, ["k"] * 100)
    assert len({record.shard for record in kinesis.desk.records}) == 4
    assert call(kinesis, "PutRecords", {"StreamName": "s", "Records": [{"Data": "eA=="}]}).status == 200
    one = {"StreamName": "s", "Data": "eA==", "SequenceNumberForOrdering": "1"}
    assert error(call(kinesis, "PutRecord", one)) == (400, "InvalidArgumentException")
    kinesis.change(Change(do="by-key", stream="s"))
    before = len(kinesis.desk.records)
    put(kinesis, ["k"] * 100)
    assert len({record.shard for record in kinesis.desk.records[before:]}) == 1


def test_changes_wait_for_their_request() -> None:
    """A stream can be deleted before one request and made again before another."""
    first, second = "shardId-000000000000", "shardId-000000000001"
    kinesis = service(
        script=Script(
            changes=(
                Change(do="delete", stream="s", at_request=2),
                Change(do="create", stream="s", shards=3, at_request=3),
                Change(do="merge", stream="s", shard=first, with_shard=second, at_request=4),
            )
        )
    )  # fmt: skip
    assert put(kinesis, ["a"]).status == 200
    assert error(put(kinesis, ["a"])) == (400, "ResourceNotFoundException")
    assert put(kinesis, ["a"]).status == 200
    assert len(kinesis.catalog.streams["s"].open_shards) == 3
    assert put(kinesis, ["a"]).status == 200
    assert len(kinesis.catalog.streams["s"].open_shards) == 2


def test_shuffle_writes_a_request_in_another_order() -> None:
    """With shuffle the order within a request is not the order sent, and answers stay in their places."""
    kinesis = service(script=Script(shuffle=True))
    keys = [str(n) for n in range(50)]
    body = said(put(kinesis, keys))
    assert written(kinesis) != keys
    assert sorted(written(kinesis)) == sorted(keys)
    by_sequence = {record.sequence: record.key for record in kinesis.desk.records}
    assert [by_sequence[record["SequenceNumber"]] for record in body["Records"]] == keys


def test_cbor_both_ways() -> None:
    """CBOR requests are taken with raw data and answered in CBOR, errors too; a script can refuse them."""
    kinesis = service()
    body = {"StreamName": "s", "Records": [{"Data": b"\x00\xff", "PartitionKey": "k"}]}
    reply = call(kinesis, "PutRecords", cbor.encode(body), media=CBOR)
    assert reply.media == CBOR
    answer = cbor.decode(reply.body)
    assert answer["FailedRecordCount"] == 0
    assert answer["Records"][0]["ShardId"] == "shardId-000000000000"
    assert kinesis.desk.records[0].data == b"\x00\xff"
    refused = call(kinesis, "PutRecords", cbor.encode(body | {"StreamName": "none"}), media=CBOR)
    assert cbor.decode(refused.body)["__type"] == "ResourceNotFoundException"
    listed = cbor.decode(call(kinesis, "ListStreams", cbor.encode({}), media=CBOR).body)
    assert listed["StreamSummaries"][0]["StreamCreationTimestamp"] == 1_700_000_000_000
    kinesis.follow(Script(cbor=False))
    assert call(kinesis, "PutRecords", cbor.encode(body), media=CBOR).status == 404


def test_list_streams_pages_and_exclusive_start() -> None:
    """ListStreams is sorted, pages, and takes any text to start after, as AWS does."""
    kinesis = service()
    for name in ("b", "a", "c"):
        kinesis.create(name)
    first = said(call(kinesis, "ListStreams", {"Limit": 2}))
    assert (first["StreamNames"], first["HasMoreStreams"]) == (["a", "b"], True)
    rest = said(call(kinesis, "ListStreams", {"NextToken": first["NextToken"]}))
    assert (rest["StreamNames"], rest["HasMoreStreams"]) == (["c", "s"], False)
    assert said(call(kinesis, "ListStreams", {"ExclusiveStartStreamName": "bz", "Limit": 1}))["StreamNames"] == ["c"]


def test_unsigned_callers_when_credentials_are_checked() -> None:
    """With credentials given, a request without a signature is refused."""
    kinesis = service(script=Script(credentials={"AK": "SK"}))
    assert error(put(kinesis, ["a"])) == (400, "MissingAuthenticationTokenException")


@pytest.mark.parametrize("skew_s", [-600.0, 600.0])
def test_clock_skew(skew_s: float) -> None:
    """A signature whose date is too far from the server's is refused with the chosen code."""
    kinesis = service(script=Script(max_skew_s=300, skew_s=skew_s, skew_code="RequestExpired"))
    stamp = {"x-amz-date": "20231114T221320Z"}  # where the manual clock starts
    assert error(call(kinesis, "ListStreams", {}, headers=stamp)) == (400, "RequestExpired")
    kinesis.follow(Script(max_skew_s=300))
    assert call(kinesis, "ListStreams", {}, headers=stamp).status == 200
