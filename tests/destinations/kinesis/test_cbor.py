"""Answers in CBOR are read as a library reads them, the fast way or not (A1, A2, B1)."""

from __future__ import annotations

import doctest
from typing import Any

import cbor2
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis import cbor
from headrace.destinations.kinesis.answers import outcomes, refusal
from headrace.testing import cbor as other
from tests.destinations.contract import records

OK = {"SequenceNumber": "495" * 18, "ShardId": "shardId-000000000001"}
THROTTLED = {
    "ErrorCode": "ProvisionedThroughputExceededException",
    "ErrorMessage": "Rate exceeded for shard shardId-000000000002 in stream s under account 1.",
}
FAILED = {"ErrorCode": "InternalFailure", "ErrorMessage": "Internal service failure."}


def endless(value: Any) -> bytes:
    """As Java's encoder writes it: maps and arrays without length, with an end."""
    match value:
        case dict():
            return b"\xbf" + b"".join(endless(k) + endless(v) for k, v in value.items()) + b"\xff"
        case list():
            return b"\x9f" + b"".join(map(endless, value)) + b"\xff"
        case _:
            return other.encode(value)


def bodies(entries: list[dict[str, Any]], failed: int | None = None) -> list[bytes]:
    """An answer in every layout a server may choose."""
    count = sum("ErrorCode" in e for e in entries) if failed is None else failed
    orders = [
        {"FailedRecordCount": count, "Records": entries, "EncryptionType": "KMS"},
        {"EncryptionType": "NONE", "Records": entries, "FailedRecordCount": count},
        {"Records": entries},
    ]
    return [encode(order) for order in orders for encode in (cbor2.dumps, endless)]


def fast(body: bytes, count: int) -> Any:
    """The entries as the fast way reads them; None when it does not."""
    packed = cbor.entries_as_msgpack(body, count)
    if packed is None:
        return None
    try:
        return msgspec.msgpack.decode(packed, type=list[dict[str, str]])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


@pytest.mark.parametrize("count", [1, 15, 16, 23, 24, 255, 256, 500])
def test_b1_the_usual_answers_are_read_the_fast_way(count: int) -> None:
    """Written, throttled and failed, with any number of entries and in every layout."""
    entries = [(OK, THROTTLED, OK, FAILED)[n % 4] for n in range(count)]
    for body in bodies(entries):
        assert fast(body, count) == entries
        found = outcomes(body, records(count))
        told = [(Verdict.DELIVERED, Verdict.RETRY, Verdict.DELIVERED, Verdict.RETRY)[n % 4] for n in range(count)]
        assert [o.verdict for o in found] == told
        assert [(o.shard, o.sequence) for o in found[:1]] == [(OK["ShardId"], OK["SequenceNumber"])]
        if count > 1:
            assert found[1].shard == "shardId-000000000002"


TEXTS = st.text(max_size=300) | st.sampled_from(
    ["gShardIdt", "\xa2nSequenceNumberx", "lErrorMessagex", "nEncryptionType", "gRecords", "ÿÿ", "qFailedRecordCount"]
)
ENTRIES = st.lists(
    st.sampled_from([OK, THROTTLED, FAILED, {}])
    | st.fixed_dictionaries({"ErrorCode": TEXTS, "ErrorMessage": TEXTS})
    | st.fixed_dictionaries({"SequenceNumber": TEXTS, "ShardId": TEXTS}),
    max_size=30,
)


@settings(deadline=None)
@given(ENTRIES, st.integers(-1, 1))
def test_b1_what_the_fast_way_reads_is_what_a_library_reads(entries: list[dict[str, str]], more: int) -> None:
    """Any texts, also ones that hold the very bytes that are looked for; a wrong count is never read."""
    for body in bodies(entries):
        wanted = len(entries) + more
        found = fast(body, max(wanted, 0))
        assert found in (None, entries)
        if more and wanted >= 0:
            assert found is None


@pytest.mark.parametrize("failed", [0, 1])
def test_nulls_are_absences(failed: int) -> None:
    """As kinesis-local writes them."""
    nothing = {"ShardId": None, "SequenceNumber": None, "ErrorCode": None, "ErrorMessage": None}
    for body in bodies([{**nothing, **OK}, {**nothing, **THROTTLED}], failed):
        found = outcomes(body, records(2))
        assert [(o.verdict, o.code) for o in found] == [
            (Verdict.DELIVERED, ""),
            (Verdict.RETRY, THROTTLED["ErrorCode"]),
        ]


def test_a1_a_wrong_count_settles_nothing() -> None:
    """One entry too few or too many."""
    for sent in (1, 3):
        for body in bodies([OK, OK]):
            found = outcomes(body, records(sent))
            assert [(o.verdict, o.code) for o in found] == [(Verdict.UNKNOWN, "answer-count")] * sent


@settings(deadline=None)
@given(
    st.binary(max_size=60).map(lambda tail: b"\xa2" + tail)
    | st.sampled_from(
        [
            b"\xa1\x67Records",
            b"\xa1\x67Records\x98",
            b"\xbf" * 5000,
            b"\xa1\x67Records\x9b" + b"\xff" * 8,
            b"\xa1\x67Records\x81\xd8\x18\x01",
            cbor2.dumps({"Records": [OK, {}]}).replace(b"shardId-", b"shard\xff-\xff"),
            cbor2.dumps({"Records": [{"ShardId": 1, "SequenceNumber": b"1"}]}),
        ]
    )
)
def test_a1_what_cannot_be_read_settles_nothing(body: bytes) -> None:
    """Any bytes: the fate is unknown, and nothing is raised."""
    assert [o.verdict for o in outcomes(body, records(2))] == [Verdict.UNKNOWN] * 2
    refusal(body, "")


@pytest.mark.parametrize(
    "entry", [{}, {"ShardId": "s"}, {"SequenceNumber": "1"}, {"ShardId": "", "SequenceNumber": "1"}]
)
def test_a2_an_entry_that_says_nothing_delivers_nothing(entry: dict[str, str]) -> None:
    """Silence is not delivery, also when the answer claims that nothing failed."""
    for body in bodies([OK, entry], 0):
        assert [o.verdict for o in outcomes(body, records(2))] == [Verdict.DELIVERED, Verdict.UNKNOWN]


def test_json_and_cbor_give_the_same_outcomes() -> None:
    """Field by field."""
    entries = [OK, THROTTLED, FAILED, {**OK, "ErrorCode": "InternalFailure", "ErrorMessage": ""}, {}]
    answer = {"FailedRecordCount": 3, "Records": entries}

    def read(body: bytes) -> list[Outcome]:
        return list(outcomes(body, records(5)))

    plain = [(o.verdict, o.code, o.shard, o.sequence, o.detail) for o in read(msgspec.json.encode(answer))]
    for body in bodies(entries):
        assert [(o.verdict, o.code, o.shard, o.sequence, o.detail) for o in read(body)] == plain


def test_a_refusal_is_read_from_cbor() -> None:
    """Code and message, as kinesis-local and the service write them."""
    for body in (cbor2.dumps({"__type": "a#XException", "message": "m"}), endless({"__type": "X", "Message": "M"})):
        assert refusal(body, "") in [("XException", "m"), ("X", "M")]
    assert refusal(b"\xa1\x61", "Z") == ("Z", "")
    assert refusal(cbor2.dumps({"__type": 3}), "Z") == ("Z", "")


def test_heads_are_those_of_the_library_and_the_table_is_bounded() -> None:
    """Every length that matters; lengths that never come again are forgotten."""
    for length in (0, 23, 24, 255, 256, 65_535, 65_536, 10 * 2**20):
        assert cbor.head(cbor.BYTES, length) + b"x" * length == cbor2.dumps(b"x" * length)
    with pytest.raises(ValueError, match="over what a request can hold"):
        cbor.head(cbor.BYTES, 2**32)
    heads = cbor.Heads(b"", cbor.BYTES)
    for length in range(3 * cbor.Heads.MOST):
        assert heads[length] == cbor.head(cbor.BYTES, length)
    assert len(heads) <= cbor.Heads.MOST


def test_examples_in_docstrings_run() -> None:
    """As written."""
    assert doctest.testmod(cbor) == doctest.TestResults(0, 1)
