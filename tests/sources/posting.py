"""A real client against a real listener, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp
import msgspec

from headrace.sources.base import Batch, Refused
from headrace.sources.http import HttpCollection

UPDATE = b'{"identityMap":{"crm":[{"id":"p1"}]}}'
SMALL: dict[str, Any] = {"max_body_bytes": 100_000, "queue_bytes": 300_000}


class Answer(NamedTuple):
    """What the client got."""

    status: int
    headers: Mapping[str, str]
    body: Any


class Client:
    """Posts to one listener."""

    def __init__(self, session: aiohttp.ClientSession, base: str) -> None:
        self.session = session
        self.base = base

    async def send(self, path: str, body: Any = UPDATE, method: str = "POST", **headers: str) -> Answer:
        """One request; header names are given with underscores."""
        named = {"Content-Type": "application/json"} | {key.replace("_", "-"): text for key, text in headers.items()}
        async with self.session.request(method, self.base + path, data=body, headers=named, ssl=False) as got:
            content = await got.read()
            return Answer(got.status, got.headers, msgspec.json.decode(content) if content else None)


Judge = Callable[[Batch], list[Refused]]


def accept(batch: Batch) -> list[Refused]:
    """Refuse nothing."""
    return []


def judge(batch: Batch) -> list[Refused]:
    """Refuse what is not JSON, as the core would."""
    refused = []
    for index, body in enumerate(batch.bodies):
        try:
            msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            refused.append(Refused(index, "not-json", "it is not valid JSON in UTF-8"))
    return refused


async def engine(source: HttpCollection, seen: list[Batch], most: int = 1000, decide: Judge = judge) -> None:
    """Read to the end and acknowledge everything."""
    while (batch := await source.read(most)) is not None:
        assert len(batch.bodies) <= most
        seen.append(batch)
        batch.acknowledge(decide(batch))


@asynccontextmanager
async def listening(
    *, reading: bool = True, most: int = 1000, scheme: str = "http", **settings: Any
) -> AsyncIterator[tuple[HttpCollection, Client, list[Batch]]]:
    """A listener on a free port, something that reads it, and a client."""
    source = HttpCollection(**settings)
    await source.open(None)
    seen: list[Batch] = []
    reader = asyncio.create_task(engine(source, seen, most)) if reading else None
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(connector=connector, auto_decompress=True) as session:
        try:
            yield source, Client(session, f"{scheme}://127.0.0.1:{source.port}"), seen
        finally:
            await source.close()
            if reader is not None:
                await reader


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run one test's coroutine, bounded in time."""

    async def bounded() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(bounded())


async def until(holds: Callable[[], bool]) -> None:
    """Let the loop turn until something holds; the test's own bound ends a wait in vain."""
    while not holds():
        await asyncio.sleep(0.001)
