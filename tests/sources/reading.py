"""Reading files to their end, for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from pathlib import Path
from typing import Any, TypeVar

from headrace.sources.base import Batch
from headrace.sources.jsonl import JsonLines
from tests.sources.contract import BOUND_S, flat

T = TypeVar("T")


def run(test: Coroutine[Any, Any, T]) -> T:
    """Run one test's coroutine, bounded in time."""
    return asyncio.run(asyncio.wait_for(test, BOUND_S))


async def whole(source: JsonLines, position: bytes | None = None, most: int = 1000) -> list[Batch]:
    """All batches from *position* to the end."""
    await source.open(position)
    batches = []
    try:
        while (batch := await source.read(most)) is not None:
            batch.acknowledge(())
            batches.append(batch)
    finally:
        await source.close()
    return batches


def everything(path: Path, position: bytes | None = None, **settings: Any) -> list[bytes]:
    """All updates of a file from *position*."""
    return flat(run(whole(JsonLines(str(path), **settings), position)))


def places(batches: Sequence[Batch]) -> list[str]:
    """The places of all their updates."""
    return [batch.place(index) for batch in batches for index in range(len(batch.bodies))]
