"""What an answer says about each record (A1, A2)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis.answers import outcomes, refusal
from tests.destinations.contract import records

OK = {"ShardId": "shardId-000000000001", "SequenceNumber": "495"}
THROTTLED = {
    "ErrorCode": "ProvisionedThroughputExceededException",
    "ErrorMessage": "Rate exceeded for shard shardId-000000000002 in stream s under account 1.",
}


def read(entries: list[dict[str, Any]], failed: int | None = None, sent: int | None = None) -> list[Outcome]:
    """Outcomes of an answer with these entries."""
    count = sum("ErrorCode" in e for e in entries) if failed is None else failed
    body = msgspec.json.encode({"FailedRecordCount": count, "Records": entries, "EncryptionType": "KMS"})
    return list(outcomes(body, records(len(entries) if sent is None else sent)))


def test_all_written() -> None:
    """Each outcome has its entry's shard and sequence number, whatever the layout of the answer."""
    (out,) = read([OK])
    assert (out.verdict, out.shard, out.sequence, out.code) == (Verdict.DELIVERED, OK["ShardId"], "495", "")
    spaced = b'{ "Records" : [ {"SequenceNumber": "495", "ShardId": "shardId-1"} ], "FailedRecordCount" :  0 }'
    (out,) = outcomes(spaced, records(1))
    assert (out.verdict, out.shard, out.sequence) == (Verdict.DELIVERED, "shardId-1", "495")


def test_some_written() -> None:
    """Verdicts are by position; a delivered neighbour stays delivered."""
    found = read([OK, THROTTLED, {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}, OK])
    assert [o.verdict for o in found] == [Verdict.DELIVERED, Verdict.RETRY, Verdict.RETRY, Verdict.DELIVERED]
    assert [o.shard for o in found] == [OK["ShardId"], "shardId-000000000002", "", OK["ShardId"]]
    assert [o.code for o in found] == ["", THROTTLED["ErrorCode"], "InternalFailure", ""]


@pytest.mark.parametrize("failed", [0, 1])
def test_nulls_are_absences(failed: int) -> None:
    """As kinesis-local writes them, on success and on refusal."""
    nothing = {"ShardId": None, "SequenceNumber": None, "ErrorCode": None, "ErrorMessage": None}
    found = read([{**nothing, **OK}, {**nothing, **THROTTLED}], failed)
    assert [o.verdict for o in found] == [Verdict.DELIVERED, Verdict.RETRY]
    assert found[0].code == ""


def test_a1_a_wrong_count_settles_nothing() -> None:
    """One entry too few or too many: which record it is about is not known."""
    for sent in (1, 3):
        found = read([OK, OK], sent=sent)
        assert [(o.verdict, o.code) for o in found] == [(Verdict.UNKNOWN, "answer-count")] * sent


@settings(deadline=None)
@given(
    st.binary(max_size=60)
    | st.sampled_from(
        [
            b'{"FailedRecordCount":0,"Records":[{"ShardId":"\xff"}]}',
            b'{"Records":["\xff"]}',
            b"{}",
            b'{"Records":3}',
            b'{"Records":[1]}',
            b"[" * 100_000,
        ]
    )
)
def test_a1_what_cannot_be_read_settles_nothing(body: bytes) -> None:
    """Any bytes: the fate is unknown, and nothing is raised."""
    assert [o.verdict for o in outcomes(body, records(2))] == [Verdict.UNKNOWN] * 2


@pytest.mark.parametrize("failed", [0, 1])
@pytest.mark.parametrize(
    "entry", [{}, {"ShardId": "s"}, {"SequenceNumber": "1"}, {"ShardId": "", "SequenceNumber": "1"}]
)
def test_a2_an_entry_that_says_nothing_delivers_nothing(entry: dict[str, str], failed: int) -> None:
    """Silence is not delivery, also when the answer claims that nothing failed."""
    found = read([OK, entry], failed)
    assert [o.verdict for o in found] == [Verdict.DELIVERED, Verdict.UNKNOWN]


def test_a2_an_error_code_outweighs_the_count() -> None:
    """FailedRecordCount says 0 and an entry says throttled: it is throttled."""
    found = read([OK, THROTTLED, {**OK, "ErrorCode": "InternalFailure"}], failed=0)
    assert [o.verdict for o in found] == [Verdict.DELIVERED, Verdict.RETRY, Verdict.RETRY]


def test_a_refusal_is_read_from_json_xml_and_header() -> None:
    """Kinesis, its front door, moto's and a proxy's way of refusing."""
    assert refusal(b'{"__type":"a.b#XException","message":"m"}', "") == ("XException", "m")
    assert refusal(b'{"__type":"X","Message":"M"}', "") == ("X", "M")
    assert refusal(b"{}", "Y:http://z") == ("Y", "")
    assert refusal(b"<E><Code>AccessDenied</Code><Message>User: u</Message></E>", "") == ("AccessDenied", "User: u")
    assert refusal(b"<html>nothing here</html>", "") == ("", "")
    assert refusal(b'{"__type":3,"message":["x"]}', "Z") == ("Z", "")
    assert refusal(b"[" * 100_000, "Z") == ("Z", "")
    assert refusal(b'{"__type":"\xff"}', "Z") == ("Z", "")
