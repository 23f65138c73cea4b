"""Engines on an open state."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import gc
import random
from collections.abc import AsyncIterator, Sequence
from typing import Final

from headrace import logs
from headrace.clock import Clock, System
from headrace.control.configuration import Configuration
from headrace.core import step
from headrace.runtimes.base import Report
from headrace.runtimes.embedded.engine import Engine
from headrace.runtimes.embedded.options import Options
from headrace.settings import Settings
from headrace.sources.base import Source
from headrace.state.rocksdb import RocksState

from .flows import targets
from .folder import installation_key

_MIB: Final = 1 << 20


def _options(settings: Settings, flows: int) -> Options:
    return Options(
        batch_updates=settings.batch_updates,
        flow_memory_bytes=max(settings.memory_bytes // 2 // max(flows, 1), 2 * _MIB),
        linger_s=settings.linger_ms / 1000,
        journal_ms=settings.journal_hours * 3_600_000,
        journal_bytes=settings.journal_bytes,
        ledger_ms=settings.ledger_hours * 3_600_000,
        ledger_bytes=settings.ledger_bytes,
        dedup_window_ms=settings.dedup_window_hours * 3_600_000,
        drain_timeout_s=settings.drain_timeout_s,
        sandbox=settings.sandbox,
        auto_backfill=settings.auto_backfill == "on",
        backfill_rate=settings.backfill_rate,
        dead_letter_cap=settings.dead_letter_cap,
    )


def build_engine(
    state: RocksState, configuration: Configuration, settings: Settings, sources: Sequence[Source],
    clock: Clock | None = None,
) -> Engine:  # fmt: skip
    """Put an engine together on an open state."""
    engine = Engine(
        state=state,
        snapshot=configuration.snapshot,
        targets=targets(configuration),
        sources=sources,
        clock=clock or System(),
        rng=random.Random(),  # noqa: S311 - jitter of retries
        installation_key=installation_key(settings),
        options=_options(settings, len(configuration.snapshot.flows)),
    )
    engine.on_overflow.append(_tell_overflow)
    return engine


_OVERFLOW_WORDS: Final = {
    "over": "the backlog is over its budget: only current states are exported once there is room",
    "catching-up": "there is room again: the current state of what changed meanwhile is exported",
    "stopped": "a backlog is over its budget: no source is read until there is room",
    "recovered": "all is well again",
}


def _tell_overflow(flow_id: str, now: str) -> None:
    logs.get(flow=flow_id).warning(_OVERFLOW_WORDS[now])


def compiled() -> bool:
    """Whether the core runs compiled; what it decides is the same."""
    return not str(step.__file__).endswith(".py")


_TRIM_BYTES: Final = 128 << 20
_MAP_BYTES: Final = 32 << 20
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3


def tune_memory() -> None:
    """Leave looking for cycles to the engine's housekeeping: the hot path makes none, and looking cost it a sixth.

    And keep what memory was used: each round takes a few megabytes for what it writes, which the C library would give
    back to the system after it, to be handed out page by page again.
    """
    gc.collect()
    gc.freeze()
    gc.disable()
    with contextlib.suppress(OSError, AttributeError):  # there is another C library
        library = ctypes.CDLL(None)
        library.mallopt(_M_MMAP_THRESHOLD, _MAP_BYTES)
        library.mallopt(_M_TRIM_THRESHOLD, _TRIM_BYTES)


async def running(engine: Engine, *, until_drained: bool) -> AsyncIterator[Report | None]:
    """Run an engine; None about ten times a second while it works, then the report."""
    work = asyncio.create_task(engine.run(until_drained=until_drained))
    try:
        while True:
            done, _ = await asyncio.wait((work,), timeout=0.1)
            if done:
                yield work.result()
                return
            yield None
    finally:
        if not work.done():
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
