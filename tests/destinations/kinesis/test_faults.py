"""What each code means (F1, F2)."""

from __future__ import annotations

import botocore.session
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.destinations.base import Outcome, Verdict
from headrace.destinations.kinesis.faults import Fault, fault_of, record_refusal, short_code, told, verdict_of

R5 = {
    Verdict.RETRY: "ProvisionedThroughputExceededException ThrottlingException Throttling LimitExceededException "
    "KMSThrottlingException InternalFailure InternalFailureException ServiceUnavailable RequestExpired "
    "ExpiredTokenException",
    Verdict.HALT: "AccessDeniedException AccessDenied ResourceNotFoundException KMSDisabledException "
    "KMSInvalidStateException KMSAccessDeniedException KMSNotFoundException KMSOptInRequired "
    "UnrecognizedClientException InvalidSignatureException IncompleteSignature MissingAuthenticationTokenException "
    "InvalidClientTokenId UnknownOperationException",
    Verdict.SPLIT: "ValidationException InvalidArgumentException SerializationException",
}


@pytest.mark.parametrize(("code", "verdict"), [(c, v) for v, codes in R5.items() for c in codes.split()])
def test_each_known_code_has_its_verdict(code: str, verdict: Verdict) -> None:
    """The classes of requirement R5."""
    assert verdict_of(fault_of(code)) == verdict


def test_no_error_of_the_model_is_unknown() -> None:
    """Every error that botocore's model gives PutRecords is in the table, but DryRun's own answer."""
    model = botocore.session.Session().get_service_model("kinesis")
    codes = {shape.name for shape in model.operation_model("PutRecords").error_shapes}
    assert {code for code in codes if fault_of(code) is Fault.OTHER} == {"DryRunOperationException"}


@settings(deadline=None)
@given(st.text(max_size=30), st.integers(400, 499))
def test_f1_a_code_nobody_knows_is_tried_again(code: str, status: int) -> None:
    """Whatever it is, and whatever the status, unless that alone says what is wrong."""
    if fault_of(code, 400) is Fault.OTHER and code and status not in (408, 413, 429):
        assert verdict_of(fault_of(code, status)) == Verdict.RETRY


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (413, Fault.CONTENT),
        (429, Fault.THROTTLED),
        (408, Fault.BUSY),
        (500, Fault.BUSY),
        (503, Fault.BUSY),
        (301, Fault.ENDPOINT),
        (404, Fault.ENDPOINT),
        (405, Fault.ENDPOINT),
        (400, Fault.OTHER),
    ],
)
def test_without_a_code_the_status_decides(status: int, fault: Fault) -> None:
    """A gateway answers in words of its own."""
    assert fault_of("", status) is fault


def test_codes_come_dressed() -> None:
    """With a namespace before and a link behind."""
    assert short_code("com.amazonaws.kinesis.v20131202#ThrottlingException") == "ThrottlingException"
    assert short_code("AccessDeniedException:http://internal/coral") == "AccessDeniedException"
    assert short_code("Plain") == "Plain"


def test_f2_only_facts_are_told() -> None:
    """ARNs, actions and shards are kept; a quoted key, a canonical request and a token are not."""
    text = told(
        Fault.DENIED,
        "User: arn:aws:iam::123456789012:user/w is not authorized to perform: kinesis:PutRecords on resource: "
        "arn:aws:kinesis:eu-west-1:123456789012:stream/s because no identity-based policy allows it",
    )
    assert "(arn:aws:iam::123456789012:user/w, kinesis:PutRecords, arn:aws:kinesis:eu-west-1:123456789012:" in text
    secret = (
        "The Canonical String should have been 'POST\n/\n\nx-amz-security-token:IQoJb3JpZ2lu\n' and the value "
        "'ada@example.test' at 'records.1.member.partitionKey' failed"
    )
    assert told(Fault.KEYS, secret) == Fault.KEYS.value


def test_a_throttle_names_its_shard() -> None:
    """The refusing shard is learned from the message; a shard in the entry itself would mean success."""
    entry = Outcome(
        code="ProvisionedThroughputExceededException",
        detail="Rate exceeded for shard shardId-000000000007 in stream s under account 123456789012.",
    )
    record_refusal(entry, 10, 1)
    assert (entry.verdict, entry.shard, entry.sequence) == (Verdict.RETRY, "shardId-000000000007", "")
    assert "123456789012" not in entry.detail


def test_a_record_refused_for_its_content_is_rejected_alone() -> None:
    """Inside a 200 the entry itself names the record, so nothing needs to be split; its key is not quoted."""
    entry = Outcome(code="InvalidArgumentException", detail="the key ada@example.test is bad")
    record_refusal(entry, 99, 16)
    assert entry.verdict == Verdict.REJECTED
    assert entry.detail == "the service refused this record of 99 bytes with a key of 16 characters"
