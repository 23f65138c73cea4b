"""Carry one signed request to Kinesis and bring its answer back; nothing is tried again here.

Holds always (tests/destinations/kinesis/test_writer.py):
    T1  A request is sent at most once.
    T2  ``sent`` is False only when no byte of the request can have reached the service.
    T3  No text holds a secret or anything of the body.
"""

from __future__ import annotations

from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import msgspec
import pybase64

from headrace.aws import CredentialsError, RouteError, Signer
from headrace.aws.routes import tls
from headrace.connections import Answered, Connections, Loss, Lost, Proxy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from headrace.aws import Credentials, Route
    from headrace.clock import Clock
    from headrace.kinesis.connection import Connection

_TARGET: Final = "Kinesis_20131202."
_JSON: Final = "application/x-amz-json-1.1"
_PROXY_SAYS_NO: Final = frozenset({401, 403, 407})
SKEW_S: Final = 240.0
"""AWS refuses a signature five minutes off; a difference over this is a wrong clock, not a slow road."""


class Answer(msgspec.Struct):
    """What the service answered.

    Attributes:
        status: HTTP status.
        body: As received.
        request_id: For support; may be empty.
        error_type: Header X-Amzn-ErrorType, or empty.
        retry_after_s: The wait it asked for, 0 when it did not.
        skew_s: How far its clock is ahead of the signature's time; 0 when it said no time.
        credentials: The keys the request was signed with.
        offset_ms: What was added to this machine's time when it was signed.
    """

    status: int
    body: bytes
    request_id: str
    error_type: str
    retry_after_s: float
    skew_s: float
    credentials: Credentials
    offset_ms: int


class Unanswered(msgspec.Struct, frozen=True):
    """No answer came.

    Attributes:
        sent: False when the request certainly did not reach the service.
        code: Short code.
        detail: What happened, and what to look at.
        halt: True when trying again cannot help until somebody acts.
    """

    sent: bool
    code: str
    detail: str
    halt: bool = False


class Transport:
    """A pool of kept connections to one endpoint; opened on first use, in the loop that uses it.

    Args:
        connection: Where to and through what, and the keys, which are asked before each request.
        clock: Time of the signature.
        connections: The most connections open at once.
        timeout_s: The longest one request may take, waiting for a connection included.
        connect_s: The longest a connection may take to open.
    """

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        *,
        connections: int = 32,
        timeout_s: float = 30.0,
        connect_s: float = 5.0,
    ) -> None:
        self._host = connection.endpoint.host
        self._region = connection.region
        self._url = urlsplit(connection.endpoint.url)
        self._route = connection.route
        self._credentials = connection.credentials
        self._clock = clock
        self._signers: dict[str, Signer] = {}
        self._most, self._timeout_s, self._connect_s = connections, timeout_s, connect_s
        self._connections: Connections | None = None
        self._closed = False
        self.offset_ms = 0
        """Added to the clock when signing; set by ``correct_clock``."""

    async def post(self, action: str, body: bytes, content_type: str = _JSON) -> Answer | Unanswered:
        """Send one request.

        Args:
            action: For example ``PutRecords``.
            body: Its body, already encoded.
            content_type: How it is encoded.
        """
        if self._closed:
            return Unanswered(sent=False, code="closed", detail="the writer is closed")
        try:
            keys = await self._credentials.get()
        except CredentialsError as error:
            return Unanswered(sent=False, code="credentials", detail=str(error))
        offset_ms = self.offset_ms
        now_ms = self._clock.now_ms() + offset_ms
        signer = self._signers.get(content_type)
        if signer is None:
            signer = self._signers[content_type] = Signer("kinesis", self._region, self._host, content_type)
        headers = signer.headers(keys, _TARGET + action, body, now_ms)
        head = _head(self._host, headers, len(body))
        if head is None:
            told = "the access key or session token holds characters that no header can carry; give it again"
            return Unanswered(sent=False, code="credentials", detail=told, halt=True)
        try:
            connections = self._connections or self._open()
        except RouteError as error:
            return Unanswered(sent=False, code="ca-file", detail=str(error), halt=True)
        answered = await connections.ask(head, body)
        if isinstance(answered, Lost):
            return self._unanswered(answered)
        return self._answer(answered, keys, now_ms, offset_ms)

    def correct_clock(self, answer: Answer) -> bool:
        """Take the service's time for signing from now on, when the answer shows a wrong clock."""
        if abs(answer.skew_s) < SKEW_S:
            return False
        # From the offset of that request: others under way were refused for the same wrong time.
        self.offset_ms = answer.offset_ms + round(answer.skew_s * 1000)
        return True

    def expire(self, used: Credentials) -> bool:
        """See ``CredentialsProvider.expire``."""
        return self._credentials.expire(used)

    async def close(self) -> None:
        """Close the connections; requests afterwards are not sent."""
        await self._credentials.close()
        self._closed = True
        connections, self._connections = self._connections, None
        if connections is not None:
            await connections.close()

    def _open(self) -> Connections:
        secure = self._url.scheme == "https"
        self._connections = Connections(
            self._url.hostname or "", self._url.port or (443 if secure else 80),
            tls=self._route.tls() if secure else None, proxy=_proxy(self._route),
            most=self._most, timeout_s=self._timeout_s, connect_s=self._connect_s,
        )  # fmt: skip
        return self._connections

    def _answer(self, found: Answered, keys: Credentials, now_ms: int, offset_ms: int) -> Answer:
        request_id = found.header(b"x-amzn-requestid")
        if found.status == 200:
            return Answer(200, found.body, request_id, "", 0.0, 0.0, keys, offset_ms)
        return Answer(
            found.status,
            found.body,
            request_id,
            found.header(b"x-amzn-errortype"),
            _wait_s(found.header(b"x-amz-retry-after"), found.header(b"retry-after")),
            _skew_s(found.header(b"date"), now_ms),
            keys,
            offset_ms,
        )

    def _unanswered(self, lost: Lost) -> Unanswered:
        host, proxy = self._host, self._route.proxy
        halt = lost.loss is Loss.CERTIFICATE or (
            lost.loss is Loss.PROXY_REFUSED and lost.status in _PROXY_SAYS_NO
        )  # fmt: skip
        told = {
            Loss.CLOSED: "the writer is closed",
            Loss.PROXY_REFUSED: f"the proxy {proxy} refused with status {lost.status}; check its address, user and "
            "password",
            Loss.NO_PROXY: f"no connection to the proxy {proxy}; check that it is up and reachable from this machine",
            Loss.CERTIFICATE: f"the certificate of {host} is not trusted; check the endpoint URL and this machine's "
            "clock",
            Loss.NO_ADDRESS: f"no address for {host}; check the region or endpoint URL, and this machine's DNS",
            Loss.NO_CONNECTION: f"no connection to {host}; check that it is up and reachable from this machine",
            Loss.TIMEOUT: f"{host} did not answer within {self._timeout_s} s",
            Loss.CONNECTION_LOST: f"{host} closed the connection without an answer",
        }[lost.loss]
        return Unanswered(sent=lost.sent, code=lost.loss.value, detail=told, halt=halt)


def _head(host: str, headers: Mapping[str, str], length: int) -> bytes | None:
    """Request line and headers; None where a value would break out of its line."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join(["POST / HTTP/1.1", f"Host: {host}", f"Content-Length: {length}", *lines, "", ""])
    if text.count("\n") != len(lines) + 4 or text.count("\r") != len(lines) + 4 or not text.isascii():
        return None
    return text.encode()


def _proxy(route: Route) -> Proxy | None:
    """The way, for connections."""
    if not route.proxy:
        return None
    parts = urlsplit(route.proxy)
    secure = parts.scheme == "https"
    authorization = ""
    if route.user:
        authorization = "Basic " + pybase64.b64encode(f"{route.user}:{route.password}".encode()).decode()
    return Proxy(
        parts.hostname or "", parts.port or (443 if secure else 80), tls() if secure else None, authorization
    )  # fmt: skip


def _wait_s(amazon_ms: str, standard_s: str) -> float:
    """Seconds to wait: x-amz-retry-after is in milliseconds, Retry-After in seconds; others are not waits."""
    for text, unit in ((amazon_ms, 1000.0), (standard_s, 1.0)):
        if text.isascii() and text.isdigit() and len(text) < 10:
            return int(text) / unit
    return 0.0


def _skew_s(date: str, now_ms: int) -> float:
    try:
        return parsedate_to_datetime(date).timestamp() - now_ms / 1000
    except ValueError:
        return 0.0
