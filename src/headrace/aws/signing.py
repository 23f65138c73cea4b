"""Signature Version 4 over a fixed set of headers, with the derived key kept for the day.

The bytes are those of botocore's ``SigV4Auth`` (tests/aws/test_signing.py compares them), at a fraction of its time.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.aws.credentials import Credentials


class Signer:
    """Signs POST requests to ``/`` of one service in one region with Signature Version 4.

    Args:
        service: Signing name, for example ``kinesis``.
        region: Region of the credential scope.
        host: Host header of every request.
        content_type: Content type of every request.
    """

    def __init__(self, service: str, region: str, host: str, content_type: str) -> None:
        self._service = service
        self._region = region
        self._content_type = content_type
        self._head = f"POST\n/\n\ncontent-type:{content_type}\nhost:{host}\nx-amz-date:"
        self._second = -1
        self._date = ""
        self._key: tuple[Credentials | None, str] = (None, "")
        self._mac = hmac.new(b"", b"", hashlib.sha256)

    def headers(self, credentials: Credentials, target: str, body: bytes, now_ms: int) -> Mapping[str, str]:
        """Headers of one request, signature included, Host left to the transport.

        Args:
            credentials: Keys to sign with.
            target: Value of X-Amz-Target.
            body: The bytes that will be sent.
            now_ms: Time of signing, epoch milliseconds; the service allows it to be five minutes off.
        """
        second = now_ms // 1000
        if second != self._second:
            self._second, self._date = second, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(second))
        date = self._date
        scope = f"{date[:8]}/{self._region}/{self._service}/aws4_request"
        token = credentials.token
        if token is None:
            names = "content-type;host;x-amz-date;x-amz-target"
            extra = ""
        else:
            names = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target"
            extra = f"x-amz-security-token:{token}\n"
        canonical = f"{self._head}{date}\n{extra}x-amz-target:{target}\n\n{names}\n{hashlib.sha256(body).hexdigest()}"
        digest = hashlib.sha256(canonical.encode()).hexdigest()
        mac = self._derived(credentials, date[:8]).copy()
        mac.update(f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{digest}".encode())
        found = {
            "Content-Type": self._content_type,
            "X-Amz-Date": date,
            "X-Amz-Target": target,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={credentials.access_key}/{scope}, "
            f"SignedHeaders={names}, Signature={mac.hexdigest()}",
        }
        if token is not None:
            found["X-Amz-Security-Token"] = token
        return found

    def _derived(self, credentials: Credentials, day: str) -> hmac.HMAC:
        """The signing key of the day, ready to take a message: four MACs saved on each request."""
        if self._key[0] is not credentials or self._key[1] != day:
            key = f"AWS4{credentials.secret_key}".encode()
            for part in (day, self._region, self._service, "aws4_request"):
                key = hmac.digest(key, part.encode(), "sha256")
            self._mac = hmac.new(key, digestmod=hashlib.sha256)
            self._key = (credentials, day)
        return self._mac
