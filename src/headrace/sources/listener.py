"""uvicorn inside a running loop: bound to a socket of ours, with JSON errors, started and stopped by its owner."""

from __future__ import annotations

import asyncio
import socket
from typing import Any, Final

import msgspec
import uvicorn

from headrace.certificates import Server
from headrace.errors import SourceUnreadableError
from headrace.sources.heads import BoundedHeads
from headrace.sources.problems import problem

LINGER_S: Final = 1.0
"""How long a refused client may go on sending before the connection is closed."""

_LINES: Final = {400: b"HTTP/1.1 400 Bad Request\r\n", 431: b"HTTP/1.1 431 Request Header Fields Too Large\r\n"}


class _Protocol(BoundedHeads):
    """uvicorn's protocol with a bound on the head of a request, and errors in our shape."""

    _refused = False

    def data_received(self, data: bytes) -> None:
        if not self._refused:
            super().data_received(data)

    def head_too_large(self) -> None:
        self._refuse("head-too-large")

    def send_400_response(self, msg: str) -> None:
        self._refuse("bad-request")

    def _refuse(self, code: str) -> None:
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        what = problem(code)
        body = msgspec.json.encode(what)
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        self.transport.write(_LINES[what.status] + head + body)
        if not self.transport.can_write_eof():
            self.transport.close()
            return
        self.transport.write_eof()  # closing with input unread would reset the connection, and the answer be lost
        self.loop.call_later(LINGER_S, self.transport.close)


class Listener:
    """An ASGI application at a host and port.

    Args:
        app: The application.
        host: Address to listen on.
        port: Port; 0 takes a free one.
        certificate: Path of a PEM file with the certificate chain, for TLS.
        key: Path of its private key.
    """

    def __init__(
        self, app: Any, host: str, port: int, certificate: str | None = None, key: str | None = None
    ) -> None:
        self._app = app
        self._host = host
        self.port = port
        self._certificate = certificate
        self._key = key
        self._server: uvicorn.Server | None = None
        self._turns: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen.

        Raises:
            SourceUnreadableError: The address is taken or is none of this machine, or the certificate is unusable.
        """
        where = f"{self._host}:{self.port}"
        config = uvicorn.Config(
            self._app,
            http=_Protocol,
            ws="none",
            interface="asgi3",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=75,
            timeout_graceful_shutdown=2,
            ssl_certfile=self._certificate,
            ssl_keyfile=self._key,
        )
        try:
            config.load()
        except OSError as error:  # ssl.SSLError is one
            problem = f"the certificate or its key cannot be used: {error.strerror or type(error).__name__}"
            raise SourceUnreadableError(source=where, problem=problem) from None
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        try:
            listening = socket.create_server((self._host, self.port), family=family, backlog=config.backlog)
        except OSError as error:
            problem = f"cannot listen: {error.strerror or error}; choose another address or port"
            raise SourceUnreadableError(source=where, problem=problem) from None
        listening.setblocking(False)
        self.port = listening.getsockname()[1]
        server = self._server = Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[listening])
        self._sockets = [listening]
        self._turns = asyncio.create_task(server.main_loop())

    async def stop(self) -> None:
        """Stop listening, let answers go out, close the connections."""
        server, self._server = self._server, None
        if server is None or self._turns is None:
            return
        self._turns.cancel()
        await asyncio.wait([self._turns])
        await server.shutdown(sockets=self._sockets)
