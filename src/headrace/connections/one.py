"""One kept connection: a request, then its answer, one at a time; and the tunnel that one may begin with."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import Final, cast

import httptools
import msgspec

_MOST_ANSWER_BYTES: Final = 64 << 20
_MOST_HEAD_BYTES: Final = 64 << 10


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


class Connection(asyncio.Protocol):
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
        """It is open."""
        self.transport = cast("asyncio.Transport", transport)
        self.usable = True

    def data_received(self, data: bytes) -> None:
        """A part of the answer came."""
        if self._answer is None:
            self.abort()  # nobody asked
            return
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed, by whichever side."""
        del exc
        self.usable = False
        self._fail(Loss.CONNECTION_LOST)
        if not self.gone.done():
            self.gone.set_result(None)

    # -- what the parser calls

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._answer is None:
            self.abort()  # a second answer
        self._headers, self._parts, self._size = {}, [], 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header of it."""
        self._headers[name.lower()] = value

    def on_body(self, part: bytes) -> None:
        """A part of its body."""
        self._parts.append(part)
        self._size += len(part)
        if self._size > _MOST_ANSWER_BYTES:
            self.abort()

    def on_message_complete(self) -> None:
        """It is whole: whoever asked has it."""
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


class Tunnel(asyncio.Protocol):
    """The beginning of a connection through a proxy: asks for a tunnel, and tells the status it was answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._head = b""
        self.status: asyncio.Future[int] = loop.create_future()

    def data_received(self, data: bytes) -> None:
        """A part of the proxy's answer came."""
        self._head += data
        if not self.status.done() and (b"\r\n\r\n" in self._head or len(self._head) > _MOST_HEAD_BYTES):
            words = self._head.split(b"\r\n", 1)[0].split()
            good = len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit()
            self.status.set_result(int(words[1]) if good else 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """It is closed: no status means that there was no answer."""
        del exc
        if not self.status.done():
            self.status.set_result(0)
