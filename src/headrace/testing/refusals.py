"""The error answers of Kinesis: codes, their HTTP statuses, their words."""

from __future__ import annotations

from typing import Final

from headrace.errors import HeadraceError

STATUSES: Final = {"InternalFailure": 500, "InternalFailureException": 500, "ServiceUnavailable": 503}
"""HTTP status of a code; every other one is 400, throttles too.

Source:
    Kinesis Data Streams API reference, common errors and the errors of PutRecords, read 2026-11.
"""

MESSAGES: Final = {
    "AccessDeniedException": "User: arn:aws:iam::{account}:user/scripted is not authorized to perform: "
    "kinesis:{action} on resource: {resource} because no identity-based policy allows the kinesis:{action} action",
    "DryRunOperationException": "The request would have succeeded, but the DryRun flag is set.",
    "ExpiredTokenException": "The security token included in the request is expired",
    "InternalFailure": "Internal service failure.",
    "KMSAccessDeniedException": "The caller may not use the KMS key of stream {stream} under account {account}.",
    "KMSDisabledException": "The KMS key of stream {stream} under account {account} is disabled.",
    "KMSInvalidStateException": "The KMS key of stream {stream} under account {account} is in an invalid state.",
    "KMSNotFoundException": "The KMS key of stream {stream} under account {account} is not found.",
    "KMSOptInRequired": "The AWS access key ID needs a subscription for KMS.",
    "KMSThrottlingException": "The KMS requests for stream {stream} under account {account} are throttled.",
    "LimitExceededException": "Rate exceeded",
    "ProvisionedThroughputExceededException": "Rate exceeded for stream {stream} under account {account}.",
    "ResourceNotFoundException": "Stream {stream} under account {account} not found.",
    "ServiceUnavailable": "The service is temporarily unavailable.",
    "ThrottlingException": "Rate exceeded",
    "UnrecognizedClientException": "The security token included in the request is invalid.",
}
"""Words of a code; fields in braces are filled in."""


class ServiceError(HeadraceError):
    """The scripted Kinesis answers with an error.

    Attributes:
        aws_code: For example ``ResourceNotFoundException``.
        status: HTTP status.
        detail: The words, possibly with fields in braces.
    """

    code = "scripted-service"
    aws_code: str
    status: int
    detail: str

    def __init__(self, *, aws_code: str, detail: str = "", status: int = 0) -> None:
        super().__init__(
            f"{aws_code}: {detail}",
            aws_code=aws_code,
            detail=detail or MESSAGES.get(aws_code, aws_code),
            status=status or STATUSES.get(aws_code, 400),
        )


def validation(where: str, rule: str) -> ServiceError:
    """Build the ValidationException of a parameter that breaks the API's model."""
    return ServiceError(
        aws_code="ValidationException",
        detail=f"1 validation error detected: Value at '{where}' failed to satisfy constraint: {rule}",
    )


def invalid(detail: str) -> ServiceError:
    """Build an InvalidArgumentException."""
    return ServiceError(aws_code="InvalidArgumentException", detail=detail)


def shard_throttle(*, shard: str, stream: str, account: str) -> str:
    """Word the throttle of one record, which names its shard."""
    return f"Rate exceeded for shard {shard} in stream {stream} under account {account}."
