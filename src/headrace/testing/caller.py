"""Who calls: the access key of a request, its signature, its date. AWS Signature Version 4, verified.

Source:
    AWS General Reference, "Signature Version 4 signing process" and its error texts.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final, NamedTuple

from headrace.testing.refusals import ServiceError
from headrace.testing.script import Script

_CREDENTIAL: Final = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/, ]+)/(?P<scope>[^, ]+),\s*"
    r"SignedHeaders=(?P<headers>[^, ]+),\s*Signature=(?P<signature>[0-9a-f]{64})"
)


class Signed(NamedTuple):
    """The parts of a request that a signature covers; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


def access_key(headers: Mapping[str, str]) -> str:
    """Return the access key id of a request, empty when it is unsigned."""
    found = _CREDENTIAL.match(headers.get("authorization", ""))
    return found["key"] if found else ""


def authenticate(request: Signed, script: Script, now_ms: int) -> None:
    """Check what the script wants checked: the date, the key, the signature.

    Raises:
        ServiceError: As AWS words it.
    """
    if script.max_skew_s is not None:
        _check_date(request.headers.get("x-amz-date", ""), script, now_ms)
    if script.credentials is None:
        return
    found = _CREDENTIAL.match(request.headers.get("authorization", ""))
    if found is None:
        raise ServiceError(aws_code="MissingAuthenticationTokenException", detail="Missing Authentication Token")
    secret = script.credentials.get(found["key"])
    if secret is None:
        raise ServiceError(aws_code="UnrecognizedClientException")
    if not hmac.compare_digest(_signature(request, found["scope"], found["headers"], secret), found["signature"]):
        raise ServiceError(
            aws_code="InvalidSignatureException",
            detail="The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method. Consult the service documentation for details.",
        )


def _check_date(stamp: str, script: Script, now_ms: int) -> None:
    try:
        signed = datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise ServiceError(
            aws_code="IncompleteSignatureException", detail="Date must be in ISO-8601 basic format"
        ) from None
    server = datetime.fromtimestamp(now_ms / 1000 + script.skew_s, UTC)
    assert script.max_skew_s is not None
    if abs((server - signed).total_seconds()) <= script.max_skew_s:
        return
    side = "expired" if signed < server else "not yet current"
    raise ServiceError(
        aws_code=script.skew_code,
        detail=f"Signature {side}: {stamp} is more than {script.max_skew_s:g} s from {server:%Y%m%dT%H%M%SZ}",
    )


def _signature(request: Signed, scope: str, names: str, secret: str) -> str:
    path, _, query = request.path.partition("?")
    lines = [f"{name}:{' '.join(request.headers.get(name, '').split())}\n" for name in names.split(";")]
    payload = hashlib.sha256(request.body).hexdigest()
    canonical = "\n".join((request.method, path, query, "".join(lines), names, payload))
    text = "\n".join(
        (
            "AWS4-HMAC-SHA256",
            request.headers.get("x-amz-date", ""),
            scope,
            hashlib.sha256(canonical.encode()).hexdigest(),
        )
    )
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()
