"""Carry one signed request to Kinesis and bring its answer back; nothing is tried again here.

Holds always (tests/destinations/kinesis/test_writer.py):
    T1  A request is sent at most once.
    T2  ``sent`` is False only when no byte of the request can have reached the service.
    T3  No text holds a secret or anything of the body.
"""

from __future__ import annotations

import asyncio
import io
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
import pybase64
from yarl import URL

from headrace.aws import CredentialsError, RouteError, Signer

if TYPE_CHECKING:
    from headrace.aws import Credentials, Route
    from headrace.clock import Clock
    from headrace.kinesis.connection import Connection

_TARGET: Final = "Kinesis_20131202."
_SKIP: Final = frozenset({"Accept", "Accept-Encoding", "User-Agent", "Content-Type"})
_JSON: Final = "application/x-amz-json-1.1"
_PROXY_SAYS_NO: Final = frozenset({401, 403, 407})
_BY_PARTS_BYTES: Final = 1024 * 1024
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
        self._url = URL(connection.endpoint.url)
        self._route = connection.route
        self._proxy = _proxy(connection.route)
        self._credentials = connection.credentials
        self._clock = clock
        self._signers: dict[str, Signer] = {}
        self._connections = connections
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=connect_s)
        self._session: aiohttp.ClientSession | None = None
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
        try:
            session = self._session or self._open()
        except RouteError as error:
            return Unanswered(sent=False, code="ca-file", detail=str(error), halt=True)
        data = body if len(body) <= _BY_PARTS_BYTES else io.BytesIO(body)
        try:
            async with session.post(
                self._url, data=data, headers=headers, allow_redirects=False, **self._proxy
            ) as response:
                content = await response.read()
                return self._answer(response, content, keys, now_ms, offset_ms)
        except (TimeoutError, aiohttp.ClientError, OSError) as error:
            return self._unanswered(error)

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
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _open(self) -> aiohttp.ClientSession:
        context = self._route.tls() if self._url.scheme == "https" else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=context),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_SKIP,
            auto_decompress=False,
            timeout=self._timeout,
        )
        return self._session

    def _answer(
        self, response: aiohttp.ClientResponse, content: bytes, keys: Credentials, now_ms: int, offset_ms: int
    ) -> Answer:
        found = response.headers
        if response.status == 200:
            return Answer(200, content, found.get("x-amzn-RequestId", ""), "", 0.0, 0.0, keys, offset_ms)
        date = found.get("Date", "")
        return Answer(
            response.status,
            content,
            found.get("x-amzn-RequestId", ""),
            found.get("X-Amzn-ErrorType", ""),
            _wait_s(found.get("x-amz-retry-after", ""), found.get("Retry-After", "")),
            _skew_s(date, now_ms),
            keys,
            offset_ms,
        )

    def _unanswered(self, error: Exception) -> Unanswered:
        host, proxy = self._host, self._route.proxy
        match error:
            case aiohttp.ClientHttpProxyError():
                # CONNECT was refused, so no byte of the request went on.
                told = f"the proxy {proxy} refused with status {error.status}; check its address, user and password"
                return Unanswered(sent=False, code="proxy-refused", detail=told, halt=error.status in _PROXY_SAYS_NO)
            case aiohttp.ClientProxyConnectionError():
                told = f"no connection to the proxy {proxy}; check that it is up and reachable from this machine"
                return Unanswered(sent=False, code="no-proxy", detail=told)
            case aiohttp.ClientConnectorCertificateError():
                told = f"the certificate of {host} is not trusted; check the endpoint URL and this machine's clock"
                return Unanswered(sent=False, code="certificate", detail=told, halt=True)
            case aiohttp.ClientConnectorDNSError():
                told = f"no address for {host}; check the region or endpoint URL, and this machine's DNS"
                return Unanswered(sent=False, code="no-address", detail=told)
            case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
                told = f"no connection to {host}; check that it is up and reachable from this machine"
                return Unanswered(sent=False, code="no-connection", detail=told)
            case asyncio.TimeoutError():
                told = f"{host} did not answer within {self._timeout.total} s"
                return Unanswered(sent=True, code="timeout", detail=told)
            case _:
                told = f"{host} closed the connection without an answer ({type(error).__name__})"
                return Unanswered(sent=True, code="connection-lost", detail=told)


def _proxy(route: Route) -> dict[str, Any]:
    """What aiohttp is told of the way, for each request."""
    if not route.proxy:
        return {}
    found: dict[str, Any] = {"proxy": URL(route.proxy)}
    if route.user:
        both = pybase64.b64encode(f"{route.user}:{route.password}".encode()).decode()
        found["proxy_headers"] = {"Proxy-Authorization": f"Basic {both}"}
    return found


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
