"""A client that calls an application in this process: no port, no thread that outlives a request."""

from __future__ import annotations

import asyncio

import httpx
from fastapi import FastAPI


class _Calls(httpx.BaseTransport):
    def __init__(self, app: FastAPI) -> None:
        self._inner = httpx.ASGITransport(app, client=("127.0.0.1", 50_000), raise_app_exceptions=False)

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request in a loop of its own."""

        async def answered() -> httpx.Response:
            request.read()
            sent = httpx.Request(
                request.method, request.url, headers=request.headers, content=request.content,
                extensions=request.extensions,
            )  # fmt: skip
            answer = await self._inner.handle_async_request(sent)
            content = await answer.aread()
            return httpx.Response(answer.status_code, headers=answer.headers, content=content)

        return asyncio.run(answered())


class Client(httpx.Client):
    """Keeps cookies, follows no redirect by itself.

    Args:
        app: The application.
    """

    def __init__(self, app: FastAPI) -> None:
        super().__init__(transport=_Calls(app), base_url="http://console.test")
