"""What an error code of Kinesis means for the records it is about: pure tables, no I/O.

Sources: Kinesis API reference (errors of PutRecords; common errors) and botocore's service model of 2026-11.

Holds always (tests/destinations/kinesis/test_faults.py):
    F1  A code that nobody knows is worth trying again: no record is given up for a word.
    F2  No text made here holds a word of the service but ARNs, actions and shard ids: a service's messages
        quote partition keys, and the one about a wrong signature quotes the session token.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from headrace.destinations.base import Outcome, Verdict


class Fault(enum.Enum):
    """What kind of refusal a code is."""

    THROTTLED = "over its rate; it is sent again more slowly"
    BUSY = "the service failed; it is sent again"
    CLOCK = "the signature's time was refused"
    EXPIRED = "the session token has expired"
    DENIED = "the keys are valid and may not do this; add the permission to their policy, then run the check"
    KEYS = "the keys were refused; check access key id, secret key and session token"
    STREAM = "there is no such stream in this region and account; check the stream's name and the region"
    KMS = "the stream's encryption key refused; whoever owns the key must allow its use, or enable it"
    CONTENT = "the content was refused"
    ENDPOINT = "the endpoint does not answer as Kinesis does; check the endpoint URL"
    OTHER = "refused with a code this version does not know; it is sent again"


_CODES: Final = {
    Fault.THROTTLED: """ProvisionedThroughputExceeded Throttling Throttled RequestThrottled TooManyRequests
        LimitExceeded KMSThrottling SlowDown RequestLimitExceeded""",
    Fault.BUSY: """InternalFailure InternalServer InternalServerError InternalError ServiceUnavailable Unavailable
        RequestTimeout ResourceInUse""",
    Fault.CLOCK: "RequestExpired RequestTimeTooSkewed RequestInTheFuture",
    Fault.EXPIRED: "ExpiredToken TokenRefreshRequired",
    Fault.DENIED: "AccessDenied NotAuthorized UnauthorizedOperation OptInRequired",
    Fault.KEYS: """UnrecognizedClient InvalidClientTokenId InvalidSignature SignatureDoesNotMatch InvalidToken
        InvalidAccessKeyId IncompleteSignature MissingAuthenticationToken AuthFailure""",
    Fault.STREAM: "ResourceNotFound",
    Fault.KMS: "KMSDisabled KMSInvalidState KMSAccessDenied KMSNotFound KMSOptInRequired",
    Fault.CONTENT: """Validation ValidationError InvalidArgument Serialization RequestEntityTooLarge
        InvalidParameterValue""",
    Fault.ENDPOINT: "UnknownOperation InvalidAction",
}
"""Codes without the ``Exception`` that some end in."""

_FAULTS: Final = {code: fault for fault, codes in _CODES.items() for code in codes.split()}

_VERDICTS: Final = {
    Fault.THROTTLED: Verdict.RETRY,
    Fault.BUSY: Verdict.RETRY,
    Fault.CLOCK: Verdict.RETRY,
    Fault.EXPIRED: Verdict.RETRY,
    Fault.DENIED: Verdict.HALT,
    Fault.KEYS: Verdict.HALT,
    Fault.STREAM: Verdict.HALT,
    Fault.KMS: Verdict.HALT,
    Fault.CONTENT: Verdict.SPLIT,
    Fault.ENDPOINT: Verdict.HALT,
    Fault.OTHER: Verdict.RETRY,
}

_SHARD: Final = re.compile(r"shardId-[0-9]{12}")
_FACTS: Final = re.compile(
    r"arn:aws[a-z-]*:(?:iam|sts|kinesis|kms):[a-z0-9-]*:[0-9]*:[A-Za-z0-9/_+=,.@:*-]{1,200}"
    r"|\b(?:kinesis|kms):[A-Z][A-Za-z]{2,40}|shardId-[0-9]{12}"
)


def short_code(raw: str) -> str:
    """The bare code of ``com.amazonaws.kinesis#ThrottlingException:http://...``."""
    return raw.rpartition("#")[2].partition(":")[0][:80]


def fault_of(code: str, status: int = 400) -> Fault:
    """What kind of refusal this is.

    Args:
        code: Bare error code; may be empty, when a proxy answered.
        status: HTTP status, which decides where the code does not.
    """
    found = _FAULTS.get(code.removesuffix("Exception"))
    if found is not None:
        return found
    if status == 413:
        return Fault.CONTENT
    if status == 429:
        return Fault.THROTTLED
    if status == 408 or status >= 500:
        return Fault.BUSY
    if not code and status in (301, 302, 303, 307, 308, 401, 403, 404, 405, 407):
        return Fault.ENDPOINT
    return Fault.OTHER


def verdict_of(fault: Fault) -> Verdict:
    """What to do about records refused so; SPLIT stands for whatever is wrong with one of them."""
    return _VERDICTS[fault]


def told(fault: Fault, message: str) -> str:
    """A sentence about a refusal: ours, with the facts of the service's message."""
    facts = list(dict.fromkeys(_FACTS.findall(message)))[:4]
    return fault.value + (f" ({', '.join(facts)})" if facts else "")


def record_refusal(entry: Outcome, size_bytes: int, key_chars: int) -> None:
    """Turn one refused entry of a 200 answer, as decoded, into its outcome, in place.

    Args:
        entry: ``code`` and ``detail`` as the service wrote them.
        size_bytes: Data and key of the record, for the text.
        key_chars: Characters of its key.
    """
    code = short_code(entry.code)
    fault = fault_of(code)
    shard = _SHARD.search(entry.detail)
    entry.detail = told(fault, entry.detail)
    if fault is Fault.CONTENT:
        entry.detail = f"the service refused this record of {size_bytes} bytes with a key of {key_chars} characters"
    verdict = verdict_of(fault)
    entry.verdict = Verdict.REJECTED if verdict is Verdict.SPLIT else verdict
    entry.code = code
    entry.over_rate = fault is Fault.THROTTLED
    entry.shard = shard.group() if shard else ""
    entry.sequence = ""
