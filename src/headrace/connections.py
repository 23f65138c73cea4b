"""Kept HTTP/1.1 connections to one host: requests with a body, one at a time on each connection.

Written for requests of half a megabyte, thousands a second: no copy of a body, no object a header. Anything rarer
(redirects, cookies, compressed answers, upgrades) is left out on purpose.

Holds always (tests/test_connections.py):
    C1  A request is written at most once, on one connection.
    C2  ``Lost.sent`` is False only when no byte of the request was written.
    C3  At most ``most`` connections are open at once; one that is broken or half read is never used again.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from enum import StrEnum
from typing import Final, NamedTuple, cast

import httptools
import msgspec

KEPT_S: Final = 15.0
"""A connection that waited longer for its next request is given up: the other side may be closing it just now."""
MOST_ANSWER_BYTES: Final = 64 << 20
_MOST_HEAD_BYTES: Final = 64 << 10
_CLOSE_S: Final = 1.0


class Loss(StrEnum):
    """Why no answer came."""

    CLOSED = "closed"
    NO_ADDRESS = "no-address"
    NO_CONNECTION = "no-connection"
    CERTIFICATE = "certificate"
    NO_PROXY = "no-proxy"
    PROXY_REFUSED = "proxy-refused"
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection-lost"


class Lost(msgspec.Struct, frozen=True):
    """No answer came.

    Attributes:
        loss: Why.
        sent: False when no byte of the request was written.
        status: What a proxy refused with; 0 otherwise.
    """

    loss: Loss
    sent: bool = False
    status: int = 0


class Answered(msgspec.Struct):
    """An answer.

    Attributes:
        status: HTTP status.
        headers: By name in lower case; of equal names the last.
        body: As received.
    """

    status: int
    headers: dict[bytes, bytes]
    body: bytes

    def header(self, name: bytes) -> str:
        """A header's value; "" where there is none."""
        return self.headers.get(name, b"").decode("latin-1")


class Proxy(NamedTuple):
    """Makes a tunnel to the host (CONNECT).

    Attributes:
        host: Its name or address.
        port: Its port.
        tls: Spoken to with; None for plain.
        authorization: Value of Proxy-Authorization; "" for none.
    """

    host: str
    port: int
    tls: ssl.SSLContext | None
    authorization: str


class _Connection(asyncio.Protocol):
    """One connection: writes a request, gathers its answer."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answered | Lost] | None = None
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self.transport: asyncio.Transport | None = None
        self.usable = False
        self.since_s = 0.0
        self.gone: asyncio.Future[None] = loop.create_future()

    # -- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        if self._answer is None:
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.usable = False
        self._fail(Loss.CONNECTION_LOST)
        if not self.gone.done():
            self.gone.set_result(None)

    # -- what the parser calls

    def on_message_begin(self) -> None:
        if self._answer is None:
            self.abort()  # a second answer
        self._headers, self._parts, self._size = {}, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        self._parts.append(part)
        self._size += len(part)
        if self._size > MOST_ANSWER_BYTES:
            self.abort()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        answer, self._answer = self._answer, None
        if status < 200 and answer is not None:
            self._answer = answer  # an interim answer; the real one follows
            return
        assert self.transport is not None
        if not self._parser.should_keep_alive() or self.transport.get_write_buffer_size():
            self.abort()
        if answer is not None and not answer.done():
            answer.set_result(Answered(status, self._headers, b"".join(self._parts)))

    # -- what the pool calls

    async def ask(self, head: bytes, body: bytes, timeout_s: float) -> Answered | Lost:
        """Write a request and wait for its answer."""
        assert self.transport is not None
        answer: asyncio.Future[Answered | Lost] = self._loop.create_future()
        self._answer = answer
        timer = self._loop.call_later(timeout_s, self._time_out)
        self.transport.writelines((head, body))
        try:
            return await answer
        finally:
            timer.cancel()
            if self._answer is not None:
                self.abort()  # cancelled: what comes now belongs to nobody

    def abort(self) -> None:
        """Give the connection up."""
        self.usable = False
        self._fail(Loss.CONNECTION_LOST)
        if self.transport is not None:
            self.transport.abort()

    def _time_out(self) -> None:
        self._fail(Loss.TIMEOUT)
        self.abort()

    def _fail(self, loss: Loss) -> None:
        answer, self._answer = self._answer, None
        if answer is not None and not answer.done():
            answer.set_result(Lost(loss, sent=True))


class _Tunnel(asyncio.Protocol):
    """The beginning of a connection through a proxy: asks for a tunnel, and tells the status it was answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._head = b""
        self.status: asyncio.Future[int] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        self._head += data
        if not self.status.done() and (b"\r\n\r\n" in self._head or len(self._head) > _MOST_HEAD_BYTES):
            words = self._head.split(b"\r\n", 1)[0].split()
            good = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
            self.status.set_result(int(words[1]) if good else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        if not self.status.done():
            self.status.set_result(0)


class Connections:
    """Connections to one host, opened when needed and kept.

    Args:
        host: Name or address.
        port: TCP port.
        tls: What TLS is spoken with; None for plain HTTP.
        proxy: Through which; None for none. Needs *tls*: a tunnel leads to a TLS port.
        most: The most that are open at once.
        timeout_s: The longest a request may take, waiting for a connection included.
        connect_s: The longest a connection may take to open.
    """

    def __init__(
        self, host: str, port: int, *, tls: ssl.SSLContext | None = None, proxy: Proxy | None = None, most: int = 32,
        timeout_s: float = 30.0, connect_s: float = 5.0,
    ) -> None:  # fmt: skip
        self._host, self._port, self._tls, self._proxy = host, port, tls, proxy
        self._timeout_s, self._connect_s = timeout_s, connect_s
        self._places = most
        self._waiting: deque[asyncio.Future[bool]] = deque()
        self._idle: list[_Connection] = []
        self._open: set[_Connection] = set()
        self._closed = False

    async def ask(self, head: bytes, body: bytes) -> Answered | Lost:
        """Send one request.

        Args:
            head: Request line and headers, Content-Length among them, with the empty line.
            body: As many bytes as that says.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + self._timeout_s
        if not await self._place(loop, deadline_s):
            return Lost(Loss.CLOSED if self._closed else Loss.TIMEOUT)
        connection: _Connection | Lost | None = None
        try:
            connection = self._kept(loop.time()) or await self._opened(loop, deadline_s)
            if isinstance(connection, Lost):
                return connection
            return await connection.ask(head, body, max(deadline_s - loop.time(), 0.0))
        finally:
            if isinstance(connection, _Connection) and connection.usable and not self._closed:
                connection.since_s = loop.time()
                self._idle.append(connection)
            self._give_place()

    async def close(self) -> None:
        """Close all connections; whoever waits for an answer learns that none comes."""
        self._closed = True
        going = list(self._open)
        for connection in going:
            connection.abort()
        while self._waiting:
            _decide(self._waiting.popleft(), False)
        if going:
            await asyncio.wait([connection.gone for connection in going], timeout=_CLOSE_S)

    async def _place(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> bool:
        """Wait for the right to use a connection; false when there was none in time, or these are closed."""
        if self._closed:
            return False
        if self._places > 0:
            self._places -= 1
            return True
        place: asyncio.Future[bool] = loop.create_future()
        self._waiting.append(place)
        timer = loop.call_at(deadline_s, _decide, place, False)
        try:
            return await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
                self._give_place()  # given, and not wanted any more
            raise
        finally:
            timer.cancel()

    def _give_place(self) -> None:
        while self._waiting:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(not self._closed)
                return
        self._places += 1

    def _kept(self, now_s: float) -> _Connection | None:
        """The connection that was used last, when it can be used again."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now_s - connection.since_s < KEPT_S:
                return connection
            connection.abort()
        return None

    async def _opened(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> _Connection | Lost:
        connection = _Connection(loop)
        lost: Lost | None = None
        try:
            async with asyncio.timeout_at(min(deadline_s, loop.time() + self._connect_s)):
                if self._proxy is None:
                    await loop.create_connection(
                        lambda: connection, self._host, self._port, ssl=self._tls,
                        server_hostname=self._host if self._tls else None,
                    )  # fmt: skip
                else:
                    lost = await self._through(loop, self._proxy, connection)
        except ssl.SSLCertVerificationError:
            lost = Lost(Loss.CERTIFICATE)
        except socket.gaierror:
            lost = Lost(Loss.NO_ADDRESS)
        except OSError:  # being out of time, too
            lost = Lost(Loss.NO_CONNECTION if self._proxy is None else Loss.NO_PROXY)
        if lost is not None:
            return lost
        self._open.add(connection)
        connection.gone.add_done_callback(lambda _: self._open.discard(connection))
        if self._closed:
            connection.abort()
            return Lost(Loss.CLOSED)
        return connection

    async def _through(
        self, loop: asyncio.AbstractEventLoop, proxy: Proxy, connection: _Connection
    ) -> Lost | None:  # fmt: skip
        """Open a tunnel, and speak TLS through it."""
        tunnel = _Tunnel(loop)
        try:
            transport, _ = await loop.create_connection(
                lambda: tunnel, proxy.host, proxy.port, ssl=proxy.tls,
                server_hostname=proxy.host if proxy.tls else None,
            )  # fmt: skip
        except OSError:
            return Lost(Loss.NO_PROXY)
        upgraded: asyncio.Transport | None = None
        try:
            host = f"[{self._host}]" if ":" in self._host else self._host
            lines = [f"CONNECT {host}:{self._port} HTTP/1.1", f"Host: {host}:{self._port}"]
            if proxy.authorization:
                lines.append(f"Proxy-Authorization: {proxy.authorization}")
            transport.write("\r\n".join([*lines, "", ""]).encode())
            status = await tunnel.status
            if status != 200:
                return Lost(Loss.PROXY_REFUSED if status else Loss.NO_PROXY, status=status)
            assert self._tls is not None
            upgraded = await loop.start_tls(transport, connection, self._tls, server_hostname=self._host)
        finally:
            if upgraded is None:
                transport.abort()
        if upgraded is None:  # closed meanwhile
            return Lost(Loss.NO_CONNECTION)
        connection.connection_made(upgraded)
        return None


def _decide(place: asyncio.Future[bool], given: bool) -> None:  # noqa: FBT001 - call_at passes by position
    if not place.done():
        place.set_result(given)
