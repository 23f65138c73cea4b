"""HTTP/1.1 for a scripted Kinesis: requests out of bytes, replies into bytes, one connection at a time.

Written by hand over a buffer that is received into and never copied, because in benchmarks this side
must cost little: of a request only the head is looked at here. Bodies must state their length.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import uuid
from collections.abc import Coroutine
from email.utils import formatdate
from typing import Any, Final, Protocol

from headrace.testing.caller import Signed
from headrace.testing.service import Reply

MAX_HEAD_BYTES: Final = 65_536
MAX_BODY_BYTES: Final = 32 * 1024 * 1024
_REASONS: Final = {200: "OK", 400: "Bad Request", 404: "Not Found", 500: "Internal Server Error"}
_LINGER_RESET: Final = struct.pack("ii", 1, 0)


class Head:
    """The head of a request, with where its body lies in the buffer."""

    def __init__(self, head: bytes, start: int) -> None:
        line, *fields = head.decode("latin-1").split("\r\n")
        self.method, self.path, version = line.split(" ")
        self.headers: dict[str, str] = {}
        for field in fields:
            name, _, text = field.partition(":")
            self.headers[name.lower()] = text.strip()
        self.length = int(self.headers.get("content-length", "0"))
        if "transfer-encoding" in self.headers or not 0 <= self.length <= MAX_BODY_BYTES:
            raise ValueError("a body needs a content-length within the limit")
        self.start = start
        self.end = start + self.length
        self.keep = version == "HTTP/1.1" and self.headers.get("connection", "").lower() != "close"
        self.target = self.headers.get("x-amz-target", "")
        self.media = self.headers.get("content-type", "")


class Answerer(Protocol):
    """Who answers requests."""

    def fast(self, head: Head, buffer: bytearray) -> bytes | None:
        """Answer from the buffer at once, or None to be asked again with the whole request."""
        ...

    def answer(self, head: Head, request: Signed) -> Reply:
        """Answer a request."""
        ...

    def run(self, waiting: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Start a task that ends with the server at the latest."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait on the server's clock."""
        ...

    def date_s(self) -> float:
        """Seconds since 1970 for the Date header."""
        ...

    def opened(self, connection: Connection) -> None:
        """A connection was opened."""
        ...

    def closed(self, connection: Connection) -> None:
        """A connection is no more."""
        ...


class Connection(asyncio.BufferedProtocol):
    """One connection; its requests are answered one after the other."""

    def __init__(self, answerer: Answerer) -> None:
        self._answerer = answerer
        self._buffer = bytearray(MAX_HEAD_BYTES)
        self._filled = 0
        self._head: Head | None = None
        self._transport: asyncio.Transport | None = None
        self._waiting: asyncio.Task[None] | None = None
        self._silent = False
        self._date = (0, b"")

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.BaseProtocol``."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        self._answerer.opened(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.BaseProtocol``."""
        self._transport = None
        self._answerer.closed(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """See ``asyncio.BufferedProtocol``."""
        wanted = self._head.end if self._head else 0
        if self._filled >= len(self._buffer) or wanted > len(self._buffer):
            grown = bytearray(max(2 * len(self._buffer), wanted))
            grown[: self._filled] = memoryview(self._buffer)[: self._filled]
            self._buffer = grown
        return memoryview(self._buffer)[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        """See ``asyncio.BufferedProtocol``."""
        self._filled += nbytes
        if self._silent:
            self._filled = 0
        elif self._waiting is None:
            self._take()

    def eof_received(self) -> bool:
        """See ``asyncio.BufferedProtocol``."""
        return False

    def abort(self) -> None:
        """Close without further words."""
        if self._transport is not None:
            self._transport.abort()

    def _take(self) -> None:
        """Answer the requests that are whole, up to one that has to wait."""
        while self._transport is not None and self._waiting is None and not self._silent:
            try:
                head = self._head or self._parse_head()
            except ValueError:
                self._write(400, b"", "text/plain")
                self._transport.close()
                return
            self._head = head
            if head is None or self._filled < head.end:
                return
            self._answer(head)
            rest = self._filled - head.end
            if rest:
                self._buffer[:rest] = self._buffer[head.end : self._filled]
            self._filled, self._head = rest, None

    def _parse_head(self) -> Head | None:
        at = self._buffer.find(b"\r\n\r\n", 0, self._filled)
        if at < 0:
            if self._filled >= MAX_HEAD_BYTES:
                raise ValueError("head too long")
            return None
        head = Head(bytes(self._buffer[:at]), at + 4)
        if head.headers.get("expect", "").lower() == "100-continue" and self._transport is not None:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        return head

    def _answer(self, head: Head) -> None:
        body = self._answerer.fast(head, self._buffer)
        if body is not None:
            self._write(200, body, head.media, keep=head.keep)
            return
        request = Signed(head.method, head.path, head.headers, bytes(memoryview(self._buffer)[head.start : head.end]))
        reply = self._answerer.answer(head, request)
        if reply.delay_s or reply.later is not None:
            # goes on when the client hangs up: what was to be written late is written
            self._waiting = self._answerer.run(self._wait(reply, head))
        else:
            self._reply(reply, head)

    async def _wait(self, reply: Reply, head: Head) -> None:
        later: Reply | None = reply
        while later is not None:
            reply = later
            await self._answerer.sleep(reply.delay_s)
            later = reply.later() if reply.later is not None else None
        self._waiting = None
        self._reply(reply, head)
        self._take()

    def _reply(self, reply: Reply, head: Head) -> None:
        match reply.fate:
            case "answer":
                self._write(reply.status, reply.body, reply.media, keep=head.keep)
            case "silence":
                self._silent = True
            case "reset":
                self._reset()

    def _reset(self) -> None:
        if self._transport is None:
            return
        plain = self._transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
        self._transport.abort()

    def _write(self, status: int, body: bytes, media: str, *, keep: bool = True) -> None:
        if self._transport is None:
            return
        second = int(self._answerer.date_s())
        if second != self._date[0]:
            self._date = second, formatdate(second, usegmt=True).encode()
        head = (
            b"HTTP/1.1 %d %b\r\nx-amzn-RequestId: %b\r\nDate: %b\r\nContent-Type: %b\r\nContent-Length: %d\r\n%b\r\n"
            % (
                status,
                _REASONS.get(status, "Error").encode(),
                str(uuid.uuid4()).encode(),
                self._date[1],
                media.encode(),
                len(body),
                b"" if keep else b"Connection: close\r\n",
            )
        )
        self._transport.write(head + body)
        if not keep:
            self._transport.close()
