"""A server that answers what it is told to, byte for byte, or hangs, or hangs up; it keeps what it got."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import msgspec

HANG: Final = b"hang"
HANG_UP: Final = b"hang up"
"""Instead of an answer: never say anything, or close the connection."""

NOW_MS: Final = 1_795_516_226_000
DATE: Final = "Tue, 24 Nov 2026 10:30:26 GMT"


class Got(NamedTuple):
    """A request as received; header names in lower case."""

    headers: dict[str, str]
    body: bytes

    @property
    def action(self) -> str:
        """For example PutRecords."""
        return self.headers["x-amz-target"].partition(".")[2]

    @property
    def json(self) -> Any:
        """The body, decoded."""
        return msgspec.json.decode(self.body)


def answer(status: int, body: bytes | dict[str, Any], **headers: str) -> bytes:
    """An HTTP answer; in header names ``_`` stands for ``-``."""
    content = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = [f"HTTP/1.1 {status} X", f"Content-Length: {len(content)}", "x-amzn-RequestId: req-1"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in {"Date": DATE, **headers}.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def refused(code: str, message: str = "", status: int = 400, **headers: str) -> bytes:
    """A refusal as Kinesis words it."""
    return answer(status, {"__type": code, "message": message}, **headers)


def accepted(count: int) -> bytes:
    """An answer to PutRecords that accepts *count* records."""
    entries = [{"SequenceNumber": str(n), "ShardId": "shardId-000000000000"} for n in range(count)]
    return answer(200, {"FailedRecordCount": 0, "Records": entries})


class RawServer:
    """Answers each request with what *reply* makes of it.

    Args:
        reply: Gets a request, gives bytes to send, ``HANG`` or ``HANG_UP``.
        tls: Speak TLS with this.
    """

    def __init__(self, reply: Callable[[Got], bytes], tls: ssl.SSLContext | None = None) -> None:
        self._reply = reply
        self._tls = tls
        self.got: list[Got] = []
        self.connections = 0
        self.url = ""
        self._release = asyncio.Event()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=2**24, ssl=self._tls)
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._release.set()
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines)}
                self.got.append(Got(headers, await reader.readexactly(int(headers["content-length"]))))
                reply = self._reply(self.got[-1])
                if reply is HANG:
                    await self._release.wait()
                    break
                if reply is HANG_UP:
                    break
                writer.write(reply)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()
