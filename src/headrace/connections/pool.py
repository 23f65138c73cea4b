"""The connections to one host: at most so many, opened when needed and kept."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from typing import Final, NamedTuple

from headrace.connections.one import Answered, Connection, Loss, Lost, Tunnel

_KEPT_S: Final = 15.0
"""A connection that waited longer for its next request is given up: the other side may be closing it just now."""
_CLOSE_S: Final = 1.0


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
        self._idle: list[Connection] = []
        self._open: set[Connection] = set()
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
        connection: Connection | Lost | None = None
        try:
            connection = self._kept(loop.time()) or await self._opened(loop, deadline_s)
            if isinstance(connection, Lost):
                return connection
            return await connection.ask(head, body, max(deadline_s - loop.time(), 0.0))
        finally:
            if isinstance(connection, Connection) and connection.usable and not self._closed:
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

    def _kept(self, now_s: float) -> Connection | None:
        """The connection that was used last, when it can be used again."""
        while self._idle:
            connection = self._idle.pop()
            if connection.usable and now_s - connection.since_s < _KEPT_S:
                return connection
            connection.abort()
        return None

    async def _opened(self, loop: asyncio.AbstractEventLoop, deadline_s: float) -> Connection | Lost:
        connection = Connection(loop)
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
        self, loop: asyncio.AbstractEventLoop, proxy: Proxy, connection: Connection
    ) -> Lost | None:  # fmt: skip
        """Open a tunnel, and speak TLS through it."""
        tunnel = Tunnel(loop)
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
