"""A small HTTP proxy on this machine that makes tunnels (CONNECT), or refuses to; it keeps what it was asked."""

from __future__ import annotations

import asyncio
import base64
from types import TracebackType
from typing import Self


class Tunnel:
    """Listens while the block lasts.

    Args:
        user: Demand this user and password, as ``user:password``.
        refuse: Answer every request with this status.
    """

    def __init__(self, user: str = "", refuse: int = 0) -> None:
        self._wanted = "Basic " + base64.b64encode(user.encode()).decode() if user else ""
        self._refuse = refuse
        self._tasks: set[asyncio.Task[None]] = set()
        self.asked: list[str] = []
        self.carried = bytearray()
        self.url = ""

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, kind: type[BaseException] | None, value: object, trace: TracebackType | None) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            line, *rest = head.split("\r\n")
            self.asked.append(line)
            headers = {k.lower(): v.strip() for k, _, v in (each.partition(":") for each in rest)}
            status = self._refuse
            if self._wanted and headers.get("proxy-authorization") != self._wanted:
                status = 407
            if status:
                writer.write(f"HTTP/1.1 {status} No\r\nContent-Length: 0\r\n\r\n".encode())
                await writer.drain()
                return
            host, _, port = line.split()[1].rpartition(":")
            far_reader, far_writer = await asyncio.open_connection(host, int(port))
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(self._carry(reader, far_writer), self._carry(far_reader, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            writer.close()
            self._tasks.discard(task)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while part := await reader.read(65_536):
                self.carried += part
                writer.write(part)
                await writer.drain()
        finally:
            writer.close()
